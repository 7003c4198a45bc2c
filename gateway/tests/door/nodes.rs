//! Several gateways on one Postgres and one Redis: what one of them changes, the others hear.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    backends::is_back,
    cluster::{Redis, member},
    database::Database,
    heard::{POLLED, PUSHED},
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, eventually, exchange, shipped, time_until},
};

fn node(database: &Database, redis: &Redis) -> Platform {
    let setup = member(database, redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"");
    let setup = setup.edit("gateway.toml", "# nodes = 3", "nodes = 2").edit("tiers.toml", "100/minute", "1000/minute");
    let platform = setup.start();
    eventually("Redis to be found", || platform.metric("portcullis_redis_healthy") == 1);
    platform
}

/// How long a session that ends on `one` is still good for on `other`, which knows it.
fn time_to_revoke(one: &Platform, other: &Platform, email: &str) -> Duration {
    let token = one.login(email);
    assert_eq!(other.get("/demo/x", &token).status, 200);
    assert_eq!(one.post("/auth/logout", Some(&token), &serde_json::json!({})).status, 200);
    time_until("the other node to hear of it", || other.get("/demo/x", &token).code() == "revoked")
}

#[test]
fn what_one_node_revokes_another_refuses_at_once_and_without_redis_at_the_next_poll() {
    let (database, mut redis) = (Database::new("nodes"), Redis::start());
    let nodes = [node(&database, &redis), node(&database, &redis)];
    let [one, other] = &nodes;
    one.register("ada@example.com");

    // That five of nine should be so quick by chance is one in a hundred.
    let mut times: Vec<_> = (0..9).map(|_| time_to_revoke(one, other, "ada@example.com")).collect();
    times.sort();
    assert!(times[4] < PUSHED, "{times:?}");

    redis.signal("-STOP");
    assert!(time_to_revoke(one, other, "ada@example.com") < POLLED);
    eventually("the frozen Redis to be noticed", || other.metric("portcullis_redis_healthy") == 0);
    let ready = other.send("GET", "/readyz", &[], "");
    assert_eq!((ready.status, ready.json()["reasons"][0].as_str()), (200, Some("redis_unavailable")));

    redis.signal("-CONT");
    is_back(|| other.metric("portcullis_redis_healthy") == 1);

    redis.kill();
    assert!(time_to_revoke(one, other, "ada@example.com") < POLLED);
    eventually("the dead Redis to be noticed", || other.metric("portcullis_redis_healthy") == 0);
    redis.serve();
    is_back(|| other.metric("portcullis_redis_healthy") == 1);
    // Polling alone is as quick now and then, and hardly ever five times in a row.
    let quick = || (0..5).all(|_| time_to_revoke(one, other, "ada@example.com") < PUSHED);
    eventually("messages to pass again", quick);
}

#[test]
fn make_cluster_starts_three_doors_to_one_platform() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let said = fs::File::create(folder.path().join("said")).unwrap();
    let mut cluster = Command::new(shipped("scripts/cluster"))
        .arg(PORTCULLIS)
        .env("PORTCULLIS_TEST_REDIS", redis.url())
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(cluster.stdout.take().unwrap()).lines();
    let doors: Vec<SocketAddr> = (0..3)
        .map(|_| {
            let line = lines.next().unwrap_or_else(|| panic!("{:?}", fs::read_to_string(folder.path().join("said"))));
            let ready: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            ready["http"].as_str().unwrap().trim_start_matches("http://").parse().unwrap()
        })
        .collect();
    let ask = |door: usize, method: &str, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        Answer::parse(&exchange(doors[door], text.as_bytes()))
    };
    let person = format!(r#"{{"email":"ada@example.com","password":"{PASSWORD}","name":"Ada"}}"#);
    let registered = ask(0, "POST", "/auth/register", "", &person);
    assert_eq!(registered.status, 201, "{registered:?}");
    let bearer = format!("Authorization: Bearer {}\r\n", registered.json()["access_token"].as_str().unwrap());
    for door in 0..3 {
        assert_eq!(ask(door, "GET", "/demo/hello", &bearer, "").status, 200, "door {door}");
    }
    assert!(ask(1, "POST", "/auth/logout", &bearer, "").status < 300);
    let log = fs::read_to_string(folder.path().join("said")).unwrap();
    assert!(!log.contains("row-level security"), "{log}");
    for door in 0..3 {
        eventually("a logout is heard everywhere", || ask(door, "GET", "/demo/hello", &bearer, "").status == 401);
    }
    assert!(Command::new("kill").arg(cluster.id().to_string()).status().unwrap().success());
    assert_eq!(cluster.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(doors[2]).is_err());
}
