//! The disk of the data folder has no room left, under a gateway that is being used.

use std::{
    fs::{self, OpenOptions},
    io::Write,
};

use serde_json::json;

use crate::{
    cluster::Redis,
    database::Database,
    platform::{Answer, PASSWORD, Platform, Setup, eventually},
    postgres_outages::Cluster,
    servers::Postgres,
};

/// Takes all the room there is; gives it back by [`fs::remove_file`].
fn fill(platform: &Platform) {
    let mut file = OpenOptions::new().create(true).append(true).open(platform.disk().join("fill")).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
}

fn register(platform: &Platform, number: usize) -> Answer {
    let person = json!({ "email": format!("p{number}@example.com"), "password": PASSWORD, "name": "A Person" });
    platform.post("/auth/register", None, &person)
}

#[test]
fn without_room_the_door_serves_refuses_writes_with_503_loses_nothing_and_recovers_by_itself() {
    let platform = Setup::default()
        .disk("24m")
        .edit("routes.toml", "30/minute", "100000/minute")
        .edit("tiers.toml", "\"100/minute\"", "\"100000/minute\"")
        .start();
    platform.register("ada@example.com");
    let [known, unseen] = [0, 1].map(|_| platform.login("ada@example.com"));
    assert_eq!(platform.get("/demo/x", &known).status, 200);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        fill(&platform);
        let mut refused = None;
        eventually("a write to be refused", || {
            let answer = register(&platform, acknowledged.len());
            if answer.status == 201 {
                acknowledged.push(format!("p{}@example.com", acknowledged.len()));
                fill(&platform);
                return false;
            }
            refused = Some(answer);
            true
        });
        let refused = refused.unwrap();
        assert_eq!((refused.status, refused.code().as_str()), (503, "directory_unavailable"), "{round}: {refused:?}");
        for token in [&known, &unseen] {
            let answer = platform.get("/demo/x", token);
            assert_eq!(answer.status, 200, "{round}: {answer:?}");
        }
        fs::remove_file(platform.disk().join("fill")).unwrap();
        eventually("a write", || register(&platform, acknowledged.len()).status == 201);
        acknowledged.push(format!("p{}@example.com", acknowledged.len()));
    }
    for email in &acknowledged {
        platform.login(email);
    }
}

#[test]
fn a_report_of_usage_is_kept_or_refused_and_nothing_that_was_taken_is_lost() {
    let platform = Setup::default().disk("24m").edit("tiers.toml", "\"100/minute\"", "\"100000/minute\"").start();
    let (_, service) = platform.service_account_on_its_disk("meter");
    let registered = platform.register("ada@example.com");
    let (ada, token) = (&registered["user"]["id"], registered["access_token"].as_str().unwrap());
    let report = |event: usize| {
        let id = format!("0190a5a0-0000-7000-8000-{event:012}");
        platform.post(
            "/usage",
            Some(&service),
            &json!({ "service": "claude", "tokens_used": 1, "account_id": ada, "event_id": id }),
        )
    };
    assert_eq!(report(0).status, 202);
    let mut accepted = 1;
    for _ in 0..3 {
        fill(&platform);
        let mut refused = None;
        eventually("a report to be refused", || {
            let answer = report(accepted);
            if answer.status == 202 {
                accepted += 1;
                fill(&platform);
                return false;
            }
            refused = Some(answer);
            true
        });
        let refused = refused.unwrap();
        assert_eq!((refused.status, refused.code().as_str()), (503, "directory_unavailable"), "{refused:?}");
        fs::remove_file(platform.disk().join("fill")).unwrap();
        // Again by the same id, as whoever is refused does.
        eventually("a report to be taken", || report(accepted).status == 202);
        accepted += 1;
    }
    let counted = || platform.get("/usage?group_by=service", token).json()["items"][0]["tokens_used"].clone();
    eventually("all that was taken, once", || counted() == json!(accepted));
}

/// Nothing is left to write to: neither the database, to which uses are brought, nor the disk, where they wait for it.
#[test]
fn what_is_used_without_database_and_without_room_is_counted_once_when_both_are_back() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    let platform = Setup::default()
        .disk("24m")
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"500ms\"")
        .edit("tiers.toml", "\"100/minute\"", "\"100000/minute\"")
        .start();
    let registered = platform.register("ada@example.com");
    let token = registered["access_token"].as_str().unwrap();
    let mut used = 0;
    let mut use_some = || {
        for _ in 0..20 {
            assert_eq!(platform.get("/demo/x", token).status, 200);
            used += 1;
        }
        used
    };
    use_some();
    postgres.stop();
    use_some();
    eventually("the disk to hold what waits", || platform.metric("portcullis_usage_segments_waiting") > 0);
    fill(&platform);
    eventually("the disk to take nothing", || {
        use_some();
        platform.metric("portcullis_usage_stuck") == 1
    });
    let used = use_some();
    let failed = || platform.metric("portcullis_usage_failures_total{what=\"write\"}");
    eventually("it to be told", || failed() > 0);
    fs::remove_file(platform.disk().join("fill")).unwrap();
    eventually("the disk to take it", || platform.metric("portcullis_usage_stuck") == 0);
    postgres.serve();
    let counted = || platform.get("/usage?group_by=route", token).json()["items"][0]["requests"].clone();
    eventually("all that was used, once", || counted() == json!(used));
}

/// With the database elsewhere it is what was used that a gateway keeps on its disk.
#[test]
fn one_of_three_gateways_without_room_serves_on_and_counts_all_that_is_used_once() {
    let (database, redis) = (Database::new("room"), Redis::start());
    redis.is_old();
    let cluster = Cluster::with(&database, &redis, |number, setup| if number == 0 { setup.disk("24m") } else { setup });
    let (full, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (_, service) = other.service_account("meter");
    let registered = full.register("cid@example.com");
    let (cid, token) = (&registered["user"]["id"], registered["access_token"].as_str().unwrap());
    let report = |node: &Platform, event: usize| {
        let id = format!("0190a5a0-0000-7000-8000-{event:012}");
        let report = json!({ "service": "claude", "tokens_used": 1, "event_id": id, "account_id": cid });
        node.post("/usage", Some(&service), &report)
    };
    for node in [full, other] {
        eventually("the service to be known", || report(node, 0).status == 202);
    }
    let (mut used, mut reported) = (0, 1);
    cluster.under_load(|| {
        eventually("a report to be refused", || {
            fill(full);
            for _ in 0..20 {
                assert_eq!(full.get("/demo/x", token).status, 200);
                used += 1;
            }
            let answer = report(full, reported);
            if answer.status == 202 {
                reported += 1;
                return false;
            }
            assert_eq!((answer.status, answer.code().as_str()), (503, "directory_unavailable"), "{answer:?}");
            true
        });
        // What is written elsewhere has room.
        full.register("dan@example.com");
        // By the same id, as whoever is refused does.
        assert_eq!(report(other, reported).status, 202);
        reported += 1;
        fs::remove_file(full.disk().join("fill")).unwrap();
        eventually("the disk to take it", || full.metric("portcullis_usage_stuck") == 0);
    });
    let counted = || {
        let items = full.get("/usage?group_by=service", token).json()["items"].clone();
        (items[0]["requests"].clone(), items[1]["tokens_used"].clone())
    };
    eventually("all that was used and reported, once", || counted() == (json!(used), json!(reported)));
}
