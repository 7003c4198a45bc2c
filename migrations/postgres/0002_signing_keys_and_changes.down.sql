DROP TABLE changes;
DROP TABLE signing_keys;
