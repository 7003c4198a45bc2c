//! Several gateways, so many requests at once: a caller who asks all of them has as many in flight as one would let through.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    backends::{After, Backend},
    cluster::Redis,
    database::Database,
    platform::{Platform, Setup, eventually, pace, time_until},
    shared_limits::{get, refusing, sharing, some, token},
    wire::Wire,
};

const MOST: usize = 4;

/// A service that takes a moment, and knows how many requests it had at once at most.
#[derive(Clone, Default)]
struct Busy {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
}

impl Busy {
    fn serve(&self) -> SocketAddr {
        let busy = self.clone();
        let backend = Backend::start(move |_, stream| {
            busy.most.fetch_max(busy.now.fetch_add(1, SeqCst) + 1, SeqCst);
            pace(Duration::from_millis(60));
            busy.now.fetch_sub(1, SeqCst);
            busy.served.fetch_add(1, SeqCst);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
            After::Keep
        });
        backend.address
    }

    /// Waits until so many more have been served.
    fn until_more(&self, more: usize, when: &str) {
        let before = self.served.load(SeqCst);
        eventually(when, || self.served.load(SeqCst) >= before + more);
    }
}

/// One request limit is left out, and so many may be in flight.
fn at_once(setup: Setup, most: usize) -> Setup {
    setup.edit("tiers.toml", "requests = \"30/3s\"", &format!("concurrent = {most}"))
}

/// A service whose answers never end.
fn endless() -> SocketAddr {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"));
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            pace(Duration::from_millis(200));
        }
        After::Close
    });
    backend.address
}

/// An answer that has begun, and goes on for as long as this lives.
fn stream(node: &Platform, token: &str) -> Option<TcpStream> {
    let mut wire = Wire::connect(node.http);
    wire.write(format!("GET /demo/x HTTP/1.1\r\nHost: door.test\r\nAuthorization: Bearer {token}\r\n\r\n"));
    wire.head().starts_with("HTTP/1.1 200").then_some(wire.stream)
}

#[test]
fn three_gateways_have_in_flight_what_one_may_while_redis_freezes_forgets_and_a_node_dies() {
    let (database, mut redis, busy) = (Database::new("slots"), Redis::start(), Busy::default());
    redis.is_old();
    let service = busy.serve();
    let mut nodes: [_; 3] = some(|| at_once(refusing(&database, &redis), MOST).upstream(service));
    let (token, pid) = (token(&nodes[0], "ada@example.com"), nodes[2].gateway().pid().to_string());
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for node in nodes.iter().cycle().take(9) {
            let token = &token;
            scope.spawn(move || {
                while !is_over.load(SeqCst) {
                    if !matches!(get(node, token).status, 200) {
                        pace(Duration::from_millis(5));
                    }
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("all slots to be used at once", || busy.most.load(SeqCst) >= MOST);
            redis.signal("-STOP");
            eventually("the freeze to be noticed", || nodes[0].metric("portcullis_limits_away") == 1);
            redis.signal("-CONT");
            busy.until_more(50, "slots after the freeze");
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            busy.until_more(50, "slots without the dead node");
            redis.kill();
            redis.serve();
            busy.until_more(50, "slots from the new memory");
        }));
        is_over.store(true, SeqCst);
        if let Err(failed) = done {
            std::panic::resume_unwind(failed);
        }
    });
    assert_eq!(busy.most.load(SeqCst), MOST);
}

#[test]
fn streams_are_counted_for_as_long_as_they_last_and_those_of_a_killed_node_for_ten_seconds() {
    let (database, redis) = (Database::new("streams"), Redis::start());
    redis.is_old();
    let service = endless();
    let mut nodes: [_; 2] = some(|| at_once(refusing(&database, &redis), MOST).upstream(service));
    let token = token(&nodes[0], "ada@example.com");
    let mut streams = Vec::new();
    eventually("all slots to be taken", || {
        streams.extend(stream(&nodes[0], &token));
        streams.len() == MOST
    });
    // Longer than a node that is not heard keeps what it holds.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        // On a busy machine Redis may seem to be away for a moment.
        let code = get(&nodes[1], &token).code();
        assert!(matches!(&*code, "concurrency_limited" | "limiter_unavailable"), "{code} after {:?}", began.elapsed());
        pace(Duration::from_millis(300));
    }
    let told = |node: &Platform, outcome| node.metric(&format!("portcullis_slot_calls_total{{outcome=\"{outcome}\"}}"));
    assert!(told(&nodes[0], "kept") > 0 && told(&nodes[1], "full") > 0);
    drop(streams.pop());
    let mut elsewhere = Vec::new();
    eventually("the slot that was given back", || {
        elsewhere.extend(stream(&nodes[1], &token));
        !elsewhere.is_empty()
    });
    nodes[0].gateway().signal("KILL");
    // What a busy machine adds is not the slots'.
    let took = time_until("slots of the dead", || {
        elsewhere.extend(stream(&nodes[1], &token));
        elsewhere.len() == MOST
    });
    assert!(took < Duration::from_secs(11), "{took:?}");
}

#[test]
fn without_redis_each_gateway_has_its_share_in_flight() {
    let (database, mut redis) = (Database::new("slotshare"), Redis::start());
    redis.is_old();
    let service = endless();
    let nodes: [_; 2] = some(|| at_once(sharing(&database, &redis), 3 * MOST).upstream(service));
    let token = token(&nodes[0], "ada@example.com");
    redis.kill();
    eventually("both to be alone", || {
        for node in &nodes {
            drop(stream(node, &token));
        }
        nodes.iter().all(|node| node.metric("portcullis_limits_away") == 1)
    });
    for node in &nodes {
        let mut streams = Vec::new();
        eventually("a share", || {
            streams.extend(stream(node, &token));
            streams.len() == MOST
        });
        assert_eq!(get(node, &token).code(), "concurrency_limited");
    }
}
