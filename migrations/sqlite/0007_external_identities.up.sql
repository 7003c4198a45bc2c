-- Who an external issuer, or an old system, means by a subject. The id is made of the two, so that it is known before the row is.
CREATE TABLE external_identities (
    id         BLOB    NOT NULL PRIMARY KEY,
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    account_id BLOB    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at TEXT    NOT NULL,
    claims_at  INTEGER
) STRICT;
CREATE INDEX external_identities_by_account ON external_identities (account_id);
