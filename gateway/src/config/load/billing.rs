//! The section `[billing]`.

use identity::{SecretText, sign_webhook};
use policies::{
    Policy,
    config::{Diagnostic, Placed, Secret},
};
use reqwest::Url;

use super::{FILES, Reader, place_of};
use crate::config::{BillingSettings, WebhookSettings, issuers::is_safe_url, raw};

impl Reader<'_, '_> {
    pub(super) fn billing(&mut self) -> BillingSettings {
        let raw: raw::Billing = self.document.section("billing").unwrap_or_default();
        let enabled = raw.enabled.as_ref().and_then(|given| self.document.resolve(given, self.folder));
        let currency = self.text(raw.currency.as_ref(), "USD");
        if let Some(given) = &raw.currency
            && !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()))
        {
            self.document.note(given.span(), "a currency is three capitals of ISO 4217, such as \"USD\"");
        }
        BillingSettings {
            enabled: enabled.unwrap_or(true),
            currency,
            grace: raw.grace.as_ref().map_or(std::time::Duration::from_hours(72), |given| self.delay(Some(given))),
            due: self.duration(raw.due.as_ref(), 14 * 86_400),
            webhook: self.webhook(&raw),
            payment_secret: self.signing_secret(raw.payment_secret.as_ref()),
        }
    }

    fn webhook(&mut self, raw: &raw::Billing) -> Option<WebhookSettings> {
        let secret = self.signing_secret(raw.webhook_secret.as_ref());
        let given = raw.webhook_url.as_ref()?;
        let url = self.text(Some(given), "");
        if url.is_empty() {
            return None;
        }
        // What a statement says is for nobody on the way.
        if !is_safe_url(&url) || Url::parse(&url).is_err() {
            self.document.note(given.span(), "a webhook goes to an address over https, or over http on this machine");
        }
        match &raw.webhook_secret {
            None => self.document.note(given.span(), "`webhook_secret` is missing, by which the receiver knows us"),
            Some(given) if secret.as_ref().is_some_and(|secret| sign_webhook(secret, "", 0, "").is_none()) => {
                self.document.note(given.span(), "a webhook's secret is \"whsec_\" and base64 of 24 bytes or more");
            }
            Some(_) => {}
        }
        secret.map(|secret| WebhookSettings { url, secret })
    }

    fn signing_secret(&mut self, given: Option<&Placed<Secret>>) -> Option<SecretText> {
        let given = given?;
        let secret = self.document.resolve_secret(given, self.folder)?;
        if secret.expose().is_empty() {
            return None;
        }
        if secret.expose().len() < 24 {
            self.document.note(given.span(), "a secret under 24 bytes can be guessed");
        }
        Some(secret)
    }
}

/// A statement has one currency.
pub(super) fn other_currency(billing: &BillingSettings, policy: Option<&Policy>, tiers: &str) -> Vec<Diagnostic> {
    let prices = policy.into_iter().flat_map(|policy| policy.tiers.iter());
    let other = prices.filter(|tier| tier.price.as_ref().is_some_and(|price| *price.currency != *billing.currency));
    let said = other.map(|tier| {
        let message = format!(
            "tier.{}: `price` is not in {}, which `[billing]` of {} names",
            tier.name, billing.currency, FILES[0]
        );
        Diagnostic::at(FILES[3], tiers, place_of(tiers, &format!("[tier.{}]", tier.name), "price"), message, None)
    });
    if billing.enabled { said.collect() } else { Vec::new() }
}
