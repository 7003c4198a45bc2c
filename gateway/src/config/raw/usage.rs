//! The section of `gateway.toml` on the counting of usage, as it is written.

use policies::config::DurationText;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;

/// How it is counted what callers use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Usage {
    /// Is it counted? true by default.
    pub(in crate::config) enabled: Given<bool>,
    /// Where it is kept until the database has it, in the data folder; usage by default.
    pub(in crate::config) folder: Given<String>,
    /// How often it is written there, which is what a killed process may lose; 50ms by default, 100ms at most.
    pub(in crate::config) flush: Given<DurationText>,
    /// How often it is carried from there to the database; 1s by default.
    pub(in crate::config) carry: Given<DurationText>,
    /// How long single events are kept in the database, and an event that is brought again is known; 35d by default, 32d at least. Their
    /// totals by day stay for longer (`[retention] usage`).
    pub(in crate::config) retention: Given<DurationText>,
}
