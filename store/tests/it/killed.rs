//! kill -9 in the middle of writing, again and again: what was acknowledged is there, what was not is there whole or not at all.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use chrono::{DateTime, Utc};
use identity::{KeyId, OneTimePurpose, SecretDigest, SessionId};
use store::{
    Account, Confirmed, NewKey, NewOneTime, NewSession, Origin, Proof, RefreshOutcome, RefreshRefusal, ShownOneTime,
    Standing, Store, Subject,
};
use uuid::Uuid;

use crate::{
    changed_hands::{one_time, token},
    engines::{Database, at, hash, heard, notice, person, settings},
    keys::key,
    sessions::TERMS,
};

/// Set for the child that writes: the database's address.
const WRITER: &str = "STORE_TEST_KILLED_WRITER";
/// So often one writes, dies and is followed by another one.
const DEATHS: usize = 5;
/// Acknowledgements that the parent waits for before it kills, and one more each time: so that death comes to each kind of write.
const ENOUGH: usize = 40;
const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// What a writer has acknowledged.
#[derive(Clone, Copy)]
enum Written {
    /// A key is issued.
    Key(Uuid),
    /// The first refresh token has bought the second one.
    Refreshed(Uuid, Uuid),
    /// A one-time token has bought another password.
    Used(Uuid),
    /// A session has ended.
    Ended(Uuid),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_on_sqlite_loses_nothing_that_it_acknowledged() {
    if let Ok(url) = std::env::var(WRITER) {
        write_for_ever(&url).await;
    }
    let database = Database::sqlite();
    nothing_acknowledged_is_lost(&database).await;
    let whole: Vec<(String,)> = database.rows("", "PRAGMA integrity_check").await;
    assert_eq!(whole[0].0, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_on_postgres_loses_nothing_that_it_acknowledged() {
    nothing_acknowledged_is_lost(&Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_behind_a_pooler_loses_nothing_that_it_acknowledged() {
    nothing_acknowledged_is_lost(&Database::pooled().await).await;
}

async fn nothing_acknowledged_is_lost(database: &Database) {
    /// Sessions with more or fewer refresh tokens than their first one and one for each that was used.
    const TORN: &str = "SELECT COUNT(*) FROM sessions s WHERE (SELECT COUNT(*) FROM refresh_tokens t WHERE t.session_id = s.id) \
                        <> 1 + (SELECT COUNT(*) FROM refresh_tokens t WHERE t.session_id = s.id AND t.used_at IS NOT NULL)";
    /// Keys and ends of sessions of which no gateway has heard.
    const UNHEARD: &str = "SELECT (SELECT COUNT(*) FROM api_keys WHERE id NOT IN (SELECT subject FROM changes WHERE kind = 'key')) \
                           + (SELECT COUNT(*) FROM sessions WHERE ended_at IS NOT NULL \
                           AND id NOT IN (SELECT subject FROM changes WHERE kind = 'session'))";
    const PASSWORD: &str = "SELECT password_hash FROM accounts WHERE email_normalised = 'bob@example.com'";
    let store = database.open().await;
    for email in [ADA, BOB] {
        person(&store, email).await;
    }
    for death in 0..DEATHS {
        let url = database.url.clone();
        let written = tokio::task::spawn_blocking(move || kill_a_writer(&url, ENOUGH + death)).await.unwrap();
        let told = heard(&store).await;
        for one in &written {
            one.holds(&store, &told).await;
        }
        for torn in [TORN, UNHEARD] {
            assert_eq!(database.rows::<(i64,)>(torn, torn).await, [(0,)], "{torn}");
        }
        let last = written.iter().filter_map(|one| if let Written::Used(id) = one { Some(*id) } else { None }).max();
        let password: Vec<(String,)> = database.rows(PASSWORD, PASSWORD).await;
        assert!(password[0].0.parse::<Uuid>().unwrap() >= last.unwrap(), "what a token has bought is lost");
    }
}

/// Writes one thing after another and says so, once each is acknowledged.
#[expect(clippy::print_stdout, reason = "that is how the parent hears of it")]
async fn write_for_ever(url: &str) {
    let store = Store::connect(url, settings()).await.unwrap();
    let ada = store.account_by_address(ADA).await.unwrap().unwrap();
    let bob = store.account_by_address(BOB).await.unwrap().unwrap();
    loop {
        println!("\nacknowledged key {}", issue(&store, &ada).await);
        let (old, new) = refresh(&store, &ada).await;
        println!("\nacknowledged refreshed {old} {new}");
        println!("\nacknowledged used {}", use_up(&store, &bob).await);
        println!("\nacknowledged ended {}", end(&store, &ada).await);
    }
}

async fn issue(store: &Store, ada: &Account) -> Uuid {
    let id = Uuid::now_v7();
    let new = NewKey { id: KeyId::new(id), digest: digest_of(id), most: u32::MAX, ..key(ada, "a key").0 };
    store.create_key(new).await.unwrap();
    id
}

async fn refresh(store: &Store, ada: &Account) -> (Uuid, Uuid) {
    let (_, old) = open(store, ada).await;
    let (outcome, new) = show(store, old, at(100)).await;
    assert!(matches!(outcome, RefreshOutcome::Rotated { .. }), "{outcome:?}");
    (old, new)
}

async fn use_up(store: &Store, bob: &Account) -> Uuid {
    let id = Uuid::now_v7();
    let new = one_time(&token(), OneTimePurpose::ResetPassword, bob.id, BOB);
    store.keep_one_time(&NewOneTime { id, digest: digest_of(id), ..new }).await.unwrap();
    assert!(reset(store, id).await);
    id
}

async fn end(store: &Store, ada: &Account) -> Uuid {
    let (id, _) = open(store, ada).await;
    store.end_session(SessionId::new(id), at(1)).await.unwrap();
    id
}

/// Opens a session; gives its id and that of its refresh token.
async fn open(store: &Store, ada: &Account) -> (Uuid, Uuid) {
    let [id, token] = [(); 2].map(|()| Uuid::now_v7());
    let proof = Proof::Refresh { token: (token, digest_of(token)), expires_at: at(86_400) };
    let new = NewSession { id: SessionId::new(id), account: ada, proof, now: at(0), origin: Origin::default() };
    store.open_session(new).await.unwrap();
    (id, token)
}

/// Shows a refresh token; gives what came of it and the one that it buys.
async fn show(store: &Store, token: Uuid, now: DateTime<Utc>) -> (RefreshOutcome, Uuid) {
    let next = Uuid::now_v7();
    let outcome = store.rotate_refresh(token, &digest_of(token), (next, digest_of(next)), now, TERMS).await.unwrap();
    (outcome, next)
}

/// Chooses a password by a one-time token, which is the token's id; could it be used?
async fn reset(store: &Store, id: Uuid) -> bool {
    let shown = ShownOneTime { id, purpose: OneTimePurpose::ResetPassword, digest: digest_of(id), binding: None };
    let none = hash("none");
    let confirmed = Confirmed { from_role: "unverified", to_role: "user", no_password: &none };
    store.reset_password(&shown, hash(&id.to_string()), confirmed, &notice(), at(0)).await.unwrap().is_some()
}

/// Of secrets that only the test's own processes show each other.
fn digest_of(id: Uuid) -> SecretDigest {
    SecretDigest::of(id.as_bytes())
}

/// Runs a test of this file as a writer and kills it while it writes; gives what it had acknowledged.
fn kill_a_writer(url: &str, enough: usize) -> Vec<Written> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_writer_killed_on_sqlite_loses_nothing_that_it_acknowledged", "--nocapture"])
        .env(WRITER, url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = || lines.by_ref().find_map(|line| Written::read(line.strip_prefix("acknowledged ")?));
    let mut seen: Vec<Written> = std::iter::from_fn(&mut acknowledged).take(enough).collect();
    assert_eq!(seen.len(), enough, "the writer ended by itself");
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    seen.extend(std::iter::from_fn(acknowledged));
    seen
}

// === impl Written ===

impl Written {
    /// A line that was cut off says nothing.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut id = || words.next()?.parse::<Uuid>().ok();
        match kind {
            "key" => Some(Self::Key(id()?)),
            "refreshed" => Some(Self::Refreshed(id()?, id()?)),
            "used" => Some(Self::Used(id()?)),
            "ended" => Some(Self::Ended(id()?)),
            _ => None,
        }
    }

    /// It is there, and gateways were told.
    async fn holds(self, store: &Store, told: &[Subject]) {
        match self {
            Self::Key(id) => {
                let facts = store.key_grant(KeyId::new(id)).await.unwrap().expect("a key is lost");
                assert_eq!((facts.digest, facts.standing(at(1))), (Some(digest_of(id)), Standing::Live));
                assert!(told.contains(&Subject::Key(KeyId::new(id))), "the key is there, its change is not");
            }
            Self::Refreshed(old, new) => {
                let (outcome, _) = show(store, new, at(150)).await;
                assert!(matches!(outcome, RefreshOutcome::Rotated { .. }), "what was bought is lost: {outcome:?}");
                let (outcome, _) = show(store, old, at(200)).await;
                let is_known = matches!(outcome, RefreshOutcome::Refused { why: RefreshRefusal::Reused, .. });
                assert!(is_known, "that it was used is lost: {outcome:?}");
            }
            Self::Used(id) => assert!(!reset(store, id).await, "a token serves twice"),
            Self::Ended(id) => {
                let id = SessionId::new(id);
                let ended = store.session_grant(id).await.unwrap().unwrap().ended_at;
                assert_eq!(ended, Some(at(1)), "the end of a session is lost");
                assert!(told.contains(&Subject::Session(id)), "the end is there, its change is not");
            }
        }
    }
}
