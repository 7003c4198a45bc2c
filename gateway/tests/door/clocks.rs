//! Gateways whose clocks do not agree on the time of day, by minutes: libfaketime tells each process another one.

use crate::{
    cluster::{Redis, member},
    database::Database,
    platform::{Platform, eventually},
    shared_limits::{QUOTA, WINDOW, hammer, limited, most_in_a_window, token, until_more},
};

/// A gateway whose clock is off by so many seconds. Time that passes does so for all alike.
fn node(database: &Database, redis: &Redis, off: &str) -> Platform {
    let library =
        std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    let library = library.into_iter().find(|path| path.exists()).expect("libfaketime: scripts/install-deps test");
    let setup = member(database, redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\"");
    let setup = limited(setup).env("LD_PRELOAD", library.to_str().unwrap()).env("FAKETIME", off);
    let node = setup.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").start();
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
