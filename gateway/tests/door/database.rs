//! A Postgres database of a test's own, on the server that `scripts/with-services` has started. It goes with the server.

use std::process::Command;

/// The database.
pub(crate) struct Database {
    pub(crate) url: String,
}

// === impl Database ===

impl Database {
    /// A new one; `name` says whose it is.
    pub(crate) fn new(name: &str) -> Self {
        let admin =
            std::env::var("PORTCULLIS_TEST_POSTGRES").expect("a Postgres to test with: run through `make test`");
        let name = format!("{name}_{}", std::process::id());
        let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
        Self { url: admin }.run(&format!("CREATE DATABASE {name}"));
        Self { url }
    }

    /// What `psql` answers.
    pub(crate) fn run(&self, sql: &str) -> String {
        let done = psql(&self.url).args(["-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

/// Asks a database as who sees our tables.
pub(crate) fn psql(url: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.arg(url).env("PGOPTIONS", "-c search_path=portcullis,public");
    psql
}
