//! `POST /usage`: a service says what somebody has used of it, in the words that such services have always used.
//!
//! It is answered once it is kept (`kept_usage`) and counted a moment later, so that a database that is away loses nothing. What it says
//! of whose use it was is looked up before, or when it is counted if nobody can say now. Whether the service is still one that may report is asked
//! before too, if anybody can say ([`crate::still`]).

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, ExternalId, KeyId, Principal, TenantId};
use policies::Micros;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Misplaced, StoreError, UsageEvent, Used};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Exact,
    caller::{ReportUsage, Service},
    error::ApiError,
    form::Form,
    office::Office,
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
    /// The service's own name of it, so that a report that is sent again counts once. Left out: every report counts.
    event_id: Option<Uuid>,
    /// Whose use it was. Left out: the service's own. A service that acts in a tenant names only who belongs or has belonged to it.
    account_id: Option<Uuid>,
    /// The account's key with which it was used, revoked or not; then it was used in the key's tenant.
    key_id: Option<Uuid>,
    /// In whose name it was used, as services are told by `X-Tenant-Id`; the account belongs to it, or has. Left out: in that of the tenant
    /// in which the account acts when it begins a session. A service that acts in a tenant names no other one.
    tenant_id: Option<Uuid>,
    /// When; 31 days ago at most. Left out: now.
    occurred_at: Option<DateTime<Utc>>,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reported {
    event_id: Uuid,
    /// `accepted`: it is kept, and counted once whatever happens.
    status: &'static str,
}

/// Counts what somebody has used. For service accounts alone.
#[utoipa::path(
    post, path = "/usage", tag = "usage", request_body = ReportedUsage, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 202, description = "It is kept, and will be counted once", body = Reported),
        (status = 403, description = "`forbidden`: the caller is no service account that may report usage"),
        (status = 503, description = "It is not kept, as when the disk is full: report it again by the same `event_id`"),
    )
)]
pub(crate) async fn report_usage(
    State(office): State<Arc<Office>>,
    Service { caller, .. }: Service<ReportUsage>,
    Exact(report): Exact<ReportedUsage>,
) -> Result<(StatusCode, Json<Reported>), ApiError> {
    let caller = caller.0;
    let event_id = report.event_id.unwrap_or_else(Uuid::now_v7);
    let mut event = report.parse(&caller, event_id, office.now())?;
    if event.is_claim {
        match office.store.place_usage(&event.used).await {
            Ok(placed) => {
                event.used.tenant = placed.map_err(|misplaced| described(misplaced, caller.tenant))?;
                event.is_claim = false;
            }
            // Looked up when it is counted.
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    office.keep_usage(event).await?;
    Ok((StatusCode::ACCEPTED, Json(Reported { event_id, status: "accepted" })))
}

/// A machine of one organisation is told the same of whoever has nothing to do with it, there or not.
fn described(misplaced: Misplaced, bound: Option<TenantId>) -> ApiError {
    match misplaced {
        _ if bound.is_some() => ApiError::one_field(
            "account_id",
            "must be of an account that belongs or has belonged to the service's tenant, and `key_id` of one of its keys there",
        ),
        Misplaced::Account => ApiError::one_field("account_id", "must be an account's id"),
        Misplaced::Key => ApiError::one_field("key_id", "must be the id of a key of the account"),
        Misplaced::Tenant => {
            ApiError::one_field("tenant_id", "must be the key's, or one to which the account belongs or has belonged")
        }
    }
}

// === impl ReportedUsage ===

impl ReportedUsage {
    fn parse(self, caller: &Principal, event_id: Uuid, now: DateTime<Utc>) -> Result<UsageEvent, ApiError> {
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
        let named = self.tenant_id.map(TenantId::new);
        if caller.tenant.is_some() && named.is_some_and(|named| Some(named) != caller.tenant) {
            form.fault("tenant_id", "must be the service's own");
        }
        let parsed = service.zip(model).zip(request_type).zip(cost);
        let account = self.account_id.map_or(caller.account, AccountId::new);
        // Of its own use it says nothing that the door has not said of it already.
        let is_own = account == caller.account && self.key_id.is_none() && self.tenant_id.is_none();
        let used = form.finish(parsed.map(|(((service, model), request_type), cost)| Used {
            // A machine of one organisation speaks of what was used there, and of nothing else.
            tenant: caller.tenant.or(named),
            account,
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
        // Each service has ids of its own: none uses up another one's.
        let id = ExternalId::of(&caller.account.to_string(), &event_id.to_string()).uuid();
        Ok(UsageEvent { id, used, is_claim: !is_own })
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
