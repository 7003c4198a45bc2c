//! Preflights and responses, as a browser reads them.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

const APP: &str = "https://app.example.com";

fn cors(origins: &[&str], allows_credentials: bool) -> Result<Cors, CorsError> {
    let methods = Methods::parse(["GET", "PUT"]).unwrap();
    let (origins, headers) = (origins.iter().copied(), ["Authorization", "content-type"]);
    Cors::new(origins, methods, headers, allows_credentials, Duration::from_mins(10))
}

fn text<'a>(fields: impl Iterator<Item = Field<'a>>) -> String {
    fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}

fn refused(cors: &Cors, origin: &str, method: &str, headers: Option<&str>) -> Refusal {
    cors.preflight(origin, method, headers).map(drop).unwrap_err()
}

#[test]
fn a_preflight_is_answered_for_a_listed_origin() {
    let cors = cors(&["http://localhost:3000", APP], true).unwrap();
    let answer = text(cors.preflight(APP, "PUT", Some("authorization, Content-Type,")).unwrap());
    insta::assert_snapshot!(answer, @r"
    access-control-allow-origin: https://app.example.com
    access-control-allow-methods: GET, PUT
    access-control-allow-headers: authorization, content-type
    access-control-allow-credentials: true
    access-control-max-age: 600
    vary: origin, access-control-request-method, access-control-request-headers
    ");
    assert!(cors.preflight(APP, "GET", None).is_ok());
}

#[test]
fn a_preflight_for_anything_else_is_refused() {
    let cors = cors(&[APP], true).unwrap();
    for origin in
        ["https://app.example.com.evil.org", "http://app.example.com", "https://app.example.com:444", "null", "", "*"]
    {
        assert_eq!(refused(&cors, origin, "GET", None), Refusal::CorsRefused(CorsPart::Origin), "{origin}");
    }
    for method in ["DELETE", "put", "*"] {
        assert_eq!(refused(&cors, APP, method, None), Refusal::CorsRefused(CorsPart::Method), "{method}");
    }
    for headers in ["x-other", "authorization, x-other", "*"] {
        assert_eq!(refused(&cors, APP, "GET", Some(headers)), Refusal::CorsRefused(CorsPart::Header), "{headers}");
    }
}

#[test]
fn a_response_can_be_read_by_listed_origins_alone() {
    let cors = cors(&[APP], true).unwrap();
    insta::assert_snapshot!(text(cors.response_fields(Some(APP))), @r"
    access-control-allow-origin: https://app.example.com
    access-control-allow-credentials: true
    access-control-expose-headers: content-disposition, link, ratelimit, ratelimit-policy, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id
    vary: origin
    ");
    for origin in [None, Some("https://evil.org"), Some("null")] {
        assert_eq!(text(cors.response_fields(origin)), "vary: origin");
    }
}

#[test]
fn every_origin_is_never_combined_with_credentials() {
    assert_eq!(cors(&["*"], true), Err(CorsError::AnyWithCredentials));
    let open = cors(&["*"], false).unwrap();
    let fields = text(open.response_fields(Some("https://evil.org")))
        + &text(open.preflight("https://evil.org", "GET", None).unwrap());
    assert!(fields.starts_with("access-control-allow-origin: *\n") && !fields.contains("credentials"), "{fields}");
    for origin in [None, Some("null"), Some("https://evil.org")] {
        let told = text(open.response_fields(origin));
        assert!(told.starts_with("access-control-allow-origin: *\n") && !told.contains("vary"), "{told}");
    }
    for listed in [cors(&[APP], false).unwrap(), cors(&[APP], true).unwrap()] {
        assert!(!text(listed.response_fields(Some(APP))).contains('*'));
    }
}

#[test]
fn an_origin_is_what_browsers_write() {
    for origin in
        ["https://a.test", "http://[::1]:8080", "chrome-extension://abc", "web+x2.y-z://a_b", "http://127.0.0.1"]
    {
        assert!(cors(&[origin], true).is_ok(), "{origin}");
    }
}

#[test]
fn what_is_no_origin_is_refused() {
    for origin in [
        "null",
        "app.example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "HTTPS://a",
        "https://A",
        "https://*.a.com",
        "://a",
        "https://a b",
    ] {
        assert_eq!(cors(&[origin], false), Err(CorsError::Origin(origin.into())));
    }
    assert_eq!(cors(&["*", APP], false), Err(CorsError::Origin("*".into())));
    assert_eq!(cors(&[], false), Err(CorsError::NoOrigin));
    let bad = Cors::new([APP], Methods::ALL, ["a\r\nb"], false, Duration::ZERO);
    assert_eq!(bad, Err(CorsError::Header("a\r\nb".into())));
}
