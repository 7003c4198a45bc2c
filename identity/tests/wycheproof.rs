//! Agreement with the vectors of the Wycheproof project, for the algorithms that we allow.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use identity::{Algorithm, KeySet, SigningKey, VerifyingKey, verify_jws};
use serde_json::Value;
use std::collections::BTreeMap;

const SIGNATURES: &str = include_str!("wycheproof/json_web_signature_test.json");
const KEYS: &str = include_str!("wycheproof/json_web_key_test.json");
const CRYPTO: &str = include_str!("wycheproof/json_web_crypto_test.json");

/// Vectors on which nobody can agree with the file: 367 and 370 lost their padding and are byte for byte the token of 357,
/// which is valid; 372 and 373 hold a `?` in base64url and are nevertheless called valid.
const CONTRADICTORY: [u64; 4] = [367, 370, 372, 373];

/// Vectors about keys with which we do not agree. 1: a set of a secret and a public key is refused as ambiguous; here each is
/// bound to its own id and algorithm, and platforms with old HS256 tokens need it. 7: a modulus made by a chip with the ROCA
/// fault; where keys come from is configured. 14 and 15: HS384 and HS512, which we do not have.
const OTHERWISE: [u64; 4] = [1, 7, 14, 15];

/// The same two reasons in the combined file: 46 is the modulus with the ROCA fault, 47 the set of a secret and a public key.
const OTHERWISE_COMBINED: [u64; 2] = [46, 47];

#[test]
fn the_verifier_accepts_and_refuses_what_wycheproof_says_of_signatures() {
    // 401 vectors: 312 of our algorithms and 4 with keys for encryption are tried; 85 are for keys of algorithms that we do not
    // have, so that there is no key to try them with. (The file writes ES512 as it does here.)
    let skipped = [("ES521", 2), ("PS256", 50), ("PS384", 5), ("PS512", 20), ("RS384", 4), ("RS512", 4)];
    assert_eq!(agree(SIGNATURES, &CONTRADICTORY), (316, skipped.map(|(name, count)| (name.to_owned(), count)).into()));
}

#[test]
fn the_verifier_accepts_and_refuses_what_wycheproof_says_of_keys() {
    assert_eq!(agree(KEYS, &OTHERWISE), (26, BTreeMap::new()));
}

#[test]
fn the_verifier_accepts_and_refuses_what_wycheproof_says_of_both_together() {
    // What is encrypted is tried below.
    let encrypted = [("A256KW", 17), ("ECDH-ES+A128KW", 17)];
    let (tried, skipped) = agree(CRYPTO, &OTHERWISE_COMBINED);
    assert_eq!((tried, skipped), (49, encrypted.map(|(name, count)| (name.to_owned(), count)).into()));
}

#[test]
fn nothing_encrypted_is_a_token_whichever_keys_are_trusted() {
    let groups = || groups(CRYPTO).into_iter();
    let keys = groups().filter_map(|group| group.get("public").or(group.get("private")).and_then(key_of));
    let keys = KeySet::new(keys.collect(), Some("kid-aes-sign"));
    let tests = groups().flat_map(|group| group["tests"].as_array().unwrap().clone());
    let encrypted: Vec<Value> = tests.filter(|test| test.get("jwe").is_some()).collect();
    assert_eq!(encrypted.len(), 34);
    for test in encrypted {
        assert!(verify_jws(&written(&test["jwe"]), &keys).is_err(), "{} {}", test["tcId"], test["comment"]);
    }
}

fn groups(file: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(file).unwrap()["testGroups"].as_array().unwrap().clone()
}

/// Compact, or as JSON, which is never a token.
fn written(token: &Value) -> String {
    token.as_str().map_or_else(|| token.to_string(), str::to_owned)
}

/// Tries every vector; those listed must disagree, or the list is out of date. Gives how many there were, and by algorithm how
/// many had no key to be tried with; together they are all that the file says it holds.
fn agree(file: &str, disagree: &[u64]) -> (usize, BTreeMap<String, usize>) {
    let (mut tried, mut skipped, mut wrong) = (0, BTreeMap::new(), Vec::new());
    for group in groups(file) {
        let tests = group["tests"].as_array().unwrap();
        let keys = match keys_of(&group) {
            Ok(keys) => keys,
            Err(algorithm) => {
                *skipped.entry(algorithm).or_default() += tests.len();
                continue;
            }
        };
        for test in tests {
            tried += 1;
            let accepted = verify_jws(&written(&test["jws"]), &keys).is_ok();
            let id = test["tcId"].as_u64().or_else(|| test["tcId"].as_str()?.parse().ok()).unwrap();
            let agrees = accepted == (test["result"] == "valid");
            if agrees == disagree.contains(&id) {
                wrong.push(format!("{id} {}: accepted {accepted}, {}", test["comment"], test["result"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let whole = serde_json::from_str::<Value>(file).unwrap()["numberOfTests"].as_u64().unwrap();
    assert_eq!((tried + skipped.values().sum::<usize>()) as u64, whole);
    (tried, skipped)
}

/// The group's keys, less those that we refuse to trust. `Err`: a single key, for an algorithm that we do not have.
fn keys_of(group: &Value) -> Result<KeySet, String> {
    let shown = group.get("public").filter(|key| key.is_object()).or_else(|| group.get("private")).unwrap();
    if let Some(foreign) = shown["alg"].as_str().filter(|alg| Algorithm::from_name(alg).is_none()) {
        return Err(foreign.to_owned());
    }
    let jwks = shown.get("keys").map_or_else(|| vec![shown], |keys| keys.as_array().unwrap().iter().collect());
    Ok(KeySet::new(jwks.into_iter().filter_map(key_of).collect(), None))
}

fn key_of(jwk: &Value) -> Option<VerifyingKey> {
    if jwk["kty"] != "oct" {
        return VerifyingKey::from_jwk(jwk).ok();
    }
    // Leniently: a key of vector 4 has bits to spare, and would otherwise not be there to be ambiguous.
    let lenient = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    let secret = lenient.decode(jwk["k"].as_str()?).ok()?;
    let ours = jwk["alg"] == Algorithm::Hs256.name();
    ours.then(|| SigningKey::hs256(&secret, jwk["kid"].as_str()?.to_owned()).ok())?.map(|key| key.verifying_key())
}
