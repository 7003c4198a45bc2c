-- Whose link an owner has taken away, and which it was: what such an issuer says of addresses leads to the account no more.
CREATE TABLE refused_issuers (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    issuer     TEXT NOT NULL,
    identity   BLOB NOT NULL,
    refused_at TEXT NOT NULL,
    PRIMARY KEY (account_id, issuer)
) STRICT;
