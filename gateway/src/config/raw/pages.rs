//! The section of `gateway.toml` on what browsers get, as it is written.

use policies::config::DurationText;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;

/// What browsers get.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pages {
    /// How long a session cookie is good when it is not used; 1h by default, 5m at least.
    pub(in crate::config) cookie_idle: Given<DurationText>,
    /// How long after its login, however often it is used; 12h by default, 5m at least.
    pub(in crate::config) cookie_life: Given<DurationText>,
    /// The colour of buttons; `#1f5fbf` by default.
    pub(in crate::config) accent: Given<String>,
}
