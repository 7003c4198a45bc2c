//! Agreement with the vectors of the Wycheproof project, for the algorithms that we allow.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use identity::{Algorithm, KeySet, SigningKey, VerifyingKey, verify_jws};
use serde_json::Value;

/// Vectors on which nobody can agree with the file: 367 and 370 lost their padding and are byte for byte the token of 357,
/// which is valid; 372 and 373 hold a `?` in base64url and are nevertheless called valid.
const CONTRADICTORY: [u64; 4] = [367, 370, 372, 373];

/// Vectors about keys with which we do not agree. 1: a set of a secret and a public key is refused as ambiguous; here each is
/// bound to its own id and algorithm, and platforms with old HS256 tokens need it. 7: a modulus made by a chip with the ROCA
/// fault; where keys come from is configured. 14 and 15: HS384 and HS512, which we do not have.
const OTHERWISE: [u64; 4] = [1, 7, 14, 15];

#[test]
fn the_verifier_accepts_and_refuses_what_wycheproof_says_of_signatures() {
    let tried = agree(include_str!("wycheproof/json_web_signature_test.json"), &CONTRADICTORY);
    // 17 + 15 + 231 + 1 + 2 + 1 + 21 + 24 of our algorithms, 2 + 2 with keys for encryption.
    assert_eq!(tried, 316);
}

#[test]
fn the_verifier_accepts_and_refuses_what_wycheproof_says_of_keys() {
    assert_eq!(agree(include_str!("wycheproof/json_web_key_test.json"), &OTHERWISE), 26);
}

/// Tries every vector; those listed must disagree, or the list is out of date. Gives how many there were.
fn agree(file: &str, disagree: &[u64]) -> usize {
    let vectors: Value = serde_json::from_str(file).unwrap();
    let groups = vectors["testGroups"].as_array().unwrap().iter();
    let tests = groups.filter_map(|group| Some((keys_of(group)?, group["tests"].as_array().unwrap())));
    let (mut tried, mut wrong) = (0, Vec::new());
    for (keys, test) in tests.flat_map(|(keys, tests)| tests.iter().map(move |test| (keys.clone(), test))) {
        tried += 1;
        let accepted = verify_jws(test["jws"].as_str().unwrap(), &keys).is_ok();
        let id = test["tcId"].as_u64().or_else(|| test["tcId"].as_str()?.parse().ok()).unwrap();
        let agrees = accepted == (test["result"] == "valid");
        if agrees == disagree.contains(&id) {
            wrong.push(format!("{id} {}: accepted {accepted}, {}", test["comment"], test["result"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    tried
}

/// The group's keys, less those that we refuse to trust. `None`: a single key for signatures that we do not have.
fn keys_of(group: &Value) -> Option<KeySet> {
    let shown = group.get("public").filter(|key| key.is_object()).or_else(|| group.get("private")).unwrap();
    if shown["alg"].as_str().is_some_and(|alg| Algorithm::from_name(alg).is_none()) {
        return None;
    }
    let jwks = shown.get("keys").map_or_else(|| vec![shown], |keys| keys.as_array().unwrap().iter().collect());
    Some(KeySet::new(jwks.into_iter().filter_map(key_of).collect(), None))
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
