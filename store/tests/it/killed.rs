//! kill -9 in the middle of writing: what was acknowledged is there, what was not is there whole or not at all.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use identity::SessionId;
use store::{Store, Subject};

use crate::engines::{Database, at, heard, person, session, settings};

/// Set for the child that writes: the database's address.
const WRITER: &str = "STORE_TEST_KILLED_WRITER";
/// Acknowledgements that the parent waits for before it kills.
const ENOUGH: usize = 50;

#[test]
fn a_writer_killed_on_sqlite_loses_nothing_that_it_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(url) = std::env::var(WRITER) {
        runtime.block_on(write_for_ever(&url));
    }
    let database = Database::sqlite();
    runtime.block_on(async {
        person(&database.open().await, "ada@example.com").await;
    });
    let acknowledged = kill_a_writer(&database.url);
    runtime.block_on(async {
        let store = database.open().await;
        let heard = heard(&store).await;
        for id in acknowledged {
            assert_eq!(
                store.session_grant(id).await.unwrap().unwrap().ended_at,
                Some(at(1)),
                "an acknowledged write is lost"
            );
            assert!(heard.contains(&Subject::Session(id)), "the write is there, its change is not");
        }
        let half: Vec<(i64,)> = database
            .rows("", "SELECT COUNT(*) FROM sessions WHERE id NOT IN (SELECT session_id FROM refresh_tokens)")
            .await;
        let whole: Vec<(String,)> = database.rows("", "PRAGMA integrity_check").await;
        assert_eq!((half[0].0, whole[0].0.as_str()), (0, "ok"));
    });
}

/// Ends one session after another and says so, once each is acknowledged.
#[expect(clippy::print_stdout, reason = "that is how the parent hears of it")]
async fn write_for_ever(url: &str) {
    let store = Store::connect(url, settings()).await.unwrap();
    let ada = store.list_accounts(None, 1).await.unwrap().items.remove(0);
    loop {
        let (id, _) = session(&store, &ada).await;
        store.end_session(id, at(1)).await.unwrap();
        println!("\nacknowledged {id}");
    }
}

/// Runs this very test as a writer and kills it while it writes; gives what it had acknowledged.
fn kill_a_writer(url: &str) -> Vec<SessionId> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_writer_killed_on_sqlite_loses_nothing_that_it_acknowledged", "--nocapture"])
        .env(WRITER, url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = || lines.by_ref().find_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
    let mut seen: Vec<SessionId> = std::iter::from_fn(&mut acknowledged).take(ENOUGH).collect();
    assert_eq!(seen.len(), ENOUGH, "the writer ended by itself");
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    seen.extend(std::iter::from_fn(acknowledged));
    seen
}
