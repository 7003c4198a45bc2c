//! Keys that are none, keys that are too weak, and what is told to the world of those that are good.

use super::*;
use crate::KeyError;

/// RFC 8037, appendix A: a key, its public half and a signature that none of our code has made.
#[test]
fn ed25519_is_what_rfc_8037_says() {
    let (d, x) = ("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                 hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let key = SigningKey::from_bytes(Algorithm::EdDsa, "k".into(), &B64.decode(d).unwrap()).unwrap().verifying_key();
    assert_eq!(
        key.jwk(),
        Some(&json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": "k" }))
    );
    assert_eq!(verify_jws(token, &KeySet::new(vec![key], Some("k"))).unwrap(), b"Example of Ed25519 signing");
}

#[test]
fn keys_from_a_seed_are_the_same_and_others_are_not() {
    let of = |algorithm, seed| {
        SigningKey::generate(algorithm, "k".into(), &mut StdRng::seed_from_u64(seed)).unwrap().to_bytes()
    };
    for algorithm in [Algorithm::EdDsa, Algorithm::Hs256] {
        assert_eq!((of(algorithm, 1), of(algorithm, 1).len()), (of(algorithm, 1), 32));
        assert_ne!(of(algorithm, 1), of(algorithm, 2));
    }
    // aws-lc takes no generator for these: the seed must not make them guessable.
    assert_ne!(of(Algorithm::Es256, 1), of(Algorithm::Es256, 1));
}

#[test]
fn what_is_published_of_a_key_set_holds_no_secret() {
    let keys = EVERY.map(|algorithm| key(algorithm, algorithm.name()));
    let jwks = trusting(&keys.iter().collect::<Vec<_>>()).jwks();
    let members = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|jwk| jwk.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(
        members.collect::<Vec<_>>(),
        [
            vec!["alg", "crv", "kid", "kty", "use", "x"],
            vec!["alg", "e", "kid", "kty", "n", "use"],
            vec!["alg", "crv", "kid", "kty", "use", "x", "y"],
        ]
    );
    assert!(keys[3].verifying_key().jwk().is_none(), "a shared secret is never published");
    let mut private = keys[0].verifying_key().jwk().unwrap().clone();
    private["d"] = json!("secret");
    assert!(VerifyingKey::from_jwk(&private).unwrap().jwk().unwrap().get("d").is_none());
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    for algorithm in EVERY {
        let good = key(algorithm, "k").to_bytes();
        for bytes in [&[], &good[1..], &[0; 31]] {
            assert!(
                SigningKey::from_bytes(algorithm, "k".into(), bytes).is_err(),
                "{algorithm:?}, {} bytes",
                bytes.len()
            );
        }
    }
    let p256 = key(Algorithm::Es256, "k").to_bytes();
    assert!(SigningKey::from_bytes(Algorithm::Rs256, "k".into(), &p256).is_err());
    assert_eq!(SigningKey::hs256(&[7; 31], "k".into()).err(), Some(KeyError::TooShort));
}

#[test]
fn a_weak_or_foreign_key_is_not_trusted() {
    let elsewhere = [
        ("kid", json!(7)),
        ("kid", json!(null)),
        ("kty", json!("oct")),
        ("kty", json!(null)),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!(null)),
        ("use", json!("enc")),
        ("use", json!(7)),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!("verify")),
    ];
    let rsa = vec![
        ("e", "AQ"),
        ("e", "AA"),
        ("e", "BA"),
        ("e", ""),
        ("e", "AQAB="),
        ("n", ""),
        ("n", "AQAB"),
        ("alg", "ES256"),
    ];
    let short = B64.encode([255; 128]);
    for (algorithm, own) in [
        (Algorithm::Rs256, [rsa, vec![("n", &short)]].concat()),
        (
            Algorithm::Es256,
            vec![
                ("crv", "P-384"),
                ("x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"),
                ("x", "AAAA"),
                ("y", ""),
                ("alg", "EdDSA"),
            ],
        ),
        (Algorithm::EdDsa, vec![("x", "AAAA"), ("x", ""), ("crv", "Ed448"), ("crv", "X25519"), ("kty", "EC")]),
    ] {
        let good = key(algorithm, "k").verifying_key().jwk().unwrap().clone();
        assert!(VerifyingKey::from_jwk(&good).is_ok());
        for (name, value) in own.into_iter().map(|(name, value)| (name, json!(value))).chain(elsewhere.clone()) {
            let mut jwk = good.clone();
            jwk[name] = value;
            assert_eq!(VerifyingKey::from_jwk(&jwk).err(), Some(KeyError::Malformed), "{jwk}");
        }
    }
    for jwk in [
        json!({}),
        json!("k"),
        json!(null),
        json!({ "kty": "oct", "k": B64.encode([7; 32]), "alg": "HS256", "kid": "k" }),
    ] {
        assert!(VerifyingKey::from_jwk(&jwk).is_err(), "{jwk}");
    }
}

#[test]
fn a_modulus_is_written_without_leading_zeros() {
    let mut jwk = key(Algorithm::Rs256, "k").verifying_key().jwk().unwrap().clone();
    let n = B64.decode(jwk["n"].as_str().unwrap()).unwrap();
    jwk["n"] = json!(B64.encode([&[0], n.as_slice()].concat()));
    assert!(VerifyingKey::from_jwk(&jwk).is_err());
}

#[test]
fn a_modulus_of_2047_bits_is_too_short() {
    let mut jwk = key(Algorithm::Rs256, "k").verifying_key().jwk().unwrap().clone();
    let mut n = B64.decode(jwk["n"].as_str().unwrap()).unwrap();
    assert_eq!((n.len(), n[0] >> 7), (256, 1));
    n[0] = 0x7f;
    jwk["n"] = json!(B64.encode(&n));
    assert!(VerifyingKey::from_jwk(&jwk).is_err());
}

#[test]
fn the_names_of_algorithms_are_those_of_rfc_7518_and_no_others() {
    for algorithm in EVERY {
        assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.name());
        assert_eq!(serde_json::from_value::<Algorithm>(algorithm.name().into()).unwrap(), algorithm);
        assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), None);
    }
    assert!(serde_json::from_value::<Algorithm>("none".into()).is_err());
}
