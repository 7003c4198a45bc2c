//! Everything that is sealed, in one list: to seal it anew when the master key is another one, and to find what does not open.
//!
//! Both go through a table a few rows at a time, in short transactions, while gateways write: a value is replaced only where it is still the one
//! that was opened, and what has been done shows in the value itself, so that whoever is broken off simply begins again.

use std::time::Duration;

use identity::{RecordId, SealKeys};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    InstancePlace, IntegrationOwner, Store, StoreError,
    db::{on, on_tx},
    integrations::integration_record,
};

/// Rows at once: milliseconds of work, and locks for as long.
const AT_ONCE: i64 = 200;
/// Times that all of it is gone through, until nothing is left that gateways have sealed with the old key meanwhile.
const PASSES: usize = 5;

/// A column that holds something sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    named: Named,
}

/// What a row is called where it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// By its `id`.
    Id,
    /// By its `kid`.
    Kid,
    /// As an integration.
    Integration,
    /// As an instance of an agent.
    Instance,
}

/// All of them. A test fails when a table has a column of bytes that is neither here nor known to be no secret.
pub const SEALED: [SealedColumn; 8] = [
    SealedColumn { table: "signing_keys", column: "sealed", named: Named::Kid },
    SealedColumn { table: "outbox", column: "sealed", named: Named::Id },
    SealedColumn { table: "one_time_tokens", column: "sealed", named: Named::Id },
    SealedColumn { table: "factors", column: "sealed", named: Named::Id },
    SealedColumn { table: "audit_chains", column: "base", named: Named::Id },
    SealedColumn { table: "audit_chains", column: "head", named: Named::Id },
    SealedColumn { table: "integrations", column: "sealed", named: Named::Integration },
    SealedColumn { table: "agent_instances", column: "sealed", named: Named::Instance },
];

/// What became of everything that is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that were sealed anew.
    pub done: u64,
    /// Values that do not open, by table; they are left as they are.
    pub unreadable: Vec<(&'static str, u64)>,
    /// Values that others have sealed with another key again and again.
    pub left: u64,
}

/// A value, and what it is sealed for.
struct Found {
    key: Key,
    record: RecordId,
    sealed: Vec<u8>,
}

#[derive(Clone)]
enum Key {
    Text(String),
    Id(Uuid),
}

// === impl Store ===

impl Store {
    /// Values that another key has sealed than the one that seals now.
    pub async fn sealed_otherwise(&self, seal: &SealKeys) -> Result<u64, StoreError> {
        let (head, mut count) = (seal.head(), 0);
        for SealedColumn { table, column, .. } in SEALED {
            let q = format!("SELECT COUNT(*) FROM {table} WHERE {column} IS NOT NULL AND substr({column}, 1, 5) <> $1");
            let some: i64 = self
                .bounded(async {
                    on!(self, |pool| sqlx::query_scalar(AssertSqlSafe(q.as_str())).bind(&head).fetch_one(pool).await)
                })
                .await?;
            count += u64::try_from(some).unwrap_or_default();
        }
        Ok(count)
    }

    /// Seals everything anew that another key has sealed than the one that seals now; `tell` hears of each value that was looked at.
    pub async fn reseal(&self, seal: &SealKeys, tell: impl Fn(u64)) -> Result<Resealed, StoreError> {
        let mut all = Resealed::default();
        for _ in 0..PASSES {
            all.unreadable.clear();
            for column in SEALED {
                let (done, unreadable) = self.reseal_column(seal, column, &tell).await?;
                all.done += done;
                if unreadable > 0 {
                    all.unreadable.push((column.table, unreadable));
                }
            }
            let unreadable: u64 = all.unreadable.iter().map(|(_, some)| some).sum();
            all.left = self.sealed_otherwise(seal).await?.saturating_sub(unreadable);
            if all.left == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Values that do not open, by table. Pauses between a few rows and the next.
    pub async fn unreadable(&self, seal: &SealKeys, pause: Duration) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut all = Vec::new();
        for column in SEALED {
            let (mut after, mut unreadable) = (column.first(), 0);
            loop {
                let found = self.sealed_after(column, &after, None).await?;
                unreadable += found.iter().filter(|some| seal.open(&some.sealed, &some.record).is_err()).count() as u64;
                let Some(last) = found.last() else { break };
                after = last.key.clone();
                tokio::time::sleep(pause).await;
            }
            all.push((column.table, unreadable));
        }
        Ok(all)
    }

    /// How many were sealed anew, and how many do not open.
    async fn reseal_column(
        &self,
        seal: &SealKeys,
        column: SealedColumn,
        tell: &impl Fn(u64),
    ) -> Result<(u64, u64), StoreError> {
        let (head, mut after) = (seal.head(), column.first());
        let (mut done, mut unreadable) = (0, 0);
        loop {
            let found = self.sealed_after(column, &after, Some(&head)).await?;
            let Some(last) = found.last() else { return Ok((done, unreadable)) };
            after = last.key.clone();
            tell(found.len() as u64);
            let mut anew = Vec::with_capacity(found.len());
            for some in found {
                match seal.open(&some.sealed, &some.record) {
                    Ok(plain) => anew.push((seal.seal(&plain, &some.record, &mut rand::rng()), some)),
                    Err(_) => unreadable += 1,
                }
            }
            done += self.put_sealed(column, &anew).await?;
        }
    }

    /// Some values after that row, of all keys or of all but one.
    async fn sealed_after(
        &self,
        column: SealedColumn,
        after: &Key,
        but: Option<&[u8]>,
    ) -> Result<Vec<Found>, StoreError> {
        let SealedColumn { table, column: name, named } = column;
        let key = named.key();
        let more = named.more();
        let q = format!(
            "SELECT {key}, {more}{name} FROM {table} WHERE {key} > $1 AND {name} IS NOT NULL AND substr({name}, 1, 5) <> $2 \
             ORDER BY {key} LIMIT $3"
        );
        let q = || AssertSqlSafe(q.as_str());
        // No value begins with nothing.
        let but = but.unwrap_or_default();
        self.bounded(async {
            Ok::<_, StoreError>(match (named, after) {
                (Named::Integration, Key::Id(after)) => {
                    let rows: Vec<IntegrationRow> = on!(self, |pool| {
                        sqlx::query_as(q()).bind(after).bind(but).bind(AT_ONCE).fetch_all(pool).await
                    })?;
                    rows.into_iter().map(of_integration).collect()
                }
                (Named::Instance, Key::Id(after)) => {
                    let rows: Vec<(Uuid, Uuid, Uuid, Uuid, Vec<u8>)> = on!(self, |pool| {
                        sqlx::query_as(q()).bind(after).bind(but).bind(AT_ONCE).fetch_all(pool).await
                    })?;
                    rows.into_iter().map(of_instance).collect()
                }
                (_, Key::Id(after)) => {
                    let rows: Vec<(Uuid, Vec<u8>)> = on!(self, |pool| {
                        sqlx::query_as(q()).bind(after).bind(but).bind(AT_ONCE).fetch_all(pool).await
                    })?;
                    rows.into_iter().map(|(id, sealed)| column.found(Key::Id(id), sealed)).collect()
                }
                (_, Key::Text(after)) => {
                    let rows: Vec<(String, Vec<u8>)> = on!(self, |pool| {
                        sqlx::query_as(q()).bind(after).bind(but).bind(AT_ONCE).fetch_all(pool).await
                    })?;
                    rows.into_iter().map(|(kid, sealed)| column.found(Key::Text(kid), sealed)).collect()
                }
            })
        })
        .await
    }

    /// Puts values in the place of those that they were made from, where these still are.
    async fn put_sealed(&self, column: SealedColumn, anew: &[(Vec<u8>, Found)]) -> Result<u64, StoreError> {
        let SealedColumn { table, column: name, named } = column;
        let q = format!("UPDATE {table} SET {name} = $3 WHERE {} = $1 AND {name} = $2", named.key());
        self.bounded(async {
            let mut tx = self.begin().await?;
            let mut done = 0;
            for (new, Found { key, sealed, .. }) in anew {
                done += on_tx!(&mut tx, |c| {
                    let update = sqlx::query(AssertSqlSafe(q.as_str()));
                    let update = match key {
                        Key::Text(kid) => update.bind(kid),
                        Key::Id(id) => update.bind(id),
                    };
                    update.bind(sealed).bind(new).execute(c).await.map(|done| done.rows_affected())
                })?;
            }
            self.commit(tx).await?;
            Ok::<_, StoreError>(done)
        })
        .await
    }
}

// === impl SealedColumn ===

impl SealedColumn {
    fn first(self) -> Key {
        match self.named {
            Named::Kid => Key::Text(String::new()),
            Named::Id | Named::Integration | Named::Instance => Key::Id(Uuid::nil()),
        }
    }

    fn found(self, key: Key, sealed: Vec<u8>) -> Found {
        let row = match &key {
            Key::Text(kid) => kid.clone(),
            Key::Id(id) => id.to_string(),
        };
        Found { key, record: RecordId { table: self.table, column: self.column, row }, sealed }
    }
}

// === impl Named ===

impl Named {
    const fn key(self) -> &'static str {
        match self {
            Self::Kid => "kid",
            Self::Id | Self::Integration | Self::Instance => "id",
        }
    }

    /// What else of a row says what it is called.
    const fn more(self) -> &'static str {
        match self {
            Self::Id | Self::Kid => "",
            Self::Integration => "account_id, tenant_id, service, ",
            Self::Instance => "tenant_id, agent_id, account_id, ",
        }
    }
}

type IntegrationRow = (Uuid, Option<Uuid>, Option<Uuid>, String, Vec<u8>);

/// A row whose owner cannot be told opens for nobody.
fn of_integration((id, account, tenant, service, sealed): IntegrationRow) -> Found {
    let owner = IntegrationOwner::of(account, tenant).unwrap_or(IntegrationOwner::Account(Uuid::nil().into()));
    Found { key: Key::Id(id), record: integration_record(id, owner, &service), sealed }
}

fn of_instance((id, tenant, agent, account, sealed): (Uuid, Uuid, Uuid, Uuid, Vec<u8>)) -> Found {
    Found { key: Key::Id(id), record: InstancePlace { id, tenant, agent, account }.record(), sealed }
}
