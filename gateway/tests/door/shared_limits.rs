//! Several gateways, one limit: a caller who hammers all of them gets what one would let through, whatever goes wrong.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Redis, member},
    database::Database,
    platform::{Answer, PASSWORD, Platform, Setup, eventually, pace, silence},
};

/// What a test makes of the limit of the tier `free`.
pub(crate) const WINDOW: Duration = Duration::from_secs(3);
pub(crate) const QUOTA: usize = 30;

/// A request that was let in: when it was sent, and when it had been answered.
pub(crate) type Admitted = (Instant, Instant);

pub(crate) fn refusing(database: &Database, redis: &Redis) -> Setup {
    limited(member(database, redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\""))
}

pub(crate) fn sharing(database: &Database, redis: &Redis) -> Setup {
    let setup = member(database, redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"");
    limited(setup.edit("gateway.toml", "# nodes = 3", "nodes = 3"))
}

pub(crate) fn limited(setup: Setup) -> Setup {
    setup.edit("tiers.toml", "\"100/minute\", concurrent = 20", "\"30/3s\"")
}

/// Gateways that have found Redis.
pub(crate) fn some<const N: usize>(setup: impl Fn() -> Setup) -> [Platform; N] {
    let nodes = std::array::from_fn(|_| setup().start());
    nodes.iter().for_each(has_redis);
    nodes
}

fn has_redis(node: &Platform) {
    eventually("Redis to be found", || node.metric("portcullis_limits_away") == 0);
}

/// The token of somebody new. On a busy machine Redis may seem to be away for a moment.
pub(crate) fn token(node: &Platform, email: &str) -> String {
    let body = serde_json::json!({ "email": email, "password": PASSWORD, "name": "A Person" });
    let mut token = None;
    eventually("an account", || {
        let answer = node.post("/auth/register", None, &body);
        token = (answer.status == 201).then(|| answer.json()["access_token"].as_str().unwrap().to_owned());
        token.is_some()
    });
    token.unwrap()
}

/// Hammers every node while `act` does what it does. Gives what was let in.
pub(crate) fn hammer(nodes: &[Platform], token: &str, act: impl FnOnce(&Mutex<Vec<Admitted>>)) -> Vec<Admitted> {
    let (admitted, is_over) = (&Mutex::new(Vec::new()), &AtomicBool::new(false));
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    match get(node, token).status {
                        200 => admitted.lock().unwrap().push((sent, Instant::now())),
                        // Not as fast as it could, since others want the processor too; a node that was killed says nothing.
                        429 | 503 | 0 => pace(Duration::from_millis(5)),
                        other => panic!("{other}"),
                    }
                }
            });
        }
        // Whatever happens, those threads must end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(admitted)));
        is_over.store(true, Ordering::Relaxed);
        if let Err(failed) = done {
            std::panic::resume_unwind(failed);
        }
    });
    std::mem::take(&mut admitted.lock().unwrap())
}

/// As a client that survives the end of a node.
pub(crate) fn get(node: &Platform, token: &str) -> Answer {
    let request = format!(
        "GET /demo/x HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    node.try_raw(request.as_bytes())
}

/// Waits until so many more have been let in.
pub(crate) fn until_more(admitted: &Mutex<Vec<Admitted>>, more: usize, when: &str) {
    let before = admitted.lock().unwrap().len();
    eventually(when, || admitted.lock().unwrap().len() >= before + more);
}

/// The most that were surely let in within one window.
pub(crate) fn most_in_a_window(mut admitted: Vec<Admitted>) -> usize {
    admitted.sort_unstable();
    let within = |from: Instant| admitted.iter().filter(move |(sent, ended)| *sent >= from && *ended <= from + WINDOW);
    admitted.iter().map(|(sent, _)| within(*sent).count()).max().unwrap_or_default()
}

#[test]
fn three_gateways_let_through_what_one_may_while_redis_freezes_forgets_and_a_node_dies() {
    let (database, mut redis) = (Database::new("shared"), Redis::start());
    redis.is_old();
    let mut nodes: [_; 3] = some(|| refusing(&database, &redis));
    let (token, pid) = (token(&nodes[0], "ada@example.com"), nodes[2].gateway().pid().to_string());
    let admitted = hammer(&nodes, &token, |admitted| {
        until_more(admitted, 2 * QUOTA, "the quota to be used twice");
        redis.signal("-STOP");
        eventually("the freeze to be noticed", || nodes[0].metric("portcullis_limits_away") == 1);
        redis.signal("-CONT");
        until_more(admitted, QUOTA, "leases after the freeze");
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        until_more(admitted, QUOTA, "leases without the dead node");
        redis.kill();
        redis.serve();
        until_more(admitted, QUOTA, "leases from the new memory");
    });
    let most = most_in_a_window(admitted);
    assert!(most <= QUOTA, "{most} in {WINDOW:?}");
}

#[test]
fn a_declared_overshoot_is_spent_without_waiting_and_is_never_exceeded() {
    const MORE: usize = 6;
    let (database, redis) = (Database::new("overshoot"), Redis::start());
    redis.is_old();
    let overshot = || sharing(&database, &redis).edit("tiers.toml", "\"30/3s\"", "\"30/3s\", max_overshoot = 6");
    let nodes: [_; 3] = some(overshot);
    let token = token(&nodes[0], "ada@example.com");
    let ahead = || nodes.iter().map(|node| node.metric("portcullis_lease_units_total{fate=\"ahead\"}")).sum::<u64>();
    let admitted = hammer(&nodes, &token, |admitted| until_more(admitted, 2 * QUOTA, "the quota to be used twice"));
    assert!(ahead() > 0);
    let most = most_in_a_window(admitted);
    assert!(most <= QUOTA + MORE, "{most} in {WINDOW:?}");
    // And nobody waits for a Redis that says nothing.
    silence(WINDOW + Duration::from_millis(200));
    let began = ahead();
    redis.signal("-STOP");
    assert_eq!(get(&nodes[1], &token).status, 200);
    assert_eq!(ahead(), began + 1);
}

#[test]
fn an_empty_redis_is_told_of_with_the_time_when_it_will_have_counted_for_every_window() {
    let (database, redis) = (Database::new("young"), Redis::start());
    let [node] = some(|| refusing(&database, &redis));
    let ready = || node.send("GET", "/readyz", &[], "");
    eventually("the memory to be looked at", || ready().body.contains("shared_limits_without_memory"));
    assert_eq!(ready().status, 200);
    let left = node.metric("portcullis_limits_young_seconds");
    assert!((3500..=3700).contains(&left), "the longest window of the shipped routes is an hour: {left}");
    // What is limited by the hour, and may be by nobody's word before.
    let reset = || node.post("/auth/request-password-reset", None, &serde_json::json!({ "email": "ada@example.com" }));
    let wait = |answer: &Answer| answer.header("retry-after").and_then(|wait| wait.parse().ok()).unwrap_or(0_u64);
    eventually("the refusal of an hour", || {
        let answer = reset();
        answer.code() == "limiter_unavailable" && wait(&answer) > 30
    });
    assert_eq!(node.log().matches("Redis does not know what was spent before").count(), 1, "{}", node.log());
}

#[test]
fn a_redis_that_has_counted_for_every_window_is_as_good_as_any() {
    let (database, redis) = (Database::new("grown"), Redis::start());
    let short = || {
        let setup = refusing(&database, &redis).edit("routes.toml", "/hour\"", "/2s\"");
        setup.edit("routes.toml", "/minute\"", "/second\"").edit("tiers.toml", "/minute\"", "/second\"")
    };
    let [node] = some(short);
    let ready = || node.send("GET", "/readyz", &[], "").body;
    eventually("it to be told of", || node.log().contains("Redis does not know what was spent before"));
    eventually("its window to be over", || ready().contains("\"ready\""));
    assert_eq!(node.metric("portcullis_limits_young_seconds"), 0);
}

#[test]
fn a_redis_that_has_counted_for_every_window_has_not_for_a_longer_one_that_comes_with_a_reload() {
    let (database, redis) = (Database::new("longer"), Redis::start());
    let short = || {
        let setup = refusing(&database, &redis).edit("routes.toml", "/hour\"", "/2s\"");
        setup.edit("routes.toml", "/minute\"", "/second\"").edit("tiers.toml", "/minute\"", "/second\"")
    };
    let [node] = some(short);
    let ready = || node.send("GET", "/readyz", &[], "").body;
    eventually("its window to be over", || {
        node.log().contains("Redis does not know what was spent before") && ready().contains("\"ready\"")
    });
    let tiers = node.folder.path().join("config/tiers.toml");
    let text = fs::read_to_string(&tiers).unwrap();
    fs::write(&tiers, text.replace("\"30/3s\"", "\"30/hour\"")).unwrap();
    eventually("it to be too young", || ready().contains("shared_limits_without_memory"));
    let left = node.metric("portcullis_limits_young_seconds");
    assert!((3400..=3700).contains(&left), "{left}");
    fs::write(&tiers, text).unwrap();
    eventually("it to be old enough", || ready().contains("\"ready\""));
}

#[test]
fn without_redis_each_gateway_lets_through_its_share() {
    let (database, mut redis) = (Database::new("share"), Redis::start());
    redis.is_old();
    let nodes: [_; 3] = some(|| sharing(&database, &redis));
    let token = token(&nodes[0], "ada@example.com");
    let alone = || nodes.iter().map(|node| node.metric("portcullis_lease_units_total{fate=\"alone\"}")).sum::<u64>();
    let admitted = hammer(&nodes, &token, |admitted| {
        until_more(admitted, QUOTA, "the quota to be used");
        redis.kill();
        eventually("all to be alone", || nodes.iter().all(|node| node.metric("portcullis_limits_away") == 1));
        let ready = nodes[1].send("GET", "/readyz", &[], "");
        assert!(ready.status == 200 && ready.body.contains("shared_limits_unavailable"), "{ready:?}");
        let before = alone();
        eventually("shares to be used twice", || alone() >= before + 2 * QUOTA as u64);
        redis.serve();
        eventually("Redis to be found", || nodes.iter().all(|node| node.metric("portcullis_limits_away") == 0));
        until_more(admitted, 2 * QUOTA, "leases from the new memory");
    });
    let most = most_in_a_window(admitted);
    assert!(most <= 2 * QUOTA - QUOTA / 3, "{most} in {WINDOW:?}");
}

#[test]
fn with_a_dead_redis_nobody_is_let_through_where_so_it_was_said() {
    let (database, mut redis) = (Database::new("refuse"), Redis::start());
    redis.is_old();
    let [node] = some(|| refusing(&database, &redis));
    let (limited, unlimited) = (token(&node, "ada@example.com"), token(&node, "bob@example.com"));
    eventually("a lease", || node.get("/demo/x", &limited).status == 200);
    assert!(node.metric("portcullis_lease_seconds_count") > 0);
    // Of this the door hears when it meets somebody for the first time.
    database.run("UPDATE accounts SET tier = 'enterprise'");
    redis.kill();
    eventually("requests to be refused", || node.get("/demo/x", &limited).code() == "limiter_unavailable");
    assert_eq!(node.get("/demo/x", &limited).header("retry-after"), Some("5"));
    // For those without a limit nobody is asked.
    assert_eq!(node.get("/demo/x", &unlimited).status, 200);
}

#[test]
fn an_outage_is_noticed_although_nobody_asks_for_anything() {
    let (database, redis) = (Database::new("unasked"), Redis::start());
    redis.is_old();
    let [node] = some(|| refusing(&database, &redis));
    redis.signal("-STOP");
    eventually("the freeze to be noticed", || node.metric("portcullis_limits_away") == 1);
    redis.signal("-CONT");
    has_redis(&node);
}

#[test]
fn addresses_are_counted_together_and_an_empty_redis_lends_nothing_for_a_window() {
    let (database, redis) = (Database::new("addresses"), Redis::start());
    redis.is_old();
    let nodes: [_; 3] = some(|| refusing(&database, &redis).edit("routes.toml", "600/minute", "7/10m"));
    let health = |n: usize| nodes[n % 3].send("GET", "/health", &[], "");
    let admitted = (0..60).filter(|n| health(*n).status == 200).count();
    assert!((1..=7).contains(&admitted), "{admitted}");
    redis.run(&["flushall"]);
    eventually("the loss to be noticed", || health(1).code() == "limiter_unavailable");
    redis.is_old();
    eventually("a memory that is old enough", || health(1).status == 200);
}

#[test]
fn a_redis_that_is_restarted_from_a_snapshot_lends_nothing_twice() {
    let (database, mut redis) = (Database::new("snapshot"), Redis::start());
    redis.is_old();
    let nodes: [_; 2] = some(|| refusing(&database, &redis).edit("tiers.toml", "30/3s", "30/hour"));
    let [token, other] = ["ada@example.com", "bob@example.com"].map(|email| token(&nodes[0], email));
    // Nothing is spent yet, and the memory is old enough to lend.
    assert_eq!((redis.run(&["save"]).as_str(), redis.spent()), ("OK", 0));
    let ask = |n: usize| nodes[n % 2].get("/demo/x", &token);
    eventually("the quota to be spent", || (0..2).all(|n| ask(n).code() == "rate_limited"));
    redis.kill();
    eventually("the loss to be noticed", || nodes.iter().all(|node| node.metric("portcullis_limits_away") == 1));
    redis.serve();
    nodes.iter().for_each(has_redis);
    // Who was told to wait goes on waiting; who asks Redis hears that it lends nothing.
    let again: Vec<_> = (0..20).map(|n| ask(n).code()).collect();
    assert!(again.iter().all(|code| code == "limiter_unavailable" || code == "rate_limited"), "{again:?}");
    eventually("the loss to be told", || nodes[1].get("/demo/x", &other).code() == "limiter_unavailable");
    eventually("the log to say so", || nodes.iter().any(|node| node.log().contains("it counts as empty")));
    // It counts on from there.
    redis.is_old();
    eventually("a memory that is old enough", || nodes[1].get("/demo/x", &other).status == 200);
}

#[test]
fn a_changed_limit_counts_from_the_next_lease_on() {
    let (database, redis) = (Database::new("changed"), Redis::start());
    redis.is_old();
    let limit = |node: &Platform, units: &str| {
        let (path, before) =
            (node.folder.path().join("config/tiers.toml"), node.metric("portcullis_config_generation"));
        let text = std::fs::read_to_string(&path).unwrap();
        let at = text.find("requests = \"").unwrap() + "requests = \"".len();
        let end = at + text[at..].find('/').unwrap();
        std::fs::write(&path, format!("{}{units}{}", &text[..at], &text[end..])).unwrap();
        eventually("the new limit", || node.metric("portcullis_config_generation") > before);
    };
    let hour = || refusing(&database, &redis).edit("tiers.toml", "30/3s", "30/hour");
    let nodes: [_; 2] = some(hour);
    let token = token(&nodes[0], "ada@example.com");
    let ask_often = |tries: usize| (0..tries).filter(|n| nodes[n % 2].get("/demo/x", &token).status == 200).count();
    let mut spent = 0;
    eventually("twenty of thirty", || {
        spent += ask_often(2);
        spent >= 20
    });
    for node in &nodes {
        limit(node, "10");
    }
    eventually("leases of the old limit to end", || ask_often(1) == 0);
    let spent_before = redis.spent();
    assert_eq!(ask_often(10), 0);
    for node in &nodes {
        limit(node, "40");
    }
    let mut more = 0;
    eventually("the rest", || {
        more += ask_often(2);
        redis.spent() >= 40
    });
    assert!((20..=30).contains(&spent_before) && spent + more <= 40, "{spent_before}, {spent}, {more}");
}

#[test]
fn of_two_groups_that_share_a_prefix_each_is_held_to_its_own_number_and_the_larger_one_bounds_the_sum() {
    let (few, many, redis) = (Database::new("few"), Database::new("many"), Redis::start());
    redis.is_old();
    let of = |database: &Database, limit: &str| {
        let [node] = some(|| refusing(database, &redis).edit("routes.toml", "600/minute", limit));
        node
    };
    let (few, many, other) = (of(&few, "7/10m"), of(&many, "15/10m"), of(&many, "15/20m"));
    let admitted = |node: &Platform| (0..30).filter(|_| node.send("GET", "/health", &[], "").status == 200).count();
    let first = admitted(&few);
    let then = admitted(&many);
    assert!((1..=7).contains(&first) && then >= 1 && first + then <= 15, "{first}, {then}");
    assert_eq!(admitted(&few), 0);
    // A limit over another length of time is another limit.
    assert!((1..=15).contains(&admitted(&other)));
}

#[test]
fn a_redis_that_cannot_be_written_to_is_told_of_and_counts_as_away() {
    let database = Database::new("unfit");
    for (unfit, why) in [
        (&["--maxmemory", "1"][..], "OOM"),
        (&["--rename-command", "evalsha", "", "--rename-command", "eval", ""], "unknown command"),
        (&["--replicaof", "127.0.0.1", "1"], "read only replica"),
    ] {
        let redis = Redis::with(unfit);
        eventually("Redis to answer", || redis.run(&["ping"]) == "PONG");
        let node = refusing(&database, &redis).start();
        eventually("the log to say so", || node.log().contains(why));
        assert_eq!(node.metric("portcullis_limits_away"), 1);
        assert!(node.send("GET", "/readyz", &[], "").body.contains("shared_limits_unavailable"));
    }
}
