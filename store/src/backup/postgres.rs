//! Postgres: each table's rows as COPY writes them, read in one transaction that sees one moment, and written in one.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::{
    BackupError,
    archive::{Reader, Writer},
};
use crate::{
    PoolSettings, StoreError,
    db::{Pg, SCHEMA},
    migrate,
};

/// Every table but sqlx's, each after those that it refers to; a test finds the one that is missing.
pub(super) const TABLES: [&str; 43] = [
    "tenants",
    "accounts",
    "sessions",
    "refresh_tokens",
    "session_cookies",
    "api_keys",
    "signing_keys",
    "changes",
    "outbox",
    "one_time_tokens",
    "login_failures",
    "audit_chains",
    "audit_events",
    "factors",
    "recovery_codes",
    "external_identities",
    "refused_issuers",
    "tenant_members",
    "left_tenants",
    "tenant_invitations",
    "teams",
    "team_memberships",
    "domains",
    "account_domains",
    "agents",
    "agent_instances",
    "integrations",
    "seal_nodes",
    "usage_events",
    "usage_batches",
    "usage_days",
    "usage_sums",
    "usage_keyless",
    "usage_months",
    "imported_usage",
    "quota_totals",
    "quota_reservations",
    "billing_statements",
    "billing_events",
    "billing_left",
    "billing_tiers",
    "billing_subscriptions",
    "webhooks",
];

/// Until it is seen again whether somebody changes the tables.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn save(pg: &Pg, archive: &mut Writer) -> Result<(), BackupError> {
    let mut tx = moment(pg).await.map_err(StoreError::from)?;
    for table in TABLES {
        let section = columns(&mut tx, table).await?;
        archive.begin(&section)?;
        let mut rows = tx.copy_out_raw(&format!("COPY {section} TO STDOUT")).await.map_err(StoreError::from)?;
        while let Some(piece) = rows.try_next().await.map_err(StoreError::from)? {
            archive.piece(&piece)?;
        }
        drop(rows);
        archive.end()?;
    }
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// A transaction that sees one moment, with nobody who changes the tables. Whoever waited for that within it would see the tables as they were before.
async fn moment(pg: &Pg) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut has_told = false;
    loop {
        let mut tx = pg.begin_patiently(Some("ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await?;
        if migrate::hold_off(&mut tx).await? {
            return Ok(tx);
        }
        tx.rollback().await?;
        if !has_told {
            tracing::warn!("somebody changes the tables just now: the backup begins when that is done");
            has_told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// All of it or nothing.
pub(super) async fn restore(url: &str, settings: &PoolSettings, archive: &mut Reader) -> Result<(), BackupError> {
    const GO_ON: &str = "SELECT setval(pg_get_serial_sequence('changes', 'position'), COALESCE(MAX(position), 0) + 1, false) FROM changes";
    let patience = settings.acquire_timeout.saturating_add(settings.statement_timeout);
    let pg = Pg::open(url, settings, patience).await?;
    let mut tx = pg.begin_patiently(None).await.map_err(StoreError::from)?;
    make_tables(&pg, &mut tx, archive).await?;
    hold_owner(&mut tx, false).await?;
    while let Some(section) = archive.section()? {
        // Nothing of the file's becomes a statement: a section is named as we name it, or it is none.
        if !is_table(&mut tx, &section).await? {
            return Err(archive.damaged("it holds a table that its version does not have"));
        }
        let mut rows = tx.copy_in_raw(&format!("COPY {section} FROM STDIN")).await.map_err(StoreError::from)?;
        while let Some(piece) = archive.piece()? {
            rows.send(piece).await.map_err(StoreError::from)?;
        }
        rows.finish().await.map_err(StoreError::from)?;
    }
    hold_owner(&mut tx, true).await?;
    // Positions go on where they were.
    sqlx::query(GO_ON).persistent(false).execute(&mut *tx).await.map_err(StoreError::from)?;
    migrate::finish(&mut tx).await.map_err(StoreError::from)?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// Whether row-level security holds the tables' owner too. It does always but while rows are copied in, which Postgres allows nobody whom it
/// holds.
async fn hold_owner(tx: &mut PgConnection, hold: bool) -> Result<(), BackupError> {
    const HELD: &str =
        "SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relrowsecurity ORDER BY relname";
    let tables: Result<Vec<String>, _> =
        sqlx::query_scalar(HELD).persistent(false).bind(SCHEMA).fetch_all(&mut *tx).await;
    let word = if hold { "FORCE" } else { "NO FORCE" };
    for table in tables.map_err(StoreError::from)?.iter().filter(|table| TABLES.contains(&table.as_str())) {
        let change = AssertSqlSafe(format!("ALTER TABLE {table} {word} ROW LEVEL SECURITY"));
        sqlx::query(change).persistent(false).execute(&mut *tx).await.map_err(StoreError::from)?;
    }
    Ok(())
}

/// The tables as the steps of the backup have left them, where there is nothing yet.
async fn make_tables(pg: &Pg, tx: &mut PgConnection, archive: &Reader) -> Result<(), BackupError> {
    const ANYTHING: &str =
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 LIMIT 1";
    migrate::lock(tx).await.map_err(StoreError::from)?;
    let there = sqlx::query(ANYTHING).persistent(false).bind(SCHEMA).fetch_optional(&mut *tx).await;
    if there.map_err(StoreError::from)?.is_some() {
        return Err(BackupError::NotEmpty(format!("the database has tables in the schema {SCHEMA}")));
    }
    let last = archive.head.steps.last().map_or(0, |(version, _)| *version);
    let made = async {
        migrate::make_schema(tx).await?;
        migrate::up(tx, last).await.map_err(migrate::broken)
    };
    match made.await {
        Err(StoreError::Forbidden(said)) => Err(migrate::forbidden(pg, said).await.into()),
        made => Ok(made?),
    }
}

/// A table with its columns, as COPY wants them: without those that follow from others.
async fn columns(tx: &mut PgConnection, table: &str) -> Result<String, BackupError> {
    const Q: &str = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
                     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";
    let named: Result<Option<String>, _> = sqlx::query_scalar(Q).persistent(false).bind(table).fetch_one(tx).await;
    Ok(format!("{table} ({})", named.map_err(StoreError::from)?.unwrap_or_default()))
}

async fn is_table(tx: &mut PgConnection, section: &str) -> Result<bool, BackupError> {
    for table in TABLES {
        if section.starts_with(table) && columns(&mut *tx, table).await? == section {
            return Ok(true);
        }
    }
    Ok(false)
}
