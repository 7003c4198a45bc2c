//! A Postgres database for one test, made where `PORTCULLIS_TEST_POSTGRES` (an administrator's URL) says.

use uuid::Uuid;

use crate::template;

/// A database of its own with its tables in place, as a role that owns it and is no superuser. It goes with the server, which lives no
/// longer than the tests.
pub(crate) struct Database {
    url: String,
}

// === impl Database ===

impl Database {
    /// Fails when there is no Postgres: a half that is skipped is a half that nobody misses.
    pub(crate) async fn create() -> Self {
        let Ok(server) = std::env::var("PORTCULLIS_TEST_POSTGRES") else {
            panic!("PORTCULLIS_TEST_POSTGRES is not set, so nothing can be tested on Postgres: run through `make test`")
        };
        let name = format!("admin_api_{}", Uuid::new_v4().simple());
        let owner = template::postgres(&server, &name).await;
        let (_, place) = server.rsplit_once('@').unwrap();
        let (place, _) = place.split_once('/').unwrap();
        Self { url: format!("postgres://{owner}@{place}/{name}") }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
