//! What passes: forwarding headers, traces, streams both ways, several servers, rewritten prefixes, other origins.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use serde_json::json;

use crate::{
    backends::{After, Backend, kept, pool},
    platform::{Answer, PASSWORD, Platform, Setup, eventually},
    wire::Wire,
};

#[test]
fn a_forwarded_address_is_believed_from_a_trusted_proxy_only() {
    let headers = [("X-Forwarded-For", "6.6.6.6, 203.0.113.9"), ("X-Forwarded-Proto", "https")];
    let strict = Platform::start();
    let answer = strict.send("GET", "/demo/public/x", &headers, "");
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.received("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.received("x-forwarded-host"), ["door.test"]);

    let trusting = Setup::default()
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8")
        .append("routes.toml", "\n[[route]]\nname = \"once\"\npaths = [\"/once\"]\nupstream = \"demo\"\nauth = \"none\"\nlimits = [{ per = \"ip\", requests = \"1/hour\" }]\n")
        .start();
    let answer = trusting.send("GET", "/demo/public/x", &headers, "");
    assert_eq!(answer.received("x-forwarded-for"), ["6.6.6.6, 203.0.113.9, 127.0.0.1"]);
    assert_eq!(answer.received("x-forwarded-proto"), ["https"]);
    // Limits count the last address that no trusted proxy could have made up.
    let once = |chain: &str| trusting.send("GET", "/once", &[("X-Forwarded-For", chain)], "").status;
    assert_eq!((once("1.1.1.1, 203.0.113.9"), once("2.2.2.2, 203.0.113.9"), once("203.0.113.10")), (200, 429, 200));
}

#[test]
fn a_body_that_is_sent_again_is_counted_once() {
    let backend = Backend::named("good");
    let broken = Backend::start(|_, _| After::Close);
    let platform = pool(&[backend.address, broken.address], "ejection = { failures = 1000 }")
        .append("routes.toml", "max_body_bytes = 65536\n")
        .start();
    // Every other one comes to the server that reads it all and hangs up.
    let body = "x".repeat(40_000);
    for _ in 0..4 {
        assert_eq!(platform.send("PUT", "/pool/x", &[], &body).status, 200);
    }
    assert!(broken.count("PUT") >= 2);
    eventually("the log", || platform.log().matches("\"received_bytes\":40000").count() == 4);
}

#[test]
fn an_answer_without_a_body_frames_none() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"));
        After::Close
    });
    let platform = pool(&[backend.address], "").start();
    let mut client = Wire::connect(platform.http);
    for _ in 0..2 {
        client.write("GET /pool/x HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = client.head().to_lowercase();
        assert!(head.starts_with("http/1.1 204") && !head.contains("transfer-encoding"), "{head}");
    }
}

#[test]
fn a_trace_goes_on_or_begins_here() {
    let platform = Platform::start();
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(
        platform.send("GET", "/demo/public/x", &[("traceparent", theirs)], "").received("traceparent"),
        [theirs]
    );
    let begun = platform.send("GET", "/demo/public/x", &[("traceparent", "garbage")], "");
    let trace = &begun.received("traceparent")[0];
    assert_eq!(
        trace.split('-').nth(1),
        begun.header("x-request-id"),
        "a trace that begins here is named after the request"
    );
}

#[test]
fn nothing_is_held_back_on_the_way_up_or_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = Setup::default().upstream(listener.local_addr().unwrap()).start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client
        .write_all(b"POST /demo/public/up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .unwrap();
    let (mut upstream, _) = listener.accept().unwrap();
    // The first chunk is here although the body has not ended.
    read_until(&mut upstream, "first");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n").unwrap();
    // And its answer is there although the request has not ended.
    read_until(&mut client, "down");
    client.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    read_until(&mut upstream, "second");
    upstream.write_all(b"3\r\nend\r\n0\r\n\r\n").unwrap();
    read_until(&mut client, "end");
}

fn read_until(stream: &mut TcpStream, needle: &str) {
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while !seen.contains(needle) {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {seen:?}");
        seen += &String::from_utf8_lossy(&buffer[..read]);
    }
}

/// A server that answers every request with its name, for ever.
fn named(name: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
                }
            });
        }
    });
    address
}

#[test]
fn requests_go_round_the_servers_of_a_pool_and_past_one_that_is_down() {
    let (_kept, down) = kept();
    let (one, two) = (named("one"), named("two"));
    let platform = Setup::default()
        .append("gateway.toml", &format!("\n[upstreams.pool]\nservers = [\"{one}\", \"{two}\", \"{down}\"]\n"))
        .append("routes.toml", "\n[[route]]\nname = \"pool\"\npaths = [\"/pool/*\"]\nupstream = \"pool\"\nauth = \"none\"\nrewrite = { \"/pool\" = \"/\" }\n")
        .start();
    let answers: Vec<Answer> = (0..12).map(|_| platform.send("POST", "/pool/x", &[], "body")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    for name in ["one", "two"] {
        assert!(answers.iter().filter(|answer| answer.body == name).count() >= 4, "{name}: {answers:?}");
    }
}

#[test]
fn a_page_of_another_origin_may_read_what_the_route_allows() {
    let platform = Platform::start();
    let page = ("Origin", "https://app.example.com");
    let preflight =
        platform.send("OPTIONS", "/.well-known/jwks.json", &[page, ("Access-Control-Request-Method", "GET")], "");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")), "{preflight:?}");
    let keys = platform.send("GET", "/.well-known/jwks.json", &[page], "");
    assert_eq!((keys.status, keys.header("access-control-allow-origin")), (200, Some("*")));
    // A route without rules answers a preflight like any other request.
    let other = platform.send("OPTIONS", "/demo/x", &[page, ("Access-Control-Request-Method", "GET")], "");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (401, None));
}

#[test]
fn the_access_log_says_who_did_what_and_holds_no_credential() {
    let mut platform = Platform::start();
    let registered = platform.register("log@example.com");
    let token = registered["access_token"].as_str().unwrap().to_owned();
    let answer = platform.get("/demo/x?secret=in-the-query", &token);
    let refused = platform.send("GET", "/demo/x", &[], "");
    let shown = shown_otherwise(&platform, &registered);
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    let log = platform.log();
    let line = |id: &str| -> serde_json::Value {
        serde_json::from_str(log.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("no line for {id}")))
            .unwrap()
    };
    let permitted = line(answer.header("x-request-id").unwrap());
    assert_eq!(
        (permitted["decision"].as_str(), permitted["route"].as_str(), permitted["status"].as_u64()),
        (Some("permit"), Some("demo"), Some(200))
    );
    assert_eq!(permitted["account"], registered["user"]["id"]);
    assert!(permitted["upstream"].is_string() && permitted["total_us"].is_u64());
    let refusal = line(refused.header("x-request-id").unwrap());
    assert_eq!(
        (refusal["decision"].as_str(), refusal["refusal"].as_str()),
        (Some("refused"), Some("missing_credential"))
    );
    for secret in [token.as_str(), "in-the-query", PASSWORD].into_iter().chain(shown.iter().map(String::as_str)) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// Shows who has registered by everything else that shows it: the refresh token and what it buys, a key, and a cookie with its token.
fn shown_otherwise(platform: &Platform, registered: &serde_json::Value) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let made = platform.post("/auth/api-keys", registered["access_token"].as_str(), &json!({ "name": "key" })).json();
    let asked = json!({ "refresh_token": registered["refresh_token"] });
    let renewed = platform.post("/auth/refresh", None, &asked).json();
    let asked = json!({ "email": registered["user"]["email"], "password": PASSWORD, "session": "cookie" });
    let browser = platform.post("/auth/login", None, &asked);
    let cookies = browser.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str());
    let pair = cookies.filter_map(|cookie| cookie.split(';').next()).find(|pair| pair.starts_with("portcullis="));
    let cookie = pair.unwrap_or_else(|| panic!("no cookie: {browser:?}"));
    let key = text(&made["key"]);
    for credential in [("X-API-Key", key.as_str()), ("Cookie", cookie)] {
        assert_eq!(platform.send("GET", "/demo/x", &[credential], "").status, 200, "{credential:?}");
    }
    let tokens = [&registered["refresh_token"], &renewed["refresh_token"], &renewed["access_token"]].map(text);
    let cookie = cookie.trim_start_matches("portcullis=").to_owned();
    tokens.into_iter().chain([key, cookie, text(&browser.json()["csrf_token"])]).collect()
}

#[test]
fn the_metrics_count_by_route_and_outcome() {
    let platform = Platform::start();
    let token = platform.register("count@example.com")["access_token"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        platform.get("/demo/x", &token);
    }
    platform.send("GET", "/demo/x", &[], "");
    assert_eq!(platform.metric("portcullis_requests_total{code=\"2xx\",outcome=\"permit\",route=\"demo\"}"), 3);
    assert_eq!(
        platform.metric("portcullis_requests_total{code=\"missing_credential\",outcome=\"refused\",route=\"demo\"}"),
        1
    );
    assert_eq!(platform.metric("portcullis_credential_cache_hits_total"), 2);
    assert_eq!(platform.metric("portcullis_authentication_seconds_count"), 1);
    assert!(platform.metric("portcullis_store_seconds_count") >= 1);
    assert_eq!(platform.metric("portcullis_registrations_total{outcome=\"ok\"}"), 1);
    assert_eq!(platform.metric("portcullis_requests_in_flight"), 0);
    assert_eq!(platform.metric("portcullis_request_duration_seconds_count{route=\"demo\"}"), 3);
    let build = format!("portcullis_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(platform.metric(&build), 1);
}

#[test]
fn the_metrics_tell_how_many_callers_are_kept_and_that_there_was_no_room_for_others() {
    let platform = Setup::default().edit("gateway.toml", "credentials = 100000 ", "credentials = 1 ").start();
    let [ada, bob] =
        ["ada", "bob"].map(|name| platform.register(&format!("{name}@example.com"))["access_token"].clone());
    eventually("one to be dropped for the other", || {
        for token in [&ada, &bob] {
            platform.get("/demo/x", token.as_str().unwrap());
        }
        platform.metric("portcullis_credential_cache_evictions_total") > 0
    });
    eventually("the rest to be counted", || platform.metric("portcullis_credential_cache_entries") == 1);
    let counted = platform.metric("portcullis_limiter_entries");
    assert!(counted >= 2, "what both have spent is kept, and that of their address: {counted}");
}

const MIB: usize = 1 << 20;

/// Sends so many MiB, each of which says which it is, and tells how many have gone.
fn send(to: &mut impl Write, mebibytes: usize, gone: &AtomicUsize) {
    for number in 0..mebibytes {
        to.write_all(&vec![number as u8; MIB]).unwrap();
        gone.store(number + 1, SeqCst);
    }
}

/// Takes so many of them.
fn take(from: &mut impl Read, mebibytes: usize) {
    let mut taken = vec![0; MIB];
    for number in 0..mebibytes {
        from.read_exact(&mut taken).unwrap();
        assert!(taken.iter().all(|byte| *byte == number as u8), "MiB {number} is another");
    }
}

/// Reads a head to its last byte, and nothing beyond.
fn head(from: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Waits until who sends cannot go on, since nobody takes anything, while others pass as ever; that must be long before the end.
fn is_held_back(platform: &Platform, gone: &AtomicUsize, mebibytes: usize) {
    eventually("the sender to be held back", || {
        let before = gone.load(SeqCst);
        for _ in 0..50 {
            assert_eq!(platform.get("/demo/public/x", "").status, 200);
        }
        before > 0 && before == gone.load(SeqCst)
    });
    assert!(gone.load(SeqCst) < mebibytes, "somebody has taken all of it");
}

/// `PORTCULLIS_MEBIBYTES` says how many pass in each direction; systems keep some twenty of them in their sockets.
#[test]
fn what_streams_up_and_down_is_kept_nowhere_and_who_sends_waits_for_who_takes() {
    let mebibytes = std::env::var("PORTCULLIS_MEBIBYTES").map_or(64, |number| number.parse().unwrap());
    let [up, down] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (take_it, may_take) = mpsc::channel();
    let (listener, gone) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(&down));
    let address = listener.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        head(&mut stream);
        may_take.recv().unwrap();
        take(&mut stream, mebibytes);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", mebibytes * MIB).unwrap();
        send(&mut stream, mebibytes, &gone);
    });
    let room = format!("max_body_bytes = {}\n", mebibytes * MIB);
    let platform = pool(&[address], "").append("routes.toml", &room).start();
    assert_eq!(platform.get("/demo/public/x", "").status, 200);
    let before = platform.memory("VmHWM");

    let mut client = TcpStream::connect(platform.http).unwrap();
    write!(client, "POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", mebibytes * MIB).unwrap();
    let (mut sender, gone) = (client.try_clone().unwrap(), Arc::clone(&up));
    let sender = thread::spawn(move || send(&mut sender, mebibytes, &gone));
    is_held_back(&platform, &up, mebibytes);
    take_it.send(()).unwrap();
    sender.join().unwrap();
    is_held_back(&platform, &down, mebibytes);
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    take(&mut client, mebibytes);
    backend.join().unwrap();

    let more = platform.memory("VmHWM") - before;
    assert!(more < 16 * 1024, "{more} KiB more than the {before} before");
}
