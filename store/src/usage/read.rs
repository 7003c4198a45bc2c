//! What was used, added up as somebody asks for it.

use identity::{AccountId, TenantId};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use crate::{Store, StoreError, db::on};

/// Characters of `2026-01`.
const MONTH: usize = 7;

/// What totals are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageBy {
    /// A day (UTC).
    Day,
    /// An account.
    Account,
    /// An API key, or none.
    Key,
    /// A route of the door, or none.
    Route,
    /// A service, or none.
    Service,
    /// A model, or none.
    Model,
    /// A kind of request, or none.
    RequestType,
}

/// A question.
#[derive(Clone, Debug)]
pub struct UsageAsked {
    /// What was used in this tenant's name; `None`: in nobody's.
    pub tenant: Option<TenantId>,
    /// By this account alone.
    pub account: Option<AccountId>,
    /// The first and the last day, as `2026-01-31`.
    pub days: (String, String),
    /// What each total shall be of; at least one.
    pub by: Vec<UsageBy>,
    /// After the total of these, in the order of `by`.
    pub after: Option<Vec<String>>,
    /// So many totals, and one more if there are more.
    pub limit: u32,
}

/// An answer's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageTotal {
    /// What it is of, in the order of [`UsageAsked::by`]; ids as text, empty for none.
    pub of: Vec<String>,
    /// How many requests.
    pub requests: i64,
    /// How many tokens.
    pub tokens: i64,
    /// What it cost, in millionths.
    pub cost: i64,
}

// === impl Store ===

impl Store {
    /// Adds up what was used, in the order of what it is asked by. One more than `limit` if there is more.
    pub async fn usage(&self, asked: &UsageAsked) -> Result<Vec<UsageTotal>, StoreError> {
        let scoped = self.of_tenant(TenantId::new(asked.tenant_or_none()));
        self.bounded(async {
            let table =
                if asked.is_of_kinds() && scoped.sums_are_whole(asked).await? { "usage_sums" } else { "usage_days" };
            on!(scoped, |pool| {
                let mut query = QueryBuilder::new("SELECT ");
                let names = asked.by.iter().map(|by| by.column()).collect::<Vec<_>>().join(", ");
                query.push(&names).push(
                    ", CAST(SUM(requests) AS bigint), CAST(SUM(tokens) AS bigint), CAST(SUM(cost) AS bigint) FROM ",
                );
                query.push(table).push(" WHERE tenant_id = ").push_bind(asked.tenant_or_none());
                query.push(" AND day >= ").push_bind(&asked.days.0).push(" AND day <= ").push_bind(&asked.days.1);
                if let Some(account) = asked.account {
                    query.push(" AND account_id = ").push_bind(account.uuid());
                }
                if let Some(after) = &asked.after {
                    query.push(format!(" AND ({names}) > ("));
                    for (position, (by, value)) in asked.by.iter().zip(after).enumerate() {
                        query.push(if position == 0 { "" } else { ", " });
                        if by.is_id() {
                            query.push_bind(id_of(value));
                        } else {
                            query.push_bind(value);
                        }
                    }
                    query.push(")");
                }
                query.push(format!(" GROUP BY {names} ORDER BY {names} LIMIT "));
                query.push_bind(i64::from(asked.limit) + 1);
                let rows = query.build().fetch_all(pool).await?;
                let total = |row| total(&asked.by, row);
                rows.iter().map(total).collect::<Result<Vec<UsageTotal>, sqlx::Error>>()
            })
        })
        .await
    }

    /// Has every gateway that counted in the months of the question added to their sums?
    async fn sums_are_whole(&self, asked: &UsageAsked) -> Result<bool, sqlx::Error> {
        const Q: &str = "SELECT COUNT(*) FROM usage_months m LEFT JOIN (SELECT SUBSTR(day, 1, 7) AS month, SUM(requests) AS requests, \
                         SUM(tokens) AS tokens, SUM(cost) AS cost FROM usage_sums WHERE tenant_id = $1 AND day >= $2 AND day <= $4 \
                         GROUP BY SUBSTR(day, 1, 7)) s ON s.month = m.month \
                         WHERE m.tenant_id = $1 AND m.month >= $2 AND m.month <= $3 \
                         AND (s.month IS NULL OR s.requests <> m.requests OR s.tokens <> m.tokens OR s.cost <> m.cost)";
        let month = |day: &str| day.get(..MONTH).unwrap_or(day).to_owned();
        let (first, last) = (month(&asked.days.0), month(&asked.days.1));
        let end = format!("{last}-99");
        let lacking: i64 = on!(self, |pool| sqlx::query_scalar(Q)
            .bind(asked.tenant_or_none())
            .bind(first)
            .bind(last)
            .bind(end)
            .fetch_one(pool)
            .await)?;
        Ok(lacking == 0)
    }
}

/// What cannot be read stands before everything.
fn id_of(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_default()
}

fn total<R: Row>(by: &[UsageBy], row: &R) -> Result<UsageTotal, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Uuid: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let of = by.iter().enumerate().map(|(position, by)| {
        if !by.is_id() {
            return row.try_get(position);
        }
        row.try_get::<Uuid, _>(position).map(|id| if id.is_nil() { String::new() } else { id.to_string() })
    });
    let of = of.collect::<Result<Vec<String>, _>>()?;
    let sum = |position: usize| row.try_get::<i64, _>(by.len() + position);
    Ok(UsageTotal { of, requests: sum(0)?, tokens: sum(1)?, cost: sum(2)? })
}

// === impl UsageAsked ===

impl UsageAsked {
    fn tenant_or_none(&self) -> Uuid {
        self.tenant.map_or(Uuid::nil(), |tenant| tenant.uuid())
    }

    /// Does it not matter who it was by?
    fn is_of_kinds(&self) -> bool {
        self.account.is_none() && !self.by.iter().any(|by| by.is_id())
    }
}

// === impl UsageBy ===

impl UsageBy {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Day, Self::Account, Self::Key, Self::Route, Self::Service, Self::Model, Self::RequestType];

    /// As it is asked for.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Account => "account",
            Self::Key => "key",
            Self::Route => "route",
            Self::Service => "service",
            Self::Model => "model",
            Self::RequestType => "request_type",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Account => "account_id",
            Self::Key => "key_id",
            other => other.word(),
        }
    }

    const fn is_id(self) -> bool {
        matches!(self, Self::Account | Self::Key)
    }
}
