//! Postgres, with or without a pooler between: every statement finds our schema, has its bounds, and needs nothing that a
//! connection would have to remember (decision 0010).
//!
//! A connection that is *ours alone* is told at its start where our tables are and how long things may take, and keeps prepared
//! statements. Behind a pooler that lends a connection for one transaction (PgBouncer and its like) neither is possible: there
//! every question is a transaction that begins by saying so, and no statement has a name.

use std::{fmt, str::FromStr, time::Duration};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{TryFutureExt, TryStreamExt, stream};
use identity::TenantId;
use sqlx::{
    AssertSqlSafe, Connection, Either, Execute, Executor, PgConnection, PgPool, Postgres, Row, SqlStr, Transaction,
    error::BoxDynError,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::timeout;

use super::{BAD_ADDRESS, PoolSettings, connections};
use crate::{StoreError, seed::SharedSeed};

/// Where our tables are, whatever else is in the database.
pub(crate) const SCHEMA: &str = "portcullis";
/// `pg_temp` is named, since otherwise it is looked through first: nobody's temporary table stands before ours.
const SEARCH_PATH: &str = "portcullis,pg_temp";
/// Whoever locks and then counts has to see what was committed while it waited, whatever the database's own default is; a stricter level
/// would answer writes that meet with an error (40001) that nobody waits for.
const ISOLATION: &str = "read committed";
/// What the policies of row-level security compare with.
const TENANT: &str = "portcullis.tenant";
/// What a server has been told of a connection that is ours alone, and says again when it is asked.
const MARK: (&str, &str) = ("portcullis.connection", "own");

/// A pool of connections.
#[derive(Clone)]
pub(crate) struct Pg {
    pool: PgPool,
    /// Are its connections lent for one transaction at a time?
    is_lent: bool,
    /// The longest that one statement, and that a transaction may be idle.
    bounds: [Duration; 2],
    /// The tenant on whose behalf everything is asked: rows of others are not there (row-level security).
    tenant: Option<TenantId>,
}

/// A transaction.
pub(crate) struct PgTx {
    tx: Transaction<'static, Postgres>,
    is_lent: bool,
    /// What tenants begin with that are made in it.
    pub(super) seed: SharedSeed,
}

/// Runs statements within a transaction.
pub(crate) struct Within<'c> {
    connection: &'c mut PgConnection,
    is_lent: bool,
}

/// A statement that leaves nothing behind on its connection.
struct Unnamed<E>(E);

// === impl Pg ===

impl Pg {
    /// Opens a pool, once it is known whether its connections are ours alone.
    pub(crate) async fn open(url: &str, settings: &PoolSettings, patience: Duration) -> Result<Self, StoreError> {
        let bounds = [settings.statement_timeout, patience];
        let [one, idle] = bounds.map(|bound| bound.as_millis().max(1).to_string());
        // Poolers take no setting that they do not know; we read no floating-point number.
        let plain = PgConnectOptions::from_str(url).map_err(|_| BAD_ADDRESS)?.extra_float_digits(None);
        let own = plain.clone().options([
            ("search_path", SEARCH_PATH),
            ("default_transaction_isolation", ISOLATION),
            ("statement_timeout", &one),
            ("lock_timeout", &one),
            // A node that is stopped within a transaction must not hold up the others.
            ("idle_in_transaction_session_timeout", &idle),
            MARK,
        ]);
        let silent = |_| StoreError::Unavailable(format!("no answer within {patience:?}"));
        let is_lent = !timeout(patience, is_ours_alone(&own, &plain)).await.map_err(silent)??;
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .after_release(move |connection, _| Box::pin(answers(connection, patience)))
            .connect_lazy_with(if is_lent { plain } else { own });
        Ok(Self { pool, is_lent, bounds, tenant: None })
    }

    pub(super) fn connections(&self) -> (u32, Duration) {
        connections(self.pool.options())
    }

    /// The same pool, seeing nothing of other tenants than this one.
    pub(crate) fn of_tenant(&self, tenant: TenantId) -> Self {
        Self { tenant: Some(tenant), ..self.clone() }
    }

    pub(crate) async fn begin(&self) -> Result<PgTx, sqlx::Error> {
        let tx = if self.is_lent {
            self.pool.begin_with(AssertSqlSafe(self.opening(None, self.bounds[0]))).await?
        } else if self.tenant.is_some() {
            self.pool.begin_with(AssertSqlSafe(format!("BEGIN{}", self.scope()))).await?
        } else {
            self.pool.begin().await?
        };
        Ok(PgTx { tx, is_lent: self.is_lent, seed: SharedSeed::default() })
    }

    /// A connection beside the pool with a transaction on it whose statements take as long as they take; `kind` is what Postgres
    /// is told of the transaction where it is none like all others.
    pub(crate) async fn begin_patiently(
        &self,
        kind: Option<&str>,
    ) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.bounds[1]);
        let pool = pool.connect_lazy_with(self.pool.connect_options().as_ref().clone());
        pool.begin_with(AssertSqlSafe(self.opening(kind, Duration::ZERO))).await
    }

    /// Begins a transaction and binds it to our schema and its bounds, in one message. 0 is no bound.
    fn opening(&self, kind: Option<&str>, statement: Duration) -> String {
        let kind = kind.map_or_else(|| format!("ISOLATION LEVEL {ISOLATION}"), str::to_owned);
        let (one, idle) = (statement.as_millis(), self.bounds[1].as_millis().max(1));
        format!(
            "BEGIN {kind}; SET LOCAL search_path = {SEARCH_PATH}; SET LOCAL statement_timeout = {one}; \
             SET LOCAL lock_timeout = {one}; SET LOCAL idle_in_transaction_session_timeout = {idle}{}",
            self.scope()
        )
    }

    /// Binds a transaction to the tenant, if there is one. An id is hexadecimal digits and hyphens, which need no quoting. Statements are
    /// planned for this tenant, each time: a plan for the average one reads all that a large one has to find a page of it.
    fn scope(&self) -> String {
        let scope =
            |tenant| format!("; SET LOCAL {TENANT} = '{tenant}'; SET LOCAL plan_cache_mode = force_custom_plan");
        self.tenant.map(scope).unwrap_or_default()
    }

    /// Does a statement need a transaction of its own, because its connection cannot remember what it is bound to?
    fn is_bound(&self) -> bool {
        self.is_lent || self.tenant.is_some()
    }

    /// All that a statement answers, from a transaction of its own.
    async fn ask_alone<'q, E: Execute<'q, Postgres> + 'q>(
        &self,
        query: E,
    ) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error> {
        let mut tx = self.begin().await?;
        let answer = tx.within().fetch_many(query).try_collect().await?;
        tx.commit().await?;
        Ok(answer)
    }
}

/// Does the server know of a connection what we have told it? A pooler in between refuses such settings, or drops them. A database that
/// cannot hold every name is refused.
async fn is_ours_alone(own: &PgConnectOptions, plain: &PgConnectOptions) -> Result<bool, StoreError> {
    let mut connection = match PgConnection::connect_with(own).await {
        // Protocol violation (PgBouncer), or not supported (other poolers).
        Err(sqlx::Error::Database(refusal)) if matches!(refusal.code().as_deref(), Some("08P01" | "0A000")) => {
            PgConnection::connect_with(plain).await?
        }
        connected => connected?,
    };
    // As one message without a parameter, which any pooler passes on whole.
    let asked =
        sqlx::raw_sql("SELECT current_setting('portcullis.connection', true), current_setting('server_encoding')");
    let answer = asked.fetch_one(&mut connection).await?;
    drop(connection.close().await);
    let (mark, encoding): (Option<String>, String) = (answer.try_get(0)?, answer.try_get(1)?);
    if encoding != "UTF8" {
        return Err(StoreError::Forbidden(format!(
            "its encoding is {encoding}, which cannot hold every name: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    Ok(mark.as_deref() == Some(MARK.1))
}

/// Is the other end still there? The pool asks for itself too, but would wait for as long as TCP tries, a quarter of an
/// hour; so would whoever waits for the place that the dead connection takes.
async fn answers(connection: &mut PgConnection, patience: Duration) -> Result<bool, sqlx::Error> {
    timeout(patience, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

impl fmt::Debug for Pg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pg").field("is_lent", &self.is_lent).finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c Pg {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_bound() {
            let answer = self.ask_alone(query).map_ok(|answer| stream::iter(answer.into_iter().map(Ok)));
            Box::pin(answer.try_flatten_stream())
        } else {
            (&self.pool).fetch_many(query)
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_bound() {
            Box::pin(async move { Ok(self.ask_alone(query).await?.into_iter().find_map(Either::right)) })
        } else {
            (&self.pool).fetch_optional(query)
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        (&self.pool).prepare_with(sql, parameters)
    }
}

// === impl PgTx ===

impl PgTx {
    pub(super) fn seeding(self, seed: &SharedSeed) -> Self {
        Self { seed: seed.clone(), ..self }
    }

    pub(crate) fn within(&mut self) -> Within<'_> {
        Within { connection: &mut self.tx, is_lent: self.is_lent }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.tx.commit().await
    }
}

// === impl Within ===

impl fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("is_lent", &self.is_lent).finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for Within<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_lent { self.connection.fetch_many(Unnamed(query)) } else { self.connection.fetch_many(query) }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.is_lent {
            self.connection.fetch_optional(Unnamed(query))
        } else {
            self.connection.fetch_optional(query)
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }
}

// === impl Unnamed ===

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
