//! gRPC callers are told in gRPC's words: refusals without a message, and ends in the trailers.

use std::{future::Future, sync::mpsc::Receiver, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    backends::kept,
    platform::{Platform, Setup, eventually},
    wire::{Wire, by_hand},
};

const ROUTES: &str = r#"
[[route]]
name = "calls"
paths = ["/calls/*"]
upstream = "demo"
tier_limits = false

[[route]]
name = "once"
paths = ["/once/*"]
upstream = "demo"
limits = [{ per = "user", requests = "1/hour" }]
"#;

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    // The test itself may block; its connections go on in another thread.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), test).await.unwrap() })
}

pub(crate) async fn connect(platform: &Platform) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(platform.http).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Begins a call with one message.
pub(crate) async fn call(client: &mut SendRequest<Bytes>, path: &str, token: &str) -> ResponseFuture {
    let mut request = Request::post(format!("http://door.test{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    *client = client.clone().ready().await.unwrap();
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true).unwrap();
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn told(answer: &Response<RecvStream>) -> (u16, &str, &str) {
    assert!(answer.body().is_end_stream(), "a refusal is one block of headers: {answer:?}");
    (answer.status().as_u16(), text(answer.headers(), "content-type"), text(answer.headers(), "grpc-status"))
}

#[test]
fn a_refusal_is_its_headers_alone() {
    let (_kept, gone) = kept();
    let platform = Setup::default()
        .append("routes.toml", ROUTES)
        .edit("gateway.toml", "circuit = { failures = 10, open = \"2s\" }", "circuit = { failures = 2, open = \"1m\" }")
        .upstream(gone)
        .start();
    let token = platform.register("grpc@example.com")["access_token"].as_str().unwrap().to_owned();
    run(async {
        let mut client = connect(&platform).await;
        for (path, token, status, message) in [
            ("/calls/x", "", "16", "Send `Authorization: Bearer"),
            ("/calls/x", "not.a.token", "16", "The credential is not valid"),
            ("/demo/admin/x", &token, "7", "This needs role admin."),
            ("/nowhere", "", "12", "Nothing is exposed"),
            ("/calls/x", &token, "14", "The service behind this path cannot be reached."),
            ("/once/x", &token, "14", ""),
            ("/once/x", &token, "8", "The quota once-user-"),
            ("/calls/x", &token, "14", "The service behind this path has failed too often"),
        ] {
            let answer = call(&mut client, path, token).await.await.unwrap();
            assert_eq!(told(&answer), (200, "application/grpc", status), "{path}: {answer:?}");
            assert!(text(answer.headers(), "grpc-message").starts_with(message), "{answer:?}");
            // Whoever knows when it is worth trying again says so.
            let waits = status == "8" || message.ends_with("too often");
            let wait = text(answer.headers(), "retry-after").parse::<u64>();
            assert_eq!(wait.is_ok_and(|seconds| (1..=3700).contains(&seconds)), waits, "{answer:?}");
            assert_eq!(text(answer.headers(), "x-request-id").len(), 32);
        }
    });
    // Whoever does not speak gRPC is told as ever.
    let web = platform.send("POST", "/calls/x", &[("Content-Type", "application/grpc-web")], "x");
    assert_eq!((web.status, web.code().as_str()), (401, "missing_credential"));
}

/// A call that has been answered with a message, one that has not been answered, and the service's ends of both.
async fn two_calls(
    platform: &Platform,
    token: &str,
    connections: &Receiver<Wire>,
) -> (Response<RecvStream>, ResponseFuture, Vec<Wire>) {
    let mut client = connect(platform).await;
    let (answered, silent) =
        (call(&mut client, "/calls/answered", token).await, call(&mut client, "/calls/silent", token).await);
    let upstream = || connections.recv_timeout(Duration::from_secs(30)).unwrap();
    let mut upstreams = vec![upstream(), upstream()];
    for upstream in &mut upstreams {
        if upstream.head().contains("/calls/answered") {
            upstream.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
                 7\r\n\0\0\0\0\x02ho\r\n",
            );
        }
    }
    let mut answer = answered.await.unwrap();
    assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), &b"\0\0\0\0\x02ho"[..]);
    (answer, silent, upstreams)
}

/// Both clients hear it, though neither backend said a word.
async fn end_unauthenticated(mut answer: Response<RecvStream>, silent: ResponseFuture, upstreams: &mut [Wire]) {
    assert!(answer.body_mut().data().await.is_none(), "there are no more messages");
    let trailers = answer.body_mut().trailers().await.unwrap().expect("trailers");
    assert_eq!((text(&trailers, "grpc-status"), trailers.contains_key("grpc-message")), ("16", true));
    let refused = silent.await.unwrap();
    assert_eq!(told(&refused), (200, "application/grpc", "16"), "{refused:?}");
    for upstream in upstreams {
        upstream.rest();
    }
}

#[test]
fn a_call_of_a_revoked_caller_ends_with_unauthenticated() {
    let (upstream, connections) = by_hand();
    let platform = Setup::default().append("routes.toml", ROUTES).upstream(upstream).start();
    let token = platform.register("out@example.com")["access_token"].as_str().unwrap().to_owned();
    run(async {
        let (answer, silent, mut upstreams) = two_calls(&platform, &token, &connections).await;
        let out = platform.post("/auth/logout", Some(&token), &json!({}));
        assert_eq!(out.status / 100, 2);
        end_unauthenticated(answer, silent, &mut upstreams).await;
    });
    eventually("the calls to end", || platform.metric("portcullis_streams") == 0);
    eventually("their places to be given back", || platform.metric("portcullis_requests_in_flight") == 0);
}

#[test]
fn a_call_ends_with_unauthenticated_when_its_token_and_the_grace_of_its_route_are_over() {
    let (upstream, connections) = by_hand();
    let platform = Setup::default()
        .append("routes.toml", &ROUTES.replace("tier_limits = false", "tier_limits = false\nexpiry_grace = \"1s\""))
        .env("ACCESS_TOKEN_EXPIRE_MINUTES", "10s")
        .upstream(upstream)
        .start();
    let token = platform.register("short@example.com")["access_token"].as_str().unwrap().to_owned();
    run(async {
        let (answer, silent, mut upstreams) = two_calls(&platform, &token, &connections).await;
        end_unauthenticated(answer, silent, &mut upstreams).await;
    });
    eventually("the calls to end", || platform.metric("portcullis_streams") == 0);
    assert_eq!(platform.metric("portcullis_streams_ended_total{reason=\"expired\"}"), 2);
    eventually("the log", || platform.log().contains("\"ended\":\"expired\""));
}

/// A service that speaks gRPC as it is meant: HTTP/2 without TLS, an answer for each message, trailers. It tells what it received.
pub(crate) async fn service() -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<http::request::Parts>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(echo(request, respond, tell.clone()));
                }
            });
        }
    });
    (address, told)
}

async fn echo(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    tell: tokio::sync::mpsc::UnboundedSender<http::request::Parts>,
) {
    let (parts, mut body) = request.into_parts();
    tell.send(parts).unwrap();
    let answer = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(answer, false) else { return };
    while let Some(Ok(message)) = body.data().await {
        drop(body.flow_control().release_capacity(message.len()));
        if stream.send_data(message, false).is_err() {
            return;
        }
    }
    let trailers = [
        ("grpc-status", "0"),
        ("x-usage-tokens", "12"),
        ("x-gateway-assertion", "told back"),
        ("set-cookie", "__Host-portcullis=theirs"),
    ];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let trailers = HeaderMap::from_iter(trailers);
    drop(stream.send_trailers(trailers));
}

fn calls(upstream: std::net::SocketAddr) -> Platform {
    Setup::default()
        .append("routes.toml", ROUTES)
        .append("gateway.toml", &format!("\n[upstreams.service]\nservers = [\"{upstream}\"]\nprotocol = \"h2c\"\n"))
        .append("routes.toml", "\n[[route]]\nname = \"service\"\npaths = [\"/v1/*\"]\nupstream = \"service\"\nrewrite = { \"/v1\" = \"/\" }\n")
        .start()
}

#[test]
fn a_call_passes_end_to_end_message_by_message_with_its_trailers() {
    run(async {
        let (upstream, mut told) = service().await;
        let platform = calls(upstream);
        let registered = platform.register("grpc@example.com");
        let token = registered["access_token"].as_str().unwrap();
        let mut client = connect(&platform).await.ready().await.unwrap();
        let request = Request::post("http://door.test/v1/pkg.Service/Talk")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-user-id", "mallory")
            .header("authorization", format!("Bearer {token}"));
        let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(b"\0\0\0\0\x01a"), false).unwrap();
        let mut answer = response.await.unwrap().into_body();
        // Each message is answered before the next one is sent: nothing waits for the end.
        assert_eq!(answer.data().await.unwrap().unwrap(), &b"\0\0\0\0\x01a"[..]);
        body.send_data(Bytes::from_static(b"\0\0\0\0\x01b"), true).unwrap();
        assert_eq!(answer.data().await.unwrap().unwrap(), &b"\0\0\0\0\x01b"[..]);
        assert!(answer.data().await.is_none());
        let trailers = answer.trailers().await.unwrap().unwrap();
        assert_eq!(
            (text(&trailers, "grpc-status"), trailers.len()),
            ("0", 1),
            "what it cost is nobody's business, nor what we told it"
        );
        eventually("what it cost to be counted", || {
            let used = platform.get("/usage?group_by=route", token).json();
            used["items"][0]["tokens_used"] == 12
        });
        let received = told.recv().await.unwrap();
        assert_eq!((received.uri.path(), received.headers["te"].to_str().unwrap()), ("/pkg.Service/Talk", "trailers"));
        assert_eq!(
            received.headers.get_all("x-user-id").iter().collect::<Vec<_>>(),
            [registered["user"]["id"].as_str().unwrap()]
        );
        assert_eq!(text(&received.headers, "x-forwarded-host"), "door.test", "HTTP/2 names the host beside the fields");
        assert!(!received.headers.contains_key("authorization"));
    });
}

#[test]
fn a_call_over_http2_on_both_sides_ends_when_its_caller_logs_out() {
    run(async {
        let (upstream, mut told) = service().await;
        let platform = calls(upstream);
        let token = platform.register("grpc@example.com")["access_token"].as_str().unwrap().to_owned();
        let other = platform.register("other@example.com")["access_token"].as_str().unwrap().to_owned();
        let mut client = connect(&platform).await;
        let mut begin = async |token: &str| {
            client = client.clone().ready().await.unwrap();
            let request = Request::post("http://door.test/v1/x")
                .header("content-type", "application/grpc")
                .header("authorization", format!("Bearer {token}"));
            client.send_request(request.body(()).unwrap(), false).unwrap()
        };
        let (ours, _held) = begin(&token).await;
        let (theirs, mut theirs_body) = begin(&other).await;
        let (mut ours, mut theirs) = (ours.await.unwrap().into_body(), theirs.await.unwrap().into_body());
        told.recv().await.unwrap();
        assert_eq!(platform.post("/auth/logout", Some(&token), &json!({})).status, 200);
        assert!(ours.data().await.is_none());
        assert_eq!(ours.trailers().await.unwrap().unwrap()["grpc-status"], "16");
        // The other call on the same connections goes on.
        theirs_body.send_data(Bytes::from_static(b"still"), true).unwrap();
        assert_eq!(theirs.data().await.unwrap().unwrap(), &b"still"[..]);
        assert_eq!(theirs.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}
