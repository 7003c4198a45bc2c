//! Gateways whose clocks do not agree on the time of day, by minutes, or step while they are served by: libfaketime tells each process
//! another one.

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cluster::{Redis, member},
    database::Database,
    issuers::now,
    platform::{Platform, Setup, eventually},
    shared_limits::{QUOTA, WINDOW, hammer, limited, most_in_a_window, token, until_more},
};

/// What the tests of steps make of the limit of the tier `free`: over less time than a clock steps by, and more than a test takes.
const BUDGET: usize = 20;

/// A clock that steps.
struct Clock(TempDir);

/// Whom a step concerns.
struct People {
    /// Has used up everything.
    ada: String,
    spent: usize,
    /// Has not, and is known.
    bob: String,
}

// === impl Clock ===

impl Clock {
    /// One that is off by so many seconds.
    fn new(off: &str) -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set(off);
        clock
    }

    /// From one moment to the next: whoever looks sees the old file or the new one.
    fn set(&self, off: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, format!("{off}\n")).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("off")
    }

    /// A gateway that goes by it. Its threads read the file one after the other, whenever one wants to know the time.
    fn of(&self, setup: Setup) -> Setup {
        let setup = faked(setup, "libfaketimeMT.so.1").env("FAKETIME_NO_CACHE", "1");
        setup.env("FAKETIME_TIMESTAMP_FILE", self.file().to_str().unwrap())
    }
}

// === impl People ===

impl People {
    fn of(node: &Platform) -> Self {
        let [ada, bob] = ["ada@example.com", "bob@example.com"].map(|email| token(node, email));
        let mut people = Self { ada, spent: 0, bob };
        eventually("everything to be used up", || {
            let status = node.get("/demo/x", &people.ada).status;
            people.spent += usize::from(status == 200);
            status == 429
        });
        people.are_treated_as_before(node);
        people
    }

    fn are_treated_as_before(&mut self, node: &Platform) {
        self.spent += (0..BUDGET).filter(|_| node.get("/demo/x", &self.ada).status == 200).count();
        assert!(self.spent <= BUDGET, "{} in four minutes", self.spent);
        is_served(node, &self.bob);
        // Or a moment later, if the clock is put right between the door's word and the account service's look at it.
        eventually("the account service to believe the door", || node.get("/auth/me", &self.bob).status == 200);
    }
}

/// On a busy machine Redis may seem to be away for a moment.
fn is_served(node: &Platform, token: &str) {
    eventually("an answer", || {
        let answer = node.get("/demo/x", token);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status == 200
    });
}

/// A gateway that is told another time of day. Time that passes does so for all alike.
fn faked(setup: Setup, library: &str) -> Setup {
    let mut places =
        fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime").join(library));
    let library = places.find(|path| path.exists()).expect("libfaketime: scripts/install-deps test");
    setup.env("LD_PRELOAD", library.to_str().unwrap()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

fn refusing(database: &Database, redis: &Redis) -> Setup {
    member(database, redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\"")
}

fn budgeted(setup: Setup) -> Setup {
    setup.edit("tiers.toml", "\"100/minute\", concurrent = 20", "\"20/4m\"")
}

/// By how many seconds the clock was off by which this token was made just now.
fn off(token: &str) -> i64 {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["iat"].as_i64().unwrap() - now()
}

/// A gateway whose clock is off by so many seconds.
fn node(database: &Database, redis: &Redis, off: &str) -> Platform {
    let node = faked(limited(refusing(database, redis)), "libfaketime.so.1").env("FAKETIME", off).start();
    eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
    node
}

#[test]
fn clocks_that_are_five_minutes_off_change_no_limit_and_no_token() {
    let (database, redis) = (Database::new("clocks"), Redis::start());
    redis.is_old();
    let nodes = ["+0", "+300", "-300"].map(|off| node(&database, &redis, off));
    let date = |node: &Platform| node.send("GET", "/health", &[], "").header("date").unwrap_or_default().to_owned();
    assert_ne!(date(&nodes[1]), date(&nodes[2]), "the clocks agree");
    let ada = token(&nodes[0], "ada@example.com");
    let admitted = hammer(&nodes, &ada, |admitted| until_more(admitted, 3 * QUOTA, "the quota to be used three times"));
    let most = most_in_a_window(admitted);
    assert!(most <= QUOTA, "{most} in {WINDOW:?}");
    // Whoever made it, each takes it, and each hears when it is over.
    for (n, issuer) in nodes.iter().enumerate() {
        let bob = token(issuer, &format!("bob-{n}@example.com"));
        for (m, node) in nodes.iter().enumerate() {
            eventually("a token to be taken", || {
                let answer = node.get("/demo/x", &bob);
                assert_ne!(answer.status, 401, "made by {n}, shown to {m}: {answer:?}");
                answer.status == 200
            });
        }
        assert_eq!(nodes[(n + 1) % 3].post("/auth/logout", Some(&bob), &serde_json::json!({})).status, 200);
        for node in &nodes {
            eventually("a logout to be heard", || node.get("/demo/x", &bob).code() == "revoked");
        }
    }
}

#[test]
fn a_clock_that_steps_by_five_minutes_frees_and_blocks_nobody_and_is_put_right_by_the_databases() {
    let (database, redis, clock) = (Database::new("steps"), Redis::start(), Clock::new("-300"));
    redis.is_old();
    let node = clock.of(budgeted(refusing(&database, &redis))).start();
    eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
    let is_followed =
        |ahead| eventually("it to be followed", || node.metric("portcullis_clock_ahead_seconds").abs_diff(ahead) <= 1);
    is_followed(300);
    let mut people = People::of(&node);
    let unshown = ["carol@example.com", "dave@example.com"].map(|email| token(&node, email));
    for ((to, ahead), unshown) in [("+0", 0), ("-300", 300)].into_iter().zip(unshown) {
        clock.set(to);
        people.are_treated_as_before(&node);
        is_followed(ahead);
        people.are_treated_as_before(&node);
        is_served(&node, &unshown);
        is_served(&node, &token(&node, &format!("new-{ahead}@example.com")));
    }
}

#[test]
fn a_clock_that_steps_by_five_minutes_frees_and_blocks_nobody_whom_one_gateway_knows() {
    let clock = Clock::new("-300");
    let node = clock.of(budgeted(Setup::default())).start();
    let mut people = People::of(&node);
    for (to, seconds) in [("+0", 0), ("-300", -300)] {
        clock.set(to);
        people.are_treated_as_before(&node);
        let new = token(&node, &format!("new{seconds}@example.com"));
        assert!(off(&new).abs_diff(seconds) < 60, "the clock has not stepped: {}", off(&new));
        is_served(&node, &new);
        people.are_treated_as_before(&node);
    }
}
