//! Instructions of what is asked of every credential; counted by `scripts/check-instructions`.
#![expect(missing_docs, reason = "the macros make items that have none")]

use std::{hint::black_box, iter};

use chrono::{DateTime, Utc};
use gungraun::{library_benchmark, library_benchmark_group, main};
use identity::{
    AccessClaims, AccountId, Algorithm, ApiKey, Credential, KeyId, KeySet, SessionId, SigningKey, TokenRules,
    TokenType, verify,
};
use rand::{SeedableRng, rngs::StdRng};
use uuid::Uuid;

const NOW: i64 = 1_790_000_000;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// The same token each time it is run: no digit of it may change what is counted.
#[expect(clippy::expect_used, reason = "there is nothing to count without a token")]
fn token(algorithm: Algorithm) -> (String, KeySet, TokenRules) {
    let key = SigningKey::generate(algorithm, "key".into(), &mut rng()).expect("a key");
    let claims = AccessClaims {
        iss: "door".into(),
        aud: "people".into(),
        sub: AccountId::new(Uuid::from_u128(1)),
        email: None,
        sid: SessionId::new(Uuid::from_u128(2)),
        iat: NOW,
        exp: NOW + 60,
        jti: Uuid::from_u128(3),
        generation: 0,
    };
    let rules = TokenRules {
        issuer: "door".into(),
        audience: "people".into(),
        typ: TokenType::Access,
        leeway: std::time::Duration::from_secs(30),
    };
    (key.sign(TokenType::Access, &claims), KeySet::new(vec![key.verifying_key()], None), rules)
}

fn header() -> String {
    format!("Bearer {}", token(Algorithm::EdDsa).0)
}

fn api_key() -> String {
    ApiKey::generate(KeyId::new(Uuid::from_u128(4)), &mut rng()).expose().to_owned()
}

#[library_benchmark(setup = header)]
#[bench::bearer()]
fn credential(header: String) -> String {
    let values = [Some(header.as_bytes()), None].map(Option::into_iter);
    assert!(black_box(Credential::read(values, iter::empty(), iter::empty())).is_ok());
    header
}

#[library_benchmark(setup = api_key)]
#[bench::parse()]
fn key(text: String) -> String {
    assert!(black_box(ApiKey::parse(&text)).is_ok());
    text
}

#[library_benchmark(setup = token)]
#[bench::eddsa(Algorithm::EdDsa)]
#[bench::es256(Algorithm::Es256)]
fn verified((text, keys, rules): (String, KeySet, TokenRules)) -> (String, KeySet, TokenRules) {
    let now = DateTime::<Utc>::from_timestamp(NOW, 0).unwrap_or_default();
    assert!(black_box(verify::<AccessClaims>(&text, &keys, &rules, now)).is_ok());
    (text, keys, rules)
}

library_benchmark_group!(name = hot, benchmarks = [credential, key, verified]);
main!(library_benchmark_groups = hot);
