-- What the door has counted comes as sums, many in a batch, and is added to the totals alone. A batch is counted once, by its id.
CREATE TABLE usage_batches (
    id         uuid        NOT NULL PRIMARY KEY,
    counted_at timestamptz NOT NULL
);
CREATE INDEX usage_batches_by_count ON usage_batches (counted_at);
