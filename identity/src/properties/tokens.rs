//! A forged token is never accepted, and one that was signed only as far as its content allows.
//!
//! The first byte says what is made of the rest (see [`token_verifier`]), so that a fuzzer need not find signatures.

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    AccessClaims, Algorithm, AssertionClaims, KeySet, SigningKey, TokenRules, TokenType, VerifyingKey, verify,
    verify_jws,
};

const NOW: i64 = 1_800_000_000;
const SECRET: [u8; 32] = [7; 32];
/// Of RFC 7515 §A.3.1 and §A.2.1: keys of the other algorithms, with which nothing here was signed.
const STRANGERS: [&str; 2] = [
    r#"{"kid":"es","alg":"ES256","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    r#"{"kid":"rs","alg":"RS256","kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
];

struct Trusted {
    keys: KeySet,
    ed: SigningKey,
    /// Everything that was ever signed, once by each key.
    genuine: [String; 2],
}

#[expect(clippy::unwrap_used, reason = "the keys are known to be good")]
static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    let ed = SigningKey::from_bytes(Algorithm::EdDsa, "ed".into(), &[1; 32]).unwrap();
    let hs = SigningKey::hs256(&SECRET, "hs".into()).unwrap();
    let strangers = STRANGERS.map(|jwk| VerifyingKey::from_jwk(&serde_json::from_str(jwk).unwrap()).unwrap());
    let own = [ed.verifying_key(), hs.verifying_key()];
    let claims = json!({ "iss": "us", "aud": "door", "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2), "iat": NOW, "exp": NOW + 60, "jti": Uuid::from_u128(3) });
    let genuine = [&ed, &hs].map(|key| key.sign(TokenType::Access, &claims));
    Trusted { keys: KeySet::new(own.into_iter().chain(strangers).collect(), Some("hs")), ed, genuine }
});

fn rules() -> TokenRules {
    TokenRules { issuer: "us".into(), audience: "door".into(), typ: TokenType::Access, leeway: Duration::from_secs(30) }
}

fn check(token: &str) -> Option<AccessClaims> {
    let now: DateTime<Utc> = DateTime::from_timestamp(NOW, 0)?;
    verify(token, &TRUSTED.keys, &rules(), now).ok()
}

/// Tokens that are good, and whether they are accepted.
#[must_use]
pub fn genuine() -> Vec<(String, bool)> {
    TRUSTED.genuine.iter().map(|token| (token.clone(), check(token).is_some())).collect()
}

/// ```text
/// t text            the token itself
/// 0 1   patches     a genuine token with bytes replaced: place (two bytes) and byte, again and again
/// h p s bytes       a genuine token with another header, payload or signature
/// e f   text        a genuine token with the text in place of the end, or of the beginning, from its second dot on
/// c text            the text as claims, signed
/// H text            the text as header of genuine claims, signed
/// ```
///
/// # Panics
/// When a forged token is accepted, or a signed one says what must not be accepted.
pub fn token_verifier(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let trusted = &*TRUSTED;
    let [header, payload, signature] = parts(&trusted.genuine[usize::from(mode % 2)]);
    let encoded = B64.encode(rest);
    let text = String::from_utf8_lossy(rest);
    match mode {
        b't' => forged(&text),
        b'0' | b'1' => forged(&patched(&trusted.genuine[usize::from(mode % 2)], rest)),
        b'h' => forged(&format!("{encoded}.{payload}.{signature}")),
        b'p' => forged(&format!("{header}.{encoded}.{signature}")),
        b's' => forged(&format!("{header}.{payload}.{encoded}")),
        b'e' => forged(&format!("{header}.{payload}.{text}")),
        b'f' => forged(&format!("{text}.{signature}")),
        b'c' => content(rest),
        b'H' => envelope(rest, payload),
        _ => {}
    }
}

fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn patched(token: &str, patches: &[u8]) -> String {
    let mut bytes = token.as_bytes().to_vec();
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([patch[0], patch[1]])) % bytes.len();
        bytes[at] = patch[2];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Nothing that was not signed, to the byte, is accepted: neither other content nor another spelling of the same.
fn forged(token: &str) {
    if verify_jws(token, &TRUSTED.keys).is_ok() {
        assert!(TRUSTED.genuine.iter().any(|genuine| genuine == token), "{token} was never signed");
    }
}

/// Claims of any kind, signed by a key that is trusted.
fn content(claims: &[u8]) {
    let header = B64.encode(r#"{"alg":"HS256","kid":"hs","typ":"at+jwt"}"#);
    let Some(accepted) = check(&signed(&format!("{header}.{}", B64.encode(claims)))) else { return };
    let said: Value = serde_json::from_slice(claims).unwrap_or_default();
    assert_eq!(said["iss"], "us", "{said}");
    let audience = &said["aud"];
    assert!(audience == "door", "{said}: only one audience can be said back");
    let seconds = |name: &str| said[name].as_f64();
    assert!(seconds("exp").is_some_and(|exp| exp >= (NOW + 1) as f64), "{said}");
    for name in ["nbf", "iat"] {
        let early = said.get(name).is_some() && seconds(name).is_none_or(|from| from >= (NOW + 31) as f64);
        assert!(!early, "{said}");
    }
    assert_eq!(said["sub"].as_str().map(str::parse), Some(Ok(accepted.sub.uuid())), "{said}");
    assert_eq!(Some(accepted.exp), seconds("exp").map(|exp| exp as i64), "{said}");
    // What is signed for one purpose never serves another.
    let assertion = TokenRules { typ: TokenType::Assertion, ..rules() };
    let again = TRUSTED.ed.sign(TokenType::Access, &said);
    let now = DateTime::from_timestamp(NOW, 0).unwrap_or_default();
    assert!(verify::<AssertionClaims>(&again, &TRUSTED.keys, &assertion, now).is_err(), "{said}");
}

/// A header of any kind over genuine claims, signed with the shared secret.
fn envelope(header: &[u8], payload: &str) {
    if check(&signed(&format!("{}.{payload}", B64.encode(header)))).is_none() {
        return;
    }
    let said: Value = serde_json::from_slice(header).unwrap_or_default();
    assert_eq!(said["alg"], "HS256", "{said}");
    assert!(said.get("kid").is_none_or(|kid| kid == "hs"), "{said}");
    assert!(said.get("crit").is_none() && said.get("b64").is_none(), "{said}");
    let typ = said["typ"].as_str().unwrap_or_default().to_lowercase();
    assert!(matches!(&*typ, "at+jwt" | "application/at+jwt"), "{said}");
}

fn signed(message: &str) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), message.as_bytes());
    format!("{message}.{}", B64.encode(signature))
}
