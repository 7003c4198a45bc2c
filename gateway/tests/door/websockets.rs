//! WebSockets through the door: what the backend is asked, what opens a tunnel and what does not, and how bytes pass.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    backends::{After, Backend, kept, pool},
    platform::{Answer, Platform, Setup, eventually},
    wire::{self, Wire, agreed, backend, by_hand, echo, frame, handshake, masked},
};

const ROUTES: &str = r#"
[[route]]
name = "ws"
paths = ["/ws/*"]
upstream = "demo"
websocket = true
tier_limits = false

[[route]]
name = "ws-open"
paths = ["/open/*"]
upstream = "demo"
auth = "none"
websocket = true

[[route]]
name = "ws-few"
paths = ["/few/*"]
upstream = "demo"
websocket = true
limits = [{ per = "user", concurrent = 2 }]

[[route]]
name = "ws-brief"
paths = ["/brief/*"]
upstream = "demo"
auth = "none"
websocket = true
websocket_idle = "300ms"
"#;

fn platform(upstream: std::net::SocketAddr) -> Platform {
    Setup::default().append("routes.toml", ROUTES).upstream(upstream).start()
}

fn token(platform: &Platform, email: &str) -> String {
    platform.register(email)["access_token"].as_str().unwrap().to_owned()
}

/// The answer to a handshake that comes to nothing.
fn refused(platform: &Platform, request: &str) -> Answer {
    platform.raw(request.replace("Host:", "Connection: close\r\nHost:").as_bytes())
}

/// The values of a field in a header as it went over the wire.
fn values(head: &str, name: &str) -> Vec<String> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn no_handshake_is_lost_however_fast_the_backend_answers() {
    let platform = platform(backend(echo));
    let each = std::env::var("PORTCULLIS_HANDSHAKES").map_or(2000, |number| number.parse().unwrap()) / 8;
    let door = platform.http;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                for n in 0..each {
                    wire::open(door, "/open/x", "none").echoes(&format!("still here {n}"));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let carried = "portcullis_requests_total{code=\"1xx\",outcome=\"permit\",route=\"ws-open\"}";
    eventually("every tunnel to end", || platform.metric(carried) == each * 8);
    eventually("every place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
}

#[test]
fn the_backend_is_asked_by_us_and_told_who_is_calling() {
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let token = token(&platform, "who@example.com");
    let mut client = Wire::connect(platform.http);
    let fields = [
        ("Authorization", &*format!("Bearer {token}")),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("X-User-Id", "mallory"),
        ("Sec-WebSocket-Protocol", "chat, v2"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ];
    client.write(handshake("/ws/a?b=1", &fields));
    let mut upstream = connections.recv().unwrap();
    let head = upstream.head();
    assert!(head.starts_with("GET /ws/a?b=1 HTTP/1.1\r\n"), "{head}");
    for (name, expected) in [
        ("connection", &["Upgrade"][..]),
        ("upgrade", &["websocket"]),
        ("host", &["door.test"]),
        ("sec-websocket-key", &[wire::KEY]),
        ("sec-websocket-version", &["13"]),
        ("sec-websocket-protocol", &["chat, v2"]),
        ("sec-websocket-extensions", &["permessage-deflate"]),
        ("x-user-email", &["who@example.com"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("authorization", &[]),
        ("x-hop", &[]),
        ("keep-alive", &[]),
        ("content-length", &[]),
        ("transfer-encoding", &[]),
    ] {
        assert_eq!(values(&head, name), expected, "{name}: {head}");
    }
    assert_eq!(values(&head, "x-user-id").len(), 1);
    assert!(!head.contains("mallory"));

    upstream
        .write(agreed("Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\nServer: x\r\n"));
    let answer = client.head();
    for (name, expected) in [
        ("sec-websocket-accept", &[wire::ACCEPT][..]),
        ("sec-websocket-protocol", &["v2"]),
        ("sec-websocket-extensions", &["permessage-deflate"]),
        ("connection", &["Upgrade"]),
        ("upgrade", &["websocket"]),
        ("server", &[]),
    ] {
        assert_eq!(values(&answer, name), expected, "{name}: {answer}");
    }
    assert_eq!(values(&answer, "x-request-id"), values(&head, "x-request-id"));
    // Exactly the bytes of either side reach the other.
    client.write(masked(1, b"up"));
    assert_eq!(upstream.read(8), masked(1, b"up"));
    upstream.write(frame(1, b"down"));
    assert_eq!(client.read(6), frame(1, b"down"));
}

#[test]
fn a_credential_among_the_protocols_is_ours_alone() {
    let (upstream, connections) = by_hand();
    let mut platform = platform(upstream);
    let token = token(&platform, "sub@example.com");
    let offer = |offered: &str, chosen: &str| {
        let mut client = Wire::connect(platform.http);
        client.write(handshake("/ws/x", &[("Sec-WebSocket-Protocol", offered), ("Origin", "https://app.example.com")]));
        let mut upstream = connections.recv().unwrap();
        let head = upstream.head();
        assert!(!head.contains(&token), "{head}");
        upstream.write(agreed(chosen));
        (values(&head, "sec-websocket-protocol"), values(&client.head(), "sec-websocket-protocol"))
    };
    let bearer = format!("bearer.{token}");
    let chat = || vec!["chat".to_owned()];
    // The backend's choice among the others is the answer; without one a browser needs its own word back.
    assert_eq!(offer(&format!("{bearer}, chat"), "Sec-WebSocket-Protocol: chat\r\n"), (chat(), chat()));
    assert_eq!(offer(&bearer, ""), (vec![], vec![bearer.clone()]));
    assert_eq!(offer(&format!("chat,BEARER.{token}"), ""), (chat(), vec![format!("BEARER.{token}")]));

    for fields in [
        vec![("Sec-WebSocket-Protocol", format!("{bearer}, {bearer}"))],
        vec![("Sec-WebSocket-Protocol", bearer.clone()), ("Authorization", format!("Bearer {token}"))],
        vec![("Sec-WebSocket-Protocol", bearer.clone()), ("X-API-Key", "pck_x".into())],
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = refused(&platform, &handshake("/ws/x", &fields));
        assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_credentials"), "{answer:?}");
    }
    platform.gateway().signal("TERM");
    platform.gateway().wait();
    assert!(!platform.log().contains(&token), "the credential is in the log");
}

#[test]
fn a_plain_request_does_not_carry_the_credential_on_either() {
    let platform = Platform::start();
    let token = token(&platform, "plain@example.com");
    let protocols = format!("chat, bearer.{token}");
    let answer = platform.send("GET", "/demo/x", &[("Sec-WebSocket-Protocol", &protocols)], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.received("sec-websocket-protocol"), ["chat"]);
    assert!(!answer.body.contains(&token));
}

#[test]
fn nothing_but_an_answer_to_the_handshake_opens_a_tunnel() {
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let good = agreed("");
    for (answer, status) in [
        (good.replace(wire::ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 502),
        (good.replace("Upgrade: websocket\r\n", ""), 502),
        (good.replace("Connection: Upgrade\r\n", ""), 502),
        (good.replace("Upgrade: websocket", "Upgrade: h2c"), 502),
        (agreed("Sec-WebSocket-Protocol: surprise\r\n"), 502),
        (good.replace("101 Switching Protocols", "200 OK"), 200),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Theirs: yes\r\n\r\nplain".to_owned(), 200),
        ("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnay\r\n0\r\n\r\n".to_owned(), 403),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 204),
        ("nonsense\r\n\r\n".to_owned(), 502),
    ] {
        let mut client = Wire::connect(platform.http);
        client.write(handshake("/open/x", &[]).replace("Host:", "Connection: close\r\nHost:"));
        let mut upstream = connections.recv().unwrap();
        upstream.head();
        // What would be smuggled if this were taken for a tunnel.
        client.write("GET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
        upstream.write(&answer);
        drop(upstream.stream.shutdown(std::net::Shutdown::Write));
        let got = Answer::parse(&client.rest());
        assert_eq!(got.status, status, "{answer:?} became {got:?}");
        assert!(status != 502 || got.code() == "upstream_invalid", "{got:?}");
        assert!(got.header("x-request-id").is_some(), "{got:?}");
        assert_eq!(upstream.rest(), b"", "after {answer:?}");
        match status {
            200 if answer.contains("plain") => assert_eq!((&*got.body, got.header("x-theirs")), ("plain", Some("yes"))),
            403 => assert_eq!(got.body, "nay"),
            _ => {}
        }
    }
}

#[test]
fn what_a_client_sends_too_early_waits_for_the_101() {
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let mut client = Wire::connect(platform.http);
    client.write([handshake("/open/x", &[]).as_bytes(), &masked(1, b"early")].concat());
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    assert!(upstream.is_silent(), "bytes came before the 101");
    upstream.write(agreed(""));
    assert_eq!(upstream.frame(), Some((1, b"early".to_vec())));
    client.head();
}

#[test]
fn a_slow_reader_holds_back_its_own_writer_and_nobody_else() {
    const FRAMES: usize = 1000;
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let mut client = Wire::connect(platform.http);
    client.write(handshake("/open/x", &[]));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    upstream.write(agreed(""));
    client.head();

    let written = Arc::new(AtomicUsize::new(0));
    let piece = frame(2, &vec![7; 65526]);
    let all = piece.len() * FRAMES;
    let (mut out, progress) = (upstream.stream.try_clone().unwrap(), Arc::clone(&written));
    let writer = thread::spawn(move || {
        for _ in 0..FRAMES {
            out.write_all(&piece).unwrap();
            progress.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    // The other way is open although this way is full.
    let mut before = usize::MAX;
    eventually("the backend to be held back", || {
        let now = written.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(written.load(Ordering::Relaxed) < all / 2, "the door took {before} bytes that nobody reads");
    let large = vec![9; 1 << 20];
    let mut up = client.stream.try_clone().unwrap();
    let sent = masked(2, &large);
    let sender = thread::spawn(move || up.write_all(&sent).unwrap());
    assert_eq!(upstream.frame(), Some((2, large)));
    sender.join().unwrap();
    for _ in 0..FRAMES {
        assert_eq!(client.frame().unwrap().1.len(), 65526);
    }
    writer.join().unwrap();
    client.write(masked(8, &1000_u16.to_be_bytes()));
    assert_eq!(upstream.frame(), Some((8, 1000_u16.to_be_bytes().to_vec())));
    drop((client, upstream));
    eventually("the tunnel to end", || platform.metric("portcullis_requests_in_flight") == 0);
    eventually("the access log", || platform.log().contains("\"status\":101"));
    let log = platform.log();
    let line = log.lines().find(|line| line.contains("\"status\":101")).unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let up = masked(2, &vec![9; 1 << 20]).len() + 8;
    assert_eq!(event["sent_bytes"], all, "{line}");
    assert_eq!(event["received_bytes"], up, "{line}");
}

#[test]
fn one_side_may_finish_before_the_other() {
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let mut client = Wire::connect(platform.http);
    client.write(handshake("/open/x", &[]));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    upstream.write(agreed(""));
    client.head();
    client.write(masked(1, b"last"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(upstream.rest(), masked(1, b"last"));
    upstream.write(frame(1, b"still here"));
    drop(upstream);
    assert_eq!(client.rest(), frame(1, b"still here"));
}

#[test]
fn a_silent_tunnel_is_closed_in_words() {
    let platform = platform(backend(echo));
    let mut client = wire::open(platform.http, "/brief/x", "none");
    assert_eq!(client.close(), (1001, "idle".to_owned()));
    assert_eq!(client.rest(), b"");
}

#[test]
fn only_a_route_that_says_so_becomes_a_websocket() {
    let platform = platform(backend(echo));
    let refused = |request: String| {
        let answer = refused(&platform, &request);
        (answer.status, answer.code(), answer.header("sec-websocket-version").map(str::to_owned))
    };
    assert_eq!(refused(handshake("/demo/public/x", &[])), (403, "upgrade_not_allowed".into(), None));
    let other = handshake("/open/x", &[]).replace("Version: 13", "Version: 8");
    assert_eq!(refused(other), (426, "websocket_version".into(), Some("13".into())));
    assert_eq!(refused(handshake("/open/x", &[]).replace("GET", "POST")), (400, "malformed".into(), None));
    assert_eq!(refused(handshake("/ws/x", &[])), (401, "missing_credential".into(), None));
}

#[test]
fn an_upgrade_to_something_else_is_left_out() {
    let platform = Platform::start();
    let fields = [("Connection", "upgrade, http2-settings"), ("Upgrade", "h2c, websocket"), ("HTTP2-Settings", "AAAA")];
    let answer = platform.send("GET", "/demo/public/x", &fields, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    for name in ["upgrade", "http2-settings"] {
        assert!(answer.received(name).is_empty(), "{answer:?}");
    }
}

#[test]
fn an_open_websocket_is_a_request_in_flight() {
    let platform = platform(backend(echo));
    let token = token(&platform, "few@example.com");
    let first = wire::open(platform.http, "/few/x", &token);
    let _second = wire::open(platform.http, "/few/x", &token);
    let bearer = format!("Bearer {token}");
    let third = || {
        let mut client = Wire::connect(platform.http);
        client.write(handshake("/few/x", &[("Authorization", &bearer)]));
        client.head()
    };
    assert!(third().starts_with("HTTP/1.1 429"));
    drop(first);
    eventually("the slot to come free", || third().starts_with("HTTP/1.1 101"));
}

#[test]
fn who_leaves_before_the_server_has_answered_keeps_no_place() {
    let (upstream, connections) = by_hand();
    let platform = platform(upstream);
    let bearer = format!("Bearer {}", token(&platform, "left@example.com"));
    let ask = |early: &[u8]| {
        let mut client = Wire::connect(platform.http);
        client.write([handshake("/few/x", &[("Authorization", &bearer)]).as_bytes(), early].concat());
        let mut upstream = connections.recv().unwrap();
        upstream.head();
        (client, upstream)
    };
    let ((silent, mut first), (eager, mut second)) = (ask(b""), ask(&masked(1, b"early")));
    drop((silent, eager));
    eventually("the places to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
    assert_eq!((first.rest(), second.rest()), (vec![], vec![]));
    eventually("the access log", || platform.log().matches("\"decision\":\"permit\",\"status\":0").count() == 2);
}

#[test]
fn a_server_that_breaks_handshakes_is_left_out_and_costs_none() {
    let good = backend(echo);
    let bad = Backend::start(|_, _| After::Close);
    let platform = pool(&[bad.address, good], "ejection = { time = \"1m\", max_time = \"1m\" }")
        .append("routes.toml", "websocket = true\n")
        .start();
    for _ in 0..30 {
        wire::open(platform.http, "/pool/x", "none");
    }
    assert_eq!(platform.metric("portcullis_upstream_failures_total{kind=\"closed\",upstream=\"pool\"}"), 5);
    assert_eq!(platform.metric("portcullis_upstream_servers_healthy{upstream=\"pool\"}"), 1);
    assert_eq!(bad.count("GET"), 5, "it is left out");
}

#[test]
fn a_backend_that_is_away_is_told_as_for_any_request() {
    let (_kept, gone) = kept();
    let platform = platform(gone);
    let answer = refused(&platform, &handshake("/open/x", &[]));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{answer:?}");
}
