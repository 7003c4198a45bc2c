//! A Postgres database of a test's own, on the server that `scripts/with-services` has started. It goes with the server.

use std::process::Command;

/// The database, and a role that owns it.
pub(crate) struct Database {
    /// As that role, which is no superuser: those see whatever row-level security would hide.
    pub(crate) url: String,
    /// As who administers the server.
    pub(crate) admin: String,
}

// === impl Database ===

impl Database {
    /// A new one; `name` says whose it is.
    pub(crate) fn new(name: &str) -> Self {
        let admin =
            std::env::var("PORTCULLIS_TEST_POSTGRES").expect("a Postgres to test with: run through `make test`");
        Self::make(&admin, &format!("{name}_{}", std::process::id()))
    }

    /// A new one on any server.
    pub(crate) fn make(admin: &str, name: &str) -> Self {
        let (role, database) = (format!("CREATE ROLE {name} LOGIN"), format!("CREATE DATABASE {name} OWNER {name}"));
        run(admin, [role.as_str(), database.as_str()]);
        Self::named(admin, name)
    }

    /// One that was made.
    pub(crate) fn named(admin: &str, name: &str) -> Self {
        let (server, _) = admin.rsplit_once('/').unwrap();
        let (_, place) = server.rsplit_once('@').unwrap();
        Self { url: format!("postgres://{name}@{place}/{name}"), admin: format!("{server}/{name}") }
    }

    /// What `psql` answers.
    pub(crate) fn run(&self, sql: &str) -> String {
        run(&self.url, [sql])
    }

    /// The same for what only an administrator may.
    pub(crate) fn administer(&self, sql: &str) -> String {
        run(&self.admin, [sql])
    }

    /// The same database as somebody else.
    pub(crate) fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}@{}", self.url.rsplit_once('@').unwrap().1)
    }
}

/// Each statement is a transaction of its own.
fn run<const N: usize>(url: &str, sql: [&str; N]) -> String {
    let statements = sql.into_iter().flat_map(|statement| ["-c", statement]);
    let done = psql(url).args(["-qAt", "-v", "ON_ERROR_STOP=1"]).args(statements).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Asks a database as who sees our tables.
pub(crate) fn psql(url: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.arg(url).env("PGOPTIONS", "-c search_path=portcullis,public");
    psql
}
