-- Private keys are sealed with the master key.
CREATE TABLE signing_keys (
    kid        TEXT NOT NULL PRIMARY KEY,
    purpose    TEXT NOT NULL CHECK (purpose IN ('access', 'assertion')),
    algorithm  TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('next', 'current', 'retiring')),
    created_at TEXT NOT NULL,
    retires_at TEXT
) STRICT;
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (purpose) WHERE state = 'current';

-- What gateways must hear of, in the order of commits. AUTOINCREMENT never uses a position twice.
CREATE TABLE changes (
    position   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    subject    BLOB,
    changed_at TEXT    NOT NULL
) STRICT;
