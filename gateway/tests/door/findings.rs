//! What an attack on the door has found, each finding mended and kept as a test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use http::Request;
use tokio::runtime::Builder;

use crate::{
    backends::{After, Backend, pool},
    http2_clients::ready,
    platform::{Answer, Platform, Setup, eventually, exchange, pace},
    wire::handshake,
};

const WEBSOCKETS: &str =
    "\n[[route]]\nname = \"ws\"\npaths = [\"/ws/*\"]\nupstream = \"pool\"\nauth = \"none\"\nwebsocket = true\n";

fn client(door: &Platform, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(door.http).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    client
}

#[test]
fn a_piece_of_an_answer_does_not_wait_for_the_next() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
        wait.lock().unwrap().recv().unwrap();
        drop(stream.write_all(b"world"));
        After::Keep
    });
    let platform = pool(&[backend.address], "").start();
    let mut client = client(&platform, "GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut seen = Vec::new();
    while !seen.ends_with(b"hello") {
        let mut piece = [0; 4096];
        let read = client.read(&mut piece).expect("what has come is passed on");
        assert!(read > 0);
        seen.extend_from_slice(&piece[..read]);
    }
    go_on.send(()).unwrap();
    client.read_to_end(&mut seen).unwrap();
    assert!(seen.ends_with(b"helloworld"));
}

#[test]
fn cookies_that_come_apart_over_http_2_are_one_field_behind_the_door() {
    let platform = Platform::start();
    let seen = Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(platform.http).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("http://{}/demo/public/x", platform.http));
        let request = request.header("cookie", "a=b").header("cookie", "c=d").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let mut whole = Vec::new();
        while let Some(piece) = body.data().await {
            whole.extend_from_slice(&piece.unwrap());
        }
        Answer { status: 200, headers: Vec::new(), body: String::from_utf8(whole).unwrap() }
    });
    assert_eq!(seen.received("cookie"), ["a=b; c=d"]);
}

#[test]
fn what_belongs_to_the_upstream_s_connection_or_to_us_stays_there() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(
            b"HTTP/1.1 103 Early Hints\r\nContent-Length: 10\r\nLink: </x>\r\nSet-Cookie: portcullis=evil\r\n\r\n\
              HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
              RateLimit: \"x\";r=1;t=1\r\nX-RateLimit-Limit: 7\r\nX-RateLimit-Remaining: 7\r\nContent-Length: 2\r\n\r\nok",
        ));
        After::Keep
    });
    let platform = pool(&[backend.address], "").start();
    let request = b"GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = String::from_utf8(exchange(platform.http, request)).unwrap().to_lowercase();
    let (hints, last) = answer.split_once("\r\n\r\n").unwrap();
    assert!(hints.starts_with("http/1.1 103") && hints.contains("link: </x>"), "{hints}");
    assert!(!hints.contains("content-length") && !hints.contains("set-cookie"), "{hints}");
    for theirs in ["keep-alive", "upgrade", "proxy-", "ratelimit"] {
        assert!(!last.contains(theirs), "{theirs}: {last}");
    }
}

#[test]
fn each_field_of_the_upstream_s_connection_is_taken_away_by_itself() {
    for (said, name) in [
        ("Keep-Alive: timeout=5", "keep-alive"),
        ("Upgrade: h2c", "upgrade"),
        ("Proxy-Connection: keep-alive", "proxy-connection"),
        ("Proxy-Authenticate: Basic", "proxy-authenticate"),
        ("Connection: x-other, X-Secret\r\nX-Secret: 1", "x-secret"),
    ] {
        let backend = Backend::start(move |_, stream| {
            drop(write!(stream, "HTTP/1.1 200 OK\r\n{said}\r\nX-Told: yes\r\nContent-Length: 2\r\n\r\nok"));
            After::Keep
        });
        let platform = pool(&[backend.address], "").start();
        let answer = platform.send("GET", "/pool/x", &[], "");
        assert_eq!(
            (answer.status, answer.header(name), answer.header("x-told")),
            (200, None, Some("yes")),
            "{answer:?}"
        );
    }
}

#[test]
fn no_connection_option_takes_away_how_an_answer_is_framed() {
    for (framing, body) in [("Content-Length: 2", "ok"), ("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n")] {
        let backend = Backend::start(move |_, stream| {
            let options = "Connection: content-length, transfer-encoding";
            drop(write!(stream, "HTTP/1.1 200 OK\r\n{options}\r\n{framing}\r\n\r\n{body}"));
            After::Keep
        });
        let platform = pool(&[backend.address], "").start();
        // Whoever may send another request has to know where the answer ends.
        let request =
            b"GET /pool/x HTTP/1.1\r\nHost: x\r\n\r\nGET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answers = String::from_utf8(exchange(platform.http, request)).unwrap().to_lowercase();
        assert_eq!(answers.matches("http/1.1 200").count(), 2, "{answers}");
        assert_eq!(answers.matches(&framing.to_lowercase()).count(), 2, "{answers}");
        assert_eq!(answers.matches(&format!("\r\n\r\n{body}")).count(), 2, "{answers}");
    }
}

#[test]
fn a_refused_websocket_is_answered_as_strictly_as_any_request() {
    for lying in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let backend = Backend::start(move |_, stream| {
            drop(stream.write_all(lying.as_bytes()));
            After::Close
        });
        let platform = pool(&[backend.address], "").append("routes.toml", WEBSOCKETS).start();
        let answer = Answer::parse(&exchange(platform.http, handshake("/ws/x", &[("Connection", "close")]).as_bytes()));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_invalid"), "{lying:?}");
    }
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\nX-Gateway-Assertion: stolen\r\nContent-Length: 2\r\n\r\nno"));
        After::Close
    });
    let platform = pool(&[backend.address], "").append("routes.toml", WEBSOCKETS).start();
    let answer = Answer::parse(&exchange(platform.http, handshake("/ws/x", &[("Connection", "close")]).as_bytes()));
    assert_eq!((answer.status, answer.header("x-gateway-assertion")), (403, None), "{answer:?}");
}

#[test]
fn a_token_is_no_key_whether_it_is_cached_or_not() {
    let platform = Platform::start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let as_key = || platform.send("GET", "/demo/x", &[("X-API-Key", &token)], "").status;
    assert_eq!(as_key(), 401);
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    assert_eq!(as_key(), 401, "it is in the cache now");
}

#[test]
fn a_client_of_http_2_that_takes_nothing_is_not_waited_for_without_end() {
    let backend = Backend::start(|_, stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
        After::Keep
    });
    let platform =
        pool(&[backend.address], "").edit("gateway.toml", "write_timeout = \"60s\"", "write_timeout = \"1s\"").start();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(platform.http).await.unwrap();
        let (mut client, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("http://{}/pool/x", platform.http)).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let ended = tokio::time::timeout(Duration::from_secs(20), body.data()).await;
        assert!(ended.expect("the stream is held open").is_none_or(|piece| piece.is_err()));
    });
    let counted = r#"portcullis_connections_refused_total{reason="slow_reader"}"#;
    eventually("it is counted", || platform.metric(counted) == 1);
    eventually("nothing to be in flight", || platform.metric("portcullis_requests_in_flight") == 0);
}

/// The bodies of fifty refusals, of which nothing is taken.
async fn untaken(door: SocketAddr) -> Vec<h2::RecvStream> {
    let stream = tokio::net::TcpStream::connect(door).await.unwrap();
    let (client, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..50 {
        let request = Request::get(format!("http://{door}/nowhere")).body(()).unwrap();
        answers.push(ready(&client).await.send_request(request, true).unwrap().0);
    }
    let mut bodies = Vec::new();
    for answer in answers {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 404);
        bodies.push(answer.into_body());
    }
    bodies
}

#[test]
fn who_takes_no_refusals_over_http_2_keeps_nobody_else_out() {
    // Each thread may have one at hand that has been counted, and not yet as refused.
    let platform = Setup::default()
        .edit("gateway.toml", "worker_threads = 0", "worker_threads = 2")
        .edit("gateway.toml", "max_requests = 20000", "max_requests = 10")
        .edit("gateway.toml", "max_requests_per_address = 10000", "max_requests_per_address = 5")
        .start();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut rounds = 0..10;
        let mut bodies = loop {
            assert!(rounds.next().is_some(), "there are never many of them");
            let bodies = untaken(platform.http).await;
            let status = platform.send("GET", "/demo/public/x", &[], "").status;
            // Each ends five seconds after it began: on a busy machine before the last of them is there.
            if platform.metric("portcullis_own_answers_in_flight") > 10 {
                assert_eq!(status, 200, "they are no load");
                break bodies;
            }
        };
        for body in &mut bodies {
            let ended = tokio::time::timeout(Duration::from_secs(20), body.data()).await;
            assert!(ended.expect("the stream is held open").is_none_or(|piece| piece.is_err()));
        }
    });
    eventually("nothing of them is left", || platform.metric("portcullis_requests_in_flight") == 0);
    assert_eq!(platform.metric("portcullis_own_answers_in_flight"), 0);
}

#[test]
fn targets_that_no_uri_may_hold_are_refused_by_the_door_itself() {
    let platform = Platform::start();
    for target in ["/demo/public/`", "/demo/public/<x>", "/demo/public/x?a=<", "/demo/public/x?a=\"", "/demo/public/\""]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = Answer::parse(&exchange(platform.http, request.as_bytes()));
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"), "{target}: {answer:?}");
    }
    let request = b"GET /demo/public/x?a=` HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(Answer::parse(&exchange(platform.http, request)).status, 200, "browsers send it so");
}

/// A server of HTTP/2 that says how many bytes it was sent; to `/pool/silent` it says nothing.
fn counting_over_http2() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut server = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = server.accept().await {
                        tokio::spawn(async move {
                            if request.uri().path() == "/pool/silent" {
                                return std::future::pending().await;
                            }
                            let (mut body, mut received) = (request.into_body(), 0);
                            while let Some(Ok(piece)) = body.data().await {
                                received += piece.len();
                                drop(body.flow_control().release_capacity(piece.len()));
                            }
                            let text = received.to_string();
                            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                            send.send_data(text.into(), true).unwrap();
                        });
                    }
                });
            }
        });
    });
    told.recv().unwrap()
}

#[test]
fn a_long_upload_to_http_2_is_not_taken_for_a_silent_server() {
    let address = counting_over_http2();
    let platform = pool(&[address], "protocol = \"h2c\"\nresponse_timeout = \"1s\"").start();
    let mut client =
        client(&platform, "POST /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n");
    for _ in 0..25 {
        pace(Duration::from_millis(100));
        client.write_all(&[b'x'; 200]).unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("5000"), "{answer}");
}

#[test]
fn a_silent_server_of_http_2_is_given_up() {
    let platform = pool(&[counting_over_http2()], "protocol = \"h2c\"\nresponse_timeout = \"1s\"").start();
    for request in ["GET /pool/silent HTTP/1.1\r\n", "POST /pool/silent HTTP/1.1\r\nContent-Length: 2\r\n"] {
        let mut client = client(&platform, &format!("{request}Host: x\r\nConnection: close\r\n\r\n"));
        client.write_all(b"ok").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 504"), "{request:?}: {answer}");
    }
}
