//! Databases that have their tables already: whoever comes first makes them, everybody else copies them. Each test is a process of its own.
//!
//! Nothing is in them but what the steps make. The suites of `store` and `admin-api` use them.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use store::{PoolSettings, Store};

/// Held by whoever looks for the template on a server, and makes it if there is none: "porttmpl" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"porttmpl");

/// Makes a database on a server of Postgres', as who administers it; gives the role that owns it and its tables, which is no superuser.
pub(crate) async fn postgres(admin: &str, name: &str) -> String {
    let template = name_for("postgres");
    let mut server = PgConnection::connect(admin).await.unwrap();
    run(&mut server, format!("SELECT pg_advisory_lock({LOCK})")).await;
    let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(template.as_str());
    if there.fetch_optional(&mut server).await.unwrap().is_none() {
        make(&mut server, admin, &template).await;
    }
    run(&mut server, format!("SELECT pg_advisory_unlock({LOCK})")).await;
    run(&mut server, format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {template}")).await;
    server.close().await.unwrap();
    template
}

/// It has its name when it is whole, so that nobody copies what somebody who was killed has left.
async fn make(server: &mut PgConnection, admin: &str, template: &str) {
    let draft = format!("{template}_draft");
    run(server, format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
    run(server, format!("DROP ROLE IF EXISTS {template}")).await;
    run(server, format!("CREATE ROLE {template} LOGIN")).await;
    run(server, format!("CREATE DATABASE {draft} OWNER {template}")).await;
    let (place, _) = admin.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    migrate(&format!("postgres://{template}@{place}/{draft}")).await;
    run(server, format!("ALTER DATABASE {draft} RENAME TO {template}")).await;
}

async fn run(server: &mut PgConnection, statement: String) {
    server.execute(AssertSqlSafe(statement)).await.unwrap();
}

/// Makes a file of SQLite's.
pub(crate) async fn sqlite(file: &Path) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = kept.join(name_for("sqlite"));
    if !template.exists() {
        let folder = tempfile::tempdir_in(kept).unwrap();
        let (draft, whole) = (folder.path().join("draft"), folder.path().join("whole"));
        let url = format!("sqlite:{}", draft.display());
        migrate(&url).await;
        // One file, whatever lies in the log beside it.
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let copy = format!("VACUUM INTO '{}'", whole.display());
        connection.execute(AssertSqlSafe(copy)).await.unwrap();
        // Who makes it at the same time makes the same.
        fs::rename(whole, &template).unwrap();
    }
    fs::copy(template, file).unwrap();
}

async fn migrate(url: &str) {
    let patience = Duration::from_secs(30);
    let pool = PoolSettings { max_connections: 4, acquire_timeout: patience, statement_timeout: patience };
    Store::connect(url, pool).await.unwrap().migrate().await.unwrap();
}

/// Says which steps it was made by: a server may outlive a change of them, and a folder does.
fn name_for(engine: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine);
    let mut steps: Vec<_> = fs::read_dir(folder).unwrap().map(|step| step.unwrap().path()).collect();
    steps.sort();
    let mut digest = DefaultHasher::new();
    for step in steps {
        fs::read(step).unwrap().hash(&mut digest);
    }
    format!("tables_{:016x}", digest.finish())
}
