//! What `[billing]` says, parsed.

use std::time::Duration;

use identity::SecretText;

/// `[billing]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BillingSettings {
    /// Are statements made?
    pub enabled: bool,
    /// ISO 4217.
    pub currency: String,
    /// How long after its end a month is closed.
    pub grace: Duration,
    /// How long after that a statement should be paid.
    pub due: Duration,
    /// Who is told.
    pub webhook: Option<WebhookSettings>,
    /// With what payment providers sign.
    pub payment_secret: Option<SecretText>,
}

/// Who is told of statements.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where.
    pub url: String,
    /// What it is signed with.
    pub secret: SecretText,
}
