//! What becomes of requests that cannot be read, or are not what they say.

use std::io::Write;

use serde_json::Value;

use crate::platform::{Answer, Platform, exchange};

#[test]
fn a_refusal_over_http_1_is_a_refusal_whatever_type_the_request_claims() {
    let platform = Platform::start();
    let answer = platform.send("GET", "/demo/hello", &[("Content-Type", "application/grpc")], "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_credential"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let claim = "Host: x\r\nContent-Type: application/grpc\r\n\r\n";
    let two = format!("GET /demo/public/../x HTTP/1.1\r\n{claim}GET /demo/public/x HTTP/1.1\r\n{claim}");
    let answers = String::from_utf8(exchange(platform.http, two.as_bytes())).unwrap();
    assert!(answers.starts_with("HTTP/1.1 400") && answers.matches("HTTP/1.1 ").count() == 1, "{answers}");
}

#[test]
fn who_sends_what_cannot_be_read_is_named_in_the_log() {
    let mut platform = Platform::start();
    let answer = platform.send("PUT", "/demo/public/../x?secret=1", &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"));
    let id = answer.header("x-request-id").expect("an id").to_owned();
    assert_eq!(answer.json()["request_id"], *id);
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    let log = platform.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<Value> = lines.filter(|line| line["request_id"] == *id).collect();
    let [found] = &told[..] else { panic!("not one line: {told:?}") };
    assert_eq!(
        (&found["client"], &found["method"], &found["path"], &found["refusal"]),
        (&"127.0.0.1".into(), &"PUT".into(), &"/demo/public/../x".into(), &"malformed".into()),
        "{found}"
    );
    assert!(!log.contains("secret=1"), "{log}");
}

#[test]
fn what_is_no_http_is_not_waited_for() {
    // The deadline for a head would make it a 408.
    let platform = Platform::start();
    let answer = Answer::parse(&exchange(platform.http, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"), "{answer:?}");
}

#[test]
fn who_asks_for_a_head_and_cannot_be_read_gets_a_head() {
    let platform = Platform::start();
    let long = format!("/demo/public/{}", "x".repeat(40_000));
    for (target, fields, status) in [
        ("/demo/public/x", "Host: a\r\nHost: b\r\n", 400),
        ("/demo/public/x#y", "Host: a\r\n", 400),
        ("/demo/public/x", "Host: a\r\nExpect: x\r\n", 417),
        (&long, "Host: a\r\n", 414),
    ] {
        let ask = |method| {
            let request = format!("{method} {target} HTTP/1.1\r\n{fields}\r\n");
            Answer::parse(&exchange(platform.http, request.as_bytes()))
        };
        let (head, whole) = (ask("HEAD"), ask("GET"));
        assert_eq!((head.status, &*head.body, whole.status), (status, "", status), "{head:?}");
        let length = whole.body.len().to_string();
        assert_eq!((head.header("content-length"), whole.body.is_empty()), (Some(&*length), false), "{head:?}");
    }
}

#[test]
fn a_target_longer_than_a_head_may_be_is_too_long_and_not_too_many_headers() {
    let platform = Platform::start();
    for rest in [" HTTP/1.1\r\nHost: x\r\n\r\n", ""] {
        let mut request = b"GET /demo/public/".to_vec();
        request.resize(40_000, b'x');
        request.write_all(rest.as_bytes()).unwrap();
        let answer = Answer::parse(&exchange(platform.http, &request));
        assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"), "{rest:?}: {answer:?}");
    }
}
