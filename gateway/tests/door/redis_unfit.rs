//! What answers at the address of a Redis and will not do: it is said what is wrong, nobody waits for it, and the door is open to those
//! who need no count.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    backends::is_back,
    cluster::{Redis, free_port, member_at},
    database::Database,
    platform::{Platform, Setup, eventually, silence},
    redis_shapes::rights,
    shared_limits::{QUOTA, WINDOW, hammer, most_in_a_window, refusing, some, token, until_more},
};

/// How long a gateway waits for Redis (DESIGN §4).
const PATIENCE: Duration = Duration::from_millis(20);
/// Far more than that, and far less than for ever: a busy machine is slow.
const BOUNDED: Duration = Duration::from_secs(2);

/// A server of another kind, which answers whatever it is sent. Gives where it is.
fn foreign(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    answer(&String::from_utf8_lossy(&buffer[..read]), &mut stream);
                }
            });
        }
    });
    format!("redis://{address}")
}

/// A way to a Redis on which nobody who has subscribed is told anything, while the test says so; and no connection ends.
fn half_open(redis: &Redis) -> (String, Arc<AtomicBool>) {
    let (listener, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), redis.port);
    let (address, is_silent) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let silent = Arc::clone(&is_silent);
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (asks, answers) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let (hears, silent) = (Arc::new(AtomicBool::new(false)), Arc::clone(&silent));
            let subscribes = Arc::clone(&hears);
            let asked = move |words: &[u8]| {
                subscribes.fetch_or(String::from_utf8_lossy(words).contains("SUBSCRIBE"), Ordering::SeqCst);
                true
            };
            let told = move |_: &[u8]| !(hears.load(Ordering::SeqCst) && silent.load(Ordering::SeqCst));
            thread::spawn(move || pass(asks, far, asked));
            thread::spawn(move || pass(answers, near, told));
        }
    });
    (format!("redis://{address}"), is_silent)
}

/// One direction of a connection, but for what may not pass.
fn pass(mut from: TcpStream, mut to: TcpStream, may: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if may(&buffer[..read]) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

fn member(database: &Database, url: &str) -> Setup {
    member_at(database, url).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\"")
}

/// Starts a gateway with it, sees what is said, and that nothing hangs.
fn is_told(setup: Setup, database: &Database, said: &str) -> Platform {
    let node = setup.start();
    eventually(said, || node.log().contains(said));
    assert_eq!(node.metric("portcullis_limits_away"), 1);
    let reasons = || node.send("GET", "/readyz", &[], "").body;
    assert!(reasons().contains("shared_limits_unavailable"), "{}", reasons());
    database.run("UPDATE accounts SET tier = 'enterprise'");
    node
}

#[test]
fn what_is_no_redis_or_too_old_is_told_and_nobody_waits_for_it() {
    let database = Database::new("foreign");
    let http = foreign(|_, stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")));
    let silent = foreign(|_, _| ());
    let old = foreign(|text, stream| {
        let told = "redis_version:4.0.14\r\nredis_mode:standalone\r\n";
        let answer = if text.contains("\r\nINFO\r\n") {
            format!("${}\r\n{told}\r\n", told.len())
        } else {
            "+OK\r\n".repeat(text.matches('*').count())
        };
        drop(stream.write_all(answer.as_bytes()));
    });
    for (url, said) in [(http, "is no Redis"), (silent, "no connection within"), (old, "Redis 4.0.14 is too old")] {
        is_told(member(&database, &url), &database, said);
    }
}

#[test]
fn a_user_with_a_wrong_password_or_without_a_right_is_told_so() {
    let (database, redis) = (Database::new("rights"), Redis::start());
    redis.is_old();
    let rights = rights("portcullis");
    let may = |less: &[&str]| {
        let words: Vec<_> = rights.iter().map(String::as_str).chain(less.iter().copied()).collect();
        assert_eq!(redis.run(&words), "OK");
    };
    let url = |password: &str| format!("redis://portcullis:{password}@127.0.0.1:{}", redis.port);
    may(&[]);
    is_told(member(&database, &url("wrong")), &database, "refuses this user or password");
    for (less, said) in [
        (&["-info"][..], "lacks a right"),
        (&["-evalsha"], "lacks a right"),
        (&["-script"], "lacks a right"),
        (&["-hincrby"], "user executing the script"),
        (&["resetkeys", "~other:*"], "lacks a right"),
    ] {
        may(less);
        is_told(member(&database, &url("secret")), &database, said);
    }
    // Limits need no subscription; what gateways change does.
    for less in [&["-subscribe"][..], &["resetchannels"]] {
        may(less);
        let node = member(&database, &url("secret")).start();
        let reasons = || node.send("GET", "/readyz", &[], "").body;
        eventually("it to be noticed", || reasons().contains("redis_unavailable"));
        // So that it is asked more than once whether all is well.
        silence(Duration::from_secs(3));
        assert!(reasons().contains("redis_unavailable"), "{}", reasons());
        let log = node.log();
        let told: Vec<_> = log.lines().filter(|line| line.contains("is heard by polling")).collect();
        assert!(told.len() == 1 && told[0].contains("lacks a right"), "{told:?}");
    }
    // What it lacked it is given, and all is well without a restart.
    may(&["resetkeys", "~other:*"]);
    let node = is_told(member(&database, &url("secret")), &database, "lacks a right");
    may(&["resetkeys", "~portcullis:*"]);
    eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
}

#[test]
fn a_redis_of_another_shape_than_was_said_is_told_so() {
    let (database, redis) = (Database::new("mistaken"), Redis::start());
    let node = Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    for server in [&redis, &node] {
        eventually("Redis to answer", || server.run(&["ping"]) == "PONG");
    }
    is_told(member(&database, &node.url()), &database, "say `cluster = true`");
    let shards = member(&database, &redis.url()).edit("gateway.toml", "# cluster = true", "cluster = true");
    is_told(shards, &database, "no node of a Redis Cluster");
    let shards = member(&database, &node.url()).edit("gateway.toml", "# cluster = true", "cluster = true");
    is_told(shards, &database, "no node of the Redis Cluster serves slot");
}

#[test]
fn a_redis_that_runs_out_of_memory_counts_as_away_until_it_has_some_again() {
    let (database, redis) = (Database::new("memory"), Redis::with(&["--maxmemory-policy", "noeviction"]));
    redis.is_old();
    let nodes: [_; 3] = some(|| refusing(&database, &redis));
    let ada = token(&nodes[0], "ada@example.com");
    let admitted = hammer(&nodes, &ada, |admitted| {
        until_more(admitted, 2 * QUOTA, "the quota to be used twice");
        assert_eq!(redis.run(&["config", "set", "maxmemory", "1mb"]), "OK");
        for node in &nodes {
            eventually("requests to be refused", || node.get("/demo/x", &ada).code() == "limiter_unavailable");
            eventually("it to be noticed", || node.metric("portcullis_limits_away") == 1);
            // On a busy machine it may have seemed to be away for another reason before.
            eventually("it to be told", || node.log().contains("OOM"));
        }
        assert_eq!(redis.run(&["config", "set", "maxmemory", "0"]), "OK");
        until_more(admitted, 2 * QUOTA, "leases again");
    });
    let most = most_in_a_window(admitted);
    assert!(most <= QUOTA, "{most} in {WINDOW:?}");
}

#[test]
fn of_a_frozen_redis_only_those_hear_who_meet_it_first() {
    let (database, redis) = (Database::new("frozen"), Redis::start());
    redis.is_old();
    let node = member(&database, &redis.url()).start();
    eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
    let ada = token(&node, "ada@example.com");
    eventually("a lease", || node.get("/demo/x", &ada).status == 200);
    redis.signal("-STOP");
    let ask = || {
        let began = Instant::now();
        (node.get("/demo/x", &ada).code(), began.elapsed())
    };
    let mut longest = Duration::ZERO;
    eventually("the freeze to be noticed", || {
        let (code, took) = ask();
        longest = took.max(longest);
        code == "limiter_unavailable"
    });
    assert!(longest < BOUNDED, "who met it first has waited for {longest:?}");
    let failed = || node.metric("portcullis_lease_calls_total{outcome=\"failed\"}");
    let before = failed();
    assert!(before >= 1);
    // In turn with those of whom Redis is not asked: what the machine makes of both is not waiting for it.
    let stranger = || {
        let began = Instant::now();
        (node.send("GET", "/demo/x", &[], "").code(), began.elapsed())
    };
    let (mut took, mut others): (Vec<_>, Vec<_>) = (0..50).map(|_| (ask(), stranger())).unzip();
    assert!(took.iter().all(|(code, _)| code == "limiter_unavailable"), "{took:?}");
    assert!(others.iter().all(|(code, _)| code == "missing_credential"), "{others:?}");
    assert_eq!(failed(), before, "somebody waited");
    let [median, of_others] = [&mut took, &mut others].map(|times| {
        times.sort_unstable_by_key(|(_, took)| *took);
        times[times.len() / 2].1
    });
    assert!(
        median < of_others + PATIENCE,
        "half of those who came later took {median:?} or longer, of others {of_others:?}"
    );
    redis.signal("-CONT");
    is_back(|| node.get("/demo/x", &ada).status == 200);
}

#[test]
fn a_subscription_whose_other_end_is_gone_is_noticed_and_another_one_is_made() {
    let (database, redis) = (Database::new("half_open"), Redis::start());
    eventually("Redis to answer", || redis.run(&["ping"]) == "PONG");
    let (url, is_silent) = half_open(&redis);
    let node = member(&database, &url).start();
    let is_healthy = || node.metric("portcullis_redis_healthy") == 1;
    eventually("Redis to be found", is_healthy);
    is_silent.store(true, Ordering::SeqCst);
    eventually("the silence to be noticed", || !is_healthy());
    is_silent.store(false, Ordering::SeqCst);
    is_back(is_healthy);
}
