//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2): read strictly, and checked to be keys before any token meets them.
//!
//! A point off its curve, an RSA key under 2048 bits, an exponent of 1 (whose signatures anybody can make), a secret, a key
//! for encryption: none of them is ever trusted (RFC 8725 §3.4, Wycheproof).

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::Algorithm;

/// What may be published of a key. Anything else a JWK holds (`d`, `p`, `k` …) stays where it is.
const PUBLIC: [&str; 9] = ["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"];
const FEWEST_BITS: usize = 2048;
const MOST_BITS: usize = 8192;

/// The algorithm and the key, ready for use; `None` if it is not one that we trust.
pub(super) fn read(jwk: &Value) -> Option<(Algorithm, DecodingKey)> {
    let text = |name: &str| jwk.get(name)?.as_str();
    if !is_for_verifying(jwk) {
        return None;
    }
    read_for(Algorithm::from_name(text("alg")?)?, jwk)
}

/// The same for an issuer's key, which need not name its algorithm: there is one here for each type of key.
pub(super) fn read_of_issuer(jwk: &Value) -> Option<(Algorithm, DecodingKey)> {
    let algorithm = match (jwk.get("alg"), jwk.get("kty")?.as_str()?) {
        (Some(_), _) => return read(jwk),
        (None, "OKP") => Algorithm::EdDsa,
        (None, "EC") => Algorithm::Es256,
        (None, "RSA") => Algorithm::Rs256,
        (None, _) => return None,
    };
    is_for_verifying(jwk).then(|| read_for(algorithm, jwk)).flatten()
}

fn read_for(algorithm: Algorithm, jwk: &Value) -> Option<(Algorithm, DecodingKey)> {
    let text = |name: &str| jwk.get(name)?.as_str();
    let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let key = match (algorithm, text("kty")?, text("crv")) {
        (Algorithm::EdDsa, "OKP", Some("Ed25519")) => ed25519(&part("x")?)?,
        (Algorithm::Es256, "EC", Some("P-256")) => p256(&part("x")?, &part("y")?)?,
        (Algorithm::Rs256, "RSA", None) => rsa(&part("n")?, &part("e")?)?,
        _ => return None,
    };
    Some((algorithm, key))
}

/// The members that may be published.
pub(super) fn public(jwk: &Value) -> Value {
    let members = PUBLIC.iter().filter_map(|name| Some(((*name).to_owned(), jwk.get(name)?.clone())));
    Value::Object(members.collect::<Map<_, _>>())
}

/// `use` and `key_ops` (RFC 7517 §4.2, §4.3): what its owner says that the key is for.
fn is_for_verifying(jwk: &Value) -> bool {
    let ops = jwk.get("key_ops").map(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    jwk.get("use").is_none_or(|usage| usage == "sig") && ops.unwrap_or(true)
}

fn ed25519(x: &[u8]) -> Option<DecodingKey> {
    (x.len() == 32 && ParsedPublicKey::new(&ED25519, x).is_ok()).then(|| DecodingKey::from_ed_der(x))
}

fn p256(x: &[u8], y: &[u8]) -> Option<DecodingKey> {
    // Uncompressed point: 4, x, y (SEC 1 §2.3.3). Parsing checks that it lies on the curve.
    let point = [&[4], x, y].concat();
    let good = x.len() == 32 && y.len() == 32 && ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).is_ok();
    good.then(|| DecodingKey::from_ec_der(&point))
}

fn rsa(n: &[u8], e: &[u8]) -> Option<DecodingKey> {
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let exponent = e.last().is_some_and(|low| low % 2 == 1) && e != [1];
    let parsed = PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
    let good = exponent && (FEWEST_BITS..=MOST_BITS).contains(&bits) && parsed.is_ok();
    good.then(|| DecodingKey::from_rsa_raw_components(n, e))
}
