-- Private keys are sealed with the master key.
CREATE TABLE signing_keys (
    kid        text        NOT NULL PRIMARY KEY,
    purpose    text        NOT NULL CHECK (purpose IN ('access', 'assertion')),
    algorithm  text        NOT NULL,
    sealed     bytea       NOT NULL,
    state      text        NOT NULL CHECK (state IN ('next', 'current', 'retiring')),
    created_at timestamptz NOT NULL,
    retires_at timestamptz
);
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (purpose) WHERE state = 'current';

-- What gateways must hear of, in the order of commits: whoever writes here holds an advisory lock until the commit.
CREATE TABLE changes (
    position   bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind       text        NOT NULL,
    subject    uuid,
    changed_at timestamptz NOT NULL
);
