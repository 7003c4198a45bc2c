//! Bringing the tables up to this version, step by step, whoever else does the same at the same time.

use std::{collections::BTreeMap, fs::File, sync::LazyLock};

use chrono::{DateTime, Utc};
use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
    postgres::PgPoolOptions,
};

use crate::{
    Store, StoreError,
    db::{Db, on},
};

static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx::migrate!("../migrations/postgres")));
static SQLITE: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx::migrate!("../migrations/sqlite")));

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
    /// Applies every step that is missing. Takes as long as it takes.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let _alone = self.lock_file().await?;
        match &self.db {
            Db::Pg(pool) => POSTGRES.run(&patient(pool)).await.map_err(broken),
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
        let before = applied.range(..last).next_back().map_or(0, |(version, _)| *version);
        match &self.db {
            Db::Pg(pool) => POSTGRES.undo(&patient(pool), before).await.map_err(broken),
            Db::Lite { pool, .. } => SQLITE.undo(pool, before).await.map_err(broken),
        }
    }

    /// Every step there is, in order.
    pub async fn migrations_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let applied = self.applied().await?;
        let steps = self.migrator().iter().filter(|step| !step.migration_type.is_down_migration());
        Ok(steps
            .map(|step| MigrationStatus {
                version: step.version,
                description: step.description.to_string(),
                applied_at: applied.get(&step.version).copied(),
            })
            .collect())
    }

    fn migrator(&self) -> &'static Migrator {
        match &self.db {
            Db::Pg(_) => &POSTGRES,
            Db::Lite { .. } => &SQLITE,
        }
    }

    async fn applied(&self) -> Result<BTreeMap<i64, DateTime<Utc>>, StoreError> {
        const THERE: [&str; 2] = [
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = '_sqlx_migrations' AND table_schema = current_schema()",
            "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
        ];
        const Q: &str = "SELECT version, installed_on FROM _sqlx_migrations WHERE success";
        let there = if matches!(self.db, Db::Pg(_)) { THERE[0] } else { THERE[1] };
        let there: i64 =
            self.bounded(async { on!(self, |pool| sqlx::query_scalar(there).fetch_one(pool).await) }).await?;
        if there == 0 {
            return Ok(BTreeMap::new());
        }
        let rows: Vec<(i64, DateTime<Utc>)> =
            self.bounded(async { on!(self, |pool| sqlx::query_as(Q).fetch_all(pool).await) }).await?;
        Ok(rows.into_iter().collect())
    }

    /// sqlx locks Postgres while it migrates, but not SQLite; a lock on a file beside the database does (flock(2)), and
    /// goes with the process.
    async fn lock_file(&self) -> Result<Option<File>, StoreError> {
        let Db::Lite { file: Some(database), .. } = &self.db else { return Ok(None) };
        let mut name = database.clone().into_os_string();
        name.push(".migrate-lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).truncate(false).write(true).open(name)?;
            file.lock().map(|()| file)
        });
        let file = locked.await.map_err(|error| StoreError::Corrupt(error.to_string()))??;
        Ok(Some(file))
    }
}

/// While a platform is updated, nodes of the version before start on tables that are ahead of them; steps only add.
fn beside_newer(mut steps: Migrator) -> Migrator {
    steps.set_ignore_missing(true);
    steps
}

/// One connection without the pool's time limits: a step may take long on large tables, and so may waiting for the node that
/// is applying it.
fn patient(pool: &PgPool) -> PgPool {
    let options = pool.connect_options().as_ref().clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let acquire_timeout = pool.options().get_acquire_timeout();
    PgPoolOptions::new().max_connections(1).acquire_timeout(acquire_timeout).connect_lazy_with(options)
}

fn broken(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        other => StoreError::Corrupt(other.to_string()),
    }
}
