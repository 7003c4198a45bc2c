//! What was used, added up as somebody asks for it.
//!
//! No question reads the more the more people there are: what is of no account and no key is read of the sums over all of them
//! (`usage_sums`), of the lines by key that of no key of the sums over those who had none (`usage_keyless`), and the others of the piece of an
//! index of which the page is made. So lines stand in the order of that index: by account first, by key where no account is asked for,
//! then by day; and a page ends where it has read enough.

use identity::{AccountId, TenantId};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Db, on},
    sums::sum_of,
};

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
    /// So many totals at most.
    pub limit: u32,
    /// So many rows are read for them at most, where there is an index of their order; but all of the first total's.
    pub most_rows: u32,
}

/// A piece of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsagePage {
    /// Its lines; one at least if there are any.
    pub totals: Vec<UsageTotal>,
    /// Is there more after the last one?
    pub has_more: bool,
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

/// Where totals are read from.
#[derive(Clone, Copy)]
enum Part {
    /// Days added up over accounts and keys.
    Sums,
    /// Those of no key added up over accounts.
    Keyless,
    /// Days, of keys alone.
    Keyed,
    /// Days.
    Days,
}

/// Which totals of a part.
enum Which<'a> {
    /// The first ones, of so many rows at most, if that is said.
    First(Option<u32>),
    /// The one of these.
    Of(&'a [String]),
}

// === impl Store ===

impl Store {
    /// Adds up what was used. By account first, by key first where no account is asked for, then by day, then in the order of what it
    /// is asked by.
    pub async fn usage(&self, asked: &UsageAsked) -> Result<UsagePage, StoreError> {
        let scoped = self.of_tenant(TenantId::new(asked.tenant_or_none()));
        self.bounded(async {
            let has_account = asked.account.is_some() || asked.by.contains(&UsageBy::Account);
            if has_account || !scoped.sums_are_whole(asked).await? {
                // Where sums are not whole a page that ends early reads the days of everybody for each of its few lines.
                return scoped.usage_of(asked, Part::Days, has_account).await;
            }
            if !asked.by.contains(&UsageBy::Key) {
                return scoped.usage_of(asked, Part::Sums, true).await;
            }
            let mut page = if asked.is_among_keys() {
                UsagePage::default()
            } else {
                scoped.usage_of(asked, Part::Keyless, true).await?
            };
            if !page.has_more {
                let limit = asked.limit.saturating_sub(page.totals.len() as u32);
                let rest = scoped.usage_of(&UsageAsked { limit, ..asked.clone() }, Part::Keyed, true).await?;
                page.totals.extend(rest.totals);
                page.has_more = rest.has_more;
            }
            Ok(page)
        })
        .await
    }

    /// A page of one part; `may_end_early`: of as many rows as are asked for.
    async fn usage_of(&self, asked: &UsageAsked, part: Part, may_end_early: bool) -> Result<UsagePage, sqlx::Error> {
        let most = Some(asked.most_rows).filter(|_| may_end_early && asked.is_in_order());
        let lines = self.usage_lines(asked, part, &Which::First(most)).await?;
        let read: i64 = lines.iter().map(|(_, rows)| rows).sum();
        let is_cut = most.is_some_and(|most| read > i64::from(most));
        let has_more = is_cut || lines.len() > asked.limit as usize;
        let mut totals: Vec<UsageTotal> = lines.into_iter().map(|(total, _)| total).collect();
        // Of the last one there may be more than was read.
        let last = totals.pop_if(|_| is_cut);
        totals.truncate(asked.limit as usize);
        if let (true, Some(last)) = (totals.is_empty() && asked.limit > 0, last) {
            let whole = self.usage_lines(asked, part, &Which::Of(&last.of)).await?;
            totals.extend(whole.into_iter().map(|(total, _)| total));
        }
        Ok(UsagePage { totals, has_more })
    }

    /// Totals, one more than the limit if there are more, and of how many rows each of them is.
    async fn usage_lines(
        &self,
        asked: &UsageAsked,
        part: Part,
        which: &Which<'_>,
    ) -> Result<Vec<(UsageTotal, i64)>, sqlx::Error> {
        let names = names(&asked.by);
        let order = asked.order().map(|position| asked.by[position].column()).collect::<Vec<_>>().join(", ");
        let from = part.table(matches!(self.db, Db::Pg(_)));
        on!(self, |pool| {
            let mut query = QueryBuilder::new(format!(
                "SELECT {names}, {}, {}, {}, COUNT(*) FROM (SELECT {names}, requests, tokens, cost FROM {from} WHERE tenant_id = ",
                sum_of!("requests"),
                sum_of!("tokens"),
                sum_of!("cost")
            ));
            query.push_bind(asked.tenant_or_none());
            query.push(" AND day >= ").push_bind(&asked.days.0).push(" AND day <= ").push_bind(&asked.days.1);
            if let Some(account) = asked.account {
                query.push(" AND account_id = ").push_bind(account.uuid());
            }
            if matches!(part, Part::Keyed) {
                query.push(" AND key_id > ").push_bind(Uuid::nil());
            }
            let place = match which {
                Which::First(_) => asked.after.as_deref().map(|after| (">", after)),
                Which::Of(of) => Some(("=", *of)),
            };
            if let Some((sign, place)) = place {
                query.push(format!(" AND ({order}) {sign} ("));
                for (number, position) in asked.order().enumerate() {
                    query.push(if number == 0 { "" } else { ", " });
                    match (asked.by[position].is_id(), &place[position]) {
                        (true, id) => query.push_bind(id_of(id)),
                        (false, text) => query.push_bind(text),
                    };
                }
                query.push(")");
            }
            if let Which::First(Some(most)) = which {
                query.push(format!(" ORDER BY {order} LIMIT ")).push_bind(i64::from(*most) + 1);
            }
            query.push(format!(") piece GROUP BY {order} ORDER BY {order} LIMIT "));
            query.push_bind(i64::from(asked.limit) + 1);
            // Planned for what is asked each time: a plan for any range expects so few rows that to sort all of a tenant's seems cheap.
            let rows = query.build().persistent(false).fetch_all(pool).await?;
            rows.iter().map(|row| Ok((total(&asked.by, row)?, row.try_get(asked.by.len() + 3)?))).collect()
        })
    }

    /// Has every gateway that counted in the months of the question added to their sums?
    async fn sums_are_whole(&self, asked: &UsageAsked) -> Result<bool, sqlx::Error> {
        const Q: &str = "SELECT COUNT(*) FROM usage_months WHERE tenant_id = $1 AND month >= $2 AND month <= $3 \
                         AND (summed_requests <> requests OR summed_tokens <> tokens OR summed_cost <> cost)";
        let month = |day: &str| day.get(..MONTH).unwrap_or(day).to_owned();
        let lacking: i64 = on!(self, |pool| sqlx::query_scalar(Q)
            .bind(asked.tenant_or_none())
            .bind(month(&asked.days.0))
            .bind(month(&asked.days.1))
            .fetch_one(pool)
            .await)?;
        Ok(lacking == 0)
    }
}

fn names(by: &[UsageBy]) -> String {
    by.iter().map(|by| by.column()).collect::<Vec<_>>().join(", ")
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

    /// Where in `by` it stands what lines are put in order by, first, second and so on.
    fn order(&self) -> impl Iterator<Item = usize> {
        let is_by_account = self.account.is_some() || self.by.contains(&UsageBy::Account);
        let rank = |by: &UsageBy| match by {
            UsageBy::Account => 0,
            UsageBy::Key if !is_by_account => 0,
            UsageBy::Day => 1,
            UsageBy::Key => 2,
            UsageBy::Route | UsageBy::Service | UsageBy::Model | UsageBy::RequestType => 3,
        };
        let mut positions: Vec<usize> = (0..self.by.len()).collect();
        positions.sort_by_key(|position| rank(&self.by[*position]));
        positions.into_iter()
    }

    /// Does it begin after a line of a key, so that those of none are over?
    fn is_among_keys(&self) -> bool {
        let begins = self.order().next().zip(self.after.as_ref());
        begins.is_some_and(|(first, after)| self.by[first] == UsageBy::Key && !id_of(&after[first]).is_nil())
    }

    /// Is there an index of the order of its lines?
    fn is_in_order(&self) -> bool {
        match self.order().next().map(|position| self.by[position]) {
            Some(UsageBy::Account | UsageBy::Day) => true,
            Some(UsageBy::Key) => self.account.is_none(),
            _ => false,
        }
    }
}

// === impl Part ===

impl Part {
    /// The table, with a key for what came by none.
    const fn table(self, is_postgres: bool) -> &'static str {
        match self {
            Self::Sums => "usage_sums",
            Self::Keyed | Self::Days => "usage_days",
            Self::Keyless if is_postgres => {
                "(SELECT *, CAST('00000000-0000-0000-0000-000000000000' AS uuid) AS key_id FROM usage_keyless) keyless"
            }
            Self::Keyless => "(SELECT *, X'00000000000000000000000000000000' AS key_id FROM usage_keyless) keyless",
        }
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
