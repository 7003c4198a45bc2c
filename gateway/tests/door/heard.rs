//! How soon what one of three gateways changes is in force at the others: by polling alone, and pushed through Redis. What is promised, 1.5 s
//! and 100 ms at p99, `make bench-cluster` measures where nothing else runs; here are bounds that a busy machine keeps as well.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    cluster::{Redis, member, neighbour},
    database::Database,
    platform::{Answer, Platform, Setup, eventually, time_until},
};

/// A poll begins within a second. As [`time_until`] measures, here and below.
pub(crate) const POLLED: Duration = Duration::from_secs(3);
/// Polls alone would take half a second in the middle.
pub(crate) const PUSHED: Duration = Duration::from_millis(150);

/// What is done at one gateway, and whether another shows that it has heard of it.
struct Change<'a> {
    kind: &'static str,
    make: Box<dyn FnOnce() + 'a>,
    shows: Box<dyn Fn(&Platform) -> bool + Sync + 'a>,
}

// === impl Change ===

impl<'a> Change<'a> {
    fn new(kind: &'static str, make: impl FnOnce() + 'a, shows: impl Fn(&Platform) -> bool + Sync + 'a) -> Self {
        Self { kind, make: Box::new(make), shows: Box::new(shows) }
    }

    /// How long after it was done each of the others has shown it. All of them know before what it was like before.
    fn times(self, others: &[Platform]) -> Vec<Duration> {
        let Self { kind, make, shows } = self;
        assert!(!others.iter().any(&shows), "{kind}: shown before it was done");
        make();
        let shows = &shows;
        thread::scope(|scope| {
            let waiting: Vec<_> =
                others.iter().map(|other| scope.spawn(move || time_until(kind, || shows(other)))).collect();
            waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect()
        })
    }
}

/// One of each kind that requests make, each about somebody of its own.
fn changes<'a>(one: &'a Platform, root: &'a str, round: u8) -> Vec<Change<'a>> {
    let person = |name: &str| {
        let made = one.register(&format!("{name}-{round}@example.com"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["access_token"]), text(&made["user"]["id"]), text(&made["user"]["tenant_id"]))
    };
    let patch = move |path: String, body: Value| {
        move || assert_eq!(one.json("PATCH", &path, Some(root), &body).status, 200, "{path}: {body}")
    };
    let of_account = |kind: &'static str, body: Value, shows: fn(&Answer) -> bool| {
        let (token, id, _) = person(kind);
        Change::new(kind, patch(format!("/admin/users/{id}"), body), move |other| shows(&other.get("/demo/x", &token)))
    };
    let (token, _, _) = person("logout");
    let shown = token.clone();
    let logout = Change::new(
        "logout",
        move || assert_eq!(one.post("/auth/logout", Some(&token), &json!({})).status, 200),
        move |other| other.get("/demo/x", &shown).code() == "revoked",
    );
    let (owner, _, _) = person("key");
    let key = one.post("/auth/api-keys", Some(&owner), &json!({ "name": "CI" })).json();
    let (place, key) = (format!("/auth/api-keys/{}", key["id"].as_str().unwrap()), key["key"].clone());
    let bearer = format!("Bearer {owner}");
    let delete = move || assert_eq!(one.send("DELETE", &place, &[("Authorization", &bearer)], "").status, 204);
    let key = Change::new("key", delete, move |other| other.get("/demo/x", key.as_str().unwrap()).status == 401);
    let (token, _, tenant) = person("tenant");
    let disable = patch(format!("/admin/tenants/{tenant}"), json!({ "status": "disabled" }));
    let tenant = Change::new("tenant", disable, move |other| other.get("/demo/x", &token).code() == "tenant_disabled");
    vec![
        logout,
        key,
        tenant,
        of_account("role", json!({ "role": "developer" }), |seen| seen.received("x-user-role") == ["developer"]),
        of_account("tier", json!({ "tier": "pro" }), |seen| seen.received("x-user-tier") == ["pro"]),
        of_account("status", json!({ "status": "disabled" }), |seen| seen.code() == "account_disabled"),
    ]
}

/// The one that a command makes: whose keys sign. One more of each kind is published then.
fn rotation(one: &Platform) -> Change<'_> {
    let published =
        |node: &Platform| node.send("GET", "/.well-known/jwks.json", &[], "").body.matches("\"kid\"").count();
    let before = published(one);
    let rotate = move || assert!(one.command(&["keys", "rotate"]).output().unwrap().status.success());
    Change::new("signing key", rotate, move |other| published(other) == before + 2)
}

/// Nobody who asks again and again is told to wait.
fn node(setup: Setup) -> Platform {
    setup.edit("tiers.toml", "100/minute", "10000/minute").start()
}

#[test]
fn every_change_is_in_force_at_every_gateway_within_a_moment_by_polling_alone() {
    let database = Database::new("polled");
    let nodes: [_; 3] = std::array::from_fn(|_| node(neighbour(&database)));
    let [one, others @ ..] = &nodes;
    let root = one.admin();
    for change in changes(one, &root, 0).into_iter().chain([rotation(one)]) {
        let kind = change.kind;
        let times = change.times(others);
        assert!(times.iter().all(|time| *time < POLLED), "{kind}: {times:?}");
    }
}

#[test]
fn every_change_is_pushed_to_every_gateway_sooner_than_any_polls() {
    let (database, mut redis) = (Database::new("pushed"), Redis::start());
    redis.is_old();
    let nodes: [_; 3] = std::array::from_fn(|_| {
        let setup = member(&database, &redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"");
        node(setup.edit("gateway.toml", "# nodes = 3", "nodes = 3"))
    });
    for node in &nodes {
        eventually("Redis to be found", || node.metric("portcullis_redis_healthy") == 1);
    }
    let [one, others @ ..] = &nodes;
    let root = one.admin();
    let all = (0..3).flat_map(|round| changes(one, &root, round));
    let of_requests: Vec<_> = all.flat_map(|change| change.times(others)).collect();
    let of_commands: Vec<_> = (0..3).flat_map(|_| rotation(&others[0]).times(others)).collect();
    for mut times in [of_requests, of_commands] {
        times.sort_unstable();
        assert!(times[times.len() / 2] < PUSHED && times[times.len() - 1] < POLLED, "{times:?}");
    }
    redis.kill();
    let unheard = one.command(&["keys", "rotate"]).output().unwrap();
    assert!(unheard.status.success(), "{unheard:?}");
    let said = String::from_utf8_lossy(&unheard.stderr);
    assert!(said.starts_with("Redis tells nobody"), "{said}");
}
