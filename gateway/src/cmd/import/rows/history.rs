//! What people used of an older system, and what they were billed for it.

use policies::{
    Micros,
    money::{MOST_BILLED, MOST_COST},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{ImportedStatement, ImportedUsage, Thing, end_of_month, statement_id};

use super::{Id, Read, Reader, in_our_letters};
use crate::cmd::import::when::When;

/// Why no key of an older system comes.
pub(super) const NO_KEYS: &str = "a key of an older system says nothing of whose it is, so that the door would have to look up whatever \
                                  anybody shows it; its owner makes a new one (POST /auth/api-keys)";
/// As admin-api has them.
const MOST_TOKENS: i64 = 1_000_000_000_000;
const MAX_WORD: usize = 100;
/// The tier of whoever says none.
const DEFAULT_TIER: &str = "free";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageLine {
    id: Id,
    tenant_id: Option<Id>,
    user_id: Id,
    service: String,
    tokens_used: Option<i64>,
    cost: Option<Box<RawValue>>,
    model_name: Option<String>,
    request_type: Option<String>,
    #[serde(alias = "timestamp")]
    created_at: When,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementLine {
    id: Id,
    tenant_id: Option<Id>,
    month: String,
    tier: Option<String>,
    currency: String,
    price: Option<Box<RawValue>>,
    usage: Option<Box<RawValue>>,
    requests: Option<i64>,
    tokens_used: Option<i64>,
    payment_status: String,
    #[serde(alias = "created_at")]
    closed_at: Option<When>,
    due_at: Option<When>,
    paid_at: Option<When>,
}

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn usage(&self, line: UsageLine) -> Result<Read, String> {
        if line.created_at.0 > self.now {
            return Err("`created_at` is in the future".to_owned());
        }
        let usage = ImportedUsage {
            tenant: self.owner(line.tenant_id)?,
            id: self.id("usage", line.id)?,
            user: self.who(line.user_id)?,
            // Their enumerations are written in capitals.
            service: word("service", Some(line.service.to_ascii_lowercase()))?,
            model: word("model_name", line.model_name)?,
            request_type: word("request_type", line.request_type)?,
            tokens: count("tokens_used", line.tokens_used)?,
            cost: money("cost", line.cost.as_deref(), MOST_COST)?,
        };
        Ok((Thing::Usage(usage), Some(line.created_at)))
    }

    pub(super) fn statement(&self, line: StatementLine) -> Result<Read, String> {
        let end = end_of_month(&line.month).ok_or("a `month` is such as 2026-01")?;
        if end > self.now {
            return Err("a `month` that is not over has no statement".to_owned());
        }
        let tier = line.tier.unwrap_or_else(|| DEFAULT_TIER.to_owned());
        let tier = in_our_letters(tier, |tier| self.policy.tiers.contains(tier));
        if !self.policy.tiers.contains(&tier) {
            return Err("`tier` is none of tiers.toml".to_owned());
        }
        if !(line.currency.len() == 3 && line.currency.bytes().all(|byte| byte.is_ascii_uppercase())) {
            return Err("a `currency` is three capitals of ISO 4217".to_owned());
        }
        let status = line.payment_status.to_ascii_lowercase();
        if !["open", "paid", "overdue", "void"].contains(&&*status) {
            return Err("a `payment_status` is `open`, `paid`, `overdue` or `void`".to_owned());
        }
        let closed_at = line.closed_at.map_or(end, |when| when.0).clamp(end, self.now);
        let statement = ImportedStatement {
            tenant: self.owner(line.tenant_id)?,
            id: statement_id(self.system, &line.id.text()?, closed_at),
            month: line.month,
            tier,
            currency: line.currency,
            price: money("price", line.price.as_deref(), MOST_BILLED)?,
            usage: money("usage", line.usage.as_deref(), MOST_BILLED)?,
            requests: count("requests", line.requests)?,
            tokens: count("tokens_used", line.tokens_used)?,
            due_at: line.due_at.map_or(closed_at, |when| when.0),
            paid_at: (status == "paid").then(|| line.paid_at.map_or(closed_at, |when| when.0)),
            status,
        };
        Ok((Thing::Statement(statement), Some(When(closed_at))))
    }
}

/// A name that is shown in tables; empty for none.
fn word(field: &str, text: Option<String>) -> Result<String, String> {
    let text = text.unwrap_or_default();
    let is_needed = field == "service";
    let is_plain = text.len() <= MAX_WORD && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain && !(is_needed && text.is_empty()) {
        return Ok(text);
    }
    Err(format!("a `{field}` is {MAX_WORD} printable characters of ASCII at most"))
}

fn count(field: &str, number: Option<i64>) -> Result<i64, String> {
    let number = number.unwrap_or(0);
    if (0..=MOST_TOKENS).contains(&number) { Ok(number) } else { Err(format!("`{field}` is 0 to {MOST_TOKENS}")) }
}

/// The number as it was written, by itself or as text.
fn money(field: &str, text: Option<&RawValue>, most: i64) -> Result<i64, String> {
    let Some(text) = text.map(RawValue::get) else { return Ok(0) };
    let unquoted = serde_json::from_str::<String>(text);
    let micros = Micros::parse_up_to(most, unquoted.as_deref().unwrap_or(text));
    micros.map(Micros::get).map_err(|error| format!("`{field}` {error}"))
}
