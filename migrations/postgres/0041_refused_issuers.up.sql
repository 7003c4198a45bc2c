-- Whose link an owner has taken away, and which it was: what such an issuer says of addresses leads to the account no more.
CREATE TABLE refused_issuers (
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    issuer     text        NOT NULL,
    identity   uuid        NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, issuer)
);
