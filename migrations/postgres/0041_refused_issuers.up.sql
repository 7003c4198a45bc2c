-- Whose link an owner has taken away, and which it was: what such an issuer says of addresses leads to the account no more. That the account
-- is there the next step demands.
CREATE TABLE refused_issuers (
    account_id uuid        NOT NULL,
    issuer     text        NOT NULL,
    identity   uuid        NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, issuer)
);
