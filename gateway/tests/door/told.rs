//! What a backend is told of who calls and of the way a request came: all that it asked for, in our words alone, and no field
//! for what there is not.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    backends::{After, Backend, pool},
    platform::{Answer, PASSWORD, Setup},
};

/// Every field that an upstream can ask for.
const ALL: &str = r#"headers = ["x-user-id", "x-user-email", "x-user-name", "x-user-role", "x-user-permissions", "x-user-tier",
    "x-user-teams", "x-user-domains", "x-tenant-id", "x-tenant-role", "x-tenant-quotas", "x-auth-method", "x-session-id",
    "x-request-id", "x-gateway-client", "x-gateway-assertion"]"#;

/// A platform whose `/told/*` goes to the demo service, which asks for so much. Nobody needs to be known.
fn telling(headers: &str) -> Setup {
    let server = "{ env = \"PORTCULLIS_DEMO_UPSTREAM\", default = \"127.0.0.1:9000\" }";
    Setup::default().append("gateway.toml", &format!("\n[upstreams.told]\nservers = [{server}]\n{headers}\n")).append(
        "routes.toml",
        "\n[[route]]\nname = \"told\"\npaths = [\"/told/*\"]\nupstream = \"told\"\nauth = \"optional\"\n",
    )
}

fn trusting(setup: Setup) -> Setup {
    setup.env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The identity fields that arrived, a line each, with ids in the words that are given for them.
fn who(answer: &Answer, ids: &[(&str, &str)]) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut lines = String::new();
    for (name, values) in answer.json()["headers"].as_object().unwrap() {
        let is_ours = ["x-user-", "x-tenant-", "x-auth-", "x-session-", "x-key-", "x-gateway-", "x-request-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        for value in values.as_array().unwrap().iter().filter(|_| is_ours) {
            let mut value = text(value);
            if name == "x-gateway-assertion" {
                assert_eq!(value.split('.').count(), 3, "{value}");
                value = "signed".into();
            }
            let request = ("the request's", answer.header("x-request-id").unwrap());
            for (word, id) in ids.iter().chain([&request]) {
                value = value.replace(id, word);
            }
            writeln!(lines, "{name}: {value}").unwrap();
        }
    }
    lines
}

#[test]
fn an_upstream_that_asks_for_everything_is_told_what_there_is_of_each_caller_and_no_more() {
    let platform = telling(ALL).start();
    let made = platform.post(
        "/auth/register",
        None,
        &json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Ada Ü", "tenant_name": "Ours" }),
    );
    let (made, asked) = (made.json(), ("X-Key-Id", "mallory"));
    let (token, account, tenant) =
        (text(&made["access_token"]), text(&made["user"]["id"]), text(&made["user"]["tenant_id"]));
    let listed = platform.get("/auth/sessions", &token).json();
    let session = text(&listed["items"][0]["id"]);
    let key = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "one", "scopes": ["usage:read"] })).json();
    let key_id = text(&key["id"]);
    let ids = [("Ada's", &*account), ("Ours", &*tenant), ("her login's", &*session), ("her key's", &*key_id)];
    let told = |credential: (&str, &str)| who(&platform.send("GET", "/told/x", &[credential, asked], ""), &ids);
    insta::assert_snapshot!(told(("Authorization", &format!("Bearer {token}"))), @r"
    x-auth-method: jwt
    x-gateway-assertion: signed
    x-gateway-client: 127.0.0.1
    x-request-id: the request's
    x-session-id: her login's
    x-tenant-id: Ours
    x-tenant-quotas: agents=5, instances=20, storage_gb=10, workbenches=3
    x-tenant-role: owner
    x-user-email: ada@example.com
    x-user-id: Ada's
    x-user-name: Ada Ü
    x-user-permissions: account:manage,agents:read,billing:read,code:generate,instances:*,integrations:*,tenants:manage,usage:read
    x-user-role: user
    x-user-teams: General
    x-user-tier: free
    ");
    insta::assert_snapshot!(told(("X-API-Key", key["key"].as_str().unwrap())), @r"
    x-auth-method: api_key
    x-gateway-assertion: signed
    x-gateway-client: 127.0.0.1
    x-key-id: her key's
    x-request-id: the request's
    x-tenant-id: Ours
    x-tenant-quotas: agents=5, instances=20, storage_gb=10, workbenches=3
    x-tenant-role: owner
    x-user-email: ada@example.com
    x-user-id: Ada's
    x-user-name: Ada Ü
    x-user-permissions: usage:read
    x-user-role: user
    x-user-teams: General
    x-user-tier: free
    ");

    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let given = platform.post("/auth/login", None, &body);
    let cookie = given.headers.iter().find(|(_, value)| value.starts_with("portcullis=")).unwrap();
    let cookie = ("Cookie", cookie.1.split(';').next().unwrap());
    let listed = platform.send("GET", "/auth/sessions", &[cookie], "").json();
    let current = listed["items"].as_array().unwrap().iter().find(|item| item["current"] == true).unwrap();
    let by_cookie = platform.send("GET", "/told/x", &[cookie], "");
    assert_eq!(
        (by_cookie.received("x-session-id"), by_cookie.received("x-auth-method")),
        (vec![text(&current["id"])], vec!["cookie".to_owned()])
    );
    assert_eq!(by_cookie.received("x-key-id"), Vec::<String>::new());
}

#[test]
fn of_a_machine_and_of_a_stranger_an_upstream_is_told_what_there_is() {
    let platform = telling(ALL).start();
    let (id, secret) = platform.service_account("reporter");
    let by_key = platform.send("GET", "/told/x", &[("X-API-Key", &secret)], "");
    let key_id = by_key.received("x-key-id").concat();
    let ids = [("the machine's", &*id), ("the-machine", &id.replace('-', "")), ("its key's", &key_id)];
    insta::assert_snapshot!(who(&by_key, &ids), @r"
    x-auth-method: api_key
    x-gateway-assertion: signed
    x-gateway-client: 127.0.0.1
    x-key-id: its key's
    x-request-id: the request's
    x-user-email: the-machine@service.invalid
    x-user-id: the machine's
    x-user-name: reporter
    x-user-permissions: quota:reserve,usage:report
    x-user-role: service
    x-user-tier: enterprise
    ");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let token = text(&platform.send("POST", "/auth/token", &[form], &body).json()["access_token"]);
    let by_token = platform.get("/told/x", &token);
    let (session, key) = (by_token.received("x-session-id"), by_token.received("x-key-id"));
    assert_eq!((session.len(), key.len(), session.concat().len()), (1, 0, 36), "{by_token:?}");

    let forged = ["X-User-Id", "X-Request-Id", "X-Gateway-Client", "X-Gateway-Assertion", "X_Gateway_Client"];
    let stranger = platform.send("GET", "/told/x", &forged.map(|name| (name, "mallory")), "");
    insta::assert_snapshot!(who(&stranger, &[]), @r"
    x-gateway-client: 127.0.0.1
    x-request-id: the request's
    ");
}

#[test]
fn what_a_trusted_proxy_says_of_the_way_goes_on_in_one_field() {
    let platform = trusting(telling("headers = [\"x-gateway-client\"]")).start();
    let told = |headers: &[(&str, &str)]| {
        let answer = platform.send("GET", "/told/x", headers, "");
        // By which address a client is counted whom nobody knows is for our own service alone.
        assert_eq!(["forwarded", "x-gateway-proxy"].map(|name| answer.received(name).concat()), ["", ""]);
        ["x-forwarded-for", "x-forwarded-proto", "x-gateway-client"].map(|name| answer.received(name).join(" | "))
    };
    for (headers, way, proto, client) in [
        // For whom it asks it does not say: then nobody knows.
        (&[][..], "127.0.0.1", "http", ""),
        (&[("Forwarded", "for=203.0.113.9;proto=https")], "203.0.113.9, 127.0.0.1", "https", "203.0.113.9"),
        (
            &[("Forwarded", "for=6.6.6.6, for=203.0.113.9, for=10.0.0.7")],
            "203.0.113.9, 127.0.0.1",
            "http",
            "203.0.113.9",
        ),
        (&[("Forwarded", "for=\"[2001:db8::1]:80\"")], "2001:db8::1, 127.0.0.1", "http", "2001:db8::1"),
        (&[("Forwarded", "for=unknown")], "127.0.0.1", "http", ""),
        (&[("X-Forwarded-For", "6.6.6.6,\u{ff}")], "6.6.6.6, unknown, 127.0.0.1", "http", ""),
        (
            &[("X-Forwarded-For", "\u{ff}"), ("X-Forwarded-For", "203.0.113.9")],
            "unknown, 203.0.113.9, 127.0.0.1",
            "http",
            "203.0.113.9",
        ),
        (
            &[("X-Forwarded-For", "6.6.6.6, 203.0.113.9"), ("X-Forwarded-For", "10.0.0.7")],
            "6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1",
            "http",
            "203.0.113.9",
        ),
        (
            &[
                ("Forwarded", "for=6.6.6.6;proto=http"),
                ("X-Forwarded-For", "203.0.113.9"),
                ("X-Forwarded-Proto", "https"),
            ],
            "203.0.113.9, 127.0.0.1",
            "https",
            "203.0.113.9",
        ),
    ] {
        assert_eq!(told(headers), [way, proto, client], "{headers:?}");
    }
}

#[test]
fn what_anybody_else_says_of_the_way_goes_no_further() {
    let platform = telling("headers = [\"x-gateway-client\"]").start();
    let lies = [
        ("Forwarded", "for=6.6.6.6;proto=https"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Gateway-Client", "6.6.6.6"),
    ];
    let answer = platform.send("GET", "/told/x", &lies, "");
    let received = ["x-forwarded-for", "x-forwarded-proto", "x-gateway-client", "forwarded"]
        .map(|name| answer.received(name).join(" | "));
    assert_eq!(received, ["127.0.0.1", "http", "127.0.0.1", ""]);
    assert!(!answer.body.contains("6.6.6.6"), "{answer:?}");
}

#[test]
fn a_request_has_exactly_as_many_fields_as_it_may() {
    // The demo service takes no more fields than the door.
    let backend = Backend::start(|_, stream| {
        drop(std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Close
    });
    let platform = pool(&[backend.address], "").start();
    let sent = |fields: usize| {
        let own = "x: y\r\n".repeat(fields - 2);
        platform.raw(format!("GET /pool/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{own}\r\n").as_bytes()).status
    };
    assert_eq!((sent(100), sent(101)), (200, 431));
    let by_http2 = |fields: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(platform.http).await.unwrap();
            let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::get("http://door.test/pool/x").body(()).unwrap();
            for _ in 0..fields {
                request.headers_mut().append("x", "y".parse().unwrap());
            }
            client.send_request(request, true).unwrap().0.await.unwrap().status().as_u16()
        })
    };
    // Neither `:authority` nor what else begins with a colon is a field.
    assert_eq!((by_http2(100), by_http2(101), by_http2(102)), (200, 431, 431));
}

#[test]
fn a_path_is_sent_on_as_it_was_matched_with_its_query_as_it_came() {
    let platform = Setup::default()
        .append("routes.toml", "\n[[route]]\nname = \"moved\"\npaths = [\"/moved/*\"]\nupstream = \"demo\"\nauth = \"none\"\nrewrite = { \"/moved\" = \"/there\" }\n")
        .start();
    for (sent, path, query) in [
        ("/demo/public/x", "/demo/public/x", ""),
        ("/demo/public/x?a=%41&a", "/demo/public/x", "a=%41&a"),
        ("/demo/public/%41", "/demo/public/A", ""),
        ("/demo/public/%41?a=%41", "/demo/public/A", "a=%41"),
        ("/moved/x", "/there/x", ""),
        ("/moved/x?a=%41", "/there/x", "a=%41"),
        ("/moved/%41?", "/there/A", ""),
        ("/moved", "/there", ""),
    ] {
        let answer = platform.send("GET", sent, &[], "").json();
        assert_eq!((&answer["path"], &answer["query"]), (&json!(path), &json!(query)), "{sent}");
    }
}

#[test]
fn no_field_of_ours_stands_there_twice() {
    let platform = trusting(telling(ALL)).start();
    let token = text(&platform.register("ada@example.com")["access_token"]);
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str()), ("X-Forwarded-For", "203.0.113.9")];
    for name in ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "traceparent", "X-User-Id", "X-Request-Id"]
    {
        headers.extend([(name, "1.1.1.1"), (name, "2.2.2.2")]);
    }
    let answer = platform.send("GET", "/told/x", &headers, "");
    let received = answer.json();
    for (name, values) in received["headers"].as_object().unwrap() {
        assert_eq!(values.as_array().unwrap().len(), 1, "{name}: {values}");
    }
    assert_eq!(answer.received("x-forwarded-host"), ["door.test"]);
}
