-- How often the person behind a session has shown anew who they are: access tokens of earlier times end.
ALTER TABLE sessions ADD COLUMN generation bigint NOT NULL DEFAULT 0;
