//! The section of `gateway.toml` on bills, as it is written.

use policies::config::{DurationText, Placed, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;

/// What tenants owe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Billing {
    /// Are statements made? true by default.
    pub(in crate::config) enabled: Given<bool>,
    /// Of prices and of what services cost, as ISO 4217 has it; USD by default. Prices in tiers.toml are in it.
    pub(in crate::config) currency: Given<String>,
    /// How long after its end a month is closed; what is reported later is on the next statement. 3d by default.
    pub(in crate::config) grace: Given<DurationText>,
    /// How long after that a statement should be paid; 14d by default.
    pub(in crate::config) due: Given<DurationText>,
    /// Who is told of each statement, by POST.
    pub(in crate::config) webhook_url: Given<String>,
    /// What that is signed with (Standard Webhooks): `whsec_` and base64 of 24 bytes or more. Required with `webhook_url`.
    pub(in crate::config) webhook_secret: Option<Placed<Secret>>,
    /// What a payment provider signs with (Stripe) that tells of payments at POST /billing/webhook.
    pub(in crate::config) payment_secret: Option<Placed<Secret>>,
}
