//! Clients that do what few do: they say no more once they have asked, speak HTTP/1.0, use HTTP/2 in odd ways. Honest ones are
//! served, of the others nothing odd is passed on, and what refuses them is written by the door.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};

use crate::{
    backends::{After, Backend, pool},
    platform::{Answer, Platform, Setup, eventually, exchange, pace, silence},
    wire::by_hand,
};

/// Says all of it, shuts down its half of the connection, and reads to the end.
fn half_closing(door: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(door).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    drop(client.read_to_string(&mut answer));
    answer
}

#[test]
fn who_says_no_more_once_it_has_asked_is_answered() {
    let backend = Backend::start(|head, stream| {
        silence(Duration::from_millis(300));
        if head.contains("/events ") {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
            for _ in 0..3 {
                pace(Duration::from_millis(100));
                drop(stream.write_all(b"2\r\nok\r\n"));
            }
            drop(stream.write_all(b"0\r\n\r\n"));
        } else {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        }
        After::Keep
    });
    let platform = pool(&[backend.address], "").start();
    for (request, answers) in [
        ("GET /pool/x HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ("GET /pool/x HTTP/1.0\r\nHost: x\r\n\r\n", 1),
        ("POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 1),
        ("GET /pool/x HTTP/1.1\r\nHost: x\r\n\r\nGET /pool/x HTTP/1.1\r\nHost: x\r\n\r\n", 2),
        ("GET /pool/events HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ("GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 1),
    ] {
        let answer = half_closing(platform.http, request);
        assert_eq!(answer.matches(" 200 OK").count(), answers, "{request:?}: {answer:?}");
        assert!(answer.ends_with("ok") || answer.ends_with("\r\n0\r\n\r\n"), "{request:?}: {answer:?}");
    }
}

#[test]
fn who_says_no_more_and_is_told_nothing_is_taken_to_have_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[listener.local_addr().unwrap()], "").start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.write_all(b"GET /pool/x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (mut upstream, _) = listener.accept().unwrap();
    upstream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut request = Vec::new();
    // Long before the upstream's own time is over.
    upstream.read_to_end(&mut request).unwrap();
    assert!(request.starts_with(b"GET /pool/x "));
}

#[test]
fn a_client_of_http_1_0_is_told_nothing_that_only_informs() {
    let backend = Backend::start(|head, stream| {
        if head.to_lowercase().contains("expect:") {
            drop(stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        drop(stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let platform = pool(&[backend.address], "").start();
    let sent = |version: &str| {
        let request = format!(
            "POST /pool/x HTTP/{version}\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
        );
        String::from_utf8(exchange(platform.http, request.as_bytes())).unwrap()
    };
    let answer = sent("1.0");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = sent("1.1");
    assert!(answer.starts_with("HTTP/1.1 100") && answer.contains("HTTP/1.1 103"), "{answer}");
}

#[test]
fn a_request_that_names_no_host_gets_no_further_than_the_door() {
    let platform = Platform::start();
    let probed = Answer::parse(&exchange(platform.http, b"GET /healthz HTTP/1.0\r\n\r\n"));
    assert_eq!(probed.status, 200, "balancers ask so: {probed:?}");
    let refused = Answer::parse(&exchange(platform.http, b"GET /demo/public/x HTTP/1.0\r\n\r\n"));
    assert_eq!((refused.status, refused.code().as_str()), (400, "malformed"));
}

#[test]
fn the_upstream_is_told_the_host_with_the_port_that_the_client_used() {
    let platform = Platform::start();
    let request = b"GET /demo/public/x HTTP/1.1\r\nHost: Door.Test:8443\r\nConnection: close\r\n\r\n";
    let answer = Answer::parse(&exchange(platform.http, request));
    assert_eq!(answer.received("x-forwarded-host"), ["Door.Test:8443"]);
    // An empty port is none (RFC 3986 §3.2.3).
    let request = b"GET /demo/public/x HTTP/1.1\r\nHost: Door.Test:\r\nConnection: close\r\n\r\n";
    let answer = Answer::parse(&exchange(platform.http, request));
    assert_eq!(
        (answer.received("host"), answer.received("x-forwarded-host")),
        (vec!["Door.Test".to_owned()], vec!["Door.Test".to_owned()])
    );
}

/// One request over HTTP/2 with a body, and trailers if there are any: status, kind and body, or how it was reset.
fn over_http2(
    door: SocketAddr,
    request: Request<()>,
    trailers: Option<HeaderMap>,
) -> Result<(u16, String, String), Option<h2::Reason>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
        let stream = tokio::net::TcpStream::connect(door).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (answer, mut body) = client.send_request(request, trailers.is_none()).map_err(|error| error.reason())?;
        if let Some(trailers) = trailers {
            body.send_data(Bytes::from_static(b"body"), false).unwrap();
            body.send_trailers(trailers).unwrap();
        }
        let answer = answer.await.map_err(|error| error.reason())?;
        let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let (status, mut body, mut whole) = (answer.status().as_u16(), answer.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            whole.extend_from_slice(&piece.map_err(|error| error.reason())?);
        }
        Ok((status, kind, String::from_utf8(whole).unwrap()))
    })
}

#[test]
fn a_request_of_http_2_that_is_well_formed_but_means_nothing_is_refused_in_our_words() {
    let platform = Platform::start();
    let get = |uri: &str| Request::get(uri.to_owned());
    let path = "http://door.test/demo/public/x";
    for (request, status, code) in [
        (get("ftp://door.test/demo/public/x").body(()), 400, "malformed"),
        (get(path).header("content-length", "00").body(()), 400, "malformed"),
        (get(path).header("expect", "200-ok").body(()), 417, "expectation_failed"),
        (get(path).header("x-blank", " before").body(()), 400, "malformed"),
        (get(path).header("x-blank", "after\t").body(()), 400, "malformed"),
        (get(path).header("authorization", "a").header("authorization", "b").body(()), 400, "ambiguous_credentials"),
        (Request::builder().method(Method::CONNECT).uri("door.test:443").body(()), 400, "malformed"),
        (Request::builder().method("TRACE").uri(path).body(()), 405, "method_not_allowed"),
    ] {
        let request = request.unwrap();
        let what = format!("{request:?}");
        let (answered, kind, body) = over_http2(platform.http, request, None).unwrap();
        assert_eq!((answered, kind.as_str()), (status, "application/problem+json"), "{what}: {body}");
        assert!(body.contains(code), "{what}: {body}");
    }
    let (status, _, body) = over_http2(platform.http, get(path).body(()).unwrap(), None).unwrap();
    assert_eq!(status, 200, "{body}");
}

#[test]
fn a_head_of_http_2_has_its_size() {
    let platform = Platform::start();
    let with = |bytes: usize| {
        let request = Request::get("http://door.test/demo/public/x").header("x-long", "x".repeat(bytes));
        over_http2(platform.http, request.body(()).unwrap(), None).unwrap()
    };
    assert_eq!(with(32_000).0, 200);
    let (status, kind, body) = with(33_000);
    assert_eq!((status, kind.as_str()), (431, "application/problem+json"), "{body}");
    assert!(body.contains("headers_too_large"), "{body}");
    let counted = r#"portcullis_requests_total{code="headers_too_large",outcome="refused",route="-"}"#;
    eventually("it is counted", || platform.metric(counted) == 1);
    // Twice as much is the most that the library takes: it says so to the client beforehand (RFC 9113 §6.5.2), and answers by itself.
    assert_eq!(with(70_000), (431, String::new(), String::new()));
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut head = [0; 9];
    client.read_exact(&mut head).unwrap();
    let mut settings = vec![0; usize::from(head[2])];
    client.read_exact(&mut settings).unwrap();
    assert!(settings.chunks(6).any(|setting| setting == [0, 6, 0, 1, 0, 0]), "{settings:?}");
}

#[test]
fn nothing_that_a_client_says_in_trailers_is_passed_on() {
    let platform = Platform::start();
    for (name, value) in
        [("x-user-id", "mallory"), ("x-harmless", "mallory"), ("content-length", "4711"), ("host", "mallory")]
    {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, HeaderValue::from_static(value));
        let request = Request::post("http://door.test/demo/public/x").body(()).unwrap();
        match over_http2(platform.http, request, Some(trailers)) {
            Ok((200, _, answer)) => assert!(answer.contains("body") && !answer.contains(value), "{name}: {answer}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Nor is what HTTP/1 says there.
    let request = "POST /demo/public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4\r\nbody\r\n0\r\nX-User-Id: mallory\r\nX-Harmless: mallory\r\n\r\n";
    let answer = platform.raw(request.as_bytes());
    assert!(answer.status == 200 && answer.body.contains("body") && !answer.body.contains("mallory"), "{answer:?}");
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header field that no table knows (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// What comes back for these frames.
fn answered(door: SocketAddr, frames: &[u8]) -> (Vec<u8>, String) {
    heard(&mut asking(door, frames))
}

fn asking(door: SocketAddr, frames: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(door).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, &[]), frames].concat()).unwrap();
    client
}

/// The kinds of frames of the stream up to its end, and its DATA.
fn heard(client: &mut TcpStream) -> (Vec<u8>, String) {
    let (mut kinds, mut data) = (Vec::new(), Vec::new());
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        client.read_exact(&mut payload).unwrap();
        let (kind, ends) = (head[3], head[4] & 1 == 1);
        if matches!(kind, DATA | HEADERS | RST_STREAM | GOAWAY) {
            kinds.push(kind);
        }
        if kind == DATA {
            data.extend_from_slice(&payload);
        }
        if matches!(kind, RST_STREAM | GOAWAY) || (matches!(kind, DATA | HEADERS) && ends) {
            return (kinds, String::from_utf8_lossy(&data).into_owned());
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

#[test]
fn fields_that_http_2_does_not_know_in_their_place_are_not_passed_on() {
    let platform = Platform::start();
    let head = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":authority", "door.test"),
        field(":path", "/demo/public/x"),
    ]
    .concat();
    for odd in
        [(":path", "/mallory"), (":status", "200"), ("X-User-Id", "mallory"), ("connection", "mallory"), ("te", "gzip")]
    {
        let frames = frame(HEADERS, 5, 1, &[&head[..], &field(odd.0, odd.1)].concat());
        let (kinds, data) = answered(platform.http, &frames);
        assert!(matches!(kinds[..], [RST_STREAM | GOAWAY]), "{odd:?}: {kinds:?} {data}");
    }
    // Of those in trailers the library resets some and forgets others.
    for odd in
        [(":path", "/mallory"), (":status", "200"), ("X-User-Id", "mallory"), ("connection", "mallory"), ("te", "gzip")]
    {
        let frames = [frame(HEADERS, 4, 1, &head), frame(HEADERS, 5, 1, &field(odd.0, odd.1))].concat();
        let (kinds, data) = answered(platform.http, &frames);
        let is_reset = matches!(kinds[..], [RST_STREAM | GOAWAY]);
        assert!(is_reset || data.contains("\"/demo/public/x\""), "{odd:?}: {kinds:?} {data}");
        assert!(!data.contains("mallory") && !data.contains("gzip"), "{odd:?}: {data}");
    }
}

#[test]
fn a_target_of_http_2_holds_what_a_uri_may() {
    let platform = Platform::start();
    for odd in ["/demo/public/x?q=\u{e9}", "/demo/public/\u{e9}", "/demo/public/x?<", "demo/public/x"] {
        let head = [(":method", "GET"), (":scheme", "http"), (":authority", "door.test"), (":path", odd)];
        let head = head.map(|(name, value)| field(name, value)).concat();
        let (kinds, data) = answered(platform.http, &frame(HEADERS, 5, 1, &head));
        assert!(matches!(kinds[..], [RST_STREAM | GOAWAY]) || data.contains("malformed"), "{odd}: {kinds:?} {data}");
    }
}

#[test]
fn a_client_of_http_2_has_so_many_requests_at_once_and_so_many_in_all() {
    let platform = Setup::default()
        .edit("gateway.toml", "http2_max_streams = 100", "http2_max_streams = 2")
        .edit("gateway.toml", "max_requests_per_connection = 100000", "max_requests_per_connection = 4")
        .start();
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", "door.test"), (":path", "/demo/public/x")];
    let post = post.map(|(name, value)| field(name, value)).concat();
    // Two that wait for their bodies, and a third.
    let three = [1, 3, 5].map(|stream| frame(HEADERS, 4, stream, &post)).concat();
    let mut client = asking(platform.http, &three);
    assert_eq!(heard(&mut client).0, [RST_STREAM]);
    let reached = |bound| platform.metric(&format!("portcullis_connection_bounds_total{{bound=\"{bound}\"}}"));
    // Of a client that has left by then nothing more would be read.
    eventually("two are many", || reached("http2_streams") == 1);

    let mut client = asking(platform.http, &frame(HEADERS, 5, 1, &post));
    client.write_all(&frame(HEADERS, 5, 3, &post)).unwrap();
    eventually("two are answered", || platform.metric("portcullis_requests_in_flight") == 0);
    client.write_all(&frame(HEADERS, 5, 5, &post)).unwrap();
    client.write_all(&frame(HEADERS, 5, 7, &post)).unwrap();
    eventually("four are enough", || reached("requests") == 1);
    let (mut came, mut piece) = (Vec::new(), [0; 4096]);
    while !came.windows(6).any(|bytes| bytes == [GOAWAY, 0, 0, 0, 0, 0]) {
        let read = client.read(&mut piece).expect("the client is told to make another connection");
        came.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn a_body_of_http_2_whose_end_is_an_empty_frame_ends_once() {
    let (upstream, connections) = by_hand();
    let platform = Setup::default().upstream(upstream).start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", "door.test"), (":path", "/demo/public/x")];
    let post = post.map(|(name, value)| field(name, value)).concat();
    let frames = [frame(HEADERS, 4, 1, &post), frame(DATA, 0, 1, b"abc"), frame(DATA, 1, 1, b"")].concat();
    client.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, &[]), &frames].concat()).unwrap();
    let mut upstream = connections.recv().unwrap();
    assert!(upstream.head().to_ascii_lowercase().contains("transfer-encoding: chunked"));
    assert_eq!(upstream.read(13), b"3\r\nabc\r\n0\r\n\r\n");
    assert!(upstream.is_silent(), "Pingora #935: there was a second end");
}

#[test]
fn a_connection_is_closed_in_whatever_line_its_client_says_so() {
    let platform = Platform::start();
    for lines in ["Connection: close", "Connection: x-a, close", "Connection: x-a\r\nConnection: close"] {
        let request = format!("GET /demo/public/x HTTP/1.1\r\nHost: door.test\r\n{lines}\r\n\r\n");
        let answer = platform.raw(request.as_bytes());
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{lines}");
    }
}

#[test]
fn nobody_gets_a_tunnel_and_the_door_says_so_itself() {
    let platform = Platform::start();
    let answer = platform.send("CONNECT", "/demo/public/x", &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
}
