//! Streams end with their caller's right to them, though no byte flows; and only then.

use std::{
    io::Write,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use identity::{Algorithm, TokenType};
use serde_json::json;

use crate::{
    backends::{After, Backend},
    http2_backends::at_rest,
    issuers::{Issuer, key},
    platform::{Answer, Platform, Setup, eventually, pace, silence},
    wire::{self, Wire, backend, by_hand, echo},
};

const ROUTES: &str = r#"
[[route]]
name = "streams"
paths = ["/streams/*"]
upstream = "demo"
websocket = true
tier_limits = false
expiry_grace = "3s"
max_body_bytes = 1073741824

[[route]]
name = "developers"
paths = ["/developers/*"]
upstream = "demo"
roles = ["developer"]
websocket = true
"#;

fn setup() -> Setup {
    Setup::default().append("routes.toml", ROUTES)
}

fn token(platform: &Platform, email: &str) -> String {
    platform.register(email)["access_token"].as_str().unwrap().to_owned()
}

fn log_out(platform: &Platform, token: &str) {
    assert_eq!(platform.post("/auth/logout", Some(token), &json!({})).status / 100, 2);
}

#[test]
fn idle_websockets_of_a_revoked_caller_end_in_time_and_others_live_on() {
    let platform = setup().upstream(backend(echo)).start();
    let (revoked, other) = (token(&platform, "gone@example.com"), token(&platform, "here@example.com"));
    let number = std::env::var("PORTCULLIS_STREAMS").map_or(100, |number| number.parse().unwrap());
    let mut idle: Vec<Wire> = (0..number).map(|_| wire::open(platform.http, "/streams/x", &revoked)).collect();
    let mut alive = wire::open(platform.http, "/streams/x", &other);
    assert_eq!(platform.metric("portcullis_streams"), number + 1);
    let began = Instant::now();
    log_out(&platform, &revoked);
    for client in &mut idle {
        assert_eq!(client.close(), (4401, "revoked".to_owned()));
    }
    let took = began.elapsed();
    // `make endurance` has so many, and nothing beside them: it is held to the promise.
    assert!(took.as_secs() < if number > 100 { 2 } else { 20 }, "{took:?}");
    for mut client in idle {
        assert_eq!(client.rest(), b"");
    }
    alive.echoes("still here");
    eventually("the ended to be forgotten", || platform.metric("portcullis_streams") == 1);
    assert_eq!(platform.metric("portcullis_streams_ended_total{reason=\"revoked\"}"), number);
    eventually("the access log", || platform.log().matches("\"ended\":\"revoked\"").count() as u64 == number);
}

/// Somebody logs out in the middle of a frame that their backend sends: it is finished first. Not if the backend is kept from that for longer
/// than it has, which is half a second: then nothing more comes.
fn is_finished_first(platform: &Platform, connections: &Receiver<Wire>, email: &str) -> bool {
    let ended = || platform.metric("portcullis_streams_ended_total{reason=\"revoked\"}");
    let (token, before) = (token(platform, email), ended());
    let mut client = Wire::connect(platform.http);
    client.write(wire::handshake("/streams/x", &[("Authorization", &format!("Bearer {token}"))]));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    let frame = wire::frame(1, b"a whole frame");
    upstream.write([wire::agreed("").as_bytes(), &frame[..5]].concat());
    client.head();
    assert_eq!(client.read(5), frame[..5]);
    log_out(platform, &token);
    eventually("the end to be told", || ended() == before + 1);
    // It may have been closed just now.
    drop(upstream.stream.write_all(&[&frame[5..], &wire::frame(1, b"too late")].concat()));
    let heard = client.rest();
    if heard.is_empty() {
        return false;
    }
    assert_eq!(heard, [&frame[5..], b"\x88\x09\x11\x31revoked"].concat());
    assert_eq!(upstream.close().0, 1001);
    assert_eq!(upstream.rest(), b"");
    true
}

#[test]
fn the_backend_of_an_ended_websocket_hears_it_too() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let mut emails = (0..5).map(|number| format!("told-{number}@example.com"));
    assert!(emails.any(|email| is_finished_first(&platform, &connections, &email)), "it is always cut off");
}

#[test]
fn a_change_ends_a_stream_only_if_it_takes_the_right_to_it() {
    let platform = setup().upstream(backend(echo)).start();
    let admin = platform.admin();
    let user = platform.register("dev@example.com");
    let (token, id) = (user["access_token"].as_str().unwrap(), user["user"]["id"].as_str().unwrap());
    let change = |what: serde_json::Value| {
        let changed = platform.json("PATCH", &format!("/admin/users/{id}"), Some(&admin), &what);
        assert_eq!(changed.status, 200, "{changed:?}");
    };
    change(json!({ "role": "developer" }));
    let mut working = wire::open(platform.http, "/developers/x", token);
    let mut idle = wire::open(platform.http, "/streams/x", token);
    let renamed = platform.json("PATCH", "/auth/me", Some(token), &json!({ "name": "Another Name" }));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    change(json!({ "tier": "pro" }));
    // Whoever is ended by a later change was looked at after the earlier ones.
    let mut witness = wire::open(platform.http, "/streams/x", &admin);
    log_out(&platform, &admin);
    assert_eq!(witness.close().0, 4401);
    working.echoes("a name is no right");
    idle.echoes("nor is a tier");
    let admin = platform.login("root@example.com");
    let changed = platform.json("PATCH", &format!("/admin/users/{id}"), Some(&admin), &json!({ "role": "user" }));
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(working.close(), (4401, "forbidden".to_owned()));
    // Any role may, but the service was told another one.
    assert_eq!(idle.close(), (4401, "revoked".to_owned()));
    let token = platform.login("dev@example.com");
    let mut idle = wire::open(platform.http, "/streams/x", &token);
    let disabled =
        platform.json("PATCH", &format!("/admin/users/{id}"), Some(&admin), &json!({ "status": "disabled" }));
    assert_eq!(disabled.status, 200, "{disabled:?}");
    assert_eq!(idle.close(), (4401, "account_disabled".to_owned()));
}

#[test]
fn what_an_issuer_answers_for_is_not_forgotten_while_a_stream_goes_on() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("second_factor = { amr = \"mfa\" }")
        .edit("gateway.toml", "required_roles = []", "required_roles = [\"user\"]")
        .append("routes.toml", ROUTES)
        .upstream(backend(echo))
        .start();
    let mut claims = issuer.claims("ada");
    claims["amr"] = json!(["mfa"]);
    let (admin, token) = (platform.admin(), key.sign(TokenType::Access, &claims));
    let me = platform.get("/auth/me", &token).json();
    let mut open = wire::open(platform.http, "/streams/x", &token);
    let path = format!("/admin/users/{}", me["id"].as_str().unwrap());
    let changed = platform.json("PATCH", &path, Some(&admin), &json!({ "tier": "pro" }));
    assert_eq!(changed.status, 200, "{changed:?}");
    // Whoever is ended by a later change was looked at after the earlier one.
    let mut witness = wire::open(platform.http, "/streams/x", &admin);
    log_out(&platform, &admin);
    assert_eq!(witness.close().0, 4401);
    open.echoes("still two factors");
}

/// Of one subject several tokens may be about, each limited to what it was given for.
#[test]
fn a_change_judges_each_stream_by_what_its_own_token_is_limited_to() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let managed = "\n[[route]]\nname = \"managed\"\npaths = [\"/managed/*\"]\nupstream = \"demo\"\nwebsocket = true\npermissions = [\"account:manage\"]\n";
    let platform = issuer
        .setup("scope_claim = \"scope\"\nscopes = [{ value = \"manage\", permission = \"account:manage\" }]")
        .append("routes.toml", &format!("{ROUTES}{managed}"))
        .upstream(backend(echo))
        .start();
    let token = |scope: &str| {
        let mut claims = issuer.claims("ada");
        claims["scope"] = json!(scope);
        key.sign(TokenType::Access, &claims)
    };
    let (admin, narrow, wide) = (platform.admin(), token("openid"), token("manage"));
    let me = platform.get("/auth/me", &wide).json();
    let mut reads = wire::open(platform.http, "/streams/x", &narrow);
    let mut second = wire::open(platform.http, "/managed/x", &wide);
    let path = format!("/admin/users/{}", me["id"].as_str().unwrap());
    let changed = platform.json("PATCH", &path, Some(&admin), &json!({ "tier": "pro" }));
    assert_eq!(changed.status, 200, "{changed:?}");
    // Whoever is ended by a later change was looked at after the earlier one.
    let mut witness = wire::open(platform.http, "/streams/x", &admin);
    log_out(&platform, &admin);
    assert_eq!(witness.close().0, 4401);
    reads.echoes("within its limits");
    second.echoes("within its own");
}

#[test]
fn a_stream_outlives_its_token_by_the_grace_of_its_route() {
    let platform = setup().env("ACCESS_TOKEN_EXPIRE_MINUTES", "6s").upstream(backend(echo)).start();
    let token = token(&platform, "short@example.com");
    let mut client = wire::open(platform.http, "/streams/x", &token);
    eventually("the token to expire", || platform.get("/auth/me", &token).code() == "expired");
    client.echoes("in the grace");
    assert_eq!(client.close(), (4401, "expired".to_owned()));
}

#[test]
fn a_stream_ends_with_the_grace_of_the_key_by_which_it_was_opened() {
    let platform = setup().upstream(backend(echo)).start();
    let owner = token(&platform, "ada@example.com");
    let make = |name: &str| {
        let made = platform.post("/auth/api-keys", Some(&owner), &json!({ "name": name })).json();
        ["id", "key"].map(|field| made[field].as_str().unwrap().to_owned())
    };
    let ([id, rotated], [_, other]) = (make("rotated"), make("other"));
    let mut ends = wire::open(platform.http, "/streams/x", &rotated);
    let mut stays = wire::open(platform.http, "/streams/x", &other);
    let next = platform.post(&format!("/auth/api-keys/{id}/rotate"), Some(&owner), &json!({ "grace": 1 }));
    assert_eq!(next.status, 201, "{next:?}");
    // That of the route comes to that of the key.
    ends.echoes("in the grace");
    assert_eq!(ends.close(), (4401, "expired".to_owned()));
    stays.echoes("by another key");
}

/// A request whose answer has begun and does not end.
fn events(platform: &Platform, token: &str, connections: &Receiver<Wire>) -> (Wire, Wire) {
    events_of(platform, "/streams/events", token, connections)
}

pub(crate) fn events_of(platform: &Platform, path: &str, token: &str, connections: &Receiver<Wire>) -> (Wire, Wire) {
    let mut client = Wire::connect(platform.http);
    client.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    upstream.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
    );
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.read(14), b"9\r\ndata: 1\n\n\r\n");
    (client, upstream)
}

#[test]
fn events_outlive_their_token_by_the_grace_of_their_route_and_are_cut_off() {
    let (upstream, connections) = by_hand();
    let platform = setup().env("ACCESS_TOKEN_EXPIRE_MINUTES", "10s").upstream(upstream).start();
    let token = token(&platform, "short@example.com");
    let (mut client, mut upstream) = events(&platform, &token, &connections);
    eventually("the token to expire", || platform.get("/auth/me", &token).code() == "expired");
    upstream.write("9\r\ndata: 2\n\n\r\n");
    assert_eq!(client.read(14), b"9\r\ndata: 2\n\n\r\n", "in the grace");
    assert_eq!(client.rest(), b"", "cut off, not finished: there is no last chunk");
    assert_eq!(upstream.rest(), b"");
    eventually("the log", || platform.log().contains("\"ended\":\"expired\""));
}

#[test]
fn idle_events_end_when_their_caller_logs_out_and_others_live_on() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let (gone, here) = (token(&platform, "gone@example.com"), token(&platform, "here@example.com"));
    let (mut ended, mut ended_upstream) = events(&platform, &gone, &connections);
    let (mut alive, mut alive_upstream) = events(&platform, &here, &connections);
    log_out(&platform, &gone);
    assert_eq!(ended.rest(), b"", "cut off, not finished: there is no last chunk");
    assert_eq!(ended_upstream.rest(), b"");
    alive_upstream.write("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    assert_eq!(alive.read(19), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    eventually("both to be counted", || platform.metric("portcullis_requests_in_flight") == 0);
    eventually("the log", || platform.log().contains("\"ended\":\"revoked\""));
    // The connection serves on after a stream that ended by itself.
    alive.write(format!("GET /streams/again HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here}\r\n\r\n"));
    alive_upstream.head();
    alive_upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(alive.head().starts_with("HTTP/1.1 200"));
    assert_eq!(alive.read(2), b"ok");
}

#[test]
fn a_head_whose_body_takes_its_time_is_passed_on_before_it() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let token = token(&platform, "early@example.com");
    let credential = format!("Authorization: Bearer {token}\r\n");
    for request in [
        format!("GET /streams/x HTTP/1.1\r\nHost: x\r\n{credential}\r\n"),
        format!("POST /streams/x HTTP/1.1\r\nHost: x\r\n{credential}Content-Length: 4\r\n\r\nbody"),
        wire::handshake("/streams/x", &[("Authorization", &format!("Bearer {token}"))]),
    ] {
        let mut client = Wire::connect(platform.http);
        client.write(&request);
        let mut upstream = connections.recv().unwrap();
        upstream.head();
        upstream.write("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200"), "{request}");
        upstream.write("2\r\nok\r\n0\r\n\r\n");
        assert_eq!(client.read(12), b"2\r\nok\r\n0\r\n\r\n", "{request}");
    }
}

#[test]
fn a_head_that_its_client_has_not_taken_is_followed_by_no_other() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // Nearly all of an answer is its head: that of the last one lies there in part when nobody takes any more.
    let server = Backend::start(|_, stream| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        let fields = format!("X-Pad: {}\r\n", "x".repeat(8000)).repeat(15);
        let body = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        drop(stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}{body}").as_bytes()));
        After::Keep
    });
    let platform = setup().upstream(server.address).start();
    let token = token(&platform, "slow@example.com");
    let mut client = Wire::connect(platform.http);
    client.write(format!("GET /streams/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").repeat(80));
    eventually("the last answer to lie there", || {
        let before = at_rest(&ASKED);
        silence(Duration::from_secs(1));
        at_rest(&ASKED) == before
    });
    log_out(&platform, &token);
    eventually("the end to be told", || platform.metric("portcullis_streams_ended_total{reason=\"revoked\"}") == 1);
    let all = String::from_utf8(client.rest()).unwrap();
    assert_eq!(all.matches("HTTP/1.1 ").count(), all.matches("HTTP/1.1 200 OK").count());
    eventually("the log", || platform.log().contains("\"ended\":\"revoked\""));
}

/// A handshake that is answered as if it were none, by events of which one has come.
fn events_in_place_of_a_websocket(platform: &Platform, token: &str, connections: &Receiver<Wire>) -> (Wire, Wire) {
    let mut client = Wire::connect(platform.http);
    client.write(wire::handshake("/streams/x", &[("Authorization", &format!("Bearer {token}"))]));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    upstream.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.read(14), b"9\r\ndata: 1\n\n\r\n");
    (client, upstream)
}

#[test]
fn an_answer_in_place_of_a_websocket_ends_like_any_other() {
    let (upstream, connections) = by_hand();
    let mut platform = setup().edit("gateway.toml", "drain = \"30s\"", "drain = \"200ms\"").upstream(upstream).start();
    let (gone, here) = (token(&platform, "gone@example.com"), token(&platform, "here@example.com"));
    let (mut idle, mut idle_upstream) = events_in_place_of_a_websocket(&platform, &gone, &connections);
    let (mut busy, mut busy_upstream) = events_in_place_of_a_websocket(&platform, &gone, &connections);
    let (left, mut left_upstream) = events_in_place_of_a_websocket(&platform, &here, &connections);
    let (mut alive, mut alive_upstream) = events_in_place_of_a_websocket(&platform, &here, &connections);
    let mut events = busy_upstream.stream.try_clone().unwrap();
    let flowing = std::thread::spawn(move || {
        while events.write_all(b"5\r\ntick\n\r\n").is_ok() {
            pace(Duration::from_millis(20));
        }
    });
    log_out(&platform, &gone);
    assert_eq!((idle.rest(), idle_upstream.rest()), (vec![], vec![]), "cut off: there is no last chunk");
    let more = busy.rest();
    assert!(!more.ends_with(b"0\r\n\r\n"), "{more:?}");
    assert_eq!(busy_upstream.rest(), b"");
    flowing.join().unwrap();
    // Who leaves with something unread is known at once to have left.
    left_upstream.write("9\r\ndata: 2\n\n\r\n");
    left.stream.peek(&mut [0]).unwrap();
    drop(left);
    assert_eq!(left_upstream.rest(), b"", "nobody is left to answer");
    alive_upstream.write("9\r\ndata: 2\n\n\r\n");
    assert_eq!(alive.read(14), b"9\r\ndata: 2\n\n\r\n");
    eventually("the log", || platform.log().matches("\"ended\":\"revoked\"").count() == 2);
    eventually("they have gone from the table", || platform.metric("portcullis_streams") == 1);
    platform.gateway().signal("TERM");
    assert_eq!((alive.rest(), alive_upstream.rest()), (vec![], vec![]));
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn an_upload_that_has_stopped_ends_with_a_refusal() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let token = token(&platform, "up@example.com");
    let mut client = Wire::connect(platform.http);
    client.write(format!(
        "POST /streams/up HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    ));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    assert_eq!(upstream.read(10), b"5\r\nfirst\r\n");
    log_out(&platform, &token);
    let answer = Answer::parse(&client.rest());
    assert_eq!((answer.status, answer.code().as_str()), (401, "revoked"), "{answer:?}");
    assert_eq!(upstream.rest(), b"");
}

#[test]
fn what_did_not_look_like_a_stream_ends_like_one_when_it_lasts() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let token = token(&platform, "gone@example.com");
    let ask = |head: &str| {
        let mut client = Wire::connect(platform.http);
        client.write(format!("{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"));
        client
    };
    let mut waiting = ask("GET /streams/later");
    waiting.write("\r\n");
    let mut later = connections.recv().unwrap();
    later.head();
    let mut reading = ask("GET /streams/short");
    reading.write("\r\n");
    let mut short = connections.recv().unwrap();
    short.head();
    short.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\ndata: 1\n\n");
    assert!(reading.head().starts_with("HTTP/1.1 200"));
    assert_eq!(reading.read(9), b"data: 1\n\n");
    let mut sending = ask("POST /streams/up");
    sending.write("Content-Length: 500\r\n\r\nfirst");
    let mut up = connections.recv().unwrap();
    up.head();
    log_out(&platform, &token);
    for (what, client) in [("waiting", &mut waiting), ("sending", &mut sending)] {
        let answer = Answer::parse(&client.rest());
        assert_eq!((answer.status, answer.code().as_str()), (401, "revoked"), "{what}: {answer:?}");
    }
    assert_eq!(reading.rest(), b"", "cut off");
    assert_eq!((later.rest(), short.rest(), up.rest()), (vec![], vec![], b"first".to_vec()));
    eventually("the log", || platform.log().contains("\"ended\":\"revoked\""));
    eventually("they have gone from the table", || platform.metric("portcullis_streams") == 0);
}

#[test]
fn a_request_of_http_2_that_lasts_ends_with_its_callers_right_to_it() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let token = token(&platform, "gone@example.com");
    let answered =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
            let stream = tokio::net::TcpStream::connect(platform.http).await.unwrap();
            let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request =
                http::Request::get("http://x/streams/later").header("authorization", format!("Bearer {token}"));
            let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
            let _upstream = tokio::task::block_in_place(|| {
                let mut upstream = connections.recv().unwrap();
                upstream.head();
                log_out(&platform, &token);
                upstream
            });
            answer.await.unwrap().status()
        });
    assert_eq!(answered, 401);
}

#[test]
fn a_stop_says_goodbye_to_what_would_not_end() {
    let mut platform =
        setup().edit("gateway.toml", "drain = \"30s\"", "drain = \"200ms\"").upstream(backend(echo)).start();
    let token = token(&platform, "bye@example.com");
    let mut client = wire::open(platform.http, "/streams/x", &token);
    platform.gateway().signal("TERM");
    assert_eq!(client.close(), (1001, "shutting_down".to_owned()));
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn a_stop_says_goodbye_to_tunnels_of_strangers_too() {
    let mut platform = Setup::default()
        .append("routes.toml", "\n[[route]]\nname = \"open\"\npaths = [\"/open/*\"]\nupstream = \"demo\"\nauth = \"none\"\nwebsocket = true\n")
        .edit("gateway.toml", "drain = \"30s\"", "drain = \"200ms\"")
        .upstream(backend(echo))
        .start();
    let mut client = Wire::connect(platform.http);
    client.write(wire::handshake("/open/x", &[]));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    assert_eq!(client.frame(), Some((1, b"hello".to_vec())));
    client.echoes("still there");
    platform.gateway().signal("TERM");
    assert_eq!(client.close(), (1001, "shutting_down".to_owned()));
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn whoever_uploads_to_a_backend_that_takes_nothing_hears_that_its_right_to_it_is_lost() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let token = token(&platform, "stuck@example.com");
    let mut client = Wire::connect(platform.http);
    client.write(format!(
        "POST /streams/up HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let mut upstream = connections.recv().unwrap();
    upstream.head();
    // Until nobody between the two takes any more.
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = [&b"10000\r\n"[..], &vec![b'x'; 65536], b"\r\n"].concat();
    while client.stream.write_all(&chunk).is_ok() {}
    log_out(&platform, &token);
    let answer = Answer::parse(&client.rest());
    assert_eq!((answer.status, answer.code().as_str()), (401, "revoked"));
    eventually("the request to end", || platform.metric("portcullis_requests_in_flight") == 0);
    eventually("the access log", || platform.log().contains("\"refusal\":\"revoked\",\"status\":401"));
    assert_eq!(platform.log().matches("\"path\":\"/streams/up\"").count(), 1, "it is recorded once");
}
