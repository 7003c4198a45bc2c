//! What is used, counted through the door: by the door itself, as backends report it, as services say it, and whatever kills the gateway.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    backends::{After, Backend},
    database::Database,
    platform::{Answer, Platform, Running, Setup, eventually, exchange, service_account, token_of},
    servers::Postgres,
    wire::{Wire, agreed, backend, handshake},
};

/// Says of every answer what it cost: as the path says, after `/demo/` or `/demo/public/`.
fn metering(fields: &'static str) -> Backend {
    Backend::start(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        let status = if name == "broken" { "500 Oops" } else { "200 OK" };
        let early = if name == "early" { format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n") } else { String::new() };
        let answer =
            format!("{early}HTTP/1.1 {status}\r\n{fields}X-Usage-Model: {name}\r\nContent-Length: 2\r\n\r\nok");
        drop(stream.write_all(answer.as_bytes()));
        After::Keep
    })
}

fn usage(platform: &Platform, token: &str, query: &str) -> Vec<Value> {
    let answer = platform.get(&format!("/usage?{query}"), token);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["items"].as_array().unwrap().clone()
}

/// A machine that may say what was used, by its key.
fn service(platform: &Platform) -> String {
    platform.service_account("meter").1
}

#[test]
fn requests_are_counted_with_what_backends_say_of_them_and_clients_never_hear_it() {
    let fields = "X-Usage-Tokens: 1200\r\nX-Usage-Cost: 0.0125\r\nX-Usage-Service: claude\r\nX-Usage-Whatever: 1\r\n";
    let backend = metering(fields);
    let platform = Setup::default().upstream(backend.address).start();
    let token = token_of(&platform.register("ada@example.com"));
    for (path, times) in
        [("/demo/one", 2), ("/demo/two", 1), ("/demo/broken", 1), ("/demo/early", 1), ("/demo/public/x", 3)]
    {
        for _ in 0..times {
            let answer = String::from_utf8(exchange(
                platform.http,
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n")
                    .as_bytes(),
            ));
            let answer = answer.unwrap().to_lowercase();
            assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
            assert!(!answer.contains("x-usage"), "{answer}");
        }
    }
    eventually("the count", || usage(&platform, &token, "group_by=model").len() == 4);
    let by = |query| usage(&platform, &token, query).iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(by("group_by=route,service,model"), @r#"
    {"cost":"0.0125","model_name":"broken","requests":1,"route":"demo","service":"claude","tokens_used":1200}
    {"cost":"0.0125","model_name":"early","requests":1,"route":"demo","service":"claude","tokens_used":1200}
    {"cost":"0.025","model_name":"one","requests":2,"route":"demo","service":"claude","tokens_used":2400}
    {"cost":"0.0125","model_name":"two","requests":1,"route":"demo","service":"claude","tokens_used":1200}
    "#);
    insta::assert_snapshot!(by("group_by=key"), @r#"{"cost":"0.0625","key_id":null,"requests":5,"tokens_used":6000}"#);
    // Our own answers are not counted, though they were asked for often.
    assert_eq!(platform.metric("portcullis_usage_requests_spooled_total"), 5);
    eventually("a sum for each model", || platform.metric("portcullis_usage_sums_total") >= 4);
    // Others see nothing of it.
    let other = token_of(&platform.register("bob@example.com"));
    assert_eq!(usage(&platform, &other, ""), Vec::<Value>::new());
    let table = platform.send(
        "GET",
        "/usage?group_by=model",
        &[("Authorization", &format!("Bearer {token}")), ("Accept", "text/csv")],
        "",
    );
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    insta::assert_snapshot!(table.body.replace("\r\n", "\n"), @r"
    model_name,requests,tokens_used,cost
    broken,1,1200,0.0125
    early,1,1200,0.0125
    one,2,2400,0.025
    two,1,1200,0.0125
    ");
}

#[test]
fn what_a_backend_says_that_cannot_be_counted_counts_for_nothing_and_is_told() {
    let backend = metering("X-Usage-Tokens: -5\r\nX-Usage-Cost: 1e12\r\n");
    let platform = Setup::default().upstream(backend.address).start();
    let token = token_of(&platform.register("ada@example.com"));
    assert_eq!(platform.get("/demo/x", &token).header("x-usage-cost"), None);
    eventually("the count", || !usage(&platform, &token, "").is_empty());
    let counted = &usage(&platform, &token, "group_by=model")[0];
    assert_eq!(*counted, json!({ "model_name": "x", "requests": 1, "tokens_used": 0, "cost": "0.00" }));
    assert_eq!(platform.metric("portcullis_usage_malformed_total"), 2);
    eventually("the word to the operator", || platform.log().contains("cannot be counted"));
}

#[test]
fn a_websocket_is_a_request_and_its_answer_hides_what_it_cost() {
    let upstream = backend(|mut wire| {
        wire.head();
        wire.write(agreed("X-Usage-Tokens: 7\r\nX-Usage-Model: live\r\n"));
        wire.rest();
    });
    let routes = "\n[[route]]\nname = \"ws\"\npaths = [\"/ws/*\"]\nupstream = \"demo\"\nwebsocket = true\n";
    let platform = Setup::default().append("routes.toml", routes).upstream(upstream).start();
    let token = token_of(&platform.register("ada@example.com"));
    let mut client = Wire::connect(platform.http);
    client.write(handshake("/ws/x", &[("Authorization", &format!("Bearer {token}"))]));
    let head = client.head().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && !head.contains("x-usage"), "{head}");
    drop(client);
    eventually("the count", || !usage(&platform, &token, "").is_empty());
    let counted = &usage(&platform, &token, "group_by=route,model")[0];
    assert_eq!(
        (&counted["route"], &counted["model_name"], &counted["tokens_used"]),
        (&json!("ws"), &json!("live"), &json!(7))
    );
}

#[test]
fn services_alone_say_what_was_used_in_the_words_they_have() {
    let platform = Platform::start();
    let admin = platform.admin();
    let registered = platform.register("ada@example.com");
    let (token, ada) = (token_of(&registered), registered["user"]["id"].clone());
    let (service, other) = (service(&platform), platform.service_account("other").1);
    let id = "0190a5a0-0000-7000-8000-000000000001";
    let report = json!({
        "service": "claude", "tokens_used": 1500, "cost": "0.0225", "model_name": "=claude-3", "request_type": "chat",
        "account_id": ada, "event_id": id,
    });
    for (who, code) in [(&token, "forbidden"), (&admin, "forbidden")] {
        assert_eq!(platform.post("/usage", Some(who), &report).code(), code);
    }
    // However often it is said; another service's event of that id is another one.
    for who in [&service, &service, &other] {
        let said = platform.post("/usage", Some(who), &report);
        assert_eq!((said.status, said.json()), (202, json!({ "event_id": id, "status": "accepted" })));
    }
    // A number is read as it is written: this one is no float.
    let exact = |cost: &str| {
        let text = format!("{{\"service\":\"claude\",\"cost\":{cost},\"account_id\":{ada}}}");
        let headers = [("Content-Type", "application/json"), ("Authorization", &*format!("Bearer {service}"))];
        platform.send("POST", "/usage", &headers, &text)
    };
    for cost in ["0.1", "0.2", "3e-06", "\"0.000001\""] {
        assert_eq!(exact(cost).status, 202, "{cost}");
    }
    let counted = || usage(&platform, &token, "group_by=service");
    let all = [json!({ "service": "claude", "requests": 0, "tokens_used": 3000, "cost": "0.345004" })];
    eventually("the count", || counted() == all);
    let table = platform.get("/usage?group_by=model&format=csv", &token).body;
    assert!(table.contains("\"'=claude-3\",0,3000,0.045"), "{table}");
    for cost in ["-1", "-0.01", "1000001", "1e300", "\"1,5\"", "true", "[1]", "\"\""] {
        let refused = exact(cost);
        assert_eq!(
            (refused.status, refused.json()["errors"][0]["field"].as_str()),
            (422, Some("cost")),
            "{cost}: {refused:?}"
        );
    }
    for (field, value) in [
        ("tokens_used", json!(-1)),
        ("tokens_used", json!(1_000_000_000_001_i64)),
        ("tokens_used", json!(1.5)),
        ("occurred_at", json!("2999-01-01T00:00:00Z")),
        ("occurred_at", json!("2020-01-01T00:00:00Z")),
        ("account_id", json!(id)),
        ("key_id", json!(id)),
        ("tenant_id", json!(id)),
        ("service", json!("")),
        ("model_name", json!("x".repeat(101))),
        ("event_id", json!("7")),
        ("unknown", json!(1)),
    ] {
        let mut wrong = json!({ "service": "claude", "account_id": ada });
        wrong[field] = value;
        let refused = platform.post("/usage", Some(&service), &wrong);
        assert_eq!(refused.status, 422, "{field}: {refused:?}");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{refused:?}");
    }
    assert_eq!(exact("1,\"cost\":2").code(), "malformed_json", "a member twice");
    // Nothing of that was counted: what is said after it is.
    assert_eq!(exact("0.000001").status, 202);
    let all = [json!({ "service": "claude", "requests": 0, "tokens_used": 3000, "cost": "0.345005" })];
    eventually("the last one", || counted() == all);
    // Everything that is kept of somebody is theirs.
    let export = platform.get("/auth/me/export", &token).json();
    assert_eq!(export["usage"].as_array().unwrap().len(), 2, "{export}");
}

#[test]
fn no_person_is_given_a_role_of_service_accounts() {
    let platform = Platform::start();
    let admin = platform.admin();
    let ada = platform.register("ada@example.com")["user"]["id"].as_str().unwrap().to_owned();
    let changed = platform.json("PATCH", &format!("/admin/users/{ada}"), Some(&admin), &json!({ "role": "service" }));
    let person = json!({ "email": "eve@example.com", "invite": true, "role": "service" });
    for refused in [changed, platform.post("/admin/users", Some(&admin), &person)] {
        assert_eq!(refused.status, 422, "{refused:?}");
        let said = &refused.json()["errors"][0];
        assert_eq!(
            (&said["field"], said["message"].as_str().unwrap().contains("service accounts")),
            (&json!("role"), true)
        );
    }
    let (id, _) = platform.service_account("meter");
    for role in ["user", "service"] {
        let changed = platform.json("PATCH", &format!("/admin/users/{id}"), Some(&admin), &json!({ "role": role }));
        assert_eq!(changed.status, 200, "{changed:?}");
    }
}

#[test]
fn what_a_member_has_used_is_the_tenants_that_the_report_names() {
    let platform = Platform::start();
    platform.admin();
    let service = service(&platform);
    let registered = platform.register("ada@example.com");
    let token = token_of(&registered);
    let key = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "key" })).json();
    let home = platform.get("/auth/me", &token).json()["tenant_id"].clone();
    let other = platform.post("/tenants", Some(&token), &json!({ "name": "Other" })).json()["id"].clone();
    let switched = platform.post("/auth/switch-tenant", Some(&token), &json!({ "tenant_id": other }));
    assert_eq!(switched.status, 200, "{switched:?}");
    let path = format!("/auth/api-keys/{}", key["id"].as_str().unwrap());
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    assert_eq!(platform.send("DELETE", &path, &headers, "").status / 100, 2);
    // By what is known of it: the key, though it is revoked; the tenant; hers of now.
    for (model, named, value) in
        [("key", "key_id", &key["id"]), ("tenant", "tenant_id", &home), ("neither", "request_type", &json!("chat"))]
    {
        let mut report = json!({
            "service": "claude", "tokens_used": 1, "model_name": model, "account_id": registered["user"]["id"],
        });
        report[named] = value.clone();
        let said = platform.post("/usage", Some(&service), &report);
        assert_eq!(said.status, 202, "{said:?}");
    }
    let models = || {
        let found = usage(&platform, &token, "group_by=model");
        found.iter().map(|item| item["model_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("hers of now", || models() == ["neither"]);
    let back = platform.post("/auth/switch-tenant", Some(&token), &json!({ "tenant_id": home }));
    assert_eq!(back.status, 200, "{back:?}");
    eventually("that of before", || models() == ["key", "tenant"]);
}

#[test]
fn what_services_report_while_the_database_is_away_waits_and_is_counted_when_it_is_back() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"500ms\"")
        .start();
    let service = service(&platform);
    let registered = platform.register("ada@example.com");
    let (ada, token) = (&registered["user"]["id"], token_of(&registered));
    let report = |event: u32, account: &Value| {
        let id = format!("0190a5a0-0000-7000-8000-{event:012}");
        let report = json!({ "service": "claude", "tokens_used": 1, "event_id": id, "account_id": account });
        platform.post("/usage", Some(&service), &report)
    };
    assert_eq!(report(0, ada).status, 202);
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    postgres.stop();
    for event in 1..4 {
        // The second time it is the same one; nobody can say now whether there is such an account.
        for account in [ada, ada, &json!("0190a5a0-0000-7000-8000-00000000000f")] {
            let said = report(event, account);
            assert_eq!(said.status, 202, "{said:?}");
        }
        assert_eq!(platform.get("/demo/x", &token).status, 200);
    }
    let failed = || platform.metric("portcullis_usage_failures_total{what=\"carry\"}");
    eventually("it to be told", || failed() > 0);
    postgres.serve();
    let counted = || {
        let answer = platform.get("/usage?group_by=service", &token);
        let items = answer.json()["items"].clone();
        (items[0]["requests"].clone(), items[0]["tokens_used"].clone(), items[1]["tokens_used"].clone())
    };
    eventually("what has waited", || counted() == (json!(4), json!(0), json!(4)));
}

#[test]
fn a_spool_whose_end_was_cut_off_is_told_and_gone() {
    let folder = Setup::default().folder();
    let spool = folder.path().join("data/usage");
    fs::create_dir_all(&spool).unwrap();
    let segment = spool.join("00000000000070008000000000000000.spool");
    fs::write(&segment, b"PCUSAGE2\x07\0").unwrap();
    let platform = Setup::default().start_in(folder);
    eventually("it to be told", || platform.metric("portcullis_usage_torn_total") == 1);
    eventually("it to be gone", || !segment.exists());
}

#[test]
fn what_was_used_before_a_reset_is_not_counted_after_it() {
    let mut platform = Platform::start();
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    let names = ["1.spool", "2.apart", "3.spool", "4.apart.refused"];
    let segments = names.map(|name| platform.folder.path().join("data/usage").join(name));
    for segment in &segments {
        fs::write(segment, b"PCUSAGE2").unwrap();
    }
    let held = fs::File::open(&segments[2]).unwrap();
    held.try_lock().unwrap();
    let reset = platform.command(&["reset", "--yes-really"]).output().unwrap();
    let said = String::from_utf8_lossy(&reset.stdout).into_owned();
    assert!(reset.status.success() && said.contains("3.spool is in use"), "{reset:?}");
    assert_eq!(segments.map(|segment| segment.exists()), [false, false, true, true], "what was set aside stays");
}

#[test]
fn nobody_sees_what_others_have_used_but_who_administers() {
    let platform = Platform::start();
    let admin = platform.admin();
    let service = service(&platform);
    let member = |email: &str, tenant: &str| {
        let asked =
            json!({ "email": email, "password": crate::platform::PASSWORD, "name": "A Person", "tenant_name": tenant });
        let answer = platform.post("/auth/register", None, &asked);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    };
    let (ada, bob) = (member("ada@example.com", "Acme"), member("bob@example.com", "Acme"));
    for person in [&ada, &bob] {
        let report = json!({ "service": "claude", "tokens_used": 5, "account_id": person["user"]["id"] });
        assert_eq!(platform.post("/usage", Some(&service), &report).status, 202);
    }
    eventually("the count", || {
        !usage(&platform, &token_of(&ada), "").is_empty() && !usage(&platform, &token_of(&bob), "").is_empty()
    });
    let bobs = format!("/usage?account_id={}", bob["user"]["id"].as_str().unwrap());
    let bobs_tenant = platform.get("/auth/me", &token_of(&bob)).json()["tenant_id"].as_str().unwrap().to_owned();
    assert_eq!(platform.get(&bobs, &token_of(&bob)).json()["items"][0]["tokens_used"], 5);
    // Ada owns a tenant of the same name, and it is another one.
    assert_eq!(platform.get(&bobs, &token_of(&ada)).json()["items"], json!([]));
    let theirs = platform.get(&format!("/usage?tenant_id={bobs_tenant}"), &token_of(&ada));
    assert_eq!((theirs.status, theirs.code().as_str()), (404, "not_found"));
    let seen = platform.get(&format!("/usage?tenant_id={bobs_tenant}&group_by=account"), &admin).json();
    assert_eq!(seen["items"][0]["account_id"], bob["user"]["id"], "{seen}");
    for (query, field) in [
        ("from=2026-02-30", "from"),
        ("from=-0001-01-01", "from"),
        ("to=%2B10000-01-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("from=2024-01-01&to=2026-01-01", "to"),
        ("group_by=colour", "group_by"),
        ("group_by=day,day", "group_by"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=zz", "cursor"),
        ("cursor=5b225d", "cursor"),
        ("cursor=5b225c7530303030225d", "cursor"),
        ("format=xml", "format"),
        ("account=1", "account"),
        ("limit=1&limit=2", "limit"),
        ("tenant_id=acme", "tenant_id"),
    ] {
        let refused = platform.get(&format!("/usage?{query}"), &admin);
        assert_eq!(
            (refused.status, refused.json()["errors"][0]["field"].as_str()),
            (400, Some(field)),
            "{query}: {refused:?}"
        );
    }
}

/// Requests on one connection, each answered before the next; gives how many were.
fn burst(door: SocketAddr, path: &str, token: &str, times: usize) -> usize {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for answered in 0..times {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\nok") {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).unwrap();
            if read == 0 {
                return answered;
            }
            bytes.extend_from_slice(&piece[..read]);
        }
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
    }
    times
}

fn metric(gateway: &Running, name: &str) -> u64 {
    let text = Answer::parse(&exchange(
        gateway.address("metrics"),
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ))
    .body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// What was counted for each model, that is, for each burst: the number in that column.
fn counts(door: SocketAddr, token: &str, column: usize) -> BTreeMap<String, u64> {
    let request = format!(
        "GET /usage?group_by=model&format=csv HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let answer = Answer::parse(&exchange(door, request.as_bytes()));
    let lines = answer.body.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    lines.filter_map(|cells| Some((cells.first()?.to_string(), cells.get(column)?.parse().ok()?))).collect()
}

/// Reports one use of a model by a service; says whether it was taken.
fn report(door: SocketAddr, service: &str, account: &Value, model: &str) -> Answer {
    let body = json!({ "service": "claude", "tokens_used": 1, "model_name": model, "account_id": account }).to_string();
    let request = format!(
        "POST /usage HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {service}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer::parse(&exchange(door, request.as_bytes()))
}

/// Each round is a process that dies by SIGKILL, a hundred milliseconds after a burst, in the middle of others, and at once after it has
/// said that it keeps a report.
#[expect(clippy::print_stderr, reason = "what was lost is measured, and told to whoever runs it")]
fn is_killed(rounds: usize, env: &[(String, String)]) {
    const REQUESTS: usize = 10;
    /// DESIGN §5.
    const MOMENT: Duration = Duration::from_millis(100);
    let backend = metering("X-Usage-Tokens: 1\r\n");
    // Carried as often as it is written, so that the end comes while something is carried, too.
    let setup = Setup::default()
        .edit("gateway.toml", "carry = \"1s\"", "carry = \"10ms\"")
        .edit("gateway.toml", "flush = \"50ms\"", "flush = \"20ms\"")
        .edit("tiers.toml", "\"100/minute\"", "\"1000000/minute\"");
    let setup = env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    let folder = setup.folder();
    let log = folder.path().join("gateway.log");
    let start = || Running::start(&mut setup.command(folder.path(), backend.address), Some(&log));
    let (mut token, mut service, mut ada) = (String::new(), String::new(), Value::Null);
    let (mut sent, mut acknowledged, mut repeated) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        let mut gateway = start();
        let door = gateway.address("http");
        if round == 0 {
            let body =
                json!({ "email": "ada@example.com", "password": crate::platform::PASSWORD, "name": "Ada" }).to_string();
            let request = format!(
                "POST /auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let registered = Answer::parse(&exchange(door, request.as_bytes())).json();
            (token, ada) = (token_of(&registered), registered["user"]["id"].clone());
            service = service_account(folder.path(), env, "meter").1;
        }
        assert_eq!(burst(door, &format!("/demo/a{round}"), &token, REQUESTS), REQUESTS);
        let answered = Instant::now();
        let mut last = 0;
        while answered.elapsed() <= MOMENT {
            last += burst(door, &format!("/demo/b{round}"), &token, REQUESTS);
        }
        sent.push(last as u64);
        repeated += metric(&gateway, "portcullis_usage_sums_repeated_total");
        let reported = report(door, &service, &ada, &format!("r{round}"));
        // A machine that is busy elsewhere may be too slow for the database's deadline; then it says so.
        assert!(matches!(reported.status, 202 | 503), "{round}: {reported:?}");
        acknowledged.push(reported.status == 202);
        gateway.signal("KILL");
        gateway.wait();
    }
    let gateway = start();
    let door = gateway.address("http");
    let spool = folder.path().join("data/usage");
    let waiting = || fs::read_dir(&spool).unwrap().count();
    eventually("the spool of the dead to be carried", || waiting() == 0);
    let (requests, tokens) = (counts(door, &token, 1), counts(door, &token, 2));
    let mut lost = 0;
    for (round, sent) in sent.iter().enumerate() {
        let of = |model: &str| requests.get(&format!("{model}{round}")).copied().unwrap_or(0);
        assert_eq!(of("a"), REQUESTS as u64, "what is older than {MOMENT:?} is counted, once: {requests:?}");
        assert!(of("b") <= *sent, "{requests:?}");
        lost += sent - of("b");
        let counted = tokens.get(&format!("r{round}")).copied().unwrap_or(0);
        assert!(
            counted == 1 || !acknowledged[round] && counted == 0,
            "what was acknowledged is counted, once: {tokens:?}"
        );
    }
    assert!(acknowledged.iter().filter(|is| **is).count() > rounds / 2, "{acknowledged:?}");
    let log = fs::read_to_string(&log).unwrap();
    assert!(!log.contains("it is set aside"), "{log}");
    eprintln!(
        "lost with {rounds} processes: {lost} of {} requests of the last {MOMENT:?}; brought twice: {repeated} events",
        sent.iter().sum::<u64>()
    );
}

#[test]
fn a_gateway_that_is_killed_a_hundred_times_counts_nothing_twice_and_loses_but_the_last_moment() {
    is_killed(100, &[]);
}

#[test]
fn a_gateway_on_postgres_that_is_killed_ten_times_counts_nothing_twice_and_loses_but_the_last_moment() {
    is_killed(10, &[("DATABASE_URL".to_owned(), Database::new("killed").url)]);
}
