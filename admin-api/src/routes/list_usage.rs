//! `GET /usage`: what was used, added up as it is asked for, as JSON or as a table for a spreadsheet.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{NaiveDate, TimeDelta};
use identity::{AccountId, TenantId};
use policies::Micros;
use serde::Serialize;
use serde_json::Value;
use store::{UsageAsked, UsageBy, UsagePage, UsageTotal};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadUsage},
    csv,
    error::ApiError,
    office::Office,
    paging::{LIMIT, MAX_LIMIT, next_link},
    query::{Parameters, wrong},
    reach::Reach,
};

/// Lines of a table, which is seldom read a page at a time.
const TABLE_LIMIT: u32 = 10_000;
/// Rows that are read for a page at most, which may make it shorter; of a table some ten times as many, which take a tenth of a second.
const MOST_ROWS: u32 = 5_000;
const TABLE_ROWS: u32 = 50_000;
/// Lines of everything that somebody has used, which are sent before the next ones are read.
const ALL_AT_ONCE: u32 = 1_000;
/// Days when nobody says which, and at most.
const DAYS: i64 = 30;
const MOST_DAYS: i64 = 366;

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageReport {
    /// The first and the last day (UTC).
    from: NaiveDate,
    to: NaiveDate,
    items: Vec<UsageItem>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// What was used of one kind. Of `day`, `account_id` … there are those that were asked for by `group_by`; `null` is none.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct UsageItem {
    /// Where several organisations' stand in one list; left out: of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    account_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    route: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    service: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    model_name: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_type: Option<Value>,
    requests: i64,
    tokens_used: i64,
    /// A decimal number as text: money is never a float.
    cost: String,
}

struct Wanted {
    tenant: Option<TenantId>,
    account: Option<AccountId>,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    by: Option<Vec<UsageBy>>,
    after: Option<Vec<String>>,
    limit: Option<u32>,
    format: Option<bool>,
}

/// Adds up what was used: one's own, for administrators of a tenant the tenant's, for those of the platform anybody's.
#[utoipa::path(
    get, path = "/usage", tag = "usage", security(("access_token" = []), ("api_key" = [])),
    params(
        ("from" = Option<String>, Query, description = "The first day (UTC), such as 2026-01-01; by default 29 days before `to`"),
        ("to" = Option<String>, Query, description = "The last day, 366 days after `from` at most; by default today, or the last that `from` allows"),
        ("group_by" = Option<String>, Query, description = "What each line is of: `day` (the default), `account`, `key`, `route`, `service`, `model`, `request_type`, or several with commas between"),
        ("account_id" = Option<String>, Query, description = "By this account alone; of one that has used nothing the page is empty"),
        ("tenant_id" = Option<String>, Query, description = "In the name of this tenant; by default the one in which the caller acts"),
        ("format" = Option<String>, Query, description = "`csv` or `json`; by default as `Accept` says (`text/csv`)"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Lines on the page, 1 to 200; 50 by default. Of a table 1 to 10000, 10000 by default", minimum = 1),
    ),
    responses(
        (status = 200, description = "A page, by account first, by key first where no account is asked for, then by day; of a table the next one is in `Link`. It may be shorter than `limit` though there are more", body = UsageReport),
        (status = 404, description = "`not_found`: the tenant is none that the caller sees, or the account somebody else's where they see their own alone. Who sees all of a tenant learns of no account whether it exists: of one that has used nothing there the page is empty"),
    )
)]
pub(crate) async fn list_usage(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadUsage>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&uri)?;
    let is_table = wanted.format.unwrap_or_else(|| wants_table(&headers));
    let (tenant, account) = Reach::of(&caller, &office.hooks.policy()).narrow(wanted.tenant, wanted.account)?;
    let days = wanted.days(office.now().date_naive())?;
    let most = if is_table { TABLE_LIMIT } else { MAX_LIMIT };
    let limit = wanted.limit.unwrap_or(if is_table { TABLE_LIMIT } else { LIMIT });
    if limit > most {
        return Err(wrong("limit", &format!("must be a number between 1 and {most}")));
    }
    let by = wanted.by.unwrap_or_else(|| vec![UsageBy::Day]);
    if wanted.after.as_ref().is_some_and(|after| after.len() != by.len()) {
        return Err(wrong("cursor", "must be a cursor of the same question"));
    }
    let most_rows = if is_table { TABLE_ROWS } else { MOST_ROWS };
    let text = (days.0.to_string(), days.1.to_string());
    let asked = UsageAsked { tenant, account, days: text, by, after: wanted.after, limit, most_rows };
    let UsagePage { totals, has_more } = office.store.usage(&asked).await?;
    let next = totals.last().filter(|_| has_more).map(|last| cursor_of(&last.of));
    if is_table {
        return Ok(table(&asked.by, &totals, next.and_then(|next| next_link(&uri, &next))));
    }
    let items = totals.into_iter().map(|total| UsageItem::of(&asked.by, total)).collect();
    Ok(Json(UsageReport { from: days.0, to: days.1, items, next_cursor: next }).into_response())
}

/// Asks for everything that an account has used in a tenant, by day, some lines at a time; for who asks for all of their data.
pub(crate) fn all_of(tenant: Option<TenantId>, account: AccountId) -> UsageAsked {
    let by = vec![UsageBy::Day, UsageBy::Key, UsageBy::Route, UsageBy::Service, UsageBy::Model, UsageBy::RequestType];
    let days = ("0000-00-00".to_owned(), "9999-99-99".to_owned());
    let (limit, most_rows) = (ALL_AT_ONCE, ALL_AT_ONCE);
    UsageAsked { tenant, account: Some(account), days, by, after: None, limit, most_rows }
}

/// The next lines of what is asked for; where more follow they are what is asked for next.
pub(crate) async fn next_of(
    office: &Office,
    mut asked: UsageAsked,
) -> Result<(Vec<UsageItem>, Option<UsageAsked>), ApiError> {
    let UsagePage { totals, has_more } = office.store.usage(&asked).await?;
    let tenant_id = asked.tenant.map(|tenant| tenant.uuid());
    let after = totals.last().filter(|_| has_more).map(|last| last.of.clone());
    let items = totals.into_iter().map(|total| UsageItem { tenant_id, ..UsageItem::of(&asked.by, total) }).collect();
    asked.after = after;
    Ok((items, Some(asked).filter(|asked| asked.after.is_some())))
}

fn wants_table(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Of two that are liked as well JSON is sent; a quality of 0 is a refusal (RFC 9110 §12.4.2, §12.5.1).
    let liked = |wanted: &str| {
        let kinds = accepted.split(',').map(|kind| {
            let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
            let quality = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
            (kind.trim(), quality.map_or(Some(1.0), |quality| quality.trim().parse::<f32>().ok()).unwrap_or(0.0))
        });
        let mut kinds = kinds.filter(|(kind, _)| kind.eq_ignore_ascii_case(wanted));
        kinds.next().map_or(0.0, |(_, quality)| quality)
    };
    let table = liked("text/csv");
    table > 0.0 && table > liked("application/json")
}

fn table(by: &[UsageBy], totals: &[UsageTotal], next: Option<HeaderValue>) -> Response {
    let names = by.iter().map(|by| name_of(*by)).chain(["requests", "tokens_used", "cost"]);
    let mut text = csv::line(names);
    for total in totals {
        let sums = [total.requests.to_string(), total.tokens.to_string(), money(total.cost)];
        text.push_str(&csv::line(total.of.iter().chain(&sums).map(String::as_str)));
    }
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"usage.csv\""));
    headers.extend(next.map(|next| (header::LINK, next)));
    response
}

/// As it is called in an answer.
const fn name_of(by: UsageBy) -> &'static str {
    match by {
        UsageBy::Account => "account_id",
        UsageBy::Key => "key_id",
        UsageBy::Model => "model_name",
        other => other.word(),
    }
}

fn money(micros: i64) -> String {
    Micros::new(micros).unwrap_or_default().to_string()
}

/// Hexadecimal, so that it needs no escaping wherever it is put.
fn cursor_of(values: &[String]) -> String {
    let text = serde_json::to_string(values).unwrap_or_default();
    text.bytes().fold(String::with_capacity(2 * text.len()), |hex, byte| format!("{hex}{byte:02x}"))
}

fn read_cursor(text: &str) -> Option<Vec<String>> {
    let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let values: Vec<String> = serde_json::from_slice(&digits.collect::<Option<Vec<u8>>>()?).ok()?;
    // Nothing that is counted has a name with one, and Postgres keeps no NUL.
    values.iter().all(|value| !value.contains(char::is_control)).then_some(values)
}

// === impl UsageItem ===

impl UsageItem {
    fn of(by: &[UsageBy], total: UsageTotal) -> Self {
        let mut item =
            Self { requests: total.requests, tokens_used: total.tokens, cost: money(total.cost), ..Self::default() };
        for (by, value) in by.iter().zip(total.of) {
            if *by == UsageBy::Day {
                item.day = Some(value);
                continue;
            }
            let value = Some(if value.is_empty() { Value::Null } else { Value::String(value) });
            match by {
                UsageBy::Day => {}
                UsageBy::Account => item.account_id = value,
                UsageBy::Key => item.key_id = value,
                UsageBy::Route => item.route = value,
                UsageBy::Service => item.service = value,
                UsageBy::Model => item.model_name = value,
                UsageBy::RequestType => item.request_type = value,
            }
        }
        item
    }
}

// === impl Wanted ===

impl Wanted {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        const KNOWN: [&str; 8] = ["from", "to", "group_by", "account_id", "tenant_id", "format", "cursor", "limit"];
        let said = Parameters::read(uri, &KNOWN)?;
        // With a sign chrono reads years that no calendar of ours has.
        let day = |text: &str| {
            let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            parsed.filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))
        };
        let is_table = |text: &str| matches!(text, "csv" | "json").then_some(text == "csv");
        let some = |text: &str| text.parse::<u32>().ok().filter(|limit| *limit >= 1);
        Ok(Self {
            tenant: said.id("tenant_id")?,
            account: said.id("account_id")?,
            from: said.get("from", day, "must be a day, such as 2026-01-31")?,
            to: said.get("to", day, "must be a day, such as 2026-01-31")?,
            by: said.text("group_by").map(group_by).transpose()?,
            after: said.get("cursor", read_cursor, "must be a cursor of ours")?,
            limit: said.get("limit", some, "must be a number from 1 on")?,
            format: said.get("format", is_table, "must be csv or json")?,
        })
    }

    fn days(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), ApiError> {
        let last = |from: NaiveDate| from.checked_add_signed(TimeDelta::days(MOST_DAYS - 1)).unwrap_or(from);
        let to = self.to.unwrap_or_else(|| self.from.map_or(today, |from| last(from).min(from.max(today))));
        let from = self.from.or_else(|| to.checked_sub_signed(TimeDelta::days(DAYS - 1))).unwrap_or(to);
        match (to - from).num_days() {
            0..MOST_DAYS => Ok((from, to)),
            ..0 => Err(wrong("to", "must not be before `from`")),
            _ => Err(wrong("to", "must be within 366 days of `from`")),
        }
    }
}

fn group_by(text: &str) -> Result<Vec<UsageBy>, ApiError> {
    let mut by = Vec::new();
    for word in text.split(',') {
        let known = UsageBy::ALL.into_iter().find(|by| by.word() == word);
        let known = known.filter(|known| !by.contains(known)).ok_or_else(|| {
            let words = UsageBy::ALL.map(UsageBy::word).join(", ");
            wrong("group_by", &format!("must be different ones of {words}"))
        })?;
        by.push(known);
    }
    Ok(by)
}
