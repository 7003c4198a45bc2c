DROP INDEX accounts_by_bcrypt_cost;
