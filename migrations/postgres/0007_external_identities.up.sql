-- Who an external issuer, or an old system, means by a subject. The id is made of the two, so that it is known before the row is.
CREATE TABLE external_identities (
    id         uuid        NOT NULL PRIMARY KEY,
    issuer     text        NOT NULL,
    subject    text        NOT NULL,
    account_id uuid        NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    claims_at  bigint
);
CREATE INDEX external_identities_by_account ON external_identities (account_id);
