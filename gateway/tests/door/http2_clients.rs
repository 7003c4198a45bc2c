//! Clients of HTTP/2 that do not behave, or that behave and look as if they did not.

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, Response, request::Parts};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use crate::{
    backends::pool,
    grpc::{connect, run, service},
    platform::{Platform, Setup, eventually, pace},
    wire::by_hand,
};

/// More than all that lies between a server and its client.
const MUCH: usize = 32 * 1024 * 1024;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET` `http` `/demo/public/x` (RFC 7541 appendix A).
const GET: &[u8] = b"\x82\x86\x04\x0e/demo/public/x";

/// A connection whose frames the test writes and reads itself, so that nothing is acknowledged.
pub(crate) struct Raw(TcpStream);

/// A frame as it came.
struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

// === impl Raw ===

impl Raw {
    pub(crate) fn open(door: SocketAddr) -> Self {
        let stream = TcpStream::connect(door).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self(stream);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.write(SETTINGS, 0, 0, &[]);
        raw
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        // It may have been closed just now; what was sent before that is read.
        drop(self.0.write_all(&frame(kind, flags, stream, payload)));
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, stream: u32, head: &[u8]) {
        self.write(HEADERS, 0x5, stream, head);
    }

    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, payload })
    }

    /// Why the connection ends, read to its end.
    fn read_why(&mut self) -> Option<u32> {
        let mut why = None;
        while let Some(frame) = self.read() {
            why = Some(frame).filter(|frame| frame.kind == GOAWAY).map(|goaway| goaway.reason(4)).or(why);
        }
        why
    }

    /// The frames up to the end of an answer, or of its stream.
    fn read_answer(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            let is_last = matches!(frame.kind, HEADERS | DATA) && frame.flags & 1 == 1;
            if is_last || frame.kind == RST_STREAM {
                return Some(frame);
            }
        }
    }
}

// === impl Frame ===

impl Frame {
    /// The four bytes that say why, of a frame that says so there.
    fn reason(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) async fn ready(client: &SendRequest<Bytes>) -> SendRequest<Bytes> {
    client.clone().ready().await.unwrap()
}

pub(crate) async fn read(answer: Response<RecvStream>) -> (u16, String) {
    let (status, mut body, mut whole) = (answer.status().as_u16(), answer.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    (status, String::from_utf8(whole).unwrap())
}

/// A service behind `/calls/*` that is spoken to by HTTP/2, and what it is told. `more` is said of that route, or behind it.
async fn with_service(more: &str) -> (Platform, UnboundedReceiver<Parts>) {
    let (upstream, told) = service().await;
    let route = "\n[[route]]\nname = \"calls\"\npaths = [\"/calls/*\"]\nupstream = \"calls\"\nauth = \"none\"\n";
    let platform = Setup::default()
        .append("gateway.toml", &format!("\n[upstreams.calls]\nservers = [\"{upstream}\"]\nprotocol = \"h2c\"\n"))
        .append("routes.toml", &format!("{route}{more}\n"))
        .start();
    (platform, told)
}

#[test]
fn a_body_that_stays_silent_is_refused_over_http_2_as_well() {
    run(async {
        let (platform, _told) = with_service("").await;
        let client = connect(&platform).await;
        let post = |path: &str| Request::post(format!("http://door.test{path}"));
        let mut held = Vec::new();
        // Nothing at all, a little, and some more where the answer has begun.
        for (path, bytes) in [("/demo/public/x", 0), ("/demo/public/y", 3), ("/calls/z", 1000)] {
            let request = post(path).body(()).unwrap();
            let (answer, mut body) = ready(&client).await.send_request(request, false).unwrap();
            if bytes > 0 {
                body.send_data(vec![b'x'; bytes].into(), false).unwrap();
            }
            held.push((answer, body));
        }
        // A call may be silent, where there is gRPC.
        let request = post("/calls/talk").header("content-type", "application/grpc").body(()).unwrap();
        let (call, mut talk) = ready(&client).await.send_request(request, false).unwrap();
        let mut call = call.await.unwrap().into_body();
        // One who sends enough, if slowly.
        let (slow, mut drip) =
            ready(&client).await.send_request(post("/demo/public/slow").body(()).unwrap(), false).unwrap();
        let (others_are_over, mut over) = oneshot::channel();
        let dripping = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(500));
            loop {
                tokio::select! {
                    biased;
                    _ = &mut over => break,
                    _ = beat.tick() => drip.send_data(vec![b'x'; 400].into(), false).unwrap(),
                }
            }
            drip.send_data(Bytes::new(), true).unwrap();
        });
        for (place, (answer, _body)) in held.into_iter().enumerate() {
            let answer = answer.await.unwrap();
            if place < 2 {
                let (status, text) = read(answer).await;
                assert!(status == 408 && text.contains("request_timeout"), "{place}: {status} {text}");
                continue;
            }
            // Its answer had begun: it is cut off, and does not look like a whole one.
            let (mut echo, mut is_cut) = (answer.into_body(), false);
            while let Some(piece) = echo.data().await {
                is_cut = piece.is_err();
                if is_cut {
                    break;
                }
            }
            assert!(is_cut);
        }
        others_are_over.send(()).unwrap();
        talk.send_data(Bytes::from_static(b"still"), true).unwrap();
        assert_eq!(call.data().await.unwrap().unwrap(), &b"still"[..]);
        dripping.await.unwrap();
        assert_eq!(slow.await.unwrap().status(), 200);
        eventually("every place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
        assert_eq!(platform.metric("portcullis_upstream_failures_total{kind=\"timeout\",upstream=\"demo\"}"), 0);
    });
}

/// Sends until nothing more may be sent.
async fn fill(mut upload: SendStream<Bytes>) -> SendStream<Bytes> {
    loop {
        upload.reserve_capacity(64 * 1024);
        let may = tokio::time::timeout(Duration::from_secs(3), poll_fn(|cx| upload.poll_capacity(cx))).await;
        let Ok(Some(Ok(bytes))) = may else { break };
        upload.send_data(vec![b'x'; bytes].into(), false).unwrap();
    }
    // What the others may send is not kept from them.
    upload.reserve_capacity(0);
    upload
}

#[test]
fn whoever_may_send_nothing_for_other_uploads_is_not_taken_for_slow() {
    // Connections are made with it, and nothing is read there.
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[stuck.local_addr().unwrap()], "").start();
    run(async {
        let client = connect(&platform).await;
        let post = |path: &str| Request::post(format!("http://door.test{path}")).body(()).unwrap();
        let mut held = Vec::new();
        for _ in 0..5 {
            let (answer, upload) = ready(&client).await.send_request(post("/pool/x"), false).unwrap();
            held.push((answer, tokio::spawn(fill(upload))));
        }
        let mut uploads = Vec::new();
        for (answer, filling) in held {
            uploads.push((answer, filling.await.unwrap()));
        }
        let (mut answer, mut honest) = ready(&client).await.send_request(post("/demo/public/x"), false).unwrap();
        honest.send_data(vec![b'x'; 400].into(), true).unwrap();
        // Longer than a client has to send anything.
        let answered = tokio::time::timeout(Duration::from_secs(13), &mut answer).await;
        assert!(answered.is_err(), "{answered:?}");
        drop(stuck);
        assert_eq!(answer.await.unwrap().status(), 200);
        drop(uploads);
    });
}

#[test]
fn who_ignores_that_a_connection_has_been_used_enough_makes_no_more_requests_there() {
    let platform = Setup::default()
        .edit("gateway.toml", "max_requests_per_connection = 100000", "max_requests_per_connection = 5")
        .start();
    let mut raw = Raw::open(platform.http);
    let refused = (1..400).step_by(2).find_map(|stream| {
        raw.ask(stream, &[GET, b"\x41\x01x"].concat());
        let end = raw.read_answer().expect("an answer, or a word why not");
        if end.kind == RST_STREAM {
            return Some(end.reason(0));
        }
        pace(Duration::from_millis(100));
        None
    });
    assert_eq!(refused, Some(REFUSED_STREAM));
    assert!(platform.metric(r#"portcullis_connections_refused_total{reason="http2_overstayed"}"#) >= 1);
}

#[test]
fn a_connection_without_requests_is_closed_in_time() {
    let platform = Setup::default().edit("gateway.toml", "keepalive = \"60s\"", "keepalive = \"2s\"").start();
    let mut raw = Raw::open(platform.http);
    raw.ask(1, &[GET, b"\x41\x01x"].concat());
    assert_ne!(raw.read_answer().expect("an answer").kind, RST_STREAM);
    // Whatever it still says: the end comes before the test gives up waiting for it.
    raw.0.read_to_end(&mut Vec::new()).expect("the end");
    eventually("it to be counted no more", || platform.metric("portcullis_connections ") == 0);
}

#[test]
fn a_connection_of_bad_heads_ends_with_a_word() {
    let platform = Platform::start();
    let mut raw = Raw::open(platform.http);
    // Without a host.
    for number in 0..100 {
        raw.ask(2 * number + 1, GET);
        raw.read_answer().expect("a bare 400");
    }
    raw.ask(201, GET);
    assert_eq!(raw.read_why(), Some(ENHANCE_YOUR_CALM));
}

#[test]
fn who_measures_the_line_by_pings_is_not_taken_for_a_flood() {
    let platform = Platform::start();
    let mut raw = Raw::open(platform.http);
    // As grpc-go does, if for fewer answers.
    for number in 0..1500_u64 {
        raw.write(PING, 0, 0, &number.to_be_bytes());
        while raw.read().expect("the connection goes on").kind != PING {}
    }
    raw.ask(1, &[GET, b"\x41\x01x"].concat());
    assert_ne!(raw.read_answer().unwrap().kind, RST_STREAM);
}

#[test]
fn pings_that_nobody_sent_are_acknowledged_in_no_line_of_the_log_and_not_without_end() {
    let platform = Platform::start();
    let mut raw = Raw::open(platform.http);
    for _ in 0..900 {
        raw.write(PING, 1, 0, b"FORGED!!");
    }
    raw.ask(1, &[GET, b"\x41\x01x"].concat());
    assert_ne!(raw.read_answer().expect("the connection goes on").kind, RST_STREAM);
    let log = platform.log();
    assert!(!log.contains("h2::"), "{}", &log[log.len().saturating_sub(500)..]);
    // Whenever the ten seconds begin, more than a thousand are in some.
    for _ in 0..3000 {
        raw.write(PING, 1, 0, b"FORGED!!");
    }
    assert_eq!(raw.read_why(), Some(ENHANCE_YOUR_CALM));
    assert_eq!(platform.metric(r#"portcullis_connections_refused_total{reason="http2_control"}"#), 1);
}

#[test]
fn a_field_whose_name_is_no_word_goes_no_further() {
    let platform = Setup::default()
        .edit("gateway.toml", "underscore_headers = \"drop\"", "underscore_headers = \"allow\"")
        .start();
    let mut raw = Raw::open(platform.http);
    for (stream, name, status) in [(1, b"x!y", b'\x88'), (3, b"x\"y", b'\x8c')] {
        // A field by its name, which no table is to keep (RFC 7541 §6.2.2); `:status` of the answer by its index.
        raw.ask(stream, &[GET, b"\x41\x01x\x00\x03", name, b"\x01z"].concat());
        let mut head = raw.read().expect("an answer");
        while head.kind != HEADERS {
            head = raw.read().expect("an answer");
        }
        assert_eq!(head.payload.first(), Some(&status), "{}", name.escape_ascii());
        while head.flags & 1 == 0 || !matches!(head.kind, HEADERS | DATA) {
            head = raw.read().expect("the rest of the answer");
        }
    }
}

#[test]
fn of_a_target_of_http_2_what_is_judged_is_sent_and_nothing_behind_its_fragment() {
    let (server, heads) = by_hand();
    let platform = pool(&[server], "").start();
    let serving = thread::spawn(move || {
        let mut server = heads.recv().unwrap();
        let head = server.head();
        server.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        head
    });
    let mut raw = Raw::open(platform.http);
    // GET, http, and a path whose end the library drops.
    raw.ask(1, b"\x82\x86\x04\x16/pool/x?a#/../../admin\x41\x01x");
    assert_ne!(raw.read_answer().expect("an answer").kind, RST_STREAM);
    let head = serving.join().unwrap();
    assert!(head.starts_with("GET /pool/x?a HTTP/1.1\r\n") && !head.contains("admin"), "{head}");
}

#[test]
fn what_is_no_http_2_is_counted_and_told_of_once_without_its_bytes() {
    let platform = Platform::start();
    let broken: [(Vec<u8>, u32); 4] = [
        // No room more for the whole connection; a field by an index that there is none of; a body without a request; a frame of a byte more
        // than may be, of which nothing need come.
        (frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        (frame(HEADERS, 5, 1, b"\x80FORGED"), PROTOCOL_ERROR),
        (frame(DATA, 0, 0, b"FORGED"), PROTOCOL_ERROR),
        (frame(DATA, 0, 1, &vec![b'S'; 16_385])[..9].to_vec(), FRAME_SIZE_ERROR),
    ];
    let ended = |reason: &str| platform.metric(&format!("portcullis_connections_refused_total{{reason=\"{reason}\"}}"));
    for (number, (frame, why)) in (1..).zip(broken) {
        let mut raw = Raw::open(platform.http);
        drop(raw.0.write_all(&frame));
        assert_eq!(raw.read_why(), Some(why), "{number}");
        eventually("it to be counted", || ended("http2_protocol") == number);
    }
    // Heads without an end, of which h2 takes fewer than the door.
    let mut raw = Raw::open(platform.http);
    let more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b").repeat(30);
    drop(raw.0.write_all(&[frame(HEADERS, 0, 1, b"\x82"), more].concat()));
    assert_eq!(raw.read_why(), Some(ENHANCE_YOUR_CALM));
    eventually("it to be counted", || ended("http2_control") == 1);
    eventually("each to be told of", || platform.log().matches("was ended for what came on it").count() == 5);
    assert_eq!((ended("http2_protocol"), ended("http2_resets")), (4, 0));
    assert!(!platform.log().contains("FORGED"), "{}", platform.log());
    // Who only leaves, or says why it goes, has done nothing.
    let mut raw = Raw::open(platform.http);
    raw.write(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1]);
    drop(raw.0.read_to_end(&mut Vec::new()));
    drop(Raw::open(platform.http));
    eventually("both to be gone", || platform.metric("portcullis_connections ") == 0);
    assert_eq!((ended("http2_protocol"), ended("http2_control"), ended("http2_resets")), (4, 1, 0));
}

#[test]
fn whoever_gives_a_reason_to_go_first_is_counted_for_what_comes_after_it() {
    let platform = Platform::start();
    let ended = |reason: &str| platform.metric(&format!("portcullis_connections_refused_total{{reason=\"{reason}\"}}"));
    let goes = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]);
    let more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b").repeat(30);
    for (after, why, reason) in [
        (frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR, "http2_protocol"),
        ([frame(HEADERS, 0, 1, b"\x82"), more].concat(), ENHANCE_YOUR_CALM, "http2_control"),
    ] {
        let mut raw = Raw::open(platform.http);
        // In one piece: whoever says only that it goes is let go.
        drop(raw.0.write_all(&[&goes[..], &after].concat()));
        assert_eq!(raw.read_why(), Some(why), "{reason}");
        eventually("it to be counted", || ended(reason) == 1);
    }
    assert_eq!((ended("http2_protocol"), ended("http2_control"), ended("http2_resets")), (1, 1, 0));
}

#[test]
fn resets_that_h2_finds_too_many_before_the_door_does_are_counted_as_such() {
    let platform = Platform::start();
    let mut raw = Raw::open(platform.http);
    // All at once, so that none of them has been begun; fewer than `http2_max_resets`.
    let head = [GET, b"\x41\x01x"].concat();
    let both = |stream| [frame(HEADERS, 5, stream, &head), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    raw.0.write_all(&(1..120).step_by(2).flat_map(both).collect::<Vec<u8>>()).unwrap();
    assert_eq!(raw.read_why(), Some(ENHANCE_YOUR_CALM));
    let ended = |reason: &str| platform.metric(&format!("portcullis_connections_refused_total{{reason=\"{reason}\"}}"));
    eventually("it to be counted", || ended("http2_resets") == 1);
    assert_eq!(ended("http2_control"), 0);
}

#[test]
fn whoever_breaks_a_hundred_streams_is_sent_away() {
    let platform = Platform::start();
    let mut raw = Raw::open(platform.http);
    // Each begins a request and makes us reset it, which is no reset of the client's: its window is beyond its bounds.
    let head = [GET, b"\x41\x01x"].concat();
    let both = |stream| {
        [frame(HEADERS, 4, stream, &head), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
    };
    drop(raw.0.write_all(&(1..301).step_by(2).flat_map(both).collect::<Vec<u8>>()));
    assert_eq!(raw.read_why(), Some(ENHANCE_YOUR_CALM));
    eventually("it to be counted", || {
        platform.metric("portcullis_connections_refused_total{reason=\"http2_control\"}") == 1
    });
}

#[test]
fn of_an_answer_that_a_stream_does_not_take_little_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[listener.local_addr().unwrap()], "").start();
    let mut raw = Raw::open(platform.http);
    // It could take two gigabytes of each stream, and of all together.
    raw.write(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.write(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    raw.ask(1, b"\x82\x86\x04\x07/pool/a\x41\x01x");
    raw.ask(3, b"\x82\x86\x04\x07/pool/b\x41\x01x");
    let mut servers: Vec<_> = (0..2)
        .map(|_| {
            let (mut server, mut head) = (listener.accept().unwrap().0, [0; 4096]);
            server.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let length = server.read(&mut head).unwrap();
            (String::from_utf8_lossy(&head[..length]).into_owned(), server)
        })
        .collect();
    servers.sort_by(|one, other| one.0.cmp(&other.0));
    // The first fills all that lies between, so that of the second nothing leaves.
    for (_, server) in &mut servers {
        server.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 * MUCH).as_bytes()).unwrap();
        while server.write(&[b'x'; 16_000]).is_ok() {}
    }
    drop((raw, servers));
    eventually("the access log", || platform.log().contains("\"path\":\"/pool/b\""));
    let log = platform.log();
    let line = log.lines().find(|line| line.contains("\"path\":\"/pool/b\"")).unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let kept = event["sent_bytes"].as_u64().unwrap();
    assert!((1..=192 * 1024).contains(&kept), "{line}");
}

#[test]
fn what_whoever_floods_has_asked_for_is_fetched_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[listener.local_addr().unwrap()], "").start();
    let (arrived, arrival) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let served = thread::spawn(move || {
        let mut server = listener.accept().unwrap().0;
        server.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(server.read(&mut [0; 4096]).unwrap() > 0);
        arrived.send(()).unwrap();
        gate.recv().unwrap();
        server.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 * MUCH).as_bytes()).unwrap();
        let mut sent = 0;
        while sent < 9 * MUCH
            && let Ok(taken) = server.write(&[b'x'; 16_000])
        {
            sent += taken;
        }
        sent
    });
    let mut raw = Raw::open(platform.http);
    // It could take two gigabytes.
    raw.write(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.write(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    raw.ask(1, b"\x82\x86\x04\x07/pool/x\x41\x01x");
    arrival.recv().unwrap();
    for _ in 0..1100 {
        raw.write(PRIORITY, 0, 1, &[0; 5]);
    }
    while raw.read().expect("a word why").kind != GOAWAY {}
    go.send(()).unwrap();
    let sent = served.join().unwrap();
    assert!(sent < MUCH, "{sent} bytes were fetched for nobody");
}

#[test]
fn the_scheme_that_a_server_hears_is_not_the_client_s_word() {
    run(async {
        let moved = "\n[[route]]\nname = \"moved\"\npaths = [\"/moved/*\"]\nupstream = \"calls\"\nauth = \"none\"\nrewrite = { \"/moved\" = \"/\" }\n";
        let (platform, mut told) = with_service(moved).await;
        let client = connect(&platform).await;
        for path in ["/calls/x", "/moved/x"] {
            let request = Request::get(format!("https://door.test{path}")).body(()).unwrap();
            let answer = ready(&client).await.send_request(request, true).unwrap().0.await.unwrap();
            assert_eq!(answer.status(), 200);
            let received = told.recv().await.unwrap();
            assert_eq!(received.uri.scheme_str(), Some("http"), "{path}");
            assert_eq!(received.uri.authority().unwrap(), "door.test");
            assert_eq!(received.headers["x-forwarded-proto"], "http");
        }
    });
}

#[test]
fn an_empty_port_in_authority_is_none_and_goes_no_further() {
    run(async {
        let (platform, mut told) = with_service("hosts = [\"door.test\"]").await;
        let client = connect(&platform).await;
        let ask = |path: &str| Request::get(format!("http://Door.Test:{path}")).body(()).unwrap();
        let answer = ready(&client).await.send_request(ask("/calls/x"), true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 200);
        let received = told.recv().await.unwrap();
        assert_eq!(received.uri.authority().unwrap().as_str(), "Door.Test");
        assert_eq!(received.headers["x-forwarded-host"], "Door.Test");
        let answer = ready(&client).await.send_request(ask("/demo/public/x"), true).unwrap().0.await.unwrap();
        let (status, text) = read(answer).await;
        assert_eq!(status, 200, "{text}");
        let received: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(received["headers"]["host"], serde_json::json!(["Door.Test"]), "{text}");
    });
}
