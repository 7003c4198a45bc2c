//! Many at once on one caller's budget, and strangers who would like to spend it.

use std::{sync::Barrier, thread};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use identity::{Algorithm, TokenType};
use serde_json::json;

use crate::{
    issuers::key,
    main_path::part,
    platform::{Answer, Platform, Setup},
};

/// The free tier's hundred, none of which comes back before the test is over.
fn platform() -> Platform {
    let shipped = "requests = \"100/minute\", concurrent = 20";
    Setup::default().edit("tiers.toml", shipped, "requests = \"100/hour\", concurrent = 200").start()
}

fn token(platform: &Platform, email: &str) -> String {
    platform.register(email)["access_token"].as_str().unwrap().to_owned()
}

/// How many requests the caller has left.
fn left(answer: &Answer) -> u32 {
    answer.header("x-ratelimit-remaining").unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

#[test]
fn fifty_at_once_on_one_budget_have_it_once_and_cost_nobody_else_anything() {
    let platform = platform();
    let (ada, bob) = (token(&platform, "ada@example.com"), token(&platform, "bob@example.com"));
    let all_there = Barrier::new(50);
    let asks = || {
        all_there.wait();
        [(); 4].map(|()| platform.get("/demo/x", &ada).status)
    };
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(asks)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let answered = |status: u16| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((answered(200), answered(429)), (100, 100), "{statuses:?}");
    assert_eq!(left(&platform.get("/demo/x", &bob)), 99);
}

#[test]
fn nobody_spends_the_budget_of_somebody_else() {
    let platform = platform();
    let (ada, bob) = (platform.register("ada@example.com"), token(&platform, "bob@example.com"));
    let made = platform.post("/auth/api-keys", Some(&bob), &json!({ "name": "ci" })).json();
    let bobs_key = ("X-API-Key", made["key"].as_str().unwrap());
    let (adas, named) = (ada["access_token"].as_str().unwrap(), ("X-User-Id", ada["user"]["id"].as_str().unwrap()));
    assert_eq!(left(&platform.get("/demo/x", adas)), 99);
    let (signed, _) = adas.rsplit_once('.').unwrap();
    let broken = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64]));
    let strangers = key(Algorithm::EdDsa, part(adas, 0)["kid"].as_str().unwrap());
    let forged = strangers.sign(TokenType::Access, &part(adas, 1));
    for number in 0..20 {
        assert_eq!(platform.get("/demo/x", &broken).code(), "invalid_token");
        assert_eq!(platform.get("/demo/x", &forged).code(), "invalid_token");
        assert_eq!(platform.send("GET", "/demo/x", &[named], "").code(), "missing_credential");
        let answer = platform.send("GET", "/demo/x", &[bobs_key, named], "");
        assert_eq!((answer.status, left(&answer)), (200, 99 - number), "{answer:?}");
    }
    assert_eq!(left(&platform.get("/demo/x", adas)), 98);
}
