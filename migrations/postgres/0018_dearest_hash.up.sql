-- What the dearest hash of an older system costs that is still in use: every failed login costs as much. The smaller this index, the nearer the end.
CREATE INDEX accounts_by_bcrypt_cost ON accounts (substr(password_hash, 5, 2)) WHERE substr(password_hash, 1, 2) = '$2';
