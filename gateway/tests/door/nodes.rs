//! Several gateways on one Postgres and one Redis: what one of them changes, the others hear.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    database::Database,
    platform::{Platform, Setup, eventually},
};

/// The same on every node, as it has to be.
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A Redis of the test's own, which it may freeze and kill.
struct Redis {
    server: Child,
    port: u16,
}

// === impl Redis ===

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { server: Self::serve(port), port }
    }

    fn serve(port: u16) -> Child {
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.server.id().to_string()]).status().unwrap().success());
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn node(database: &Database, redis: &Redis) -> Platform {
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .env("MASTER_ENCRYPTION_KEY", MASTER_KEY)
        .env("REDIS_URL", &redis.url())
        .edit("gateway.toml", "# redis = { env", "redis = { env")
        .edit("routes.toml", "30/minute", "1000/minute")
        .start();
    eventually("Redis to be found", || platform.metric("portcullis_redis_healthy") == 1);
    platform
}

/// How long a session that ends on `one` is still good for on `other`, which knows it.
fn time_to_revoke(one: &Platform, other: &Platform, email: &str) -> Duration {
    let token = one.login(email);
    assert_eq!(other.get("/demo/x", &token).status, 200);
    assert_eq!(one.post("/auth/logout", Some(&token), &serde_json::json!({})).status, 200);
    let ended = Instant::now();
    eventually("the other node to hear of it", || other.get("/demo/x", &token).code() == "revoked");
    ended.elapsed()
}

#[test]
fn what_one_node_revokes_another_refuses_at_once_and_without_redis_at_the_next_poll() {
    let (database, mut redis) = (Database::new("nodes"), Redis::start());
    let nodes = [node(&database, &redis), node(&database, &redis)];
    let [one, other] = &nodes;
    one.register("ada@example.com");

    // Polls alone would take half a second in the middle; that five of nine should be so quick by chance is one in a hundred.
    let mut times: Vec<_> = (0..9).map(|_| time_to_revoke(one, other, "ada@example.com")).collect();
    times.sort();
    assert!(times[4] < Duration::from_millis(200), "{times:?}");

    redis.signal("-STOP");
    time_to_revoke(one, other, "ada@example.com");
    eventually("the frozen Redis to be noticed", || other.metric("portcullis_redis_healthy") == 0);
    let ready = other.send("GET", "/readyz", &[], "");
    assert_eq!((ready.status, ready.json()["reasons"][0].as_str()), (200, Some("redis_unavailable")));

    redis.signal("-CONT");
    eventually("Redis to be found again", || other.metric("portcullis_redis_healthy") == 1);

    redis.kill();
    time_to_revoke(one, other, "ada@example.com");
    eventually("the dead Redis to be noticed", || other.metric("portcullis_redis_healthy") == 0);
    redis.server = Redis::serve(redis.port);
    eventually("the new Redis to be found", || other.metric("portcullis_redis_healthy") == 1);
    let quick = || time_to_revoke(one, other, "ada@example.com") < Duration::from_millis(200);
    eventually("messages to pass again", quick);
}
