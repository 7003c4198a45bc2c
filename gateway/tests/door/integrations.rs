//! Keys at providers: what a provider is shown in the place of the caller's credential, and when nothing is.

use std::{io::Write as _, process::Command, thread, time::Duration};

use serde_json::json;

use crate::{
    backends::{After, Backend},
    cluster::{Redis, member},
    database::Database,
    grpc,
    platform::{PORTCULLIS, Platform, Setup, eventually},
    servers::Postgres,
    streams::events_of,
    wire::{self, Wire, backend, by_hand, echo, handshake},
};

const ROUTES: &str = r#"
[[route]]
name = "openai"
paths = ["/openai/*"]
upstream = "demo"
tier_limits = false
websocket = true
inject_credential = { service = "openai", header = "Authorization", format = "Bearer {key}" }

[[route]]
name = "claude"
paths = ["/claude/*"]
upstream = "demo"
tier_limits = false
inject_credential = { service = "claude", header = "x-api-key" }

[[route]]
name = "gemini"
paths = ["/gemini/*"]
upstream = "demo"
tier_limits = false
inject_credential = { service = "gemini", header = "X-Goog-Api-Key" }
"#;

fn setup() -> Setup {
    Setup::default().append("routes.toml", ROUTES)
}

fn token(platform: &Platform, email: &str) -> String {
    platform.register(email)["access_token"].as_str().unwrap().to_owned()
}

/// Gives a key; says which integration it is.
fn give(platform: &Platform, token: &str, service: &str, key: &str) -> String {
    let answer = platform.post("/integrations", Some(token), &json!({ "service": service, "api_key": key }));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// What a provider receives under the name of a header, or the refusal.
fn shown(platform: &Platform, token: &str, path: &str, header: &str) -> String {
    let answer = platform.get(path, token);
    if answer.status == 200 {
        answer.received(header).join(" | ")
    } else {
        format!("{} {}", answer.status, answer.code())
    }
}

#[test]
fn a_provider_is_shown_the_callers_key_and_nothing_of_the_callers() {
    let platform = setup().start();
    let ada = token(&platform, "ada@example.com");
    give(&platform, &ada, "openai", "sk-openai-of-ada");
    give(&platform, &ada, "claude", "sk-claude-key-of-ada");
    give(&platform, &ada, "gemini", "AIza-of-ada");

    let answer = platform.get("/openai/v1/chat", &ada);
    assert_eq!((answer.status, answer.received("authorization")), (200, vec!["Bearer sk-openai-of-ada".to_owned()]));
    assert!(!answer.body.contains(&ada) && !answer.body.contains("sk-claude"), "{}", answer.body);

    // By API key, where the provider reads its own.
    let made = platform.post("/auth/api-keys", Some(&ada), &json!({ "name": "k" })).json();
    let key = made["key"].as_str().unwrap();
    let answer = platform.send("GET", "/claude/v1/messages", &[("X-API-Key", key)], "");
    assert_eq!(answer.received("x-api-key"), ["sk-claude-key-of-ada"]);
    assert_eq!(answer.received("authorization"), Vec::<String>::new());
    assert!(!answer.body.contains(key), "{}", answer.body);

    // What a client says in its place does not arrive.
    let bearer = format!("Bearer {ada}");
    let own = [("Authorization", bearer.as_str()), ("X-Goog-Api-Key", "mine"), ("x-goog-api-key", "mine too")];
    let answer = platform.send("GET", "/gemini/x", &own, "");
    assert_eq!(answer.received("x-goog-api-key"), ["AIza-of-ada"]);
    assert!(!answer.body.contains("mine"), "{}", answer.body);
    // Routes without an injection show none.
    assert_eq!(shown(&platform, &ada, "/demo/x", "authorization"), "");
    assert!(!platform.log().contains("of-ada"), "a key is in the log");
}

#[test]
fn aliases_of_the_header_do_not_arrive_even_where_underscores_do() {
    let platform =
        setup().edit("gateway.toml", "underscore_headers = \"drop\"", "underscore_headers = \"allow\"").start();
    let ada = token(&platform, "ada@example.com");
    give(&platform, &ada, "gemini", "AIza-of-ada");
    let bearer = format!("Bearer {ada}");
    let own = [("Authorization", bearer.as_str()), ("X_Goog_Api_Key", "mine"), ("x_other", "passes")];
    let answer = platform.send("GET", "/gemini/x", &own, "");
    assert_eq!(answer.received("x-goog-api-key"), ["AIza-of-ada"]);
    assert!(answer.body.contains("passes") && !answer.body.contains("mine"), "{}", answer.body);
}

#[test]
fn without_a_key_nothing_reaches_the_provider() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
        After::Keep
    });
    let platform = setup().upstream(backend.address).start();
    let ada = token(&platform, "ada@example.com");
    let answer = platform.get("/openai/x", &ada);
    assert_eq!((answer.status, answer.code().as_str()), (403, "integration_missing"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("openai"), "{answer:?}");
    let id = give(&platform, &ada, "claude", "sk-claude-key-of-ada");
    assert_eq!(platform.get("/openai/x", &ada).code(), "integration_missing");
    assert_eq!(platform.get("/claude/x", &ada).status, 200);
    // Disabled, enabled, changed, deleted: each counts from the answer on.
    let path = format!("/integrations/{id}");
    let switch = |status: &str| platform.json("PATCH", &path, Some(&ada), &json!({ "status": status })).status;
    assert_eq!(switch("disabled"), 200);
    assert_eq!(platform.get("/claude/x", &ada).code(), "integration_missing");
    assert_eq!(switch("active"), 200);
    assert_eq!(platform.get("/claude/x", &ada).status, 200);
    assert_eq!(platform.json("DELETE", &path, Some(&ada), &json!({})).status, 204);
    assert_eq!(platform.get("/claude/x", &ada).code(), "integration_missing");
    assert_eq!(backend.count("GET"), 2);
}

#[test]
fn whoever_acts_for_somebody_spends_none_of_their_money() {
    let platform = setup().start();
    let registered = platform.register("ada@example.com");
    let (ada, root) = (registered["access_token"].as_str().unwrap(), platform.admin());
    give(&platform, ada, "openai", "sk-openai-of-ada");
    let account = platform.get("/auth/me", ada).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/users/{account}/impersonate");
    let acting = platform.post(&path, Some(&root), &json!({ "reason": "ticket 7" }));
    assert_eq!(acting.status, 201, "{acting:?}");
    let acting = acting.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/x", &acting).status, 200);
    // Of a service for which there is a key as of one for which there is none.
    for path in ["/openai/x", "/claude/x"] {
        let answer = platform.get(path, &acting);
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("not whoever acts for them"), "{answer:?}");
    }
    assert_eq!(shown(&platform, ada, "/openai/x", "authorization"), "Bearer sk-openai-of-ada");
}

#[test]
fn another_accounts_key_never_arrives() {
    let platform = setup().start();
    let people: Vec<_> = (0..4)
        .map(|n| {
            let token = token(&platform, &format!("person{n}@example.com"));
            let key = format!("sk-openai-of-person-{n}");
            let id = give(&platform, &token, "openai", &key);
            (token, key, id)
        })
        .collect();
    let platform = &platform;
    thread::scope(|scope| {
        for (token, key, id) in &people {
            scope.spawn(move || {
                let mut key = key.clone();
                for round in 0..40 {
                    assert_eq!(shown(platform, token, "/openai/x", "authorization"), format!("Bearer {key}"));
                    if round % 10 == 9 {
                        key = format!("{key}-{round}");
                        let change = json!({ "api_key": key });
                        assert_eq!(
                            platform.json("PATCH", &format!("/integrations/{id}"), Some(token), &change).status,
                            200
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn what_one_node_deletes_another_shows_no_longer() {
    let (database, redis) = (Database::new("provider_keys"), Redis::start());
    let node = || {
        let setup = member(&database, &redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"");
        setup.edit("gateway.toml", "# nodes = 3", "nodes = 2").append("routes.toml", ROUTES).start()
    };
    let (one, other) = (node(), node());
    let ada = token(&one, "ada@example.com");
    let id = give(&one, &ada, "openai", "sk-openai-first");
    let path = format!("/integrations/{id}");
    for is_redis_there in [true, false] {
        if !is_redis_there {
            redis.signal("-STOP");
        }
        let key = format!("sk-openai-{is_redis_there}");
        assert_eq!(one.json("PATCH", &path, Some(&ada), &json!({ "api_key": key })).status, 200);
        let says = |node: &Platform| shown(node, &ada, "/openai/x", "authorization");
        assert_eq!(says(&one), format!("Bearer {key}"));
        eventually("the other node to hear of the new key", || says(&other) == format!("Bearer {key}"));
    }
    redis.signal("-CONT");
    assert_eq!(one.json("DELETE", &path, Some(&ada), &json!({})).status, 204);
    eventually("the other node to hear of the end", || other.get("/openai/x", &ada).code() == "integration_missing");
}

#[test]
fn what_does_not_open_is_never_shown_and_without_the_database_only_what_is_known_is() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    let platform = setup()
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "statement_timeout = \"5s\"", "statement_timeout = \"1s\"")
        .start();
    let (ada, eve) = (token(&platform, "ada@example.com"), token(&platform, "eve@example.com"));
    give(&platform, &ada, "openai", "sk-openai-of-ada");
    let id = give(&platform, &ada, "claude", "sk-claude-key-of-ada");
    give(&platform, &eve, "claude", "sk-claude-key-of-eve");

    // Somebody who can write to the database puts another's key into their own row.
    database.run(
        "UPDATE integrations SET sealed = (SELECT sealed FROM integrations WHERE last_four = '-eve') \
         WHERE service = 'claude' AND last_four = '-ada'",
    );
    let answer = platform.get("/claude/x", &ada);
    assert_eq!((answer.status, answer.code().as_str()), (503, "integration_unreadable"));
    let listed = platform.get(&format!("/integrations/{id}"), &ada).json();
    assert_eq!(listed["status"], "unreadable");
    // Health says it at once, and not at the next count in an hour.
    let health = || platform.get("/readyz", &ada).json();
    assert_eq!(health()["reasons"], json!(["sealed_values_unreadable"]));
    // The owner gives it again, and all is well.
    let again = json!({ "api_key": "sk-ant-again" });
    assert_eq!(platform.json("PATCH", &format!("/integrations/{id}"), Some(&ada), &again).json()["status"], "active");
    assert_eq!(shown(&platform, &ada, "/claude/x", "x-api-key"), "sk-ant-again");
    eventually("health to hear of it", || health()["status"] == "ready");

    assert_eq!(shown(&platform, &ada, "/openai/x", "authorization"), "Bearer sk-openai-of-ada");
    assert_eq!(platform.get("/demo/x", &eve).status, 200);
    postgres.stop();
    assert_eq!(shown(&platform, &ada, "/openai/x", "authorization"), "Bearer sk-openai-of-ada");
    let answer = platform.get("/claude/x", &eve);
    assert_eq!((answer.status, answer.code().as_str()), (503, "directory_unavailable"));
    assert!(answer.header("retry-after").is_some());
    postgres.serve();
    eventually("the database to be used again", || {
        shown(&platform, &eve, "/claude/x", "x-api-key") == "sk-claude-key-of-eve"
    });
}

#[test]
fn a_websockets_backend_is_shown_the_key_too() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let ada = token(&platform, "ada@example.com");
    let ask = || {
        let mut client = Wire::connect(platform.http);
        client.write(handshake("/openai/realtime", &[("Sec-WebSocket-Protocol", &format!("chat, bearer.{ada}"))]));
        client
    };
    assert!(ask().head().starts_with("HTTP/1.1 403 "));
    give(&platform, &ada, "openai", "sk-openai-of-ada");
    let mut client = ask();
    let head = connections.recv_timeout(Duration::from_secs(30)).unwrap().head().to_lowercase();
    assert!(head.contains("\r\nauthorization: bearer sk-openai-of-ada\r\n"), "{head}");
    assert!(!head.contains(&ada.to_lowercase()) && head.contains(&wire::KEY.to_lowercase()), "{head}");
    drop(client.stream.flush());
}

#[test]
fn an_open_websocket_ends_when_the_key_that_it_was_shown_goes() {
    let platform = setup().upstream(backend(echo)).start();
    let [ada, eve] = ["ada@example.com", "eve@example.com"].map(|email| token(&platform, email));
    let first = give(&platform, &ada, "openai", "sk-openai-of-ada");
    give(&platform, &ada, "claude", "sk-claude-key-of-ada");
    give(&platform, &eve, "openai", "sk-openai-of-eve");
    let open = |token: &str| wire::open(platform.http, "/openai/realtime", token);
    let mut others = open(&eve);
    let call =
        |method: &str, path: &str, body: &serde_json::Value| platform.json(method, path, Some(&ada), body).status;
    let path = format!("/integrations/{first}");
    let mut stream = open(&ada);
    assert_eq!(call("PATCH", &path, &json!({ "name": "Another name" })), 200);
    stream.echoes("it is the same key by any name");
    assert_eq!(call("PATCH", &path, &json!({ "api_key": "sk-another-of-ada" })), 200);
    assert_eq!(stream.close(), (4401, "revoked".to_owned()));
    let mut stream = open(&ada);
    assert_eq!(call("DELETE", &path, &json!({})), 204);
    assert_eq!(stream.close().0 / 100, 44);
    others.echoes("mine is there");
}

#[test]
fn events_that_a_provider_sends_end_when_the_key_that_it_was_shown_is_deleted() {
    let (upstream, connections) = by_hand();
    let platform = setup().upstream(upstream).start();
    let [ada, eve] = ["ada@example.com", "eve@example.com"].map(|email| token(&platform, email));
    let [hers, _] = [&ada, &eve].map(|token| give(&platform, token, "claude", "sk-claude-key-of-one"));
    let (mut ended, mut ended_upstream) = events_of(&platform, "/claude/events", &ada, &connections);
    let (mut alive, mut alive_upstream) = events_of(&platform, "/claude/events", &eve, &connections);
    assert_eq!(platform.json("DELETE", &format!("/integrations/{hers}"), Some(&ada), &json!({})).status, 204);
    assert_eq!(ended.rest(), b"", "cut off, not finished: there is no last chunk");
    assert_eq!(ended_upstream.rest(), b"");
    alive_upstream.write("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    assert_eq!(alive.read(19), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
}

#[test]
fn a_grpc_service_is_shown_the_key_too() {
    grpc::run(async {
        let (upstream, mut told) = grpc::service().await;
        let route = "\n[[route]]\nname = \"service\"\npaths = [\"/v1/*\"]\nupstream = \"service\"\n\
                     inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer {key}\" }\n";
        let platform = Setup::default()
            .append("routes.toml", route)
            .append("gateway.toml", &format!("\n[upstreams.service]\nservers = [\"{upstream}\"]\nprotocol = \"h2c\"\nheaders = [\"x-request-id\"]\n"))
            .start();
        let ada = token(&platform, "ada@example.com");
        let mut client = grpc::connect(&platform).await;
        let refused = grpc::call(&mut client, "/v1/x", &ada).await.await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "7");
        give(&platform, &ada, "openai", "sk-openai-of-ada");
        drop(grpc::call(&mut client, "/v1/x", &ada).await);
        let received = told.recv().await.unwrap().headers;
        assert_eq!(received["authorization"], "Bearer sk-openai-of-ada");
        assert_eq!(received.get_all("authorization").iter().count(), 1);
    });
}

#[test]
fn who_would_show_keys_or_callers_to_everybody_is_refused() {
    let wrong = |upstream: &str| {
        let far = format!("\n[upstreams.far]\n{upstream}\n");
        let route = "\n[[route]]\nname = \"far\"\npaths = [\"/far/*\"]\nupstream = \"far\"\n\
                     inject_credential = { service = \"openai\", header = \"Authorization\" }\n";
        let folder = setup().append("gateway.toml", &far).append("routes.toml", route).folder();
        let config = folder.path().join("config");
        let checked = Command::new(PORTCULLIS).args(["check", "--config"]).arg(config).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
        (checked.status.success(), said.contains("in clear"), said.contains("a signed assertion"))
    };
    let headers = "headers = [\"x-request-id\"]";
    let tls = "tls = { sni = \"api.example.com\" }";
    assert_eq!(wrong(&format!("servers = [\"192.0.2.1:80\"]\n{headers}")), (false, true, false));
    assert_eq!(wrong(&format!("servers = [\"192.0.2.1:443\"]\n{tls}")), (false, false, true));
    assert_eq!(wrong(&format!("servers = [\"192.0.2.1:443\"]\n{headers}\n{tls}")), (true, false, false));
    assert_eq!(wrong(&format!("servers = [\"unix:/run/x\", \"localhost:80\"]\n{headers}")), (true, false, false));
}

#[test]
fn for_whoever_is_over_a_limit_no_key_is_looked_up() {
    let limited = "\n[[route]]\nname = \"limited\"\npaths = [\"/limited\"]\nupstream = \"demo\"\ntier_limits = false\n\
                   limits = [{ per = \"user\", requests = \"1/hour\" }]\n\
                   inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer {key}\" }\n";
    let platform = setup().append("routes.toml", limited).start();
    let ada = token(&platform, "ada@example.com");
    assert_eq!(shown(&platform, &ada, "/limited", "authorization"), "403 integration_missing");
    assert_eq!(shown(&platform, &ada, "/limited", "authorization"), "429 rate_limited");
}

/// What is a tenant's is bounded by what the tenant has bought, and what a person's is by their own tier.
#[test]
fn a_tenants_keys_are_as_many_as_the_tenants_tier_says_whoever_gives_them() {
    let free = "quotas = { storage_gb = 10, workbenches = 3, agents = 5, instances = 20 }";
    let bounded = "quotas = { storage_gb = 10, workbenches = 3, agents = 5, instances = 20, integrations = 1 }";
    let platform = setup().edit("tiers.toml", free, bounded).start();
    let root = platform.admin();
    let registered = platform.register("ada@example.com");
    let (ada, account) = (registered["access_token"].as_str().unwrap(), registered["user"]["id"].as_str().unwrap());
    let tenant = registered["user"]["tenant_id"].as_str().unwrap();
    let give = |service: &str, owner: &str| {
        let body = json!({ "service": service, "api_key": "sk-0123456789", "owner": owner });
        platform.post("/integrations", Some(ada), &body)
    };
    let set = |path: String, tier: &str| {
        assert_eq!(platform.json("PATCH", &path, Some(&root), &json!({ "tier": tier })).status, 200);
    };
    set(format!("/admin/users/{account}"), "free");
    set(format!("/admin/tenants/{tenant}"), "pro");
    for service in ["openai", "claude", "gemini"] {
        assert_eq!(give(service, "tenant").status, 201, "{service}");
    }
    assert_eq!((give("openai", "account").status, give("claude", "account").status), (201, 409));
    set(format!("/admin/users/{account}"), "pro");
    set(format!("/admin/tenants/{tenant}"), "free");
    assert_eq!(give("mistral", "tenant").code(), "too_many_integrations");
    assert_eq!(give("mistral", "account").status, 201);
}

#[test]
fn a_key_of_the_platform_with_scopes_shows_its_owners_key_only_if_it_may_use_integrations() {
    let platform = setup().start();
    let ada = token(&platform, "ada@example.com");
    give(&platform, &ada, "openai", "sk-openai-of-ada");
    let by = |scopes: serde_json::Value| {
        let key = platform.post("/auth/api-keys", Some(&ada), &json!({ "name": "key", "scopes": scopes })).json();
        platform.send("GET", "/openai/x", &[("X-API-Key", key["key"].as_str().unwrap())], "")
    };
    let refused = by(json!(["usage:read"]));
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{refused:?}");
    assert_eq!(by(json!(["integrations:use"])).received("authorization"), ["Bearer sk-openai-of-ada"]);
}
