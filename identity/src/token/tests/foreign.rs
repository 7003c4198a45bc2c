//! Tokens of others: what is believed of them, and what a published set is worth.

use aws_lc_rs::signature::Ed25519KeyPair;

use super::*;
use crate::{ForeignClaims, ForeignRules, JwksError, KeySet, Unverified};

fn rules() -> ForeignRules {
    ForeignRules {
        issuer: Some("us".into()),
        audience: Some(("aud".into(), "door".into())),
        required: [("use".into(), "access".into())].into(),
        id_tokens: false,
        leeway: std::time::Duration::from_secs(30),
    }
}

fn theirs() -> Value {
    with(|claims| {
        claims["use"] = json!("access");
        claims["groups"] = json!(["a", "b"]);
        claims["scope"] = json!("read write");
        claims["deep"] = json!({ "er": { "x/y": true } });
        claims["null"] = json!(null);
        claims["https://example.com/role"] = json!("ops");
    })
}

fn judged(header: &str, claims: &Value, rules: &ForeignRules) -> Result<ForeignClaims, TokenError> {
    ForeignClaims::verify(&craft(&shared(), header, &claims.to_string()), &trusting(&[&shared()]), rules, now())
}

#[test]
fn a_type_is_none_or_one_that_says_access() {
    for (typ, good) in [
        ("", true),
        (r#","typ":"JWT""#, true),
        (r#","typ":"application/at+jwt""#, true),
        (r#","typ":"logout+jwt""#, false),
        (r#","typ":"assertion+jwt""#, false),
        (r#","typ":"""#, false),
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":"k"{typ}}}"#);
        assert_eq!(judged(&header, &theirs(), &rules()).is_ok(), good, "{typ}");
    }
}

#[test]
fn what_plainly_is_an_id_token_is_none_that_opens_a_door() {
    let accepting = ForeignRules { id_tokens: true, ..rules() };
    for (name, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("typ", json!("ID")),
        ("typ", json!("id")),
        ("token_use", json!("id")),
    ] {
        let mut claims = theirs();
        claims[name] = value;
        assert_eq!(judged(HEADER, &claims, &rules()).err(), Some(TokenError::Type), "{name}");
        assert!(judged(HEADER, &claims, &accepting).is_ok(), "{name}");
    }
    for (name, value) in [("typ", json!("Bearer")), ("token_use", json!("access")), ("azp", json!("a client"))] {
        let mut claims = theirs();
        claims[name] = value;
        assert!(judged(HEADER, &claims, &rules()).is_ok(), "{name}");
    }
}

#[test]
fn a_token_for_another_purpose_opens_no_door_whatever_signed_it() {
    let accepting = ForeignRules { id_tokens: true, ..rules() };
    let said = |name: &str, value: &str| {
        let mut claims = theirs();
        claims[name] = json!(value);
        judged(HEADER, &claims, &accepting)
    };
    for (name, value) in [
        ("type", "refresh"),
        ("token_type", "Refresh"),
        ("typ", "Offline"),
        ("token_use", "refresh_token"),
        ("purpose", "password-reset"),
        ("type", "email_verification"),
        ("type", "MAGIC_LINK"),
    ] {
        assert_eq!(said(name, value).err(), Some(TokenError::Type), "{name}: {value}");
    }
    for (name, value) in [("type", "access"), ("token_type", "bearer"), ("type", "user"), ("purpose", "api")] {
        assert!(said(name, value).is_ok(), "{name}: {value}");
    }
}

#[test]
fn whatever_is_demanded_and_missing_refuses() {
    assert!(judged(HEADER, &theirs(), &rules()).is_ok());
    for name in ["iss", "aud", "sub", "exp", "use"] {
        let mut claims = theirs();
        claims.as_object_mut().unwrap().remove(name);
        assert!(judged(HEADER, &claims, &rules()).is_err(), "without {name}");
        claims[name] = json!("other");
        let good = name == "sub";
        assert_eq!(judged(HEADER, &claims, &rules()).is_ok(), good, "another {name}");
    }
    let nobody = ForeignRules { issuer: None, audience: None, ..rules() };
    assert_eq!(
        judged(HEADER, &theirs(), &nobody).err(),
        Some(TokenError::Issuer),
        "a token that names somebody is not one that names nobody"
    );
    let mut claims = theirs();
    claims.as_object_mut().unwrap().remove("iss");
    assert_eq!(judged(HEADER, &claims, &nobody).err(), Some(TokenError::Audience), "it is for somebody");
    claims.as_object_mut().unwrap().remove("aud");
    assert!(judged(HEADER, &claims, &nobody).is_ok());
    claims["iss"] = json!(null);
    assert!(judged(HEADER, &claims, &nobody).is_err(), "null is not nothing");
}

#[test]
fn claims_are_found_by_name_or_by_pointer() {
    let claims = judged(HEADER, &theirs(), &rules()).unwrap();
    assert!(claims.names("groups", "b") && !claims.names("groups", "ab"));
    assert!(claims.names("scope", "write") && !claims.names("scope", "rite"));
    assert!(claims.holds("groups", "b") && claims.holds("scope", "read write") && !claims.holds("scope", "write"));
    assert!(claims.says("groups") && claims.says("/deep/er") && !claims.says("nothing") && !claims.says("null"));
    assert!(claims.names("https://example.com/role", "ops"));
    assert!(claims.is_true("/deep/er/x~1y") && !claims.is_true("/deep/er") && !claims.is_true("groups"));
    assert_eq!(claims.text("/sub"), claims.text("sub"));
    assert_eq!(claims.text("/"), None);
}

#[test]
fn what_a_token_says_of_itself_is_read_only_from_what_has_one_meaning() {
    let read = |header: &str, payload: &str| Unverified::read(&craft(&shared(), header, payload));
    let said = read(r#"{"kid":"a"}"#, r#"{"iss":"b"}"#).unwrap();
    assert_eq!((said.kid.as_deref(), said.issuer.as_deref()), (Some("a"), Some("b")));
    for (header, payload) in [
        (r#"{"kid":1}"#, "{}"),
        ("{}", r#"{"iss":["b"]}"#),
        ("{}", r#"{"iss":"a","iss":"b"}"#),
        ("[]", "{}"),
        ("{}", "x"),
    ] {
        assert_eq!(read(header, payload), None, "{header} {payload}");
    }
    for text in ["", "a", "a.b", ".."] {
        assert_eq!(Unverified::read(text), None);
    }
}

#[test]
fn of_what_is_published_only_what_can_be_trusted_is_kept() {
    let published = |keys: &[Value], accepted: &[Algorithm]| {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), accepted)
    };
    let jwk = |algorithm, kid: &str| key(algorithm, kid).verifying_key().jwk().unwrap().clone();
    let without = |name: &str, mut jwk: Value| {
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    };
    let every = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];
    for algorithm in every {
        assert!(published(&[without("alg", jwk(algorithm, "k"))], &every).unwrap().knows("k"), "{algorithm:?}");
    }
    let ed = jwk(Algorithm::EdDsa, "ed");
    assert!(published(std::slice::from_ref(&ed), &[Algorithm::Rs256]).is_err(), "not accepted from this issuer");
    let mut rsa_as_hmac = jwk(Algorithm::Rs256, "k");
    rsa_as_hmac["alg"] = json!("HS256");
    let oct = json!({ "kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256" });
    for useless in [
        rsa_as_hmac,
        oct,
        without("x", ed.clone()),
        json!(7),
        json!({ "kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB" }),
    ] {
        assert_eq!(published(std::slice::from_ref(&useless), &every).err(), Some(JwksError::NoneUsable), "{useless}");
        assert!(published(&[useless, ed.clone()], &every).unwrap().knows("ed"), "the others count all the same");
    }
    let twins = published(&[jwk(Algorithm::EdDsa, "twin"), jwk(Algorithm::Es256, "twin"), ed.clone()], &every).unwrap();
    assert!(twins.knows("ed") && !twins.knows("twin"));
    assert_eq!(published(&vec![ed.clone(); 65], &every).err(), Some(JwksError::TooMany));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(KeySet::from_jwks(text.as_bytes(), &every).err(), Some(JwksError::Malformed), "{text}");
    }
    let (one, other) = (
        published(std::slice::from_ref(&ed), &every).unwrap(),
        published(&[jwk(Algorithm::Es256, "ed")], &every).unwrap(),
    );
    let more = published(&[ed, jwk(Algorithm::Es256, "new")], &every).unwrap();
    assert!(one.loses_a_key_to(&other), "another key under the same id");
    assert!(!one.loses_a_key_to(&more) && more.loses_a_key_to(&one));
}

/// RFC 7517 §4.5 and RFC 7515 §4.1.4 let ids be left out. Then there has to be nothing to choose between.
#[test]
fn a_token_without_an_id_is_checked_with_the_only_key_of_its_algorithm() {
    let every = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];
    let (ed, rsa) = (key(Algorithm::EdDsa, "ed"), key(Algorithm::Rs256, "rsa"));
    let other = SigningKey::generate(Algorithm::EdDsa, "other".into(), &mut StdRng::seed_from_u64(99)).unwrap();
    let jwk = |key: &SigningKey, named: bool| {
        let mut jwk = key.verifying_key().jwk().unwrap().clone();
        if !named {
            jwk.as_object_mut().unwrap().remove("kid");
        }
        jwk
    };
    let set = |keys: &[Value]| KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), &every).unwrap();
    let judge = |signer: &SigningKey, header: Value, keys: &KeySet| {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(theirs().to_string()));
        let pair = Ed25519KeyPair::from_seed_unchecked(&signer.to_bytes()).unwrap();
        let token = format!("{message}.{}", B64.encode(pair.sign(message.as_bytes())));
        ForeignClaims::verify(&token, keys, &rules(), now()).map(drop)
    };
    let without = json!({ "alg": "EdDSA" });
    for published in [[jwk(&ed, false), jwk(&rsa, true)], [jwk(&ed, true), jwk(&rsa, false)]] {
        let keys = set(&published);
        assert_eq!(judge(&ed, without.clone(), &keys), Ok(()), "{published:?}");
        assert_eq!(judge(&other, without.clone(), &keys), Err(TokenError::Signature));
        assert_eq!(judge(&ed, json!({ "alg": "ES256" }), &keys), Err(TokenError::UnknownKey), "none of that kind");
        assert_eq!(judge(&ed, json!({}), &keys), Err(TokenError::UnknownKey), "it says nothing at all");
    }
    for ambiguous in [[jwk(&ed, false), jwk(&other, false)], [jwk(&ed, true), jwk(&other, false)]] {
        assert_eq!(judge(&ed, without.clone(), &set(&ambiguous)), Err(TokenError::UnknownKey), "{ambiguous:?}");
    }
    // A key without an id is nobody's by name, not even by no name.
    for kid in ["", "ed"] {
        let named = json!({ "alg": "EdDSA", "kid": kid });
        assert_eq!(judge(&ed, named, &set(&[jwk(&ed, false)])), Err(TokenError::UnknownKey), "{kid:?}");
    }
    let mut unnamed = jwk(&ed, true);
    unnamed["kid"] = json!("");
    let empty = json!({ "keys": [unnamed] }).to_string();
    assert_eq!(KeySet::from_jwks(empty.as_bytes(), &every).err(), Some(JwksError::NoneUsable));
    assert!(set(&[jwk(&ed, false)]).loses_a_key_to(&set(&[jwk(&other, false)])), "one replaces the other");
    // Our own sets know nothing of it.
    assert_eq!(judge(&ed, without, &trusting(&[&ed])), Err(TokenError::UnknownKey));
}

#[test]
fn the_id_of_a_subject_is_that_of_issuer_and_subject_apart() {
    use crate::ExternalId;
    let id = ExternalId::of("ab", "c");
    assert_eq!(id, ExternalId::of("ab", "c"));
    assert_ne!(id, ExternalId::of("a", "bc"));
    assert_eq!(id.uuid().get_version_num(), 8);
}
