//! Ambiguous paths one by one, and what holds for every path.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

#[test]
fn a_canonical_path_is_borrowed() {
    let all = "/abcABC019-._~!$&'()*+,=:@";
    for raw in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/...",
        "/.well-known/jwks.json",
        "/a%20b",
        "/caf%C3%A9",
        "/%F0%9F%A6%80",
        "/50%25",
        // No escape follows the percent sign.
        "/%25g1",
        "/%251g",
        all,
    ] {
        assert!(matches!(normalise(raw), Ok(Cow::Borrowed(path)) if path == raw), "{raw}");
    }
}

#[test]
fn escapes_have_one_spelling() {
    for (raw, spelt) in [
        ("/%61dmin", "/admin"),
        ("/a%2Db%2ec%5f%7E", "/a-b.c_~"),
        ("/%41%7a%30", "/Az0"),
        ("/caf%c3%a9/x", "/caf%C3%A9/x"),
        ("/%e2%82%ac/%61", "/%E2%82%AC/a"),
        ("/a%2bb%3A/%61", "/a%2Bb%3A/a"),
        ("/a%20b%2d/c/", "/a%20b-/c/"),
        ("/%f0%9f%A6%80", "/%F0%9F%A6%80"),
        ("/x%25/%79", "/x%25/y"),
        ("/%2e%2e%2e", "/..."),
    ] {
        assert_eq!(normalise(raw).unwrap(), spelt, "{raw}");
    }
}

#[test]
fn ambiguous_paths_are_refused() {
    use PathError as E;
    for (reason, paths) in [
        (E::Relative, &["", "a", "*", "http://host/a", "host:443", "\\a", "?x", "%2Fa"][..]),
        (E::EncodedSeparator, &["/a%2fb", "/a%2Fb", "/a%5cb", "/..%2fadmin", "/%2e%2e%5Cadmin", "/a%2F"]),
        (E::Backslash, &["/a\\b", "/\\admin", "/..\\admin"]),
        (
            E::Control,
            &["/a%00", "/a%0d%0aX:y", "/%1f", "/%7F", "/a\u{0}", "/a\nb", "/a\t", "/a\u{7f}", "/%C2%85", "/%c2%80"],
        ),
        (
            E::DotSegment,
            &["/.", "/..", "/./a", "/a/../b", "/a/..", "/a/.", "/%2e", "/%2E%2e/a", "/a/.%2e/b", "/a/%2e./", "/%61/.."],
        ),
        (E::EmptySegment, &["//", "//a", "/a//", "/a//b", "/%61//b", "///", "//admin/x"]),
        (E::Parameter, &["/a;x", "/a;x=1/b", "/;", "/a%3bx", "/..;/admin", "/a%3B"]),
        (E::Delimiter, &["/a#b", "/#", "/a%23", "/a%3fb", "/admin%3Fx=1"]),
        (E::BrokenEscape, &["/%", "/%a", "/a%zz", "/%u002e", "/%2", "/%%20", "/%+1"]),
        (E::DoubleEncoding, &["/%252e%252e/a", "/%252f", "/%25%32%65", "/%2525%32e", "/a%25b0", "/%61%25%34%31"]),
        (
            E::NotUtf8,
            &[
                "/%ff",
                "/%c0%ae",
                "/%c0%af",
                "/%E0%80%AF",
                "/%C3",
                "/%C3x",
                "/%c3%28",
                "/%ED%A0%80",
                "/%F8%88%80%80%80",
                "/%80",
            ],
        ),
        (E::NotAllowed, &["/a b", "/é", "/\u{ff0f}admin", "/a\"", "/<a>", "/a|b", "/{a}", "/a^", "/`", "/[a]", "/a?b"]),
    ] {
        for raw in paths {
            assert_eq!(normalise(raw), Err(reason), "{raw:?}");
        }
    }
}

#[test]
fn a_delimiter_compares_equal_however_it_is_written() {
    assert_eq!(plain("/a%3Ab%40%21%2B"), "/a:b@!+");
    assert_eq!(plain("/a%20b%25%C3%A9"), "/a%20b%25%C3%A9");
    assert_eq!(strip_prefix("/v1%3Arun/x", "/v1:run"), Some("/x"));
    assert_eq!(strip_prefix("/v1:run", "/v1:run"), Some(""));
    for path in ["/v1:runner", "/v1:ru", "/", "/v1%20run"] {
        assert_eq!(strip_prefix(path, "/v1:run"), None, "{path}");
    }
}

/// Pieces that paths, and attacks on them, are made of.
fn pieces() -> impl Strategy<Value = String> {
    let known = vec![
        "/", ".", "..", "a", "Z", "%", "25", "2", "e", "%25", "%2e", "%2F", "%5c", ";", "\\", "#", "%C3%A9", "%c3",
        "%00", ":",
    ];
    let escape =
        any::<u8>().prop_flat_map(|byte| prop_oneof![Just(format!("%{byte:02x}")), Just(format!("%{byte:02X}"))]);
    let piece = prop_oneof![4 => proptest::sample::select(known).prop_map(str::to_owned), 2 => escape, 1 => any::<char>().prop_map(String::from)];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// What a careless backend makes of a path: every escape decoded, again and again.
fn decoded_to_the_end(path: &str) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    while let Some(at) = (0..bytes.len()).find(|&at| escaped(&bytes[at..]).is_some()) {
        let byte = escaped(&bytes[at..]).unwrap();
        bytes.splice(at..at + 3, [byte]);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_normalised_path_is_a_fixed_point(raw in pieces()) {
        if let Ok(path) = normalise(&raw) {
            prop_assert!(matches!(normalise(&path), Ok(Cow::Borrowed(again)) if again == path), "{raw} -> {path}");
        }
    }

    #[test]
    fn no_amount_of_decoding_finds_other_segments_in_a_normalised_path(raw in pieces()) {
        if let Ok(path) = normalise(&raw) {
            let bytes = decoded_to_the_end(&path);
            prop_assert!(!bytes.iter().any(|byte| byte.is_ascii_control() || b"\\;#?".contains(byte)), "{path}");
            prop_assert_eq!(bytes.split(|byte| *byte == b'/').count(), path.split('/').count());
            let inner = path.trim_start_matches('/').trim_end_matches('/');
            prop_assert!(bytes[1..].split(|byte| *byte == b'/').all(|segment| segment != b"." && segment != b".."), "{path}");
            prop_assert!(inner.is_empty() || inner.split('/').all(|segment| !segment.is_empty()), "{path}");
        }
    }

    #[test]
    fn no_text_makes_it_panic(raw in any::<String>(), path in "/[%0-9a-fA-F/.]{0,20}") {
        let _ = (normalise(&raw), normalise(&path));
    }
}

#[test]
fn every_reason_is_a_clause_of_its_own() {
    use PathError as E;
    let every = [
        E::Relative,
        E::EncodedSeparator,
        E::Backslash,
        E::Control,
        E::DotSegment,
        E::EmptySegment,
        E::Parameter,
        E::Delimiter,
        E::BrokenEscape,
        E::DoubleEncoding,
        E::NotUtf8,
        E::NotAllowed,
    ];
    let reasons: std::collections::BTreeSet<_> = every.iter().map(|error| error.reason()).collect();
    assert!(
        reasons.len() == every.len() && reasons.iter().all(|reason| reason.starts_with("the path ")),
        "{reasons:?}"
    );
    assert!(every.iter().all(|error| error.to_string() == error.reason()));
}
