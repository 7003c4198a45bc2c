//! `POST /usage`: a service says what somebody has used of it, in the words that such services have always used.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, KeyId};
use policies::Micros;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{UsageEvent, Used};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Exact,
    caller::{ReportUsage, Service},
    error::ApiError,
    form::Form,
    office::Office,
    trail,
};

/// Tokens of one report at most, as at the door.
const MOST_TOKENS: i64 = 1_000_000_000_000;
/// How far a service's clock may be ahead.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// How old a report may be: months that are billed stay so, and ids are known for longer than this (`[usage] retention`).
const OLDEST: TimeDelta = TimeDelta::days(31);
/// Bytes of a name.
const LONGEST_NAME: usize = 100;

/// What was used.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportedUsage {
    /// Which service, such as `claude`; 100 printable ASCII characters at most.
    service: String,
    /// 0 to 1000000000000.
    #[serde(default)]
    #[schema(minimum = 0)]
    tokens_used: Option<i64>,
    /// A decimal number, or one as text, such as 0.0125; it is read to the millionth, 0 to 1000000.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0)]
    cost: Option<Box<RawValue>>,
    model_name: Option<String>,
    request_type: Option<String>,
    /// So that a report that is sent again counts once. Left out: every report counts.
    event_id: Option<Uuid>,
    /// Whose use it was. Left out: the service's own.
    account_id: Option<Uuid>,
    /// The account's key with which it was used.
    key_id: Option<Uuid>,
    /// When; 31 days ago at most. Left out: now.
    occurred_at: Option<DateTime<Utc>>,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reported {
    event_id: Uuid,
    /// `counted`, or `duplicate` if an event of this id was counted before.
    status: &'static str,
}

/// Counts what somebody has used. For service accounts alone.
#[utoipa::path(
    post, path = "/usage", tag = "usage", request_body = ReportedUsage, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "It is counted", body = Reported),
        (status = 200, description = "It was counted before: `duplicate`", body = Reported),
        (status = 403, description = "`forbidden`: the caller is no service that may report usage"),
    )
)]
pub(crate) async fn report_usage(
    State(office): State<Arc<Office>>,
    Service { caller, .. }: Service<ReportUsage>,
    Exact(report): Exact<ReportedUsage>,
) -> Result<(StatusCode, Json<Reported>), ApiError> {
    let now = office.now();
    let mut event = report.parse(caller.0.account, now)?;
    let used = &mut event.used;
    if used.account == caller.0.account {
        used.tenant = caller.0.tenant;
    } else {
        let account = office.store.account(used.account).await?;
        let account = account.ok_or_else(|| ApiError::one_field("account_id", "must be an account's id"))?;
        used.tenant = account.tenant.map(|membership| membership.tenant);
    }
    if let Some(key) = used.key {
        let keys = office.store.list_keys(used.account).await?;
        if !keys.iter().any(|known| known.id == key) {
            return Err(ApiError::one_field("key_id", "must be the id of a key of the account"));
        }
    }
    trail::about(used.account.uuid());
    let event_id = event.id;
    let is_new = office.store.count_usage(&[event], now).await?.contains(&event_id);
    let (code, status) = if is_new { (StatusCode::CREATED, "counted") } else { (StatusCode::OK, "duplicate") };
    Ok((code, Json(Reported { event_id, status })))
}

// === impl ReportedUsage ===

impl ReportedUsage {
    fn parse(self, caller: AccountId, now: DateTime<Utc>) -> Result<UsageEvent, ApiError> {
        let mut form = Form::default();
        let service = plain(&mut form, "service", Some(self.service));
        let model = plain(&mut form, "model_name", self.model_name);
        let request_type = plain(&mut form, "request_type", self.request_type);
        let tokens = self.tokens_used.unwrap_or(0);
        if !(0..=MOST_TOKENS).contains(&tokens) {
            form.fault("tokens_used", format!("must be between 0 and {MOST_TOKENS}"));
        }
        let cost = self.cost.map_or(Some(0), |cost| form.parsed("cost", money(cost.get())).map(Micros::get));
        let at = self.occurred_at.unwrap_or(now);
        if at > now + AHEAD {
            form.fault("occurred_at", "must not be in the future");
        } else if at < now - OLDEST {
            form.fault("occurred_at", format!("must not be more than {} days ago", OLDEST.num_days()));
        }
        let parsed = service.zip(model).zip(request_type).zip(cost);
        let used = form.finish(parsed.map(|(((service, model), request_type), cost)| Used {
            tenant: None,
            account: self.account_id.map_or(caller, AccountId::new),
            key: self.key_id.map(KeyId::new),
            at,
            route: String::new(),
            service,
            model,
            request_type,
            // The door has counted it.
            requests: 0,
            tokens,
            cost,
        }))?;
        Ok(UsageEvent { id: self.event_id.unwrap_or_else(Uuid::now_v7), used })
    }
}

/// The number as it was written, by itself or as text.
fn money(text: &str) -> Result<Micros, policies::MoneyError> {
    match serde_json::from_str::<String>(text) {
        Ok(text) => Micros::parse(&text),
        Err(_) => Micros::parse(text),
    }
}

/// A name that is shown in tables; empty for none.
fn plain(form: &mut Form, field: &str, text: Option<String>) -> Option<String> {
    let Some(text) = text else { return Some(String::new()) };
    let is_plain = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_plain {
        form.fault(field, format!("must be 1 to {LONGEST_NAME} printable ASCII characters"));
    }
    is_plain.then_some(text)
}
