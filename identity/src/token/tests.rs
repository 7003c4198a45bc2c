//! Tokens that are good, and what their content must be. [`forgery`] tries every way to forge one, [`keys`] odd keys.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod foreign;
mod forgery;
mod keys;

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{claims::verify, *};
use crate::{
    AccessClaims, AccountId, AssertionClaims, Grant, KeyId, KeySet, Principal, SessionId, SigningKey, TokenRules,
    VerifyingKey, verify_jws,
};

const NOW: i64 = 1_800_000_000;
const EVERY: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Es256, Algorithm::Hs256];
const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

fn key(algorithm: Algorithm, kid: &str) -> SigningKey {
    SigningKey::generate(algorithm, kid.to_owned(), &mut StdRng::seed_from_u64(1)).unwrap()
}

/// The key that [`craft`] can sign anything with.
fn shared() -> SigningKey {
    SigningKey::hs256(&[7; 32], "k".into()).unwrap()
}

fn trusting(keys: &[&SigningKey]) -> KeySet {
    KeySet::new(keys.iter().map(|key| key.verifying_key()).collect(), None)
}

fn rules() -> TokenRules {
    TokenRules { issuer: "us".into(), audience: "door".into(), typ: TokenType::Access, leeway: Duration::from_secs(30) }
}

fn claims() -> Value {
    json!({ "iss": "us", "aud": "door", "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2), "iat": NOW, "exp": NOW + 60, "jti": Uuid::from_u128(3) })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn check(token: &str, keys: &KeySet) -> Result<AccessClaims, TokenError> {
    verify(token, keys, &rules(), now())
}

/// What comes of good claims in which one has another value.
fn changed(name: &str, value: impl Into<Value>) -> Option<TokenError> {
    let token = shared().sign(TokenType::Access, &with(|claims| claims[name] = value.into()));
    check(&token, &trusting(&[&shared()])).err()
}

/// Signs whatever header and payload the test makes up, with the right secret.
fn craft(key: &SigningKey, header: &str, payload: &str) -> String {
    craft_parts(key, &B64.encode(header), &B64.encode(payload))
}

/// Signs two parts as they are, whether they are base64url or not.
fn craft_parts(key: &SigningKey, header: &str, payload: &str) -> String {
    let message = format!("{header}.{payload}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.to_bytes()), message.as_bytes());
    format!("{message}.{}", B64.encode(signature))
}

#[test]
fn a_token_of_every_algorithm_is_verified_by_its_published_key() {
    for algorithm in EVERY {
        let key = key(algorithm, "k");
        let token = key.sign(TokenType::Access, &claims());
        assert_eq!(check(&token, &trusting(&[&key])).unwrap().sub, AccountId::new(Uuid::from_u128(1)), "{algorithm:?}");
        if let Some(jwk) = key.verifying_key().jwk() {
            let read = KeySet::new(vec![VerifyingKey::from_jwk(jwk).unwrap()], None);
            assert!(check(&token, &read).is_ok());
        }
        // Sealing and opening a key keeps it what it is.
        let again = SigningKey::from_bytes(algorithm, "k".into(), &key.to_bytes()).unwrap();
        assert!(check(&again.sign(TokenType::Access, &claims()), &trusting(&[&key])).is_ok());
    }
}

#[test]
fn a_missing_claim_is_refused() {
    for name in ["iss", "aud", "sub", "exp"] {
        let without = with(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        let token = shared().sign(TokenType::Access, &without);
        assert_eq!(
            check(&token, &trusting(&[&shared()])).err(),
            Some(TokenError::MissingClaim(name)),
            "without {name}"
        );
    }
}

#[test]
fn a_claim_of_another_type_is_refused_as_if_it_were_missing() {
    for name in ["iss", "aud", "sub"] {
        for odd in [json!(null), json!({}), json!(true), json!(7), json!([7])] {
            assert_eq!(changed(name, odd.clone()), Some(TokenError::MissingClaim(name)), "{name} = {odd}");
        }
    }
    assert_eq!(changed("iss", json!(["us"])), Some(TokenError::MissingClaim("iss")));
    assert_eq!(changed("sub", ""), Some(TokenError::MissingClaim("sub")));
    assert_eq!(changed("sub", "not an id"), Some(TokenError::Malformed));
    assert_eq!(changed("jti", 7), Some(TokenError::Malformed));
}

#[test]
fn an_issuer_is_ours_to_the_letter() {
    for iss in ["", "them", "US", "us ", "us/", "https://us"] {
        assert_eq!(changed("iss", iss), Some(TokenError::Issuer), "{iss}");
    }
}

#[test]
fn an_audience_is_one_text_or_several_and_we_are_among_them() {
    for aud in [json!("other"), json!(""), json!("Door"), json!("door "), json!([]), json!(["other", "Door"])] {
        assert_eq!(changed("aud", aud.clone()), Some(TokenError::Audience), "{aud}");
    }
    for aud in [json!([["door"]]), json!(["door", 7]), json!({ "door": "door" })] {
        assert_eq!(changed("aud", aud.clone()), Some(TokenError::MissingClaim("aud")), "{aud}");
    }
    let token = shared().sign(TokenType::Access, &with(|claims| claims["aud"] = json!(["other", "door"])));
    assert!(verify::<Value>(&token, &trusting(&[&shared()]), &rules(), now()).is_ok());
}

#[test]
fn time_is_checked_with_leeway_for_the_beginning_and_none_for_the_end() {
    assert_eq!(changed("exp", NOW + 1), None);
    assert_eq!(changed("exp", NOW as f64 + 1.5), None);
    for over in [json!(NOW), json!(NOW as f64 + 0.5), json!(NOW - 1), json!(0)] {
        assert_eq!(changed("exp", over.clone()), Some(TokenError::Expired), "{over}");
    }
    for name in ["nbf", "iat"] {
        assert_eq!(changed(name, 0), None, "{name}");
        assert_eq!(changed(name, NOW + 30), None, "{name}");
        assert_eq!(changed(name, NOW + 31), Some(TokenError::NotYetValid), "{name}");
        assert_eq!(changed(name, NOW as f64 + 31.5), Some(TokenError::NotYetValid), "{name}");
    }
}

/// Times as a payload spells them; `json!` would tidy them up.
#[test]
fn a_time_is_a_number_in_range_or_the_token_is_refused() {
    let at = |name: &str, spelt: &str| {
        let rest = with(|claims| drop(claims.as_object_mut().unwrap().remove(name))).to_string();
        let payload = rest.replacen('{', &format!(r#"{{"{name}":{spelt},"#), 1);
        check(&craft(&shared(), HEADER, &payload), &trusting(&[&shared()]))
    };
    for (spelt, whole) in [
        ("1900000000", 1_900_000_000),
        ("1900000000.75", 1_900_000_000),
        ("1.9e9", 1_900_000_000),
        ("253402300799", 253_402_300_799),
    ] {
        assert_eq!(at("exp", spelt).map(|claims| claims.exp), Ok(whole), "{spelt}");
    }
    let numbers = [
        "-1",
        "-0.5",
        "-1e18",
        "253402300800",
        "1e30",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999",
    ];
    let others = ["null", "true", "{}", "[]", "[1900000000]", "\"1900000000\"", "\"\""];
    for spelt in [numbers.as_slice(), &others].concat() {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(at(name, spelt).err(), Some(TokenError::MissingClaim(name)), "{name} = {spelt}");
        }
    }
    for spelt in
        ["1e400", "NaN", "Infinity", "0x7fffffff", "01900000000", "+1900000000", "1900000000,\"exp\":1900000000"]
    {
        assert_eq!(at("exp", spelt).err(), Some(TokenError::Malformed), "{spelt}");
    }
}

#[test]
fn a_token_of_one_purpose_never_serves_another() {
    let keys = trusting(&[&shared()]);
    let assertion_rules = TokenRules { typ: TokenType::Assertion, ..rules() };
    let assertion = shared().sign(TokenType::Assertion, &claims());
    assert_eq!(check(&assertion, &keys).err(), Some(TokenError::Type));
    assert!(verify::<Value>(&assertion, &keys, &assertion_rules, now()).is_ok());
    let access = shared().sign(TokenType::Access, &claims());
    assert_eq!(verify::<Value>(&access, &keys, &assertion_rules, now()).err(), Some(TokenError::Type));
}

#[test]
fn a_type_may_be_written_as_a_media_type_and_in_any_case() {
    for (typ, good) in [
        ("application/at+jwt", true),
        ("AT+JWT", true),
        ("at+jwt ", false),
        ("application/", false),
        ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}at+jwt", false),
    ] {
        let header = format!(r#"{{"alg":"HS256","typ":"{typ}","kid":"k"}}"#);
        assert_eq!(
            check(&craft(&shared(), &header, &claims().to_string()), &trusting(&[&shared()])).is_ok(),
            good,
            "{typ}"
        );
    }
}

#[test]
fn the_caller_is_told_that_a_token_expired_and_nothing_else() {
    assert_eq!(TokenError::Expired.code(), "expired");
    for error in [
        TokenError::Signature,
        TokenError::UnknownKey,
        TokenError::MissingClaim("sub"),
        TokenError::NotYetValid,
        TokenError::Audience,
    ] {
        assert_eq!(error.code(), "invalid_token");
    }
}

fn somebody() -> Principal {
    Principal {
        account: AccountId::new(Uuid::from_u128(1)),
        role: "user".into(),
        tier: "free".into(),
        tenant: Some(Uuid::from_u128(4).into()),
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Session(SessionId::new(Uuid::from_u128(2))),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    }
}

fn asserted(principal: &Principal) -> AssertionClaims {
    AssertionClaims::of(principal, "us", "demo", now(), TimeDelta::minutes(5))
}

#[test]
fn an_assertion_says_who_a_principal_is() {
    let session = somebody();
    let grant = Grant::Key(KeyId::new(Uuid::from_u128(3)));
    let key =
        Principal { grant, scopes: Some(["agents:read".into(), "demo:*".into()].into()), tenant: None, ..somebody() };
    assert_eq!(asserted(&key).scope.as_deref(), Some("agents:read demo:*"));
    let rules = TokenRules { issuer: "us".into(), audience: "demo".into(), typ: TokenType::Assertion, ..rules() };
    let cookie = Principal { grant: Grant::Cookie(SessionId::new(Uuid::from_u128(2))), ..somebody() };
    let raised = Principal { generation: 3, ..somebody() };
    for principal in [session, cookie, key, raised] {
        let token = shared().sign(TokenType::Assertion, &asserted(&principal));
        let claims: AssertionClaims = verify(&token, &trusting(&[&shared()]), &rules, now()).unwrap();
        assert_eq!((claims.iat, claims.exp), (NOW, NOW + 300));
        assert_eq!(Principal::try_from(claims).unwrap(), principal);
    }
    for key_id in [None, Some(KeyId::new(Uuid::from_u128(3)))] {
        let sid = key_id.map(|_| SessionId::new(Uuid::from_u128(2)));
        let odd = AssertionClaims { sid, key_id, ..asserted(&somebody()) };
        assert_eq!(Principal::try_from(odd).err(), Some(TokenError::MissingClaim("sid")), "{key_id:?}");
    }
}

#[test]
fn a_scope_with_a_space_in_it_does_not_become_two() {
    let read_back = |scopes: &[&str]| {
        let principal = Principal { scopes: Some(scopes.iter().map(|scope| (*scope).into()).collect()), ..somebody() };
        Principal::try_from(asserted(&principal)).unwrap().scopes.unwrap().into_vec()
    };
    assert_eq!(read_back(&["agents:read", "demo:read *", "x\u{a0}*", "\t*"]), [Box::from("agents:read")]);
    assert!(read_back(&[]).is_empty(), "restricted to nothing is not unrestricted");
    assert!(read_back(&["a b"]).is_empty());
}
