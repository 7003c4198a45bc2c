//! `POST /billing/webhook`: what a payment provider says, in Stripe's words: a tenant's tier, and what is paid.
//!
//! Nobody but who knows the secret is believed, whatever a request says; what is signed counts once, by its event's id, and of a subscription
//! what was said last (`created`), since events come in any order. Of a tenant's subscriptions that are paid the latest says its tier. The tenant
//! stands in the metadata of the subscription (`tenant_id`, `tier`), the statement in those of the invoice (`statement_id`). An invoice pays a
//! statement if all that is owed was paid, in the statement's currency.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    http::HeaderMap,
};
use chrono::{DateTime, Utc};
use identity::{TenantId, verify_stripe};
use policies::{Policy, money::MICROS};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Heard, Paid, Payment, Subscription};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{body, error::ApiError, office::Office, trail};

const SIGNATURE: &str = "stripe-signature";
/// Bytes of an event. Stripe says no bound, and an invoice of many lines is long; what is refused is sent again for three days and then never.
const LONGEST_EVENT: usize = 256 * 1024;
/// Bytes of the id of an event or a subscription.
const LONGEST_ID: usize = 255;
/// Seconds by which clocks may differ. What was said later counts, so of what says to have been said in some far future all else would be late.
const FUTURE: i64 = 24 * 60 * 60;

/// An event, as far as we read it: those who send them add members as they like.
#[derive(Deserialize, ToSchema)]
pub(crate) struct PaymentEvent {
    id: String,
    r#type: String,
    /// When it was said, in Unix seconds.
    created: i64,
    #[schema(value_type = Object)]
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct HeardPayment {
    /// `done`, `duplicate`, or `ignored`.
    status: &'static str,
}

/// Hears of a payment. For payment providers, by their signature.
#[utoipa::path(
    post, path = "/billing/webhook", tag = "billing", request_body = PaymentEvent,
    params(("Stripe-Signature" = String, Header, description = "`t=SECONDS,v1=HEX`: HMAC-SHA256 of the time, a point and the body")),
    responses(
        (status = 200, description = "It is heard; again is as once", body = HeardPayment),
        (status = 400, description = "`invalid_signature`: it is wrong, or five minutes old"),
        (status = 404, description = "`no_route`: no secret is configured"),
    )
)]
pub(crate) async fn hear_payment(
    State(office): State<Arc<Office>>,
    request: Request,
) -> Result<Json<HeardPayment>, ApiError> {
    let secret = office.settings.payment_secret.as_ref().ok_or(ApiError::NoSuchPath)?;
    let headers = request.headers().clone();
    let body = body::receive_most(LONGEST_EVENT, request, &office).await?;
    let now = office.now();
    verify_stripe(signature(&headers)?, &body, secret, now.timestamp()).map_err(|_| ApiError::SignatureRefused)?;
    let event = read(&body)?;
    demand_past("created", event.created, now)?;
    let payment = event.payment(&office.hooks.policy())?;
    match &payment {
        Payment::Subscribed(said) => {
            demand_past("data.object.created", said.began_at, now)?;
            trail::about(said.tenant.uuid());
            trail::detail("tier", said.tier.as_deref());
            trail::detail("subscription", said.id.clone());
        }
        Payment::Paid(paid) => {
            trail::about(paid.statement);
            trail::detail("amount", event.data.object["amount_paid"].clone());
            trail::detail("currency", paid.currency.clone());
        }
        Payment::Nothing => {}
    }
    trail::detail("event", event.id.clone());
    trail::detail("type", event.r#type.clone());
    let status = match office.store.hear_payment(&event.id, event.created, &payment, now).await? {
        Heard::Done => "done",
        Heard::Again => "duplicate",
        Heard::Nothing => "ignored",
        Heard::Short => {
            trail::detail("short", true);
            tracing::warn!(
                event = event.id,
                "an invoice that is paid does not pay its statement: too little, or in another currency"
            );
            "ignored"
        }
    };
    Ok(Json(HeardPayment { status }))
}

fn signature(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(ApiError::SignatureRefused) };
    value.to_str().map_err(|_| ApiError::SignatureRefused)
}

fn read(body: &Bytes) -> Result<PaymentEvent, ApiError> {
    let event = crate::json::parse(body)?;
    let event: PaymentEvent = serde_json::from_value(event)
        .map_err(|_| ApiError::one_field("", "must be an event with `id`, `type`, `created` and `data.object`"))?;
    if is_plain(&event.id) { Ok(event) } else { Err(ApiError::one_field("id", "must be an event's id")) }
}

fn demand_past(field: &str, seconds: i64, now: DateTime<Utc>) -> Result<(), ApiError> {
    let is_past = seconds <= now.timestamp() + FUTURE;
    if is_past { Ok(()) } else { Err(ApiError::one_field(field, "must not lie in the future")) }
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The most millionths that round down to an amount, given in the unit in which Stripe counts a currency. What can be asked for is sometimes
/// coarser than that: ISK and UGX count as currencies of two decimals there and have none, and of three decimals the last is 0. `None`: it is
/// below zero, or no amount.
fn covered(amount: i64, currency: &str) -> Option<i64> {
    if amount < 0 {
        return None;
    }
    let (unit, coin) = match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND" | "VUV" | "XAF"
        | "XOF" | "XPF" => (MICROS, MICROS),
        "ISK" | "UGX" => (MICROS / 100, MICROS),
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => (MICROS / 1_000, MICROS / 100),
        _ => (MICROS / 100, MICROS / 100),
    };
    amount.checked_mul(unit)?.checked_add(coin - 1)
}

fn is_plain(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

// === impl PaymentEvent ===

impl PaymentEvent {
    fn payment(&self, policy: &Policy) -> Result<Payment, ApiError> {
        let object = &self.data.object;
        let metadata = |name: &str| object["metadata"][name].as_str();
        let id = |name: &str| metadata(name).and_then(|text| Uuid::try_parse(text).ok());
        let tenant = id("tenant_id").map(TenantId::new);
        Ok(match (self.r#type.as_str(), tenant) {
            (
                "customer.subscription.created"
                | "customer.subscription.updated"
                | "customer.subscription.paused"
                | "customer.subscription.resumed",
                Some(tenant),
            ) => {
                match object["status"].as_str() {
                    Some("active" | "trialing") => {
                        let tier = metadata("tier").filter(|tier| policy.tiers.contains(tier));
                        let tier = tier.ok_or_else(|| {
                            ApiError::one_field("data.object.metadata.tier", "must be a tier of tiers.toml")
                        })?;
                        self.subscribed(tenant, Some(tier.to_owned()))?
                    }
                    Some("canceled" | "unpaid" | "incomplete_expired" | "paused") => self.subscribed(tenant, None)?,
                    // Its time has not come, or not gone.
                    _ => Payment::Nothing,
                }
            }
            ("customer.subscription.deleted", Some(tenant)) => self.subscribed(tenant, None)?,
            ("invoice.paid" | "invoice.payment_succeeded", _) => {
                id("statement_id").and_then(|statement| self.paid(statement)).map_or(Payment::Nothing, Payment::Paid)
            }
            _ => Payment::Nothing,
        })
    }

    /// What the invoice has paid; `None`: it does not say how much.
    fn paid(&self, statement: Uuid) -> Option<Paid> {
        let object = &self.data.object;
        let currency = object["currency"].as_str().filter(|currency| is_currency(currency))?.to_ascii_uppercase();
        let covers = covered(object["amount_paid"].as_i64()?, &currency)?;
        Some(Paid { statement, currency, covers })
    }

    /// What becomes of the subscription that the event is about.
    fn subscribed(&self, tenant: TenantId, tier: Option<String>) -> Result<Payment, ApiError> {
        let object = &self.data.object;
        let (id, began_at) = (object["id"].as_str(), object["created"].as_i64());
        let id = id
            .filter(|id| is_plain(id))
            .ok_or_else(|| ApiError::one_field("data.object.id", "must be a subscription's id"))?;
        let began_at =
            began_at.ok_or_else(|| ApiError::one_field("data.object.created", "must be a time in Unix seconds"))?;
        Ok(Payment::Subscribed(Subscription { tenant, id: id.to_owned(), tier, began_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_covers_what_is_less_than_a_coin_above_it() {
        for (amount, currency, covers) in [
            (9_900, "USD", Some(99_009_999)),
            (0, "EUR", Some(9_999)),
            (500, "JPY", Some(500_999_999)),
            (5_120, "KWD", Some(5_129_999)),
            (500, "ISK", Some(5_999_999)),
            (-1, "USD", None),
            (i64::MAX, "USD", None),
            (i64::MAX / 10_000, "USD", None),
            (i64::MAX / 10_000 - 1, "USD", Some(i64::MAX / 10_000 * 10_000 - 1)),
        ] {
            assert_eq!(covered(amount, currency), covers, "{amount} {currency}");
        }
    }
}
