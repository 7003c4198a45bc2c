//! Services that speak HTTP/2 by prior knowledge, and do not behave.

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::runtime::Builder;

use crate::{
    backends::pool,
    grpc::{connect, run},
    http2_clients::{read, ready},
    platform::{Answer, Platform, eventually, exchange, pace, silence},
    wire::{Wire, answer_after_all},
};

/// Bytes of the great answer: more than all windows and buffers on the way together.
const GREAT: usize = 32 * 1024 * 1024;

/// What a service does with a request: the number counts those before it.
type Behaviour = fn(Request<RecvStream>, SendResponse<Bytes>, usize);

fn serve(behaviour: Behaviour) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let count = Arc::new(AtomicUsize::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    // It has the patience for small pieces that h2 as it comes has not.
                    let mut server =
                        h2::server::Builder::new().data_frame_budget(1 << 30).handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = server.accept().await {
                        behaviour(request, respond, count.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
    });
    told.recv().unwrap()
}

/// Sends as much as it may, in pieces, and says how much that is.
async fn send_great(mut stream: SendStream<Bytes>, sent: &AtomicUsize, piece: usize) {
    let mut left = GREAT;
    while left > 0 {
        stream.reserve_capacity(left.min(piece));
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        left -= room;
        sent.fetch_add(room, Ordering::Relaxed);
        stream.send_data(vec![b'x'; room].into(), left == 0).unwrap();
    }
}

/// Waits until no more is sent; says how much was.
pub(crate) fn at_rest(sent: &AtomicUsize) -> usize {
    let mut before = (0, 0);
    eventually("what is sent waits for its reader", || {
        let sent = sent.load(Ordering::Relaxed);
        before = if sent == before.0 { (sent, before.1 + 1) } else { (sent, 0) };
        before.0 > 0 && before.1 == 20
    });
    before.0
}

/// A client of HTTP/2 whose streams have this window.
async fn client(door: SocketAddr, window: u32) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(door).await.unwrap();
    let (client, connection) = h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn platform(behaviour: Behaviour) -> Platform {
    pool(&[serve(behaviour)], "protocol = \"h2c\"").start()
}

fn say(mut respond: SendResponse<Bytes>, text: &'static str) {
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(text.into(), true).unwrap();
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_of_unknown_length_without_chunks() {
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
    let platform = platform(|request, respond, _| {
        tokio::spawn(async move {
            let mut body = request.into_body();
            while body.data().await.is_some() {
                HAS_BEGUN.store(true, Ordering::Relaxed);
            }
            say(respond, "whole");
        });
    });
    for pieces in [["", ""], ["or", "der"]] {
        let (mut client, length) = (Wire::connect(platform.http), pieces.concat().len());
        client.write(format!(
            "POST /pool/x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n{}",
            pieces[0]
        ));
        eventually("the first piece to be there", || length == 0 || HAS_BEGUN.load(Ordering::Relaxed));
        client.write(pieces[1]);
        let answer = String::from_utf8(client.rest()).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.ends_with("\r\n\r\nwhole"), "{answer}");
        assert!(!answer.contains("transfer-encoding") && answer.contains("connection: close"), "{answer}");
    }
}

#[test]
fn an_answer_that_has_no_body_is_given_none_whatever_its_server_sends() {
    let platform = platform(|request, mut respond, _| {
        let status: u16 = request.uri().path()[6..].parse().unwrap();
        let mut send = respond.send_response(Response::builder().status(status).body(()).unwrap(), false).unwrap();
        send.send_data("more".into(), false).unwrap();
        send.send_trailers([("x-more".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()).unwrap();
    });
    let by_http2 = |status: u16| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
            let mut client = client(platform.http, 65_535).await;
            let request = Request::get(format!("http://x/pool/{status}")).body(()).unwrap();
            let mut answer = client.send_request(request, true).unwrap().0.await.unwrap();
            let (mut body, answered) = (String::new(), answer.status().as_u16());
            while let Some(piece) = answer.body_mut().data().await {
                body.push_str(str::from_utf8(&piece.unwrap()).unwrap());
            }
            let trailers = answer.body_mut().trailers().await.unwrap();
            (answered, body, trailers.map_or(0, |trailers| trailers.len()))
        })
    };
    assert_eq!(by_http2(200), (200, "more".to_owned(), 1));
    for status in [204, 304] {
        assert_eq!(by_http2(status), (status, String::new(), 0));
        let request = format!("GET /pool/{status} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(exchange(platform.http, request.as_bytes())).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("more"), "{answer}");
    }
}

#[test]
fn an_answer_whose_header_is_too_large_is_none() {
    let platform = platform(|_, mut respond, before| {
        let bytes = if before == 0 { 100 * 1024 } else { 130 * 1024 };
        // One field may not have as many bytes as all of them together.
        let fields = (0..10).map(|number| (format!("x-{number}"), "x".repeat(bytes / 10)));
        let answer = fields.fold(Response::builder(), |answer, (name, value)| answer.header(name, value));
        respond.send_response(answer.body(()).unwrap(), true).unwrap();
    });
    let ask =
        || Answer::parse(&exchange(platform.http, b"GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_eq!(ask().status, 200);
    let answer = ask();
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_invalid"));
}

#[test]
fn who_takes_nothing_of_an_answer_holds_up_nobody_on_the_same_connection() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let platform = platform(|request, mut respond, _| {
        if request.uri().path() != "/pool/great" {
            return say(respond, "small");
        }
        let send = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(send_great(send, &SENT, 16 * 1024));
    });
    let mut slow = TcpStream::connect(platform.http).unwrap();
    slow.write_all(b"GET /pool/great HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut begun = [0; 1024];
    slow.read_exact(&mut begun).unwrap();
    let lies = at_rest(&SENT);
    assert!(lies < GREAT / 2, "{lies} bytes lie somewhere");
    for _ in 0..5 {
        let answer = platform.send("GET", "/pool/x", &[], "");
        assert_eq!((answer.status, &*answer.body), (200, "small"));
    }
    // What waited is all there.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(begun.len() + rest.len() > GREAT);
}

#[test]
fn small_pieces_that_nobody_takes_end_nobody_elses_answer() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    static GO_ON: tokio::sync::Notify = tokio::sync::Notify::const_new();
    let platform = platform(|request, mut respond, _| {
        // Whoever takes nothing may have left before it is answered.
        let Ok(mut send) = respond.send_response(Response::new(()), false) else { return };
        if request.uri().path() == "/pool/tokens" {
            tokio::spawn(send_great(send, &SENT, 4));
        } else {
            tokio::spawn(async move {
                send.send_data("begun".into(), false).unwrap();
                GO_ON.notified().await;
                send.send_data(" and ended".into(), true).unwrap();
            });
        }
    });
    let mut honest = TcpStream::connect(platform.http).unwrap();
    honest.write_all(b"GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
        // It takes nothing at all.
        let client = client(platform.http, 0).await;
        let ask = || Request::get("http://x/pool/tokens").body(()).unwrap();
        let stalled: Vec<_> = (0..6).map(|_| client.clone().send_request(ask(), true).unwrap()).collect();
        tokio::task::block_in_place(|| at_rest(&SENT));
        GO_ON.notify_one();
        drop(stalled);
    });
    let mut answer = String::new();
    honest.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("begun") && answer.contains(" and ended"), "{answer}");
}

#[test]
fn small_pieces_that_a_server_does_not_take_end_none_of_the_clients_other_requests() {
    let platform = platform(|request, respond, _| {
        if request.uri().path() == "/pool/x" {
            return say(respond, "small");
        }
        // It is held, and nothing of its body is taken.
        tokio::spawn(async move {
            let _held = (request, respond);
            std::future::pending::<()>().await;
        });
    });
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
        let mut client = client(platform.http, 65_535).await;
        let upload = Request::post("http://x/pool/up").body(()).unwrap();
        let (_answer, mut body) = client.send_request(upload, false).unwrap();
        for _ in 0..8000 {
            body.reserve_capacity(20);
            let Some(Ok(_)) = poll_fn(|cx| body.poll_capacity(cx)).await else { panic!("the connection has ended") };
            body.send_data(Bytes::from_static(b"twenty bytes of text"), false).unwrap();
        }
        let get = Request::get("http://x/pool/x").body(()).unwrap();
        let answer = client.send_request(get, true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn what_a_server_has_refused_to_begin_is_tried_again() {
    // RFC 9113 §8.7: nothing has been done with a stream that ends so.
    let platform = platform(|request, mut respond, before| {
        if before == 0 {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        // Who answers before the order has come is another matter: Pingora takes that for a failure when it sends a body anew.
        tokio::spawn(async move {
            let mut body = request.into_body();
            while body.data().await.is_some() {}
            say(respond, "again");
        });
    });
    let answer = platform.send("POST", "/pool/x", &[], "order");
    assert_eq!((answer.status, &*answer.body), (200, "again"));
    assert_eq!(platform.metric("portcullis_upstream_failures_total{kind=\"closed\",upstream=\"pool\"}"), 0);
}

#[test]
fn a_client_that_waits_for_leave_to_send_its_body_is_given_it() {
    let platform = platform(|request, mut respond, before| {
        if before == 0 {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let expects = request.headers().contains_key("expect");
        tokio::spawn(async move {
            let mut body = request.into_body();
            while body.data().await.is_some() {}
            say(respond, if expects { "asked for leave" } else { "whole" });
        });
    });
    let head = |bytes: u64| {
        format!("POST /pool/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n")
    };
    let mut client = Wire::connect(platform.http);
    // The first is tried again, and neither costs the client its connection.
    for _ in 0..2 {
        client.write(head(5));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("order");
        let answer = client.head();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && !answer.to_ascii_lowercase().contains("connection: close"),
            "{answer}"
        );
        let body = b"5\r\nwhole\r\n0\r\n\r\n";
        assert_eq!(client.read(body.len()), body);
    }
    client.write(head(1 << 40));
    assert_eq!(Answer::parse(&client.rest()).status, 413, "who is refused is not given it");
}

#[test]
fn a_body_that_turns_out_too_large_is_refused_at_once_and_keeps_nothing() {
    let platform = pool(
        &[serve(|request, mut respond, _| {
            tokio::spawn(async move {
                // It answers each piece as it comes, or when it has them all.
                let talks = request.uri().path() == "/pool/talk";
                let mut send = talks.then(|| respond.send_response(Response::new(()), false).unwrap());
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    drop(send.as_mut().map(|send| send.send_data(piece, false)));
                }
                if send.is_none() {
                    drop(respond.send_response(Response::new(()), true));
                }
            });
        })],
        "protocol = \"h2c\"",
    )
    .append("routes.toml", "max_body_bytes = 4\n")
    .start();
    let mut client = Wire::connect(platform.http);
    client.write("POST /pool/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"), "it may have so many");
    let mut client = Wire::connect(platform.http);
    client.write("POST /pool/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n1\r\n5\r\n");
    let answer = Answer::parse(&client.rest());
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    run(async {
        let client = connect(&platform).await;
        let post = |path: &str, kind: &str| {
            Request::post(format!("http://door.test{path}")).header("content-type", kind).body(()).unwrap()
        };
        for (kind, status, code) in [("text/plain", 413, ""), ("application/grpc", 200, "8")] {
            let (answer, mut upload) = ready(&client).await.send_request(post("/pool/x", kind), false).unwrap();
            upload.send_data("1234".into(), false).unwrap();
            upload.send_data("5".into(), false).unwrap();
            let answer = answer.await.unwrap();
            let told = answer.headers().get("grpc-status").map_or("", |code| code.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), told), (status, code), "{kind}");
        }
        // Of a call that is answered already.
        let talk = post("/pool/talk", "application/grpc");
        let (answer, mut upload) = ready(&client).await.send_request(talk, false).unwrap();
        upload.send_data("1234".into(), false).unwrap();
        let mut begun = answer.await.unwrap().into_body();
        assert_eq!(begun.data().await.unwrap().unwrap(), &b"1234"[..]);
        upload.send_data("5".into(), false).unwrap();
        assert!(begun.data().await.is_none());
        assert_eq!(begun.trailers().await.unwrap().unwrap()["grpc-status"], "8");
    });
    eventually("every place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
    let counted = r#"portcullis_requests_total{code="body_too_large",outcome="refused",route="pool"}"#;
    eventually("they are counted", || platform.metric(counted) == 4);
}

#[test]
fn who_is_answered_early_may_finish_its_upload() {
    let platform = pool(
        &[serve(|request, mut respond, _| {
            // The answer is a head and nothing else, or ends with trailers, and the body is taken after it.
            let is_head_alone = request.uri().path() == "/pool/head";
            let mut send = respond.send_response(Response::new(()), is_head_alone).unwrap();
            if !is_head_alone {
                send.send_data("early".into(), false).unwrap();
                send.send_trailers(http::HeaderMap::new()).unwrap();
            }
            tokio::spawn(async move {
                let mut body = request.into_body();
                while body.data().await.is_some() {}
            });
        })],
        "protocol = \"h2c\"\nresponse_timeout = \"1s\"",
    )
    .start();
    for (path, begun) in [("/pool/head", ""), ("/pool/head", "beg"), ("/pool/trailers", "beg")] {
        let mut client = Wire::connect(platform.http);
        client.write(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{begun}"));
        assert!(client.head().starts_with("HTTP/1.1 200"), "{path}");
        // For much longer than the server may be silent while it answers.
        silence(Duration::from_secs(2));
        client.write(&"begun"[begun.len()..]);
        let rest = if path == "/pool/head" { "0\r\n\r\n" } else { "5\r\nearly\r\n0\r\n\r\n" };
        assert_eq!(client.read(rest.len()), rest.as_bytes(), "{path} after {begun:?}");
        eventually("the request to end", || platform.metric("portcullis_requests_in_flight") == 0);
        eventually("the log", || platform.log().contains("\"received_bytes\":5"));
        assert!(!platform.log().contains("\"ended\""), "{path} after {begun:?}: {}", platform.log());
    }
}

#[test]
fn who_cancels_after_trailers_is_heard() {
    static HAS_ALL: AtomicBool = AtomicBool::new(false);
    let platform = platform(|request, respond, _| {
        tokio::spawn(async move {
            let mut body = request.into_body();
            while body.data().await.is_some() {}
            HAS_ALL.store(true, Ordering::Relaxed);
            let _held = (body, respond);
            std::future::pending::<()>().await;
        });
    });
    run(async {
        let client = connect(&platform).await;
        let post = Request::post("http://door.test/pool/x").body(()).unwrap();
        let (answer, mut upload) = ready(&client).await.send_request(post, false).unwrap();
        upload.send_data("order".into(), false).unwrap();
        upload.send_trailers(http::HeaderMap::new()).unwrap();
        eventually("the server to have it", || HAS_ALL.load(Ordering::Relaxed));
        assert_eq!(platform.metric("portcullis_requests_in_flight"), 1);
        upload.send_reset(Reason::CANCEL);
        drop(answer);
        eventually("the place to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
    });
}

#[test]
fn who_reads_nothing_before_all_is_sent_hears_an_early_answer_too() {
    const SIZE: usize = 9 * 1024 * 1024;
    let platform = platform(|_, mut respond, _| {
        let mut send = respond.send_response(Response::builder().status(413).body(()).unwrap(), false).unwrap();
        send.send_data("too much".into(), true).unwrap();
    });
    let head = format!("POST /pool/x HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n");
    let answer = answer_after_all(platform.http, &[head.as_bytes(), &vec![b'x'; SIZE]].concat());
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, &*answer.body), (413, "too much"));
}

#[test]
fn what_belongs_to_one_connection_or_frames_a_body_goes_no_further() {
    let platform = pool(
        &[serve(|request, respond, _| {
            let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
            say(respond, names.join(" ").leak());
        })],
        "protocol = \"h2c\"",
    )
    .edit("gateway.toml", "underscore_headers = \"drop\"", "underscore_headers = \"allow\"")
    .start();
    let names = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
        let mut client = client(platform.http, 65_535).await;
        let request = Request::get("http://x/pool/x")
            .header("te", "trailers")
            .header("x_custom", "yes")
            .header("proxy-authorization", "Basic c2VjcmV0")
            .header("http2-settings", "AAAA")
            .header("trailer", "x")
            .header("content_length", "5")
            .header("transfer_encoding", "chunked");
        let answer = client.send_request(request.body(()).unwrap(), true).unwrap().0.await.unwrap();
        read(answer).await.1
    });
    let names: Vec<_> = names.split(' ').collect();
    assert!(names.contains(&"te") && names.contains(&"x_custom"), "{names:?}");
    for gone in ["proxy-authorization", "http2-settings", "trailer", "content_length", "transfer_encoding"] {
        assert!(!names.contains(&gone), "{gone}: {names:?}");
    }
}

/// A service that counts its connections; on those that `hangs` names by their number it takes what is sent to `/pool/x`, and no more of it
/// than it must, and answers nothing.
fn hanging(hangs: fn(usize) -> bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let hangs = hangs(count.fetch_add(1, Ordering::Relaxed));
                tokio::spawn(async move {
                    let (mut server, mut held) = (h2::server::handshake(stream).await.unwrap(), Vec::new());
                    while let Some(Ok((request, respond))) = server.accept().await {
                        match request.uri().path() {
                            "/pool/x" if hangs => held.push((request, respond)),
                            _ => say(respond, "answered"),
                        }
                    }
                });
            }
        });
    });
    (address, connections)
}

#[test]
fn a_connection_on_which_nothing_is_answered_any_more_is_given_up() {
    let (address, connections) = hanging(|number| number == 0);
    let platform = pool(&[address], "protocol = \"h2c\"\nresponse_timeout = \"1s\"").start();
    let ask = |path: &str| platform.send("GET", path, &[], "").status;
    assert_eq!(["/pool/before", "/pool/x", "/pool/x", "/pool/x"].map(ask), [200, 504, 200, 200]);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn connections_on_which_uploads_were_cut_off_are_found_again() {
    let (address, connections) = hanging(|_| true);
    let patient = "ejection = { failures = 1000 }\ncircuit = { failures = 1000 }";
    // Nobody is to be late for it who answers: that would cost another connection.
    let more = format!("{patient}\nprotocol = \"h2c\"\nresponse_timeout = \"1s\"");
    let platform = pool(&[address], &more).start();
    // More than may be sent to whoever takes nothing.
    let upload = "x".repeat(1024 * 1024);
    for number in 1..=10 {
        assert_eq!(platform.send("POST", "/pool/x", &[], &upload).status, 504);
        // Each time those that others share are given up, since they may be hung.
        eventually("the next connection", || connections.load(Ordering::Relaxed) >= number.min(8));
    }
    eventually("an answer", || platform.send("GET", "/pool/y", &[], "").status == 200);
    assert_eq!(connections.load(Ordering::Relaxed), 8);
}

#[test]
fn a_server_that_goes_away_costs_no_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[listener.local_addr().unwrap()], "protocol = \"h2c\"").start();
    thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let mut server = h2::server::handshake(stream).await.unwrap();
                // One request for each connection, and then it is said that there will be no more.
                let Some(Ok((_, respond))) = server.accept().await else { continue };
                server.graceful_shutdown();
                say(respond, "last");
                tokio::spawn(async move { while server.accept().await.is_some() {} });
            }
        });
    });
    for _ in 0..10 {
        let answer = platform.send("POST", "/pool/x", &[], "");
        assert_eq!((answer.status, &*answer.body), (200, "last"));
        pace(Duration::from_millis(20));
    }
}
