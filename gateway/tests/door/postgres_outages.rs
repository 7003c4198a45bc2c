//! Postgres cut off, frozen and stopped, alone and together with Redis, under three gateways that are being used.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cluster::{Redis, member},
    database::Database,
    platform::{Answer, PASSWORD, Platform, Setup, eventually, pace},
    servers::{Link, Postgres},
};

/// What the gateways wait for at most: for a connection, and for one answer.
const ACQUIRE: Duration = Duration::from_secs(3);
const STATEMENT: Duration = Duration::from_secs(3);
/// What half of those are answered within who do not wait for a database, on a busy machine too.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Far more than what it waits, and far less than for ever: a busy machine is slow.
const BOUNDED: Duration = Duration::from_secs(20);
/// What somebody may in an hour who is known and limited.
const QUOTA: usize = 30;

/// Three gateways, somebody whom all of them know, somebody else who has a limit and has asked each of them once, and for each of them
/// tokens that it has not seen.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Platform>,
    known: String,
    limited: String,
    unseen: Vec<String>,
}

// === impl Cluster ===

impl Cluster {
    fn start(database: &Database, redis: &Redis) -> Self {
        Self::with(database, redis, |_, setup| setup)
    }

    /// `more` is said of each gateway, by its number.
    pub(crate) fn with(database: &Database, redis: &Redis, more: impl Fn(usize, Setup) -> Setup) -> Self {
        let start = |number| {
            let setup = member(database, redis)
                .edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"")
                .edit("gateway.toml", "# nodes = 3", "nodes = 3")
                .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"3s\"")
                .edit("gateway.toml", "statement_timeout = \"5s\"", "statement_timeout = \"3s\"")
                .edit("tiers.toml", "\"100/minute\"", "\"1000000/minute\"")
                .edit("tiers.toml", "\"500/minute\", concurrent = 50", &format!("\"{QUOTA}/hour\""));
            more(number, setup).start()
        };
        let nodes: Vec<_> = (0..3).map(start).collect();
        for node in &nodes {
            eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
        }
        nodes[0].register("ada@example.com");
        let known = nodes[0].login("ada@example.com");
        let unseen = (0..6).map(|_| nodes[0].login("ada@example.com")).collect();
        nodes[0].register("bob@example.com");
        database.run("UPDATE accounts SET tier = 'developer' WHERE email = 'bob@example.com'");
        let limited = nodes[0].login("bob@example.com");
        for node in &nodes {
            for token in [&known, &limited] {
                eventually("somebody to be known", || node.get("/demo/x", token).status == 200);
            }
        }
        Self { nodes, known, limited, unseen }
    }

    /// Uses every node as the one whom they know while `act` does what it does: none of that may fail or wait for the database.
    pub(crate) fn under_load(&self, act: impl FnOnce()) {
        let (is_over, times) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for node in &self.nodes {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        let answer = node.get("/demo/x", &self.known);
                        assert_eq!(answer.status, 200, "{answer:?}");
                        let took = began.elapsed();
                        times.lock().unwrap().push(took);
                        pace(Duration::from_millis(5));
                    }
                });
            }
            // Whatever happens, those threads must end.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            is_over.store(true, Ordering::Relaxed);
            if let Err(failed) = done {
                std::panic::resume_unwind(failed);
            }
        });
        let mut times = times.into_inner().unwrap();
        times.sort_unstable();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        assert!(median < AT_ONCE, "half of what those whom all know have asked took {median:?} or longer");
        // Whoever asks a database that does not answer waits for at least so long.
        assert!(slowest < ACQUIRE.min(STATEMENT), "somebody whom all know has waited for {slowest:?}");
    }

    /// All nodes at once refuse those whom they do not know, with 503, and so do they refuse writes.
    fn refuse_strangers(&self, round: usize) {
        thread::scope(|scope| {
            for (number, node) in self.nodes.iter().enumerate() {
                scope.spawn(move || {
                    let began = Instant::now();
                    let refused = node.get("/demo/x", &self.unseen[round * 3 + number]);
                    assert_eq!(
                        (refused.status, refused.code().as_str()),
                        (503, "directory_unavailable"),
                        "{refused:?}"
                    );
                    assert!(refused.header("retry-after").is_some(), "{refused:?}");
                    let login = log_in(node);
                    assert_eq!(login.status, 503, "{login:?}");
                    assert!(began.elapsed() < BOUNDED, "{:?}", began.elapsed());
                    eventually("it to be told", || reasons(node).contains("store_unavailable"));
                });
            }
        });
    }

    /// Whoever has a limit asks every node until all refuse. Gives how many requests each has let through, since they met.
    fn use_up(&self) -> [usize; 3] {
        let mut admitted = [1; 3];
        eventually("the limit to be met everywhere", || {
            let answers: Vec<_> = self.nodes.iter().map(|node| node.get("/demo/x", &self.limited)).collect();
            for (admitted, answer) in admitted.iter_mut().zip(&answers) {
                match (answer.status, answer.code().as_str()) {
                    (200, _) => *admitted += 1,
                    (429, "rate_limited") => (),
                    _ => panic!("{answer:?}"),
                }
            }
            answers.iter().all(|answer| answer.status == 429)
        });
        admitted
    }

    /// All nodes together let through the quota, and not much less: where Redis is there, they count by it, whatever else is gone.
    fn count_together(&self) {
        let units = |fate: &str| {
            let name = format!("portcullis_lease_units_total{{fate=\"{fate}\"}}");
            self.nodes.iter().map(|node| node.metric(&name)).sum::<u64>() as usize
        };
        let admitted: usize = self.use_up().iter().sum();
        // On a busy machine Redis may seem to be away for a moment.
        assert!(admitted <= QUOTA + units("alone"), "{admitted}");
        assert!(admitted + units("lost") >= QUOTA * 9 / 10, "{admitted}");
    }

    /// Everything works again on every node, and what one changes the others hear.
    fn recovers(&self, round: usize) {
        for (number, node) in self.nodes.iter().enumerate() {
            let token = &self.unseen[round * 3 + number];
            eventually("those to be served who were not known", || node.get("/demo/x", token).status == 200);
            eventually("a login", || log_in(node).status == 200);
            eventually("it to be told that all is well", || !reasons(node).contains("store_unavailable"));
        }
        let token = &self.unseen[round * 3];
        eventually("a logout", || self.nodes[1].post("/auth/logout", Some(token), &json!({})).status < 300);
        for node in &self.nodes {
            eventually("it to be heard everywhere", || node.get("/demo/x", token).status == 401);
        }
    }
}

fn log_in(node: &Platform) -> Answer {
    node.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }))
}

fn reasons(node: &Platform) -> String {
    node.send("GET", "/readyz", &[], "").body
}

#[test]
fn a_start_waits_for_a_postgres_that_is_on_its_way() {
    let mut postgres = Postgres::start();
    postgres.stop();
    let setup = Setup::default()
        .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"200ms\"")
        .env("DATABASE_URL", &postgres.database().url);
    let folder = setup.folder();
    let log = folder.path().join("gateway.log");
    let waiting = thread::spawn(|| setup.start_in(folder));
    // The second time it has waited in vain after it was told.
    eventually("it to be told", || fs::read_to_string(&log).unwrap_or_default().matches("trying again").count() >= 2);
    assert!(!waiting.is_finished(), "it is not ready before there is a database");
    postgres.serve();
    let platform = waiting.join().unwrap();
    platform.register("ada@example.com");
    assert_eq!(postgres.database().run("SELECT COUNT(*) FROM accounts"), "1");
}

#[test]
fn a_postgres_that_is_cut_off_costs_those_who_are_known_nothing() {
    let ((link, database), redis) = (Link::before(&Database::new("cut")), Redis::start());
    redis.is_old();
    let cluster = Cluster::start(&database, &redis);
    cluster.under_load(|| {
        link.cut();
        cluster.refuse_strangers(0);
        cluster.count_together();
        for node in &cluster.nodes {
            eventually("the silence to be told", || node.metric("portcullis_feed_silent_seconds") >= 2);
        }
        link.mend();
        cluster.recovers(0);
        for node in &cluster.nodes {
            eventually("changes to be heard again", || node.metric("portcullis_feed_silent_seconds") == 0);
        }
    });
}

#[test]
fn a_postgres_that_freezes_and_one_that_stops_cost_those_who_are_known_nothing() {
    let (mut postgres, redis) = (Postgres::start(), Redis::start());
    redis.is_old();
    let cluster = Cluster::start(&postgres.database(), &redis);
    cluster.under_load(|| {
        postgres.freeze();
        cluster.refuse_strangers(0);
        cluster.count_together();
        postgres.thaw();
        cluster.recovers(0);
    });
    cluster.under_load(|| {
        postgres.stop();
        cluster.refuse_strangers(1);
        postgres.serve();
        cluster.recovers(1);
    });
}

#[test]
fn with_both_redis_and_postgres_gone_those_who_are_known_are_served_and_both_come_back_without_a_restart() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    redis.is_old();
    let cluster = Cluster::start(&postgres.database(), &redis);
    cluster.under_load(|| {
        postgres.stop();
        redis.kill();
        cluster.refuse_strangers(0);
        for node in &cluster.nodes {
            eventually("Redis to be missed", || reasons(node).contains("redis_unavailable"));
        }
        assert_eq!(cluster.use_up(), [QUOTA / 3; 3], "each lets through its share");
        redis.serve();
        postgres.serve();
        cluster.recovers(0);
        for node in &cluster.nodes {
            eventually("Redis to be found again", || !reasons(node).contains("redis_unavailable"));
        }
        // It has forgotten everything, which nobody is let through for.
        for node in &cluster.nodes {
            assert_eq!(node.get("/demo/x", &cluster.limited).status, 429);
        }
    });
}

#[test]
fn a_standby_that_takes_over_is_asked_and_told_without_a_restart() {
    let (mut postgres, redis) = (Postgres::start(), Redis::start());
    redis.is_old();
    let cluster = Cluster::start(&postgres.database(), &redis);
    let mut standby = postgres.standby();
    postgres.is_followed();
    cluster.under_load(|| {
        postgres.stop();
        cluster.refuse_strangers(0);
        standby.stand_in_for(&postgres);
        for (number, node) in cluster.nodes.iter().enumerate() {
            let token = &cluster.unseen[3 + number];
            eventually("the standby to be asked", || node.get("/demo/x", token).status == 200);
            let login = log_in(node);
            assert_eq!((login.status, login.code().as_str()), (503, "directory_unavailable"), "{login:?}");
        }
        standby.promote();
        cluster.recovers(0);
    });
}

#[test]
fn what_is_changed_after_a_standby_that_lagged_took_over_is_heard_everywhere() {
    let (mut postgres, redis) = (Postgres::start(), Redis::start());
    redis.is_old();
    let cluster = Cluster::start(&postgres.database(), &redis);
    let position = |node: &Platform| node.metric("portcullis_feed_position");
    let mut standby = postgres.standby();
    postgres.is_followed();
    let before = position(&cluster.nodes[0]);
    standby.stop();
    // Of these the standby never hears.
    let lost = cluster.nodes[0].login("ada@example.com");
    for _ in 0..5 {
        let token = cluster.nodes[0].login("ada@example.com");
        assert!(cluster.nodes[0].post("/auth/logout", Some(&token), &json!({})).status < 300);
    }
    for node in &cluster.nodes {
        eventually("changes to be heard", || position(node) >= before + 5);
        assert_eq!(node.get("/demo/x", &lost).status, 200);
    }
    cluster.under_load(|| {
        postgres.stop();
        standby.stand_in_for(&postgres);
        standby.promote();
        for node in &cluster.nodes {
            eventually("a login", || log_in(node).status == 200);
        }
        // Fewer changes than were lost: who went on from the place where it was would miss them.
        cluster.recovers(0);
    });
    // A session that was lost with them is none.
    for node in &cluster.nodes {
        assert_eq!(node.get("/demo/x", &lost).status, 401);
    }
}

#[test]
fn gateways_serve_on_and_start_on_tables_that_a_newer_version_has_extended() {
    let (database, redis) = (Database::new("extended"), Redis::start());
    redis.is_old();
    let start =
        || member(&database, &redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\"").start();
    let old = start();
    old.register("ada@example.com");
    // So that statements are prepared on its connections.
    let known = old.login("ada@example.com");
    assert_eq!(old.get("/auth/me", &known).status, 200);
    let tables = database
        .run("SELECT tablename FROM pg_tables WHERE schemaname = 'portcullis' AND tablename <> '_sqlx_migrations'");
    let extended =
        tables.lines().map(|table| format!("ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT ''; "));
    database.run(&format!(
        "{} CREATE TABLE later (id UUID PRIMARY KEY); \
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, '', 0)",
        extended.collect::<String>()
    ));
    let new = start();
    for (one, other, email) in [(&old, &new, "bob@example.com"), (&new, &old, "cid@example.com")] {
        one.register(email);
        let token = other.login(email);
        let key = other.post("/auth/api-keys", Some(&token), &json!({ "name": "ci" }));
        assert_eq!(key.status, 201, "{key:?}");
        for node in [one, other] {
            eventually("a token to be known", || node.get("/demo/x", &token).status == 200);
            assert_eq!(node.get("/auth/sessions", &token).status, 200);
        }
        let logout = one.post("/auth/logout", Some(&token), &json!({}));
        assert!(logout.status < 300, "{logout:?}");
        eventually("it to be heard", || other.get("/demo/x", &token).status == 401);
    }
    assert_eq!(new.get("/auth/me", &known).status, 200);
}
