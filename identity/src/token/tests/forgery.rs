//! Every way to forge a token that we have heard of. Where it can be, the signature is right: what refuses the token is the
//! rule that the test names.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicKeyComponents,
};
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

#[test]
fn a_key_verifies_nothing_that_another_key_signed() {
    let (ours, theirs) = (
        key(Algorithm::EdDsa, "k"),
        SigningKey::generate(Algorithm::EdDsa, "k".into(), &mut StdRng::seed_from_u64(2)).unwrap(),
    );
    let token = theirs.sign(TokenType::Access, &claims());
    assert_eq!(check(&token, &trusting(&[&ours])).err(), Some(TokenError::Signature));
    assert_eq!(check(&token, &KeySet::default()).err(), Some(TokenError::UnknownKey));
}

#[test]
fn an_algorithm_is_the_keys_and_never_the_tokens() {
    for (algorithm, alg) in EVERY.into_iter().flat_map(|algorithm| {
        [
            "none", "None", "NONE", "nOnE", "none ", "", "HS256", "HS512", "RS256", "RS384", "PS256", "ES256", "ES512",
            "EdDSA", "rs256", "Ed25519", "dir",
        ]
        .map(|alg| (algorithm, alg))
    }) {
        if alg == algorithm.name() {
            continue;
        }
        let keys = trusting(&[&key_of(algorithm)]);
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"k"}}"#);
        for signature in ["", "AAAA"] {
            let token = format!("{}.{}.{signature}", B64.encode(&header), B64.encode(claims().to_string()));
            assert_eq!(check(&token, &keys).err(), Some(TokenError::Algorithm), "{alg} for {algorithm:?}");
        }
    }
}

/// As [`key`], but RSA keys are dear: one serves all.
fn key_of(algorithm: Algorithm) -> SigningKey {
    static RSA: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| key(Algorithm::Rs256, "k").to_bytes().to_vec());
    if algorithm == Algorithm::Rs256 {
        SigningKey::from_bytes(algorithm, "k".into(), &RSA).unwrap()
    } else {
        key(algorithm, "k")
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let rsa = key_of(Algorithm::Rs256).verifying_key();
    let keys = KeySet::new(vec![rsa.clone()], Some("k"));
    let jwk = rsa.jwk().unwrap();
    let (n, e) = (B64.decode(jwk["n"].as_str().unwrap()).unwrap(), B64.decode(jwk["e"].as_str().unwrap()).unwrap());
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(&PublicKeyComponents { n: &n, e: &e }).unwrap().as_ref().to_vec();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(&der));
    for secret in [jwk.to_string().into_bytes(), jwk["n"].as_str().unwrap().into(), n, der, pem.into_bytes()] {
        let forger = SigningKey::hs256(&secret, "k".into()).unwrap();
        assert_eq!(check(&forger.sign(TokenType::Access, &claims()), &keys).err(), Some(TokenError::Algorithm));
        // The same with the algorithm that is expected.
        let lying = craft(&forger, r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#, &claims().to_string());
        assert_eq!(check(&lying, &keys).err(), Some(TokenError::Signature));
    }
}

#[test]
fn where_keys_come_from_is_configured_and_what_a_token_says_of_it_is_ignored() {
    let stranger = SigningKey::hs256(&[8; 32], "k".into()).unwrap();
    for more in [
        r#""jku":"http://evil/""#,
        r#""x5u":"http://evil/""#,
        r#""jwk":{"kty":"oct","alg":"HS256","k":"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"}"#,
        r#""x5c":["AAAA"]"#,
        r#""x5t":"AAAA""#,
    ] {
        let header = HEADER.replacen('{', &format!("{{{more},"), 1);
        assert!(check(&craft(&shared(), &header, &claims().to_string()), &trusting(&[&shared()])).is_ok(), "{more}");
        let forged = craft(&stranger, &header, &claims().to_string());
        assert_eq!(check(&forged, &trusting(&[&shared()])).err(), Some(TokenError::Signature), "{more}");
    }
}

#[test]
fn a_header_that_says_too_much_is_refused() {
    for (more, error) in [
        (r#""crit":["exp"]"#, TokenError::Critical),
        (r#""crit":[]"#, TokenError::Critical),
        (r#""crit":null"#, TokenError::Critical),
        (r#""crit":["b64"],"b64":false"#, TokenError::Critical),
        (r#""b64":false"#, TokenError::Critical),
        (r#""b64":true"#, TokenError::Critical),
        (r#""kid":"k""#, TokenError::Malformed),
        (r#""alg":"none""#, TokenError::Malformed),
        (r#""\u0061lg":"none""#, TokenError::Malformed),
        (r#""x":{"a":1,"a":2}"#, TokenError::Malformed),
        (r#""x":[{"a":1,"a":2}]"#, TokenError::Malformed),
        (r#""x":1e400"#, TokenError::Malformed),
        (r#""x":'y'"#, TokenError::Malformed),
    ] {
        let header = HEADER.replacen('{', &format!("{{{more},"), 1);
        assert_eq!(
            check(&craft(&shared(), &header, &claims().to_string()), &trusting(&[&shared()])).err(),
            Some(error),
            "{more}"
        );
    }
}

#[test]
fn a_header_that_says_too_little_or_something_odd_is_refused() {
    for (header, error) in [
        (r#"{"alg":"HS256","kid":"k"}"#, TokenError::Type),
        (r#"{"alg":"HS256","kid":"k","typ":"JWT"}"#, TokenError::Type),
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, TokenError::UnknownKey),
        (r#"{"alg":"HS256","typ":"at+jwt","kid":7}"#, TokenError::Malformed),
        (r#"{"alg":"HS256","typ":"at+jwt","kid":null}"#, TokenError::Malformed),
        (r#"{"alg":"HS256","typ":"at+jwt","kid":["k"]}"#, TokenError::Malformed),
        (r#"{"alg":["HS256"],"typ":"at+jwt","kid":"k"}"#, TokenError::Malformed),
        (r#"{"alg":"HS256","typ":["at+jwt"],"kid":"k"}"#, TokenError::Malformed),
        (r#"{"typ":"at+jwt","kid":"k"}"#, TokenError::Algorithm),
        (r#"{"ALG":"HS256","typ":"at+jwt","kid":"k"}"#, TokenError::Algorithm),
        (r#"["HS256"]"#, TokenError::Malformed),
        ("\u{feff}{}", TokenError::Malformed),
        ("{}{}", TokenError::Malformed),
        ("null", TokenError::Malformed),
        ("", TokenError::Malformed),
    ] {
        assert_eq!(
            check(&craft(&shared(), header, &claims().to_string()), &trusting(&[&shared()])).err(),
            Some(error),
            "{header}"
        );
    }
}

#[test]
fn a_kid_is_a_name_and_no_path_query_or_pattern() {
    for kid in [
        "../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "k' UNION SELECT 'secret",
        "*",
        "k*",
        "",
        "K",
        " k",
        "k ",
        "k\\u0000",
        "k\\n",
        "http://evil/k",
        "${jndi:x}",
        "kk",
    ] {
        let header = format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#);
        assert_eq!(
            check(&craft(&shared(), &header, &claims().to_string()), &trusting(&[&shared()])).err(),
            Some(TokenError::UnknownKey),
            "{kid}"
        );
        // With the secret that such a trick would yield elsewhere.
        let empty = SigningKey::hs256(&[0; 32], "k".into()).unwrap();
        assert_eq!(
            check(&craft(&empty, &header, &claims().to_string()), &trusting(&[&shared()])).err(),
            Some(TokenError::UnknownKey),
            "{kid}"
        );
    }
}

#[test]
fn a_payload_with_duplicate_members_is_refused() {
    for twice in [
        r#""sub":"00000000-0000-0000-0000-000000000009""#,
        r#""\u0073ub":"00000000-0000-0000-0000-000000000009""#,
        r#""exp":4000000000"#,
        r#""x":{"a":1,"b":2,"a":1}"#,
        r#""x":[[{"a":{"b":1,"b":1}}]]"#,
    ] {
        let payload = claims().to_string().replacen('{', &format!("{{{twice},"), 1);
        assert_eq!(
            check(&craft(&shared(), HEADER, &payload), &trusting(&[&shared()])).err(),
            Some(TokenError::Malformed),
            "{twice}"
        );
    }
}

#[test]
fn a_payload_that_is_no_object_or_nested_without_end_is_refused() {
    for payload in ["[]", "null", "7", "", "{", "{}{}", "\u{feff}{}", "\"{}\""] {
        assert_eq!(
            check(&craft(&shared(), HEADER, payload), &trusting(&[&shared()])).err(),
            Some(TokenError::Malformed),
            "{payload}"
        );
    }
    for ((open, close), (levels, good)) in [("[", "]"), (r#"{"a":"#, "}")]
        .into_iter()
        .flat_map(|pair| [(100, true), (128, false), (900, false)].map(|level| (pair, level)))
    {
        let payload = claims().to_string().replacen(
            '{',
            &format!(r#"{{"x":{}7{},"#, open.repeat(levels), close.repeat(levels)),
            1,
        );
        assert_eq!(
            check(&craft(&shared(), HEADER, &payload), &trusting(&[&shared()])).is_ok(),
            good,
            "{levels} times {open}"
        );
    }
    let not_utf8 = [br#"{"iss":""#.as_slice(), &[0xff, 0xfe], br#""}"#].concat();
    let token = craft_parts(&shared(), &B64.encode(HEADER), &B64.encode(not_utf8));
    assert_eq!(check(&token, &trusting(&[&shared()])).err(), Some(TokenError::Malformed));
}

#[test]
fn a_token_is_three_parts_of_canonical_base64url() {
    let keys = trusting(&[&shared()]);
    // Of lengths that leave bits to spare, and would be padded where there is padding.
    let spare = |text: String| B64.encode(&text) + if text.len().is_multiple_of(3) { "IA" } else { "" };
    let (header, payload) = (spare(HEADER.to_owned()), spare(claims().to_string()));
    assert!(header.len() % 4 != 0 && payload.len() % 4 != 0);
    assert!(check(&craft_parts(&shared(), &header, &payload), &keys).is_ok());

    let mut spellings = [padded, with_a_spare_bit].map(|respell| (respell(&header), respell(&payload))).to_vec();
    for insert in [".", " ", "\n", "\r\n", "\t", "+", "/", "?", "%", "=", "\0", "\u{e9}"] {
        for at in [0, 8, usize::MAX] {
            let broken = |part: &str| {
                let (before, after) = part.split_at(at.min(part.len()));
                format!("{before}{insert}{after}")
            };
            spellings.push((broken(&header), broken(&payload)));
        }
    }
    for (odd_header, odd_payload) in spellings {
        assert_eq!(
            check(&craft_parts(&shared(), &odd_header, &payload), &keys).err(),
            Some(TokenError::Malformed),
            "{odd_header:?}"
        );
        assert_eq!(
            check(&craft_parts(&shared(), &header, &odd_payload), &keys).err(),
            Some(TokenError::Malformed),
            "{odd_payload:?}"
        );
    }
}

fn padded(part: &str) -> String {
    format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4))
}

/// Another spelling of the same bytes: the last character holds bits that nobody reads.
fn with_a_spare_bit(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let next = ALPHABET.find(last).unwrap() + 1;
    format!("{rest}{}", &ALPHABET[next..=next])
}

#[test]
fn a_token_has_three_parts_and_nothing_around_them() {
    let good = shared().sign(TokenType::Access, &claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for shape in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        good.replacen('.', "", 1),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("Bearer {good}"),
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
    ] {
        assert!(check(&shape, &trusting(&[&shared()])).is_err(), "{shape:?}");
    }
}

#[test]
fn a_signature_is_whole_and_in_one_spelling() {
    for algorithm in EVERY {
        let key = key_of(algorithm);
        let token = key.sign(TokenType::Access, &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let bytes = B64.decode(signature).unwrap();
        for forged in [
            String::new(),
            signature[..40].to_owned(),
            B64.encode(&bytes[1..]),
            B64.encode(&bytes[..bytes.len() - 1]),
            B64.encode([bytes.as_slice(), &[0]].concat()),
            B64.encode([&[0], bytes.as_slice()].concat()),
            B64.encode(vec![0; bytes.len()]),
            B64.encode(vec![255; bytes.len()]),
            with_a_spare_bit(signature),
            format!("{signature}="),
            format!("{signature}A"),
            format!(" {signature}"),
            format!("{signature}\n"),
        ] {
            assert!(check(&format!("{message}.{forged}"), &trusting(&[&key])).is_err(), "{algorithm:?} {forged:?}");
        }
    }
}

#[test]
fn an_ecdsa_signature_of_nothing_or_in_another_form_is_refused() {
    let key = key(Algorithm::Es256, "k");
    let token = key.sign(TokenType::Access, &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = B64.decode(signature).unwrap();
    let (r, s) = bytes.split_at(32);
    let order = B64.decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let integer = |part: &[u8]| [&[2, 33, 0], part].concat();
    for forged in [
        [0; 64].to_vec(),
        [r, &[0; 32]].concat(),
        [&[0; 32], s].concat(),
        [order.as_slice(), &order].concat(),
        [r, &order].concat(),
        [s, r].concat(),
        [&[0], r, &[0], s].concat(),
        [[48, 70].as_slice(), &integer(r), &integer(s)].concat(),
    ] {
        assert_eq!(
            check(&format!("{message}.{}", B64.encode(&forged)), &trusting(&[&key])).err(),
            Some(TokenError::Signature),
            "{forged:?}"
        );
    }
}

#[test]
fn a_token_of_8_kib_is_read_and_one_byte_more_is_not() {
    // Header and payload together hit every length: base64 skips one in four.
    let of = |(more, pad): (&str, usize)| {
        let payload = with(|claims| claims["pad"] = json!("x".repeat(pad)));
        craft(&shared(), &HEADER.replace(r#"kid":"k""#, &format!(r#"kid":"k","x":"{more}""#)), &payload.to_string())
    };
    let tokens = ["", "x", "xx"].into_iter().flat_map(|more| (5800..5900).map(move |pad| (more, pad))).map(of);
    let near: Vec<_> = tokens.filter(|token| [8192, 8193].contains(&token.len())).collect();
    assert!([8192, 8193].iter().all(|length| near.iter().any(|token| token.len() == *length)));
    for token in near {
        let error = (token.len() > 8192).then_some(TokenError::TooLong);
        assert_eq!(check(&token, &trusting(&[&shared()])).err(), error, "{}", token.len());
    }
}

#[test]
fn a_token_without_a_kid_matches_the_one_key_that_is_named_for_it() {
    let legacy = SigningKey::hs256(&[7; 32], "legacy".into()).unwrap();
    let token = craft(&legacy, r#"{"alg":"HS256","typ":"at+jwt"}"#, &claims().to_string());
    let keys = vec![key(Algorithm::EdDsa, "k").verifying_key(), legacy.verifying_key()];
    assert_eq!(check(&token, &KeySet::new(keys.clone(), None)).err(), Some(TokenError::UnknownKey));
    assert!(check(&token, &KeySet::new(keys.clone(), Some("legacy"))).is_ok());
    assert_eq!(check(&token, &KeySet::new(keys.clone(), Some("gone"))).err(), Some(TokenError::UnknownKey));
    assert_eq!(check(&token, &KeySet::new(keys.clone(), Some("k"))).err(), Some(TokenError::Algorithm));
    // One that has a `kid` is not touched by it.
    let named = key(Algorithm::EdDsa, "k").sign(TokenType::Access, &claims());
    assert!(check(&named, &KeySet::new(keys, Some("legacy"))).is_ok());
}

#[test]
fn an_id_that_two_keys_have_names_none_of_them() {
    let (one, other) = (key(Algorithm::EdDsa, "k"), key(Algorithm::Es256, "k"));
    let token = one.sign(TokenType::Access, &claims());
    assert!(check(&token, &trusting(&[&one])).is_ok());
    assert_eq!(check(&token, &trusting(&[&one, &other])).err(), Some(TokenError::UnknownKey));
}

proptest! {
    #[test]
    fn a_token_with_any_byte_changed_is_refused(at: prop::sample::Index, to in "[A-Za-z0-9._=-]") {
        let key = key(Algorithm::EdDsa, "k");
        let token = key.sign(TokenType::Access, &claims());
        let at = at.index(token.len());
        let mut forged = token.clone();
        forged.replace_range(at..=at, &to);
        prop_assert_eq!(check(&forged, &trusting(&[&key])).is_ok(), forged == token);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(token in "\\PC*") {
        prop_assert!(check(&token, &trusting(&[&shared()])).is_err());
    }

    #[test]
    fn signed_garbage_is_refused_without_a_panic(header: Vec<u8>, payload: Vec<u8>) {
        let token = craft_parts(&shared(), &B64.encode(header), &B64.encode(&payload));
        prop_assert!(check(&token, &trusting(&[&shared()])).is_err());
        let token = craft_parts(&shared(), &B64.encode(HEADER), &B64.encode(&payload));
        prop_assert!(check(&token, &trusting(&[&shared()])).is_err());
    }

    #[test]
    fn what_is_signed_is_what_is_read(text: String, number: i64) {
        let token = shared().sign(TokenType::Access, &with(|claims| claims["x"] = json!({ "text": text, "number": number })));
        let read: Value = verify(&token, &trusting(&[&shared()]), &rules(), now()).unwrap();
        prop_assert_eq!(&read["x"], &json!({ "text": text, "number": number }));
    }
}
