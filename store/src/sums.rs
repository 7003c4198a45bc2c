//! Sums that stop at the largest number that both engines hold, 2^63 - 1. To go beyond it is refused by either, and with it all that the
//! same statement or transaction says of others. What is added up is never below zero.

/// The sum of a column, in two halves: what a row has beyond 2^32, and the rest. SQLite adds up in 64 bits, for which neither is too large.
macro_rules! sum_of {
    ($column:literal) => {
        concat!(
            "CASE WHEN CAST(SUM(",
            $column,
            " >> 32) AS bigint) + CAST(SUM(",
            $column,
            " & 4294967295) AS bigint) / 4294967296 > 2147483647 THEN 9223372036854775807 ELSE CAST(SUM(",
            $column,
            " >> 32) AS bigint) * 4294967296 + CAST(SUM(",
            $column,
            " & 4294967295) AS bigint) END"
        )
    };
}

pub(crate) use sum_of;

/// What an upsert sets columns to: what is there, in the table that it calls `held`, and what comes.
pub(crate) fn added_to(held: &str, columns: &[&str]) -> String {
    let added = |column: &&str| {
        format!(
            "{column} = CASE WHEN excluded.{column} > 9223372036854775807 - {held}.{column} THEN 9223372036854775807 \
             ELSE {held}.{column} + excluded.{column} END"
        )
    };
    columns.iter().map(added).collect::<Vec<_>>().join(", ")
}
