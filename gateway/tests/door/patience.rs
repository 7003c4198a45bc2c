//! How long a backend may take: for the head of an answer, between two pieces of it, and for all of it, however it spends the
//! time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    backends::{After, Backend, kept, pool, pools, read_request},
    grpc::{connect, run},
    http2_clients::{read, ready},
    platform::{Answer, Platform, Setup, eventually, exchange, pace, silence, time_until},
    wire::{self, Wire},
};

/// Nobody is left out for these failures.
const PATIENT: &str = "ejection = { failures = 1000 }\ncircuit = { failures = 1000 }";
/// Much shorter than what the backends of these tests would take.
const LONG: Duration = Duration::from_secs(20);

/// Sends `piece` again and again, for about 30 s or until nobody listens.
fn drip(stream: &mut TcpStream, piece: &[u8]) -> After {
    for _ in 0..1500 {
        if stream.write_all(piece).is_err() {
            break;
        }
        pace(Duration::from_millis(20));
    }
    After::Close
}

/// A backend whose head never ends.
fn endless_head() -> Backend {
    Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: "));
        drip(stream, b"x")
    })
}

/// Waits until the backend has nothing more to say, or nobody listens.
fn silent(stream: &mut TcpStream) {
    drop(stream.set_read_timeout(Some(Duration::from_secs(30))));
    drop(stream.read(&mut [0]));
}

/// Servers under `/pool/`, and under `/control/` one that says nothing, both with the same times.
fn beside_a_silent_one(server: SocketAddr, times: &str) -> Setup {
    let control = Backend::start(|_, stream| {
        silent(stream);
        After::Close
    });
    let more = format!("{PATIENT}\n{times}");
    pools(&[("control", vec![control.address.to_string()], &more), ("pool", vec![server.to_string()], &more)])
}

/// Waits for as long as a server may keep silent.
fn as_long_as_may_be(platform: &Platform) {
    assert_eq!(get_http2(platform.http, "/control/x").unwrap().0, 504);
}

fn get(platform: &Platform, path: &str) -> Answer {
    platform.send("GET", path, &[], "")
}

/// One GET over HTTP/2: the status and the body, or how it was reset.
pub(crate) fn get_http2(door: SocketAddr, path: &str) -> Result<(u16, String), Option<h2::Reason>> {
    ask_http2(door, http::Method::GET, path)
}

/// The same by any method.
pub(crate) fn ask_http2(
    door: SocketAddr,
    method: http::Method,
    path: &str,
) -> Result<(u16, String), Option<h2::Reason>> {
    let request = http::Request::builder().method(method).uri(format!("http://door.test{path}")).body(()).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
        let stream = tokio::net::TcpStream::connect(door).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (answer, _) = client.send_request(request, true).unwrap();
        let answer = answer.await.map_err(|error| error.reason())?;
        let (status, mut body, mut whole) = (answer.status().as_u16(), answer.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| error.reason())?;
            drop(body.flow_control().release_capacity(piece.len()));
            whole.extend_from_slice(&piece);
        }
        Ok((status, String::from_utf8(whole).unwrap()))
    })
}

#[test]
fn a_head_that_drips_is_not_waited_for_longer_than_for_its_first_byte() {
    let backend = endless_head();
    for own in ["first_byte_timeout = \"300ms\"", "total_timeout = \"300ms\"", "response_timeout = \"300ms\""] {
        let platform = pool(&[backend.address], &format!("{PATIENT}\n{own}")).start();
        let began = Instant::now();
        let answer = get(&platform, "/pool/x");
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{own}");
        assert!(began.elapsed() < LONG, "{own}: {:?}", began.elapsed());
        let failures = || platform.metric("portcullis_upstream_failures_total{kind=\"timeout\",upstream=\"pool\"}");
        assert_eq!(failures(), 1, "{own}: it is the backend's fault");
        let (status, body) = get_http2(platform.http, "/pool/x").unwrap();
        assert_eq!(status, 504, "{own}: {body}");
        assert!(body.contains("upstream_timeout"), "{own}: {body}");
        assert!(began.elapsed() < LONG, "{own}: {:?}", began.elapsed());
    }
}

#[test]
fn an_answer_in_place_of_a_websocket_lasts_for_as_long_as_it_flows() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for _ in 0..120 {
            drop(stream.write_all(b"4\r\ntick\r\n"));
            pace(Duration::from_millis(20));
        }
        silent(stream);
        After::Close
    });
    // Less than it flows, and much more than it pauses.
    let platform = pool(&[backend.address], &format!("{PATIENT}\nresponse_timeout = \"2s\""))
        .append("routes.toml", "websocket = true\n")
        .start();
    let mut client = Wire::connect(platform.http);
    client.write(wire::handshake("/pool/x", &[]));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    let flowed = String::from_utf8(client.rest()).unwrap();
    assert_eq!(flowed.matches("tick").count(), 120, "cut off when it had become silent, and not before");
    assert!(!flowed.ends_with("0\r\n\r\n"), "{flowed}");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    // Its time may be over on the way from the server or as a whole, whichever is noticed first.
    eventually("the log", || platform.log().contains(":\"upstream_timeout\""));
}

#[test]
fn the_first_byte_may_be_expected_sooner_than_silence_ends() {
    let backend = Backend::start(|_, stream| {
        silent(stream);
        After::Close
    });
    let more = format!("{PATIENT}\nfirst_byte_timeout = \"300ms\"\nresponse_timeout = \"1m\"");
    let platform = pool(&[backend.address], &more).start();
    let began = Instant::now();
    let answer = get(&platform, "/pool/x");
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(get_http2(platform.http, "/pool/x").unwrap().0, 504);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn silence_within_an_answer_has_a_time_of_its_own_and_so_has_the_whole() {
    let backend = Backend::start(|_, stream| {
        silence(Duration::from_millis(900));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"));
        silent(stream);
        After::Close
    });
    let servers = vec![backend.address.to_string()];
    let platform = pools(&[
        ("silence", servers.clone(), &format!("{PATIENT}\nfirst_byte_timeout = \"1m\"\nresponse_timeout = \"300ms\"")),
        ("whole", servers, &format!("{PATIENT}\ntotal_timeout = \"3s\"")),
    ])
    .start();
    for path in ["/silence/x", "/whole/x"] {
        let began = Instant::now();
        let answer = get(&platform, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, "begun"), "{path}");
        assert!(get_http2(platform.http, path).is_err(), "{path}: an answer that is not whole must not look like one");
        assert!(began.elapsed() < LONG, "{path}: {:?}", began.elapsed());
    }
}

#[test]
fn a_client_who_is_slow_to_take_its_answer_is_not_taken_for_a_silent_backend() {
    const SIZE: usize = 32 * 1024 * 1024;
    // Filled before anything is timed: on a busy machine 32 MiB may take longer than a backend may be silent.
    let body = vec![b'x'; SIZE];
    let backend = Backend::start(move |_, stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        drop(stream.write_all(&body));
        After::Close
    });
    let more = format!("{PATIENT}\nfirst_byte_timeout = \"1m\"\nresponse_timeout = \"3s\"");
    let platform = pool(&[backend.address], &more).start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.write_all(b"GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 1024];
    client.read_exact(&mut first).unwrap();
    // Twice as long as a backend may be silent.
    silence(Duration::from_secs(6));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(first.len() + rest.len() > SIZE, "{} bytes came", rest.len());
}

#[test]
fn an_upload_may_take_longer_than_the_answer_may_take_to_begin() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Close
    });
    let platform = beside_a_silent_one(backend.address, "first_byte_timeout = \"1s\"").start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.write_all(b"POST /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\na").unwrap();
    as_long_as_may_be(&platform);
    client.write_all(b"b").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer).body, "ok");
}

#[test]
fn an_upload_may_come_slower_than_its_server_may_be_silent() {
    let backend = Backend::named("taken");
    let platform = beside_a_silent_one(backend.address, "response_timeout = \"1s\"").start();
    let length = 80_000;
    let mut client = Wire::connect(platform.http);
    client.write(format!("POST /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"));
    for _ in 0..4 {
        as_long_as_may_be(&platform);
        client.write(vec![b'x'; length / 4]);
    }
    let answer = Answer::parse(&client.rest());
    assert_eq!((answer.status, answer.body.as_str()), (200, "taken"));
    run(async {
        let client = connect(&platform).await;
        let post = http::Request::post("http://door.test/pool/x").header("content-length", length).body(()).unwrap();
        let (answer, mut upload) = ready(&client).await.send_request(post, false).unwrap();
        for sent in 1..=4 {
            let silence = http::Request::get("http://door.test/control/x").body(()).unwrap();
            let (silence, _) = ready(&client).await.send_request(silence, true).unwrap();
            assert_eq!(silence.await.unwrap().status(), 504);
            upload.send_data(vec![b'x'; length / 4].into(), sent == 4).unwrap();
        }
        assert_eq!(read(answer.await.unwrap()).await, (200, "taken".to_owned()));
    });
}

#[test]
fn whoever_uploads_to_a_server_that_takes_nothing_is_told_so_in_time() {
    // Connections are made with it, and nothing is read there.
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = vec![stuck.local_addr().unwrap().to_string()];
    let http2 = format!("{PATIENT}\nresponse_timeout = \"300ms\"\nprotocol = \"h2c\"");
    let http1 = format!("{PATIENT}\nresponse_timeout = \"300ms\"");
    let platform = pools(&[("http1", servers.clone(), &http1), ("http2", servers, &http2)]).start();
    for path in ["/http1/x", "/http2/x"] {
        for framing in ["Transfer-Encoding: chunked", "Content-Length: 9437184"] {
            let began = Instant::now();
            let mut client = Wire::connect(platform.http);
            client.write(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"));
            let mut sender = client.stream.try_clone().unwrap();
            let chunk = if framing.starts_with('T') { "10000\r\n" } else { "" };
            let piece = [chunk.as_bytes(), &vec![b'x'; 65536], if chunk.is_empty() { b"" } else { b"\r\n" }].concat();
            // As long as it is taken; what was answered is not read on for ever.
            let sending = thread::spawn(move || while sender.write_all(&piece).is_ok() {});
            let answer = Answer::parse(&client.rest());
            assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{path} {framing}");
            assert!(began.elapsed() < LONG, "{path} {framing}: {:?}", began.elapsed());
            assert_eq!(answer.header("connection"), Some("close"), "{path} {framing}");
            let request_id = answer.header("x-request-id").expect("what to look for in the log");
            let recorded = format!("\"request_id\":\"{request_id}\"");
            eventually("the access log", || platform.log().contains(&recorded));
            let line = platform.log().lines().find(|line| line.contains(&recorded)).unwrap().to_owned();
            assert!(line.contains("\"refusal\":\"upstream_timeout\",\"status\":504"), "{line}");
            sending.join().unwrap();
        }
    }
    run(async {
        for (path, grpc) in [("/http1/x", false), ("/http2/x", false), ("/http2/call", true)] {
            let began = Instant::now();
            let client = connect(&platform).await;
            let kind = if grpc { "application/grpc" } else { "application/octet-stream" };
            let post = http::Request::post(format!("http://door.test{path}")).header("content-type", kind);
            let (answer, mut upload) = ready(&client).await.send_request(post.body(()).unwrap(), false).unwrap();
            upload.send_data(Bytes::from(vec![b'x'; 32 * 1024 * 1024]), false).unwrap();
            let answer = answer.await.unwrap();
            assert!(began.elapsed() < LONG, "{path}: {:?}", began.elapsed());
            if grpc {
                assert_eq!(answer.headers()["grpc-status"], "14", "{answer:?}");
                continue;
            }
            let (status, text) = read(answer).await;
            assert!(status == 504 && text.contains("upstream_timeout"), "{path}: {status} {text}");
        }
    });
    eventually("every place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
    for (upstream, failures) in [("http1", 3), ("http2", 4)] {
        let name = format!("portcullis_upstream_failures_total{{kind=\"timeout\",upstream=\"{upstream}\"}}");
        assert_eq!(platform.metric(&name), failures, "{upstream}: it is the server's fault");
        let failed = format!("code=\"upstream_timeout\",outcome=\"failed\",route=\"{upstream}\"");
        assert_eq!(platform.metric(&format!("portcullis_requests_total{{{failed}}}")), failures, "{upstream}");
    }
}

#[test]
fn who_reads_nothing_before_all_is_sent_hears_a_refusal_too() {
    const SIZE: usize = 9 * 1024 * 1024;
    let (_kept, gone) = kept();
    let platform = pool(&[gone], PATIENT).start();
    for (path, length, status) in [
        ("/demo/x", SIZE, 401),
        ("/demo/public/x", SIZE + 10 * SIZE, 413),
        ("/none", SIZE, 404),
        ("/pool/x", SIZE, 502),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let answer = wire::answer_after_all(platform.http, &[head.as_bytes(), &vec![b'x'; SIZE]].concat());
        assert_eq!(Answer::parse(&answer).status, status, "{path}");
    }
    let head = b"POST /demo/public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1800000\r\n";
    let request = [&head[..], &vec![b'x'; 0x180_0000], b"\r\n0\r\n\r\n"].concat();
    let answer = Answer::parse(&wire::answer_after_all(platform.http, &request));
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "after more than the route takes");
}

#[test]
fn what_is_over_is_given_back_and_recorded_while_its_client_still_sends() {
    let (_kept, gone) = kept();
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let alone = "limits = [{ per = \"ip\", concurrent = 1 }]\n";
    let platform = pools(&[
        ("stuck", vec![stuck.local_addr().unwrap().to_string()], &format!("{PATIENT}\ntotal_timeout = \"300ms\"")),
        ("gone", vec![gone.to_string()], PATIENT),
    ])
    .append("routes.toml", alone)
    .start();
    let begin = |path: &str| {
        let mut client = Wire::connect(platform.http);
        client.write(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nabc"));
        client
    };
    let mut first = begin("/gone/x");
    assert!(first.head().starts_with("HTTP/1.1 502 "));
    // A moment after the answer, and not when its client is cut off.
    let took = time_until("its place to be free", || get(&platform, "/gone/x").status == 502);
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Two seconds are left of it, of which a busy machine may take most.
    let is_listened_to = (1..=5).any(|number| {
        let mut late = begin("/stuck/x");
        assert!(late.head().starts_with("HTTP/1.1 504 "));
        let recorded = "\"refusal\":\"upstream_timeout\",\"status\":504";
        eventually("the access log", || platform.log().matches(recorded).count() == number);
        eventually("its place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
        let since = Instant::now();
        eventually("the end of it", || late.stream.write_all(b"x").is_err());
        // For longer than a request that is over may take to end.
        since.elapsed() > Duration::from_millis(1300)
    });
    assert!(is_listened_to, "it is given back when its client is cut off, and not before");
}

#[test]
fn a_stuck_socket_is_told_of_however_small_the_pieces_of_a_body_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stuck.sock");
    let _stuck = UnixListener::bind(&path).unwrap();
    let server = format!("unix:{}", path.display());
    let platform = pools(&[("pool", vec![server], &format!("{PATIENT}\nresponse_timeout = \"300ms\""))]).start();
    let mut client = Wire::connect(platform.http);
    client.write("POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n");
    client.stream.set_nodelay(true).unwrap();
    let mut sender = client.stream.try_clone().unwrap();
    // Each takes as much of the socket's room as a page would.
    let sending = thread::spawn(move || {
        for _ in 0..650 {
            if sender.write_all(&[b'x'; 100]).is_err() {
                break;
            }
            pace(Duration::from_millis(1));
        }
    });
    let answer = Answer::parse(&client.rest());
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    sending.join().unwrap();
}

#[test]
fn who_cancels_after_a_body_in_pieces_is_heard_and_blamed_for_nothing() {
    let backend = Backend::start(|_, stream| {
        silent(stream);
        After::Close
    });
    let platform = pool(&[backend.address], PATIENT).start();
    run(async {
        let client = connect(&platform).await;
        for bytes in [0, 100, 60_000] {
            let post = http::Request::post("http://door.test/pool/x").header("content-length", bytes).body(()).unwrap();
            let (answer, mut upload) = ready(&client).await.send_request(post, false).unwrap();
            for piece in vec![b'x'; bytes].chunks(16_000) {
                upload.send_data(piece.to_vec().into(), false).unwrap();
            }
            upload.send_data(Bytes::new(), true).unwrap();
            let asked = || backend.count("POST") > 0;
            eventually("the server to have it", || asked() && platform.metric("portcullis_requests_in_flight") == 1);
            upload.send_reset(h2::Reason::CANCEL);
            drop(answer);
            eventually("the place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
        }
    });
    let left = "\"decision\":\"permit\",\"status\":0";
    eventually("the access log", || platform.log().matches(left).count() == 3);
}

#[test]
fn an_upload_goes_on_after_its_answer_has_been_given() {
    let (told, received) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut bytes, mut buffer, mut has_answered) = (0, [0; 16384], false);
        while bytes < 80_000 {
            bytes += stream.read(&mut buffer).ok().filter(|came| *came > 0).expect("all of it");
            if !has_answered {
                has_answered = true;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").unwrap();
            }
        }
        told.send(()).unwrap();
    });
    let platform = beside_a_silent_one(address, "response_timeout = \"300ms\"").start();
    let mut client = Wire::connect(platform.http);
    client.write("POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\nConnection: close\r\n\r\n");
    for _ in 0..4 {
        client.write(vec![b'x'; 20_000]);
        as_long_as_may_be(&platform);
    }
    assert_eq!(Answer::parse(&client.rest()).body, "early");
    received.recv().expect("the server to have got all of it");
}

#[test]
fn who_only_promises_to_go_on_has_not_answered() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"));
        silent(stream);
        After::Close
    });
    let platform = pool(&[backend.address], &format!("{PATIENT}\nfirst_byte_timeout = \"300ms\"")).start();
    let request = b"POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let answers = String::from_utf8(exchange(platform.http, request)).unwrap();
    let (informs, answer) = answers.split_once("\r\n\r\n").unwrap();
    assert!(informs.starts_with("HTTP/1.1 100 "), "{answers}");
    let answer = Answer::parse(answer.as_bytes());
    assert_eq!((answer.status, answer.header("connection")), (504, Some("close")));
    assert_eq!(platform.metric("portcullis_upstream_failures_total{kind=\"timeout\",upstream=\"pool\"}"), 1);
}

#[test]
fn an_answer_that_began_before_its_request_ended_is_not_expected_again() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"));
        // Long after the request has ended.
        silence(Duration::from_millis(1500));
        drop(stream.write_all(b"4\r\nlate\r\n0\r\n\r\n"));
        After::Close
    });
    let platform = pool(&[backend.address], &format!("{PATIENT}\nfirst_byte_timeout = \"300ms\"")).start();
    let mut client = Wire::connect(platform.http);
    client
        .write("POST /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.read(7), b"2\r\nok\r\n");
    client.write("0\r\n\r\n");
    assert_eq!(client.rest(), b"4\r\nlate\r\n0\r\n\r\n");
}

#[test]
fn connections_go_on_after_many_requests_and_idle_times() {
    let backend = Backend::start(|head, stream| {
        if head.contains("/slow ") {
            silence(Duration::from_millis(1500));
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let platform = pool(&[backend.address], &format!("{PATIENT}\nfirst_byte_timeout = \"4s\"")).start();
    let one = |path: &str| format!("GET /pool/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    // The alarm that was set for one of them rings while another is waited for.
    let many = [one("x"), one("slow"), one("slow"), one("x"), one("slow")].concat();
    let all = format!("{many}GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answers = String::from_utf8(exchange(platform.http, all.as_bytes())).unwrap();
    assert_eq!(answers.matches("200 OK").count(), 6, "{answers}");
}

/// A server that counts the connections to it.
struct Counting {
    address: SocketAddr,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Counting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [begun, ended] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let counted = [&begun, &ended].map(Arc::clone);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, [begun, ended]) = (stream.unwrap(), counted.clone());
                begun.fetch_add(1, SeqCst);
                thread::spawn(move || {
                    while read_request(&mut stream).is_some() {
                        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
                    }
                    ended.fetch_add(1, SeqCst);
                });
            }
        });
        Self { address, begun, ended }
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }
}

#[test]
fn a_route_says_how_long_its_unused_connections_are_kept() {
    let (server, control) = (Counting::start(), Counting::start());
    let kept = "timeouts = { idle = \"100ms\" }\n\n[[route]]\nname = \"kept\"\npaths = [\"/kept/*\"]\nupstream = \"pool\"\nauth = \"none\"\n";
    let platform = pools(&[
        ("control", vec![control.address.to_string()], "idle_timeout = \"100ms\""),
        ("pool", vec![server.address.to_string()], ""),
    ])
    .append("routes.toml", kept)
    .start();
    let ask = |path: &str| {
        assert_eq!(get(&platform, path).body, "ok");
        eventually("its connection to be unused", || platform.metric("portcullis_requests_in_flight") == 0);
    };
    for number in 1..=2 {
        ask("/kept/x");
        ask("/control/x");
        eventually("one that is kept as long as the route's to be closed", || control.ended() == number);
        assert_eq!((server.begun(), server.ended()), (1, 0), "the upstream keeps them for a minute");
    }
    ask("/pool/x");
    assert_eq!(server.begun(), 1, "one that is there is used");
    for number in 1..=2 {
        eventually("it to be kept for no longer than the route says", || server.ended() == number);
        ask("/pool/x");
        assert_eq!(server.begun(), number + 1);
    }
}

#[test]
fn a_route_says_how_long_making_a_connection_may_take() {
    // Where nobody takes connections, the system makes some, and answers no more when they are enough.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok());
    let waiting: Vec<_> = waiting.take(10_000).collect();
    assert!(waiting.len() < 10_000, "it makes any number");
    let platform = pool(&[address], &format!("{PATIENT}\nconnect_timeout = \"10m\""))
        .append("routes.toml", "timeouts = { connect = \"300ms\" }\n")
        .start();
    let began = Instant::now();
    let answer = get(&platform, "/pool/x");
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{answer:?}");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn answers_that_only_inform_are_not_passed_on_for_ever() {
    let flood = Backend::start(|_, stream| drip(stream, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"));
    let some = Backend::start(|_, stream| {
        drop(stream.write_all(&b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(16)));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let platform = pools(&[
        ("flood", vec![flood.address.to_string()], PATIENT),
        ("some", vec![some.address.to_string()], PATIENT),
    ])
    .start();
    // What is wrong after one that only informed is told too.
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answers = String::from_utf8(exchange(platform.http, request("/flood/x").as_bytes())).unwrap();
    assert_eq!(answers.matches("103 Early").count(), 16, "{answers}");
    assert!(answers.contains("502 Bad Gateway") && answers.contains("upstream_invalid"), "{answers}");
    let answers = String::from_utf8(exchange(platform.http, request("/some/x").as_bytes())).unwrap();
    assert!(answers.matches("103 Early").count() == 16 && answers.ends_with("ok"), "{answers}");
}

#[test]
fn a_handshake_has_the_time_of_an_answer_and_a_tunnel_as_long_as_it_likes() {
    const ROUTE: &str =
        "\n[[route]]\nname = \"open\"\npaths = [\"/open/*\"]\nupstream = \"demo\"\nauth = \"none\"\nwebsocket = true\n";
    let patient = |own: &str, upstream| {
        Setup::default()
            .append("routes.toml", &format!("{ROUTE}timeouts = {{ {own} }}\n"))
            .edit("gateway.toml", "failures = 10", "failures = 1000")
            .upstream(upstream)
            .start()
    };
    let dripping = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX-Drip: "));
        drip(stream, b"x")
    });
    for own in ["first_byte = \"300ms\"", "total = \"300ms\""] {
        let platform = patient(own, dripping.address);
        let (began, mut client) = (Instant::now(), Wire::connect(platform.http));
        client.write(wire::handshake("/open/x", &[]));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 504"), "{own}: {head}");
        assert!(began.elapsed() < LONG, "{own}: {:?}", began.elapsed());
    }
    let platform = patient("total = \"2s\"", wire::backend(wire::echo));
    let mut client = Wire::connect(platform.http);
    client.write(wire::handshake("/open/x", &[]));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    assert_eq!(client.frame(), Some((1, b"hello".to_vec())));
    silence(Duration::from_secs(3));
    client.echoes("still there");
}
