//! What browsers are told: security headers on every answer, and which foreign pages may ask and read.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::platform::{Answer, Platform, Setup};

/// An upstream that answers everything with these fields.
fn saying(fields: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = vec![0; 65536];
            drop(stream.read(&mut seen));
            drop(write!(stream, "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\nConnection: close\r\n\r\nok"));
        }
    });
    address
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// The security headers of an answer, a line each.
fn told(answer: &Answer) -> String {
    let names = [
        "content-security-policy",
        "permissions-policy",
        "referrer-policy",
        "server",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
    ];
    let lines =
        names.iter().flat_map(|name| all(answer, name).into_iter().map(move |value| format!("{name}: {value}")));
    lines.collect::<Vec<_>>().join("\n")
}

const SHIPPED: &str = "\
content-security-policy: frame-ancestors 'none'
permissions-policy: camera=(), geolocation=(), microphone=()
referrer-policy: strict-origin-when-cross-origin
x-content-type-options: nosniff
x-frame-options: DENY";

#[test]
fn every_answer_carries_the_security_headers_whoever_wrote_it() {
    let platform = Setup::default().upstream(saying("Server: Apache/2.4 (Debian)\r\n")).start();
    for (path, status) in [
        ("/demo/public/x", 200),
        ("/demo/x", 401),
        ("/nowhere", 404),
        ("/demo/../x", 400),
        ("/readyz", 200),
        ("/health", 200),
    ] {
        let answer = platform.send("GET", path, &[], "");
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(told(&answer), SHIPPED, "{path}: {answer:?}");
    }
    let page = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "GET")];
    assert_eq!(told(&platform.send("OPTIONS", "/.well-known/jwks.json", &page, "")), SHIPPED);
}

#[test]
fn what_a_page_says_of_itself_stands_and_what_concerns_the_host_is_ours() {
    let platform = Setup::default()
        .upstream(saying(
            "Content-Security-Policy: default-src 'self'; frame-ancestors 'self'\r\nReferrer-Policy: no-referrer\r\n\
             Permissions-Policy: camera=(self)\r\nX-Content-Type-Options: sniff-all-you-like\r\n",
        ))
        .start();
    insta::assert_snapshot!(told(&platform.send("GET", "/demo/public/x", &[], "")), @r"
    content-security-policy: default-src 'self'; frame-ancestors 'self'
    permissions-policy: camera=(self)
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    ");
}

#[test]
fn hsts_is_said_to_those_who_came_by_https() {
    let said = "Strict-Transport-Security: max-age=0\r\n";
    let https = [("X-Forwarded-Proto", "https")];
    let hsts = |platform: &Platform, headers: &[(&str, &str)]| {
        let answer = platform.send("GET", "/demo/public/x", headers, "");
        all(&answer, "strict-transport-security").join("|")
    };
    let trusting = Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8").upstream(saying(said)).start();
    assert_eq!(hsts(&trusting, &https), "max-age=31536000", "one upstream cannot take it back for the host");
    assert_eq!(hsts(&trusting, &[("X-Forwarded-Proto", "http")]), "", "nobody may say it there (RFC 6797 §7.2)");
    // Refusals too.
    let refused = trusting.send("GET", "/demo/x", &https, "");
    assert_eq!((refused.status, all(&refused, "strict-transport-security").len()), (401, 1));

    let strict = Setup::default().upstream(saying("")).start();
    assert_eq!(hsts(&strict, &https), "", "anybody can say so");
}

#[test]
fn each_security_header_can_be_changed_or_turned_off() {
    let other = Setup::default()
        .upstream(saying("Server: x\r\n"))
        .edit("gateway.toml", "frame_ancestors = \"'none'\"", "frame_ancestors = \"'self' https://a.test\"")
        .edit(
            "gateway.toml",
            "referrer_policy = \"strict-origin-when-cross-origin\"",
            "referrer_policy = \"same-origin\"",
        )
        .edit(
            "gateway.toml",
            "permissions_policy = \"camera=(), geolocation=(), microphone=()\"",
            "permissions_policy = \"usb=(), fullscreen=(self)\"",
        )
        .start();
    insta::assert_snapshot!(told(&other.send("GET", "/demo/public/x", &[], "")), @r"
    content-security-policy: frame-ancestors 'self' https://a.test
    permissions-policy: usb=(), fullscreen=(self)
    referrer-policy: same-origin
    x-content-type-options: nosniff
    ");
    let mut off = Setup::default().upstream(saying("Server: x\r\nX-Frame-Options: ALLOWALL\r\n"));
    for (key, shipped) in [
        ("strict_transport_security", "max-age=31536000"),
        ("content_type_options", "nosniff"),
        ("frame_ancestors", "'none'"),
        ("referrer_policy", "strict-origin-when-cross-origin"),
        ("permissions_policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        off = off.edit("gateway.toml", &format!("{key} = \"{shipped}\""), &format!("{key} = \"off\""));
    }
    assert_eq!(told(&off.start().send("GET", "/demo/public/x", &[], "")), "x-frame-options: ALLOWALL");
}

const APP: (&str, &str) = ("Origin", "https://app.example.com");

/// A platform with a route that pages of one origin may call with credentials.
fn with_cors(upstream: SocketAddr) -> Platform {
    Setup::default()
        .upstream(upstream)
        .append(
            "routes.toml",
            "\n[[route]]\nname = \"shared\"\npaths = [\"/shared/*\"]\nmethods = [\"GET\", \"PUT\"]\nupstream = \"demo\"\n\
             cors = { origins = [\"https://app.example.com\"], headers = [\"authorization\"], credentials = true, max_age = \"10m\" }\n\
             \n[[route]]\nname = \"open\"\npaths = [\"/open/*\"]\nupstream = \"demo\"\nauth = \"none\"\ncors = { origins = [\"*\"] }\n",
        )
        .start()
}

/// What an answer says of origins, a line each.
fn origins(answer: &Answer) -> String {
    let lines = answer.headers.iter().filter(|(name, _)| name.starts_with("access-control-") || name == "vary");
    let mut lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_preflight_is_answered_whole_and_before_anybody_has_to_be_known() {
    let platform = with_cors(saying(""));
    let asks = |headers| [APP, ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", headers)];
    let answer = platform.send("OPTIONS", "/shared/x", &asks("authorization"), "");
    assert_eq!((answer.status, &*answer.body), (204, ""), "{answer:?}");
    insta::assert_snapshot!(origins(&answer), @r"
    access-control-allow-credentials: true
    access-control-allow-headers: authorization
    access-control-allow-methods: GET, PUT
    access-control-allow-origin: https://app.example.com
    access-control-max-age: 600
    vary: origin, access-control-request-method, access-control-request-headers
    ");
    // What is not allowed is refused, and says nothing of origins.
    for (asked, status) in [
        (asks("x-other"), 403),
        ([APP, ("Access-Control-Request-Method", "DELETE"), ("X-Nothing", "")], 405),
        ([("Origin", "https://evil.test"), ("Access-Control-Request-Method", "PUT"), ("X-Nothing", "")], 403),
        ([("Origin", "null"), ("Access-Control-Request-Method", "PUT"), ("X-Nothing", "")], 403),
    ] {
        let answer = platform.send("OPTIONS", "/shared/x", &asked, "");
        assert_eq!((answer.status, &*origins(&answer)), (status, ""), "{asked:?}: {answer:?}");
    }
    // Without the header that makes it a preflight it is a request like any other.
    assert_eq!(platform.send("OPTIONS", "/shared/x", &[APP], "").status, 405);
}

#[test]
fn only_listed_origins_may_read_and_caches_are_told_so() {
    let platform = with_cors(saying(
        "Access-Control-Allow-Origin: https://evil.test\r\nAccess-Control-Allow-Credentials: true\r\n\
         Access-Control-Expose-Headers: x-secret\r\nVary: Accept-Encoding\r\n",
    ));
    let token = platform.register("cors@example.com")["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let ask = |origin: Option<&str>| {
        let mut headers = vec![("Authorization", &*bearer)];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        platform.send("GET", "/shared/x", &headers, "")
    };
    insta::assert_snapshot!(origins(&ask(Some(APP.1))), @r"
    access-control-allow-credentials: true
    access-control-allow-origin: https://app.example.com
    access-control-expose-headers: content-disposition, link, ratelimit, ratelimit-policy, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id
    vary: Accept-Encoding
    vary: origin
    ");
    for stranger in [None, Some("null"), Some("https://evil.test"), Some("https://app.example.com.evil.test")] {
        assert_eq!(origins(&ask(stranger)), "vary: Accept-Encoding\nvary: origin", "{stranger:?}");
    }
    // A page may read why it was refused.
    let refused = platform.send("GET", "/shared/x", &[APP], "");
    assert_eq!((refused.status, all(&refused, "access-control-allow-origin")), (401, vec![APP.1]));
}

#[test]
fn what_every_page_may_read_is_said_to_everybody_and_never_with_credentials() {
    let platform = with_cors(saying("Access-Control-Allow-Credentials: true\r\n"));
    // Also without an Origin: a cache hands the same answer to a page that asks later (Fetch §3.2.5).
    for headers in [&[][..], &[APP], &[("Origin", "null")]] {
        let answer = platform.send("GET", "/open/x", headers, "");
        assert_eq!((answer.status, all(&answer, "access-control-allow-origin")), (200, vec!["*"]), "{answer:?}");
        assert!(
            answer.header("access-control-allow-credentials").is_none() && answer.header("vary").is_none(),
            "{answer:?}"
        );
    }
}
