//! Small promises that nothing else would notice if they were broken: each test was seen to fail with its guard taken out.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use http::Method;
use serde_json::json;

use crate::{
    backends::{kept, pool, pools},
    patience::{ask_http2, get_http2},
    platform::{PASSWORD, PORTCULLIS, Platform, Running, Setup, eventually, exchange},
    wire::{Wire, by_hand},
};

/// A server that answers each request with these bytes, and tells each connection from the others by `{n}` in them.
fn saying(bytes: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, n) = (stream.unwrap(), connections.fetch_add(1, Ordering::SeqCst));
            thread::spawn(move || {
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    drop(stream.write_all(bytes.replace("{n}", &n.to_string()).as_bytes()));
                }
            });
        }
    });
    address
}

/// Sends one request; gives everything that came back as it came.
fn whole(platform: &Platform, request: &str) -> String {
    String::from_utf8(exchange(platform.http, request.as_bytes())).unwrap()
}

#[test]
fn an_informational_answer_passes_with_its_links_and_the_final_one_is_dressed() {
    let upstream = saying(
        "HTTP/1.1 103 Early Hints\r\nServer: secret/1.0\r\nSet-Cookie: __Host-portcullis=theirs\r\nAccess-Control-Allow-Origin: *\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nServer: secret/1.0\r\nContent-Length: 2\r\n\r\nok",
    );
    let platform = Setup::default().upstream(upstream).start();
    let token = platform.register("hints@example.com")["access_token"].as_str().unwrap().to_owned();
    let answer = whole(
        &platform,
        &format!("GET /demo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"),
    );
    let answer = answer.to_lowercase();
    let (hints, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(hints, "http/1.1 103 early hints\r\nlink: </style.css>; rel=preload", "{answer}");
    let (last, _) = rest.split_once("\r\n\r\n").unwrap();
    assert!(!hints.contains("server:"), "{hints}");
    assert!(last.starts_with("http/1.1 200"), "{answer}");
    for ours in ["x-request-id", "ratelimit", "x-content-type-options"] {
        assert!(!hints.contains(ours) && last.contains(ours), "{ours}: {answer}");
    }
    assert!(!last.contains("server:"), "the upstream's software is its own business: {answer}");
}

#[test]
fn who_waits_for_leave_to_send_its_body_keeps_its_connection() {
    let (upstream, connections) = by_hand();
    let platform = Setup::default().upstream(upstream).start();
    let mut client = Wire::connect(platform.http);
    for _ in 0..2 {
        client.write("POST /demo/public/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        let mut server = connections.recv().unwrap();
        server.head();
        server.write("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("order");
        assert_eq!(server.read(5), b"order");
        server.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        let head = client.head().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("connection: close"), "{head}");
        assert_eq!(client.read(2), b"ok");
    }
}

/// Pingora has no way to pass one on there (docs/limits.md): the one that counts is whole all the same.
#[test]
fn a_client_of_http_2_hears_no_answer_that_only_informs_and_the_final_one_as_it_is() {
    let upstream = saying(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let platform = Setup::default().upstream(upstream).start();
    assert_eq!(get_http2(platform.http, "/demo/public/x"), Ok((200, "ok".to_owned())));
}

#[test]
fn an_upstream_that_breaks_off_in_the_middle_is_not_given_a_second_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = Setup::default().upstream(listener.local_addr().unwrap()).start();
    let breaking = thread::spawn(move || {
        for _ in 0..20 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        }
    });
    // However soon the end is noticed: what had come by then is passed on.
    for _ in 0..20 {
        let answer = whole(&platform, "GET /demo/public/x HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("half"), "{answer}");
    }
    breaking.join().unwrap();
}

#[test]
fn an_answer_without_a_body_is_whole_to_a_client_of_http_2_whatever_length_it_names() {
    let server = |bytes| vec![saying(bytes).to_string()];
    let platform = pools(&[
        ("none", server("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nmore"), ""),
        ("same", server("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"), ""),
        ("lies", server("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nmore"), ""),
    ])
    .start();
    for (path, status) in [("/none/x", 204), ("/same/x", 304), ("/lies/x", 304)] {
        assert_eq!(get_http2(platform.http, path), Ok((status, String::new())), "{path}");
    }
}

#[test]
fn who_asks_for_a_head_over_http_2_is_told_of_a_failure_too() {
    let (_kept, gone) = kept();
    let platform = pool(&[gone], "").start();
    assert_eq!(ask_http2(platform.http, Method::HEAD, "/pool/x"), Ok((502, String::new())));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_has_not_been_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = Setup::default().upstream(listener.local_addr().unwrap()).start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.write_all(b"POST /demo/public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    let (mut upstream, _) = listener.accept().unwrap();
    assert!(upstream.read(&mut [0; 4096]).unwrap() > 0);
    client.shutdown(Shutdown::Both).unwrap();
    let counted =
        |outcome: &str| platform.metric(&format!("portcullis_requests_total{{{outcome},route=\"demo-public\"}}"));
    eventually("the end of the request", || {
        counted("code=\"none\",outcome=\"permit\"") + counted("code=\"malformed\",outcome=\"refused\"") == 1
    });
    assert_eq!(counted("code=\"malformed\",outcome=\"refused\""), 0);
}

#[test]
fn a_refusal_says_what_its_status_asks_for_and_may_not_be_stored() {
    let platform = Platform::start();
    let head = whole(&platform, "HEAD /demo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 401") && head.ends_with("\r\n\r\n"), "an answer to HEAD has no body: {head}");
    let refused = platform.send("GET", "/demo/x", &[], "");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    let wrong = platform.send("DELETE", "/auth/login", &[], "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")), "{wrong:?}");
    let bad = platform.get("/demo/x", "not.a.token");
    assert_eq!(bad.header("www-authenticate"), Some("Bearer realm=\"portcullis\", error=\"invalid_token\""));
}

/// Of a path under `*` the account service knows which methods it takes; the door tells what it says.
#[test]
fn who_uses_a_wrong_method_is_told_those_of_the_endpoint_and_not_of_its_route() {
    let platform = Platform::start();
    let root = platform.admin();
    for (method, path, allowed) in [
        ("DELETE", "/tenants", "GET, HEAD, POST"),
        ("PATCH", "/tenants/7/invitations", "GET, HEAD"),
        ("POST", "/auth/mfa", "GET, HEAD"),
        ("GET", "/api/v2/auth/mfa/totp/confirm", "POST"),
        ("PUT", "/admin/users", "GET, HEAD, POST"),
        ("GET", "/admin/users/7/unlock", "POST"),
        ("DELETE", "/admin/keys", "GET, HEAD"),
    ] {
        let wrong = platform.json(method, path, Some(&root), &json!({}));
        let told: Vec<_> = wrong.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        assert_eq!((wrong.status, told.join(", ").as_str()), (405, allowed), "{method} {path}: {wrong:?}");
    }
}

#[test]
fn who_uses_a_method_that_no_route_of_a_path_takes_is_told_those_that_some_take() {
    let route = |name, paths, methods| {
        format!(
            "\n[[route]]\nname = \"{name}\"\npaths = [\"{paths}\"]\nmethods = {methods}\nupstream = \"demo\"\nauth = \"none\"\n"
        )
    };
    let platform = Setup::default()
        .append("routes.toml", &route("read", "/things/*", "[\"GET\", \"HEAD\"]"))
        .append("routes.toml", &route("make", "/things/*", "[\"POST\"]"))
        .start();
    for (method, path) in [("DELETE", "/things/7/parts"), ("OPTIONS", "/things/7"), ("TRACE", "/things/7")] {
        let wrong = platform.send(method, path, &[], "");
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, POST")), "{method} {path}: {wrong:?}");
    }
    assert_eq!(platform.send("POST", "/things/7", &[], "").status, 200);
}

#[test]
fn who_could_not_be_read_once_is_not_read_again() {
    let platform = Platform::start();
    let two = |path: &str| {
        let next = "GET /demo/public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answers = whole(&platform, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n{next}"));
        answers.matches("HTTP/1.1 ").count()
    };
    assert_eq!((two("/demo/public/x"), two("/demo/x"), two("/demo/public/%2e%2e/x")), (2, 2, 1));
}

#[test]
fn a_body_of_exactly_what_its_route_takes_passes_and_one_byte_more_does_not() {
    let platform = Setup::default()
        .append("routes.toml", "\n[[route]]\nname = \"small\"\npaths = [\"/small\"]\nupstream = \"demo\"\nauth = \"none\"\nmax_body_bytes = 10\n")
        .start();
    let chunked = |body: &str| {
        let size = body.len();
        let request = format!(
            "POST /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
        );
        platform.raw(request.as_bytes()).status
    };
    let declared = |body: &str| platform.send("POST", "/small", &[], body).status;
    assert_eq!((declared("0123456789"), declared("0123456789a")), (200, 413));
    assert_eq!((chunked("0123456789"), chunked("0123456789a")), (200, 413));
}

#[test]
fn an_upstream_is_told_all_that_it_asked_for() {
    let all = "x-user-id\", \"x-user-name\", \"x-user-permissions\", \"x-tenant-id\", \"x-session-id";
    let upstream = echo();
    let platform = Setup::default()
        .append("gateway.toml", &format!("\n[upstreams.told]\nservers = [\"{}\"]\nheaders = [\"{all}\"]\n", upstream.address("http")))
        .append("routes.toml", "\n[[route]]\nname = \"told\"\npaths = [\"/told/*\"]\nupstream = \"told\"\nrewrite = { \"/told\" = \"/\" }\nforward_credential = true\n")
        .start();
    let made = platform.post(
        "/auth/register",
        None,
        &json!({ "email": "told@example.com", "password": PASSWORD, "tenant_name": "Ours" }),
    );
    let made = made.json();
    let token = made["access_token"].as_str().unwrap();
    let key = platform.post("/auth/api-keys", Some(token), &json!({ "name": "one" })).json();
    let answer = platform.get("/told/path?a=1&b=2", token);
    assert_eq!((&answer.json()["path"], &answer.json()["query"]), (&json!("/path"), &json!("a=1&b=2")), "{answer:?}");
    assert_eq!(answer.received("authorization"), [format!("Bearer {token}")], "the route lets it through");
    assert_eq!(answer.received("x-tenant-id"), [made["user"]["tenant_id"].as_str().unwrap()]);
    assert_eq!(answer.received("x-forwarded-host"), ["door.test"]);
    assert_eq!(answer.received("x-user-permissions").len(), 1, "{answer:?}");
    assert_eq!(answer.received("x-user-name"), Vec::<String>::new(), "who has no name is not told of by an empty one");
    assert_eq!((answer.received("x-session-id").len(), answer.received("x-key-id").len()), (1, 0));
    let answer = platform.get("/told/path", key["key"].as_str().unwrap());
    assert_eq!(answer.received("x-key-id"), [key["id"].as_str().unwrap()]);
    assert_eq!(answer.received("x-session-id"), Vec::<String>::new());
}

fn echo() -> Running {
    Running::start(Command::new(PORTCULLIS).args(["demo-upstream", "--listen", "127.0.0.1:0"]), None)
}

#[test]
fn an_answer_of_http_1_0_is_passed_on_in_the_version_that_the_door_speaks() {
    let platform = Setup::default().upstream(saying("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")).start();
    let answer = whole(&platform, "GET /demo/public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    // RFC 9110 §2.5: each hop says its own.
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn two_upstreams_on_one_address_share_no_connection() {
    let upstream = saying("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
    let platform = Setup::default()
        .append("gateway.toml", &format!("\n[upstreams.one]\nservers = [\"{upstream}\"]\n\n[upstreams.two]\nservers = [\"{upstream}\"]\n"))
        .append("routes.toml", "\n[[route]]\nname = \"one\"\npaths = [\"/one\"]\nupstream = \"one\"\nauth = \"none\"\n\n[[route]]\nname = \"two\"\npaths = [\"/two\"]\nupstream = \"two\"\nauth = \"none\"\n")
        .start();
    let connection = |path: &str| platform.send("GET", path, &[], "").body;
    let (one, two) = (connection("/one"), connection("/two"));
    assert_ne!(one, two, "what one upstream was sent is not mixed with the other's");
    assert_eq!((connection("/one"), connection("/two")), (one, two), "each keeps its own");
}

#[test]
fn a_route_has_its_own_patience() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = Setup::default()
        .upstream(silent.local_addr().unwrap())
        .append("routes.toml", "\n[[route]]\nname = \"quick\"\npaths = [\"/quick\"]\nupstream = \"demo\"\nauth = \"none\"\ntimeouts = { response = \"200ms\" }\n")
        .start();
    assert_eq!(platform.send("GET", "/quick", &[], "").code(), "upstream_timeout");
}

#[test]
fn what_an_upstream_says_of_other_origins_counts_for_nothing_where_the_route_has_rules() {
    let upstream = saying(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\nok",
    );
    let platform = Setup::default()
        .upstream(upstream)
        .append("routes.toml", "\n[[route]]\nname = \"cors\"\npaths = [\"/cors\"]\nupstream = \"demo\"\nauth = \"none\"\ncors = { origins = [\"https://app.example.com\"] }\n")
        .start();
    let allowed = |origin: &str| {
        let answer = platform.send("GET", "/cors", &[("Origin", origin)], "");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://app.example.com").as_deref(), Some("https://app.example.com"));
    assert_eq!(allowed("https://evil.example"), None);
}

#[test]
fn of_two_traces_neither_goes_on() {
    let platform = Platform::start();
    let one = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let two = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = platform.send("GET", "/demo/public/x", &[("traceparent", one), ("traceparent", two)], "");
    let received = answer.received("traceparent");
    assert_eq!(received.len(), 1);
    assert!(received[0] != one && received[0] != two, "{received:?}");
}

#[test]
fn a_body_of_http_2_that_drips_is_refused() {
    let platform = Platform::start();
    let (status, body) = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(platform.http).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://door.test/demo/public/x").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let mut answer = std::pin::pin!(answer);
        // 20 bytes a second, until somebody has enough; more than long enough.
        for _ in 0..600 {
            let pause = std::time::Duration::from_millis(50);
            if let Ok(answer) = tokio::time::timeout(pause, &mut answer).await {
                let answer = answer.unwrap();
                let (status, mut body) = (answer.status().as_u16(), answer.into_body());
                let body = body.data().await.unwrap().unwrap();
                return (status, String::from_utf8(body.to_vec()).unwrap());
            }
            drop(body.send_data(bytes::Bytes::from_static(b"x"), false));
        }
        panic!("it dripped for half a minute");
    });
    assert_eq!(status, 408, "{body}");
    assert!(body.contains("request_timeout"), "{body}");
    let counted = r#"portcullis_requests_total{code="request_timeout",outcome="refused",route="demo-public"}"#;
    eventually("it is counted", || platform.metric(counted) == 1);
}
