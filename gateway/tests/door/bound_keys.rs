//! API keys that may be shown from some networks alone: by which door they are let in, and what a thief is told.

use std::process::Command;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    grpc::{connect, run},
    platform::{Answer, PORTCULLIS, Platform, Setup, eventually},
    wire::handshake,
};

const ROUTES: &str = r#"
[[route]]
name = "ws"
paths = ["/ws/*"]
upstream = "demo"
websocket = true

[[route]]
name = "calls"
paths = ["/calls/*"]
upstream = "demo"
"#;

fn key(platform: &Platform, token: &str, networks: &Value) -> String {
    let made = platform.post("/auth/api-keys", Some(token), &json!({ "name": "bound", "allowed_networks": networks }));
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["key"].as_str().unwrap().to_owned()
}

/// All that is told of a refusal but which request it was.
fn told(answer: &Answer) -> (u16, Value, Option<String>) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().retain(|name, _| name != "request_id" && name != "instance");
    (answer.status, body, answer.header("www-authenticate").map(str::to_owned))
}

#[test]
fn a_bound_key_opens_the_door_from_its_networks_and_is_nobodys_elsewhere() {
    let platform =
        Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8").append("routes.toml", ROUTES).start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let key = key(&platform, &token, &json!(["192.0.2.0/24", "2001:db8::/32"]));
    let show = |key: &str, client: &str| {
        let headers = [("X-API-Key", key), ("X-Forwarded-For", client)];
        platform.send("GET", "/demo/x", if client.is_empty() { &headers[..1] } else { &headers }, "")
    };
    let mut nobodys = key.clone();
    nobodys.replace_range(60..61, if &key[60..61] == "a" { "b" } else { "a" });
    let nobodys = told(&show(&nobodys, "203.0.113.9"));
    assert_eq!((nobodys.0, &nobodys.1["code"]), (401, &json!("invalid_token")));
    // Twice, since then it is known; what is said by others than the nearest proxy is the client's own.
    for _ in 0..2 {
        for elsewhere in ["203.0.113.9", "192.0.3.1", "::ffff:203.0.113.9", "2001:db9::1", "192.0.2.7, 203.0.113.9", ""]
        {
            assert_eq!(told(&show(&key, elsewhere)), nobodys, "{elsewhere}");
        }
        for home in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "203.0.113.9, 192.0.2.7"] {
            assert_eq!(show(&key, home).status, 200, "{home}");
        }
    }
    let before = platform.metric(r#"portcullis_requests_total{code="invalid_token",outcome="refused",route="demo"}"#);
    show(&key, "203.0.113.9");
    assert_eq!(
        platform.metric(r#"portcullis_requests_total{code="invalid_token",outcome="refused",route="demo"}"#),
        before + 1
    );

    let socket = |client: &str| {
        let request = handshake("/ws/x", &[("X-API-Key", &key), ("X-Forwarded-For", client)]);
        platform.raw(request.replace("Host:", "Connection: close\r\nHost:").as_bytes())
    };
    assert_eq!(socket("203.0.113.9").code(), "invalid_token");
    assert_ne!(socket("192.0.2.7").status, 401);
    let call = async |client: &str| {
        let request = Request::post("http://door.test/calls/x")
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .header("x-api-key", &key)
            .header("x-forwarded-for", client);
        let (answer, mut body) = connect(&platform).await.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::new(), true).ok();
        let answer = answer.await.unwrap();
        answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
    };
    run(async {
        assert_eq!(call("203.0.113.9").await.as_deref(), Some("16"));
        assert_ne!(call("192.0.2.7").await.as_deref(), Some("16"));
    });
    // Its owner is bound to nothing.
    let headers = [("Authorization", &*format!("Bearer {token}")), ("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(platform.send("GET", "/demo/x", &headers, "").status, 200);
}

#[test]
fn a_bound_key_is_nobodys_where_a_trusted_proxy_does_not_say_for_whom_it_asks() {
    let limited = "\n[[route]]\nname = \"once\"\npaths = [\"/once\"]\nupstream = \"demo\"\nauth = \"none\"\nlimits = [{ per = \"ip\", requests = \"1/hour\" }]\n";
    let platform =
        Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8").append("routes.toml", limited).start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let home = key(&platform, &token, &json!(["127.0.0.0/8", "192.0.2.0/24"]));
    let ask = |path: &str, way: &[u8]| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\nX-API-Key: {home}\r\n");
        platform.raw(&[head.as_bytes(), way, b"\r\n"].concat())
    };
    for way in [
        &b""[..],
        b"X-Forwarded-For: unknown\r\n",
        b"X-Forwarded-For: 192.0.2.7, unknown\r\n",
        b"X-Forwarded-For: 192.0.2.7, \xff\r\n",
        b"X-Forwarded-For: \xff, 203.0.113.9\r\n",
        b"X-Forwarded-For: \xff\r\nX-Forwarded-For: 203.0.113.9\r\n",
        b"X-Forwarded-For: 192.0.2.7, \xff, 127.0.0.9\r\n",
        b"X-Forwarded-For: 127.0.0.9\r\n",
        b"Forwarded: for=_hidden\r\n",
        b"Forwarded: for=192.0.2.7, for=unknown\r\n",
        b"Forwarded: for=\xff, for=203.0.113.9\r\n",
    ] {
        assert_eq!(ask("/demo/x", way).code(), "invalid_token", "{}", way.escape_ascii());
    }
    for way in [&b"X-Forwarded-For: \xff, 192.0.2.7\r\n"[..], b"Forwarded: for=_x, for=192.0.2.7, for=127.0.0.9\r\n"] {
        assert_eq!(ask("/demo/x", way).status, 200, "{}", way.escape_ascii());
    }
    // Who asks about it from nobody knows where is told as much.
    let valid = |way: &[(&str, &str)]| {
        let json = [("Content-Type", "application/json")];
        let body = json!({ "token": home }).to_string();
        platform.send("POST", "/auth/validate", &[&json, way].concat(), &body).json()["valid"].clone()
    };
    assert_eq!((valid(&[]), valid(&[("X-Forwarded-For", "192.0.2.7")])), (json!(false), json!(true)));
    // Whoever they are, together they are limited as one.
    let once = |way: &[u8]| ask("/once", way).status;
    assert_eq!((once(b""), once(b"X-Forwarded-For: \xff\r\n"), once(b"Forwarded: for=_other\r\n")), (200, 429, 429));
}

#[test]
fn a_bound_key_is_nobodys_on_a_connection_that_a_balancer_passes_on_for_nobody() {
    let platform = Setup::default()
        .edit("gateway.toml", "proxy_protocol = false", "proxy_protocol = true")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.1")
        .start();
    let by = |announced: &str, head: &str, body: &str| {
        platform
            .raw(format!("PROXY {announced}\r\n{head}Host: door.test\r\nConnection: close\r\n\r\n{body}").as_bytes())
    };
    let client = "TCP4 127.0.0.1 127.0.0.1 4711 80";
    let post = |path: &str, token: &str, body: &Value| {
        let (body, json) = (body.to_string(), "Content-Type: application/json\r\n");
        let head = format!("POST {path} HTTP/1.1\r\n{json}{token}Content-Length: {}\r\n", body.len());
        by("TCP4 203.0.113.9 127.0.0.1 4711 80", &head, &body).json()
    };
    let ada = json!({ "email": "ada@example.com", "password": "correct horse battery" });
    let token = post("/auth/register", "", &ada)["access_token"].as_str().unwrap().to_owned();
    let bound = json!({ "name": "bound", "allowed_networks": ["127.0.0.0/8", "192.0.2.0/24"] });
    let made = post("/auth/api-keys", &format!("Authorization: Bearer {token}\r\n"), &bound);
    let head = format!("GET /demo/x HTTP/1.1\r\nX-API-Key: {}\r\n", made["key"].as_str().unwrap());
    assert_eq!(by("TCP4 192.0.2.7 127.0.0.1 4711 80", &head, "").status, 200);
    // Whom a balancer names by an address of balancers may be one, and then it has to say for whom it asks.
    for (announced, way) in [("UNKNOWN", ""), ("UNKNOWN", "X-Forwarded-For: 192.0.2.7\r\n"), (client, "")] {
        assert_eq!(by(announced, &format!("{head}{way}"), "").code(), "invalid_token", "{announced} {way}");
    }
    assert_eq!(by(client, &format!("{head}X-Forwarded-For: 192.0.2.7\r\n"), "").status, 200);
}

#[test]
fn where_no_proxy_is_trusted_nobody_says_themselves_where_they_are() {
    let platform = Platform::start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let here = key(&platform, &token, &json!(["127.0.0.1"]));
    let there = key(&platform, &token, &json!(["192.0.2.0/24"]));
    let show = |key: &str, client: &str| {
        let headers = [("X-API-Key", key), ("X-Forwarded-For", client), ("Forwarded", &format!("for={client}"))];
        platform.send("GET", "/demo/x", &headers, "").status
    };
    assert_eq!((show(&here, "192.0.2.7"), show(&there, "192.0.2.7"), show(&there, "127.0.0.1")), (200, 401, 401));
}

#[test]
fn a_machines_secret_may_be_bound_too() {
    let platform = Platform::start();
    let command = |words: &[&str], networks: &[&str]| {
        let mut command = Command::new(PORTCULLIS);
        command.arg("service-account").args(words).args(networks.iter().flat_map(|one| ["--allowed-network", one]));
        command.arg("--config").arg(platform.folder.path().join("config"));
        let made = command.arg("--data").arg(platform.folder.path().join("data")).output().unwrap();
        let said = String::from_utf8_lossy(&[made.stdout, made.stderr].concat()).into_owned();
        let given = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        (made.status.code(), given("client_id: "), given("client_secret: "), said)
    };
    let by = |secret: &str| platform.send("GET", "/demo/x", &[("X-API-Key", secret)], "");
    let (_, id, there, said) = command(&["create", "meter"], &["192.0.2.7/24", "2001:db8::1"]);
    assert!(said.contains(" for 192.0.2.0/24, 2001:db8::1/128 alone, and buys no access tokens."), "{said}");
    assert_eq!(by(&there).code(), "invalid_token");
    let (_, _, here, _) = command(&["key", &id], &["127.0.0.1"]);
    assert_eq!(by(&here).status, 200);
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={here}");
    let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(platform.send("POST", "/auth/token", &form_type, &form).status, 401);
    let (_, _, free, _) = command(&["key", &id], &[]);
    eventually("the bound one to be refused", || by(&here).code() == "revoked");
    assert_eq!(by(&free).status, 200);
    for words in [&["create", "other"][..], &["key", &id]] {
        let (code, .., said) = command(words, &["office"]);
        assert_eq!((code, said.contains("--allowed-network \"office\" is neither")), (Some(65), true), "{said}");
    }
}
