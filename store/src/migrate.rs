//! Bringing the tables up to this version, step by step, whoever else does the same at the same time.

use std::{collections::BTreeMap, fs::File, path::Path, sync::LazyLock};

use chrono::{DateTime, Utc};
use sqlx::{
    Connection, Executor, PgConnection,
    migrate::{Migrate, MigrateError, Migration, Migrator},
};

use crate::{
    Store, StoreError,
    db::{Db, Pg, SCHEMA, on},
};

/// Where sqlx records what was applied.
const TABLE: &str = "_sqlx_migrations";
/// Nodes that start at once make the tables one after the other: "portmigr" in ASCII.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"portmigr");

static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx_macros::migrate!("../migrations/postgres")));
static SQLITE: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx_macros::migrate!("../migrations/sqlite")));

/// What is recorded of the steps that were applied: when, and the checksum of what was.
pub(crate) type Applied = BTreeMap<i64, (DateTime<Utc>, Vec<u8>)>;

type StepRow = (i64, DateTime<Utc>, Vec<u8>);
/// The role, the database, whose our schema is, and whether the role may use it and make tables in it.
type Rights = (String, String, Option<String>, Option<bool>, Option<bool>);

/// One step, and when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub description: String,
    /// When it was applied here; `None`: not yet.
    pub applied_at: Option<DateTime<Utc>>,
}

// === impl Store ===

impl Store {
    /// Applies every step that is missing. Takes as long as it takes. Where none is missing it needs no right to apply any.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let _alone = self.lock_file().await?;
        if self.is_current().await? {
            return Ok(());
        }
        match &self.db {
            Db::Pg(pg) => apply(pg).await,
            Db::Lite { pool, .. } => SQLITE.run(pool).await.map_err(broken),
        }
    }

    /// Undoes the last step that was applied, if there is one.
    pub async fn revert_last(&self) -> Result<(), StoreError> {
        let _alone = self.lock_file().await?;
        let applied = self.applied().await?;
        let Some(last) = applied.last_key_value().map(|(version, _)| *version) else { return Ok(()) };
        if self.migrator().iter().all(|step| step.version != last) {
            return Err(StoreError::Conflict("the last step is of a newer version, which alone can undo it"));
        }
        match &self.db {
            Db::Pg(pg) => {
                let mut tx = pg.begin_patiently(None).await?;
                lock(&mut tx).await?;
                change(&mut tx, Some(last)).await.map_err(broken)?;
                finish(&mut tx).await?;
                Ok(tx.commit().await?)
            }
            Db::Lite { pool, .. } => {
                let before = applied.range(..last).next_back().map_or(0, |(version, _)| *version);
                SQLITE.undo(pool, before).await.map_err(broken)
            }
        }
    }

    /// Every step there is, in order.
    pub async fn migrations_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let applied = self.applied().await?;
        Ok(self
            .steps()
            .map(|step| MigrationStatus {
                version: step.version,
                description: step.description.to_string(),
                applied_at: applied.get(&step.version).map(|(at, _)| *at),
            })
            .collect())
    }

    /// As whom Postgres knows us, if that is a role which row-level security does not hold.
    pub async fn role_beyond_policies(&self) -> Result<Option<String>, StoreError> {
        const Q: &str =
            "SELECT rolname::text FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)";
        let Db::Pg(pg) = &self.db else { return Ok(None) };
        self.bounded(async { sqlx::query_scalar(Q).fetch_optional(pg).await }).await
    }

    /// Are all steps of this version applied, just as this version knows them?
    pub(crate) async fn is_current(&self) -> Result<bool, StoreError> {
        let applied = self.applied().await?;
        let is_applied = |step: &Migration| {
            applied.get(&step.version).is_some_and(|(_, checksum)| checksum.as_slice() == &*step.checksum)
        };
        Ok(self.steps().all(is_applied))
    }

    /// The steps of this version, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &'static Migration> {
        steps_of(matches!(self.db, Db::Pg(_)))
    }

    fn migrator(&self) -> &'static Migrator {
        match &self.db {
            Db::Pg(_) => &POSTGRES,
            Db::Lite { .. } => &SQLITE,
        }
    }

    pub(crate) async fn applied(&self) -> Result<Applied, StoreError> {
        // The catalogue is open to all; the information schema shows nobody what they may not use.
        const THERE: [&str; 2] = [
            "SELECT COUNT(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'portcullis' AND c.relname = '_sqlx_migrations'",
            "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
        ];
        // With the schema's name, so that who may not use it hears that and not that there is no such table.
        const STEPS: [&str; 2] = [
            "SELECT version, installed_on, checksum FROM portcullis._sqlx_migrations WHERE success",
            "SELECT version, installed_on, checksum FROM _sqlx_migrations WHERE success",
        ];
        let engine = usize::from(!matches!(self.db, Db::Pg(_)));
        let (there, steps) = (THERE[engine], STEPS[engine]);
        let there: i64 =
            self.bounded(async { on!(self, |pool| sqlx::query_scalar(there).fetch_one(pool).await) }).await?;
        if there == 0 {
            return Ok(Applied::new());
        }
        let rows: Result<Vec<StepRow>, _> =
            self.bounded(async { on!(self, |pool| sqlx::query_as(steps).fetch_all(pool).await) }).await;
        let rows = match (rows, &self.db) {
            (Err(StoreError::Forbidden(said)), Db::Pg(pg)) => return Err(forbidden(pg, said).await),
            (rows, _) => rows?,
        };
        Ok(rows.into_iter().map(|(version, at, checksum)| (version, (at, checksum))).collect())
    }

    /// Postgres is locked within a transaction, SQLite here.
    async fn lock_file(&self) -> Result<Option<File>, StoreError> {
        let Db::Lite { file: Some(database), .. } = &self.db else { return Ok(None) };
        lock_beside(database).await.map(Some)
    }
}

/// A lock on a file beside a database of SQLite's (flock(2)); it goes with the process.
pub(crate) async fn lock_beside(database: &Path) -> Result<File, StoreError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".migrate-lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).truncate(false).write(true).open(name)?;
        file.lock().map(|()| file)
    });
    Ok(locked.await.map_err(|error| StoreError::Corrupt(error.to_string()))??)
}

/// The steps of this version for an engine, in order.
pub(crate) fn steps_of(is_postgres: bool) -> impl Iterator<Item = &'static Migration> {
    let steps = if is_postgres { &POSTGRES } else { &SQLITE };
    steps.iter().filter(|step| !step.migration_type.is_down_migration())
}

/// While a platform is updated, nodes of the version before start on tables that are ahead of them; steps only add.
fn beside_newer(mut steps: Migrator) -> Migrator {
    steps.set_ignore_missing(true);
    steps
}

/// All steps in one transaction, which holds the lock: behind a pooler nothing lasts longer than a transaction.
async fn apply(pg: &Pg) -> Result<(), StoreError> {
    let applied = async {
        let mut tx = pg.begin_patiently(None).await?;
        lock(&mut tx).await?;
        make_schema(&mut tx).await?;
        change(&mut tx, None).await.map_err(broken)?;
        finish(&mut tx).await?;
        Ok(tx.commit().await?)
    };
    match applied.await {
        Err(StoreError::Forbidden(said)) => Err(forbidden(pg, said).await),
        done => done,
    }
}

/// Applies what is missing, or undoes one step. Whoever comes while it waits for a table waits behind it: after two seconds it lets go of
/// all that it has, and begins anew when others have had their turn. Nobody else does meanwhile, since the lock stays.
async fn change(tx: &mut PgConnection, undone: Option<i64>) -> Result<(), MigrateError> {
    // Whoever waits sends an autovacuum away after `deadlock_timeout`, and not if both times are over at once.
    const PATIENCE: &str = "SELECT set_config('lock_timeout', CAST(CAST(setting AS BIGINT) + 1000 AS TEXT), true) \
                            FROM pg_settings WHERE name = 'deadlock_timeout'";
    let mut tries = 0;
    loop {
        let mut attempt = tx.begin().await?;
        attempt.execute(PATIENCE).await?;
        let done = match undone {
            None => up(&mut attempt, i64::MAX).await,
            Some(version) => down(&mut attempt, version).await,
        };
        match done {
            Ok(()) => return Ok(attempt.commit().await?),
            Err(error) if is_held(&error) => {
                tries += 1;
                tracing::warn!(%error, tries, "a table is in use for long, perhaps by a backup, and cannot be changed; all steps begin anew");
                attempt.rollback().await?;
                // The server sleeps, and not we: a transaction may be idle for moments only.
                tx.execute("SELECT pg_sleep(3)").await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether somebody else had a table for too long, or each had what the other waited for.
fn is_held(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    // Postgres' lock_not_available and deadlock_detected.
    error.as_database_error().is_some_and(|error| matches!(error.code().as_deref(), Some("55P03" | "40P01")))
}

/// Applies what is missing up to a step.
pub(crate) async fn up(tx: &mut PgConnection, to: i64) -> Result<(), MigrateError> {
    tx.ensure_migrations_table(TABLE).await?;
    let applied = tx.list_applied_migrations(TABLE).await?;
    for step in steps_of(true).filter(|step| step.version <= to) {
        match applied.iter().find(|done| done.version == step.version) {
            Some(done) if done.checksum != step.checksum => return Err(MigrateError::VersionMismatch(step.version)),
            Some(_) => {}
            None => drop(tx.apply(TABLE, step).await?),
        }
    }
    Ok(())
}

/// Undoes one step, if nobody else has meanwhile.
async fn down(tx: &mut PgConnection, version: i64) -> Result<(), MigrateError> {
    let is_there = tx.list_applied_migrations(TABLE).await?.iter().any(|done| done.version == version);
    let undo = POSTGRES.iter().find(|step| step.version == version && step.migration_type.is_down_migration());
    if let Some(step) = undo.filter(|_| is_there) {
        tx.revert(TABLE, step).await?;
    }
    Ok(())
}

/// Until the transaction ends nobody else changes the tables.
pub(crate) async fn lock(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").persistent(false).bind(MIGRATION_LOCK).execute(&mut *tx).await?;
    // sqlx's steps name their statements, and whoever had this connection before may have left some of the same names.
    tx.execute("DEALLOCATE ALL").await.map(drop)
}

/// Until the transaction ends nobody changes the tables, nor stands in the queue for one of them, with everybody else behind. `false` if somebody
/// does now.
pub(crate) async fn hold_off(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let shared = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock_shared($1)").persistent(false);
    shared.bind(MIGRATION_LOCK).fetch_one(&mut *tx).await
}

/// Leaves no named statement to whoever gets this connection next.
pub(crate) async fn finish(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    tx.execute("DEALLOCATE ALL").await.map(drop)
}

/// To make a schema *if it does not exist* takes the right to make one even where it exists.
pub(crate) async fn make_schema(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").persistent(false).bind(SCHEMA);
    if there.fetch_optional(&mut *tx).await?.is_none() {
        tx.execute("CREATE SCHEMA portcullis").await?;
    }
    Ok(())
}

/// Which right is missing, and what gives it.
pub(crate) async fn forbidden(pg: &Pg, said: String) -> StoreError {
    const Q: &str = "SELECT quote_ident(current_user), quote_ident(current_database()), \
                     (SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = 'portcullis'), \
                     (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'portcullis'), \
                     (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'portcullis')";
    let found: Result<Rights, _> = sqlx::query_as(Q).fetch_one(pg).await;
    let Ok((role, database, owner, may_use, may_create)) = found else { return StoreError::Forbidden(said) };
    let owner = owner.unwrap_or_default();
    let advice = match (may_use, may_create) {
        (None, _) => {
            format!("it may make no schema; as an administrator: GRANT CREATE ON DATABASE {database} TO {role}")
        }
        (Some(false), _) => format!(
            "it may not use the schema {SCHEMA}; as {owner}: GRANT USAGE ON SCHEMA {SCHEMA} TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}"
        ),
        (Some(true), Some(false)) => format!(
            "it may make or change no table in the schema {SCHEMA}; run `portcullis migrate up` as {owner}, \
             or as {owner}: GRANT CREATE ON SCHEMA {SCHEMA} TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}"
        ),
        (Some(true), _) => format!(
            "it neither owns the tables in the schema {SCHEMA} nor has all rights to them; run `portcullis migrate up` as their \
             owner, and as {owner}: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}"
        ),
    };
    StoreError::Forbidden(format!("{said}. The role {role} lacks a right: {advice}"))
}

pub(crate) fn broken(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        other => StoreError::Corrupt(other.to_string()),
    }
}
