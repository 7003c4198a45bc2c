//! Changes that land while something is cached or being looked up, made behind the door's back as another node would.
//!
//! On Postgres: its snapshots let a look-up be held after it has decided what it reads.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    database::Database,
    platform::{Answer, PORTCULLIS, Platform, Setup, eventually, exchange},
    wire::{self, backend, echo},
};

/// Holds back every look-up of sessions for as long as it lives, after the look-up has decided what it reads.
struct Hold {
    psql: Child,
}

// === impl Database ===

impl Database {
    /// A platform on it, with time enough for a look-up that is held.
    fn setup(&self) -> Setup {
        let setup = Setup::default().env("DATABASE_URL", &self.url);
        setup.edit("gateway.toml", "statement_timeout = \"5s\"", "statement_timeout = \"60s\"")
    }

    fn platform(&self) -> Platform {
        self.setup().start()
    }

    /// Runs `sql` and tells the feed of the change that it made, in one transaction; waits until the door has applied it.
    fn change(&self, platform: &Platform, sql: &str, kind: &str, subject: &str) {
        let position = self.run(&format!(
            "BEGIN; {sql}; INSERT INTO changes (kind, subject, changed_at) VALUES ('{kind}', {subject}, now()) RETURNING position; COMMIT"
        ));
        let position: u64 = position.parse().unwrap();
        eventually("the change to be applied", || platform.metric("portcullis_feed_position") >= position);
    }

    /// Puts a view in the place of the sessions, each row of which waits for [`Hold`].
    fn make_sessions_wait(&self) {
        self.run(
            "CREATE FUNCTION held() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock_shared(7); RETURN true; END $$;
             ALTER TABLE sessions RENAME TO sessions_kept;
             CREATE VIEW sessions AS SELECT * FROM sessions_kept WHERE held()",
        );
    }

    fn hold(&self) -> Hold {
        let mut psql = Command::new("psql")
            .args([&self.url, "-qAt"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        psql.stdin.as_mut().unwrap().write_all(b"SELECT 'held' FROM pg_advisory_lock(7);\n").unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Hold { psql }
    }

    fn wait_until_one_is_held(&self) {
        self.wait_until_held(1);
    }

    fn wait_until_held(&self, look_ups: usize) {
        eventually("look-ups to be held", || {
            self.run("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == look_ups.to_string()
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        drop(self.psql.wait());
    }
}

/// Calls the demo service, in a thread since the answer has to wait.
fn call(http: SocketAddr, token: &str) -> thread::JoinHandle<Answer> {
    let request =
        format!("GET /demo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    thread::spawn(move || Answer::parse(&exchange(http, request.as_bytes())))
}

#[test]
fn a_session_that_ends_while_it_is_looked_up_is_neither_believed_nor_kept() {
    let database = Database::new("changes");
    let platform = database.platform();
    let token = platform.register("race@example.com")["access_token"].as_str().unwrap().to_owned();
    database.make_sessions_wait();

    let hold = database.hold();
    let answer = call(platform.http, &token);
    database.wait_until_one_is_held();
    let session = database.run("SELECT id FROM sessions_kept");
    database.change(&platform, "UPDATE sessions_kept SET ended_at = now()", "session", &format!("'{session}'"));
    drop(hold);
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (401, "revoked"), "{answer:?}");
    assert_eq!(platform.get("/demo/x", &token).code(), "revoked");
}

#[test]
fn a_role_that_changes_while_its_account_is_looked_up_counts_for_that_request() {
    let database = Database::new("changes");
    let platform = database.platform();
    let registered = platform.register("role@example.com");
    let (token, id) = (registered["access_token"].as_str().unwrap(), registered["user"]["id"].as_str().unwrap());
    database.make_sessions_wait();

    let hold = database.hold();
    let answer = call(platform.http, token);
    database.wait_until_one_is_held();
    database.change(&platform, "UPDATE accounts SET role = 'developer'", "account", &format!("'{id}'"));
    drop(hold);
    assert_eq!(answer.join().unwrap().received("x-user-role"), ["developer"]);
    assert_eq!(platform.get("/demo/x", token).received("x-user-role"), ["developer"]);
}

#[test]
fn while_all_connections_to_the_database_are_taken_who_is_known_is_served_and_nobody_else() {
    let database = Database::new("exhausted");
    let platform = database
        .setup()
        .edit("gateway.toml", "max_connections = 16", "max_connections = 2")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let known = platform.register("known@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/x", &known).status, 200);
    let strangers = [1, 2, 3, 4].map(|client| (client, platform.login("known@example.com")));
    // Each from elsewhere, since one address has half of the connections.
    let ask = |(client, token): &(i32, String)| {
        let (bearer, client) = (format!("Bearer {token}"), format!("192.0.2.{client}"));
        platform.send("GET", "/demo/x", &[("Authorization", &bearer), ("X-Forwarded-For", &client)], "")
    };
    database.make_sessions_wait();
    let hold = database.hold();
    thread::scope(|scope| {
        let asking = strangers.each_ref().map(|stranger| scope.spawn(move || ask(stranger)));
        database.wait_until_held(2);
        let answered = || asking.iter().filter(|asking| asking.is_finished()).count();
        eventually("the other two to be sent away", || answered() == 2);
        assert_eq!(platform.get("/demo/x", &known).status, 200);
        drop(hold);
        let mut told = asking.map(|asking| {
            let answer = asking.join().unwrap();
            (answer.status, answer.code(), answer.header("retry-after").is_some())
        });
        told.sort();
        let refused = || (503, "directory_unavailable".to_owned(), true);
        assert_eq!(told, [(200, String::new(), false), (200, String::new(), false), refused(), refused()]);
    });
    for stranger in &strangers {
        assert_eq!(ask(stranger).status, 200);
    }
}

#[test]
fn a_refusal_that_was_overtaken_is_not_remembered() {
    let database = Database::new("changes");
    let platform = database.platform();
    let registered = platform.register("back@example.com");
    let (token, id) = (registered["access_token"].as_str().unwrap(), registered["user"]["id"].as_str().unwrap());
    let subject = format!("'{id}'");
    database.change(&platform, "UPDATE accounts SET status = 'disabled'", "account", &subject);
    database.make_sessions_wait();

    let hold = database.hold();
    let answer = call(platform.http, token);
    database.wait_until_one_is_held();
    database.change(&platform, "UPDATE accounts SET status = 'active'", "account", &subject);
    drop(hold);
    assert_eq!(answer.join().unwrap().code(), "account_disabled", "true when it was asked");
    assert_eq!(platform.get("/demo/x", token).status, 200);
}

#[test]
fn a_refusal_is_forgotten_when_its_account_changes() {
    let database = Database::new("changes");
    let platform = database.platform();
    let registered = platform.register("again@example.com");
    let (token, id) = (registered["access_token"].as_str().unwrap(), registered["user"]["id"].as_str().unwrap());
    let subject = format!("'{id}'");
    database.change(&platform, "UPDATE accounts SET status = 'disabled'", "account", &subject);
    let refused = || platform.get("/demo/x", token).code() == "account_disabled";
    assert!(refused());
    let misses = platform.metric("portcullis_credential_cache_misses_total");
    assert!(refused());
    assert_eq!(platform.metric("portcullis_credential_cache_misses_total"), misses, "it is remembered for a while");
    database.change(&platform, "UPDATE accounts SET status = 'active'", "account", &subject);
    assert_eq!(platform.get("/demo/x", token).status, 200);
}

#[test]
fn a_refusal_is_looked_up_again_when_its_time_is_over_though_nothing_is_heard_of_a_change() {
    let database = Database::new("changes");
    let platform = database.setup().edit("gateway.toml", "refused_for = \"10s\"", "refused_for = \"200ms\"").start();
    let registered = platform.register("later@example.com");
    let (token, id) = (registered["access_token"].as_str().unwrap(), registered["user"]["id"].as_str().unwrap());
    database.change(&platform, "UPDATE accounts SET status = 'disabled'", "account", &format!("'{id}'"));
    assert_eq!(platform.get("/demo/x", token).code(), "account_disabled");
    database.run("UPDATE accounts SET status = 'active'");
    let began = Instant::now();
    eventually("it to be looked up", || platform.get("/demo/x", token).status == 200);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}, and ten seconds are what is shipped");
}

#[test]
fn a_change_of_an_unknown_kind_voids_everything_and_others_are_heard_after_it() {
    let database = Database::new("changes");
    let platform = database.platform();
    let token = platform.register("future@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    let stale = || platform.metric("portcullis_credential_cache_stale_total");
    let before = stale();
    // What it changed, and whom it concerns, only a newer node knows.
    database.change(&platform, "UPDATE accounts SET role = 'developer'", "from_the_future", "NULL");
    assert_eq!(platform.get("/demo/x", &token).received("x-user-role"), ["developer"]);
    assert_eq!(stale(), before + 1);
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    assert_eq!(stale(), before + 1, "once");
    assert_eq!(platform.post("/auth/logout", Some(&token), &json!({})).status / 100, 2);
    assert_eq!(platform.get("/demo/x", &token).code(), "revoked");
}

#[test]
fn who_is_known_is_served_without_the_feed_for_so_long_and_no_longer_until_it_is_back() {
    let database = Database::new("changes");
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "max_stale = \"1h\"", "max_stale = \"3s\"")
        .start();
    let token = platform.register("stale@example.com")["access_token"].as_str().unwrap().to_owned();
    // Unlimited: it is asked again and again.
    database.run("UPDATE accounts SET tier = 'enterprise'");
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    database.run("ALTER TABLE changes RENAME TO changes_away");
    eventually("what is known to be too old", || platform.get("/demo/x", &token).code() == "directory_unavailable");
    assert!(platform.send("GET", "/readyz", &[], "").body.contains("store_unavailable"));
    database.run("ALTER TABLE changes_away RENAME TO changes");
    eventually("the feed to be back", || platform.get("/demo/x", &token).status == 200);
    eventually("the door to be ready", || platform.send("GET", "/readyz", &[], "").body.contains("\"ready\""));
}

const STREAMS: &str = "
[[route]]
name = \"streams\"
paths = [\"/streams/*\"]
upstream = \"demo\"
websocket = true
expiry_grace = \"1s\"
";

#[test]
fn a_stream_whose_time_is_over_does_not_wait_for_what_is_looked_up_of_others() {
    let database = Database::new("changes");
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "statement_timeout = \"5s\"", "statement_timeout = \"60s\"")
        .edit("gateway.toml", "default = \"30m\"", "default = \"15s\"")
        .append("routes.toml", STREAMS)
        .upstream(backend(echo))
        .start();
    let [doubtful, expiring] = ["doubt@example.com", "over@example.com"].map(|email| platform.register(email));
    let open =
        |whose: &serde_json::Value| wire::open(platform.http, "/streams/x", whose["access_token"].as_str().unwrap());
    let (_doubtful, mut expiring) = (open(&doubtful), open(&expiring));
    database.make_sessions_wait();
    let hold = database.hold();
    let account = doubtful["user"]["id"].as_str().unwrap();
    database.change(&platform, "UPDATE accounts SET role = 'developer'", "account", &format!("'{account}'"));
    database.wait_until_one_is_held();
    assert_eq!(expiring.close(), (4401, "expired".to_owned()));
    drop(hold);
}

#[test]
fn who_cannot_be_looked_up_puts_off_nobody_elses_end() {
    let database = Database::new("changes");
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .append("routes.toml", STREAMS)
        .upstream(backend(echo))
        .start();
    let [unreadable, revoked] = ["unreadable@example.com", "revoked@example.com"].map(|email| {
        let registered = platform.register(email);
        let account = registered["user"]["id"].as_str().unwrap().to_owned();
        let session = database.run(&format!("SELECT id FROM sessions WHERE account_id = '{account}'"));
        (account, session, wire::open(platform.http, "/streams/x", registered["access_token"].as_str().unwrap()))
    });
    let ((account, session, _stream), (_, ended, mut stream)) = (unreadable, revoked);
    // One look-up fails at once, the other takes its time.
    database.run(&format!(
        "CREATE FUNCTION looked_up(id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
             IF id = '{session}' THEN RAISE 'unreadable'; END IF;
             PERFORM pg_sleep(1); RETURN true; END $$;
         ALTER TABLE sessions RENAME TO sessions_kept;
         CREATE VIEW sessions AS SELECT * FROM sessions_kept WHERE looked_up(id)"
    ));
    let promoted = format!("UPDATE accounts SET role = 'developer' WHERE id = '{account}'");
    database.change(&platform, &promoted, "account", &format!("'{account}'"));
    eventually("it to be looked up", || platform.log().contains("an open stream could not be looked up"));
    let end = format!("UPDATE sessions_kept SET ended_at = now() WHERE id = '{ended}'");
    database.change(&platform, &end, "session", &format!("'{ended}'"));
    assert_eq!(stream.close(), (4401, "revoked".to_owned()));
}

#[test]
fn signing_keys_that_cannot_be_read_when_they_change_are_read_as_soon_as_they_can() {
    let database = Database::new("keeper");
    let platform = Setup::default().env("DATABASE_URL", &database.url).start();
    let published = || platform.send("GET", "/.well-known/jwks.json", &[], "").body.matches("\"kid\"").count();
    let before = published();
    database.run("REVOKE SELECT ON signing_keys FROM CURRENT_USER");
    let folder = platform.folder.path();
    let mut rotate = Command::new(PORTCULLIS);
    rotate.args(["keys", "rotate", "--config"]).arg(folder.join("config")).arg("--data").arg(folder.join("data"));
    let rotated = rotate.env("DATABASE_URL", &database.admin).output().unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    eventually("the change to be met", || platform.log().contains("the change feed cannot be read"));
    assert_eq!(published(), before);
    database.run("GRANT SELECT ON signing_keys TO CURRENT_USER");
    eventually("the new keys", || published() > before);
}
