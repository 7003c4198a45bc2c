//! Teams, domains, agents and instances through the door: what a new organisation begins with, what upstreams are told, and that
//! nobody reaches what is somebody else's.

use serde_json::{Value, json};

use crate::{
    platform::{Answer, Platform, Setup},
    wire::{self, backend, echo},
};

const NOBODYS: &str = "0190a5a0-0000-7000-8000-000000000000";

const ROUTES: &str = r#"
[[route]]
name = "overseen"
paths = ["/own/overseen/{id}"]
upstream = "demo"
owner = "agent_instance:{id}"
owner_admins = true
websocket = true
tier_limits = false

[[route]]
name = "limited"
paths = ["/own/limited/{id}"]
upstream = "demo"
owner = "agent_instance:{id}"
limits = [{ per = "user", requests = "3/hour" }]
tier_limits = false

[[route]]
name = "for-developers"
paths = ["/own/developers/{id}"]
upstream = "demo"
roles = ["developer"]
owner = "agent_instance:{id}"
tier_limits = false

[[route]]
name = "streams"
paths = ["/streams"]
upstream = "demo"
websocket = true
tier_limits = false
"#;

fn token(registered: &Value) -> &str {
    registered["access_token"].as_str().unwrap()
}

fn id(of: &Value) -> String {
    of["id"].as_str().unwrap().to_owned()
}

/// Whose calls they are.
struct By<'a>(&'a Platform, &'a str);

impl By<'_> {
    fn get(&self, path: &str) -> Answer {
        self.0.get(path, self.1)
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that tests read as what is sent")]
    fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.0.json(method, path, Some(self.1), &body)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call("POST", path, body);
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        answer.json()
    }

    fn delete(&self, path: &str) -> u16 {
        self.0.send("DELETE", path, &[("Authorization", &format!("Bearer {}", self.1))], "").status
    }
}

fn names(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_organisation_begins_with_the_teams_and_domains_of_the_old_system() {
    let platform = Platform::start();
    let registered = platform.register("ada@example.com");
    let ada = By(&platform, token(&registered));
    let own = &registered["user"]["teams"][0];
    assert_eq!((&own["name"], &own["role"], &own["is_active"]), (&json!("General"), &json!("owner"), &json!(true)));
    assert_eq!(registered["user"]["domains"], json!([]));
    assert_eq!(ada.get("/auth/me").json()["teams"], registered["user"]["teams"]);
    let validated = platform.post("/auth/validate", None, &json!({ "token": ada.1 })).json();
    assert_eq!(validated["user"]["teams"], registered["user"]["teams"]);
    assert_eq!(names(&ada.get("/teams").json(), "name"), ["General"]);
    assert_eq!(ada.get("/domains").json(), json!([]));
    assert_eq!(
        names(&ada.get("/domains/all").json(), "key"),
        ["engineering", "product", "design", "marketing", "sales"]
    );
    // Plain arrays, paged by `Link`.
    let (mut path, mut all) = ("/teams/all?limit=3".to_owned(), Vec::new());
    loop {
        let page = ada.get(&path);
        all.extend(names(&page.json(), "name"));
        let Some(link) = page.header("link") else { break };
        assert!(link.ends_with("; rel=\"next\""), "{link}");
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(all, ["General", "Engineering", "Product", "Design"]);
    assert_eq!(ada.get("/teams?page=2").code(), "invalid_query");
    assert_eq!(platform.send("GET", "/teams", &[], "").status, 401);
}

#[test]
fn upstreams_that_ask_are_told_the_teams_and_domains_of_now() {
    let setup = Setup::default().edit(
        "gateway.toml",
        "headers = [\"x-user-id\"",
        "headers = [\"x-user-teams\", \"x-user-domains\", \"x-user-id\"",
    );
    let platform = setup.start();
    let registered = platform.register("ada@example.com");
    let (ada, account) = (By(&platform, token(&registered)), id(&registered["user"]));
    let told = || {
        let answer = ada.get("/demo/x");
        [answer.received("x-user-teams"), answer.received("x-user-domains")].map(|values| values.join("|"))
    };
    assert_eq!(told(), ["General", ""]);
    let team = id(&ada.post("/teams", json!({ "name": "R&D, Berlin ü" })));
    ada.post(&format!("/teams/{team}/members"), json!({ "account_id": account, "role": "lead" }));
    let sales = id(&ada.get("/domains/all").json()[4]);
    ada.post(&format!("/domains/{sales}/members"), json!({ "account_id": account }));
    assert_eq!(told(), ["General,R&D%2C Berlin %C3%BC", "sales"]);
    assert_eq!(ada.call("PATCH", &format!("/teams/{team}"), json!({ "name": "Lab" })).status, 200);
    assert_eq!(told(), ["General,Lab", "sales"]);
    assert_eq!(ada.call("PATCH", &format!("/teams/{team}"), json!({ "is_active": false })).status, 200);
    assert_eq!(ada.delete(&format!("/domains/{sales}/members/{account}")), 204);
    assert_eq!(told(), ["General", ""]);
    // Nobody says it for themselves.
    let bearer = format!("Bearer {}", ada.1);
    let forged = platform.send("GET", "/demo/x", &[("Authorization", &bearer), ("X-User-Teams", "Root")], "");
    assert_eq!(forged.received("x-user-teams"), ["General"]);
}

#[test]
fn teams_and_domains_of_another_organisation_are_not_there() {
    let platform = Platform::start();
    let (ada, eve) = (platform.register("ada@example.com"), platform.register("eve@example.com"));
    let (account, foreign) = (id(&ada["user"]), id(&eve["user"]));
    let (ada, eve) = (By(&platform, token(&ada)), By(&platform, token(&eve)));
    let team = id(&ada.get("/teams").json()[0]);
    let domain = id(&ada.get("/domains/all").json()[0]);
    for path in [format!("/teams/{team}"), format!("/domains/{domain}")] {
        let nobodys = path.rsplit_once('/').unwrap().0.to_owned() + "/" + NOBODYS;
        for (method, suffix, body) in [
            ("GET", "", Value::Null),
            ("PATCH", "", json!({ "is_active": false })),
            ("DELETE", "?cascade=true", Value::Null),
            ("GET", "/members", Value::Null),
            ("POST", "/members", json!({ "account_id": foreign })),
        ] {
            let both = [&path, &nobodys].map(|path| {
                let answer = eve.call(method, &format!("{path}{suffix}"), body.clone());
                let mut said = answer.json();
                said.as_object_mut().unwrap().remove("request_id");
                (answer.status, said)
            });
            assert_eq!(both[0].0, 404, "{method} {path}{suffix}: {:?}", both[0]);
            assert_eq!(both[0], both[1], "what is somebody else's is answered as what is not there");
        }
        // Nor is anybody else assigned to what is one's own.
        let answer = ada.call("POST", &format!("{path}/members"), json!({ "account_id": foreign }));
        assert_eq!((answer.status, answer.code()), (404, "not_found".to_owned()), "{answer:?}");
    }
    assert_eq!(ada.call("DELETE", &format!("/teams/{team}/members/{account}"), Value::Null).status, 204);
    assert_eq!(ada.get("/teams").json(), json!([]));
}

#[test]
fn an_instance_is_reached_by_its_owner_alone_and_is_gone_at_once() {
    let platform = Platform::start();
    let root = platform.admin();
    let (ada, eve) = (platform.register("ada@example.com"), platform.register("eve@example.com"));
    let account = id(&ada["user"]);
    let (ada, eve, root) = (By(&platform, token(&ada)), By(&platform, token(&eve)), By(&platform, &root));
    // Users make no agents; a developer does, and the change counts for tokens that are out.
    assert_eq!(ada.call("POST", "/agents", json!({ "name": "Helper" })).status, 403);
    assert_eq!(root.call("PATCH", &format!("/admin/users/{account}"), json!({ "role": "developer" })).status, 200);
    let agent = id(&ada.post("/agents", json!({ "name": "Helper", "description": "helps" })));
    assert_eq!(ada.post(&format!("/agents/{agent}/publish"), json!({}))["is_published"], true);
    assert_eq!(ada.get("/agents?mine=true").json()["items"][0]["id"], json!(agent));
    assert_eq!(eve.get("/agents").json(), json!({ "items": [], "next_cursor": null }));
    assert_eq!(eve.get(&format!("/agents/{agent}")).status, 404);

    let config = json!({ "api_key": "sk-secret", "depth": { "n": 1 } });
    let made = ada.post("/agent-instances", json!({ "agent_id": agent, "name": "Mine", "config": config }));
    let (instance, path) = (id(&made), format!("/agent-instances/{}", id(&made)));
    assert_eq!(ada.get(&path).json()["config"], config);
    assert!(ada.get("/agent-instances").json()["items"][0]["config"].is_null());
    let said = [path.clone(), format!("/agent-instances/{NOBODYS}")].map(|path| eve.get(&path));
    assert_eq!(
        said.each_ref().map(|answer| (answer.status, answer.code())),
        [(); 2].map(|()| (404, "not_found".to_owned()))
    );
    let overseen = root.get(&path).json();
    assert_eq!(
        (&overseen["id"], &overseen["config"]),
        (&json!(instance), &json!(null)),
        "not what its owner has sealed"
    );
    for stranger in [&eve, &root] {
        let foreign = stranger.call("POST", "/agent-instances", json!({ "agent_id": agent, "name": "Theirs" }));
        assert_eq!(foreign.status, 404, "{foreign:?}");
    }
    // The door itself, before any backend: the owner, and nobody else, learns that it is there.
    let served = format!("/demo/instances/{instance}/chat");
    assert_eq!(ada.get(&served).json()["path"], json!(served));
    for stranger in [&eve, &root] {
        let said =
            [served.clone(), format!("/demo/instances/{NOBODYS}/chat"), "/demo/instances/7".to_owned()].map(|path| {
                let answer = stranger.get(&path);
                let mut said = answer.json();
                said.as_object_mut().unwrap().remove("request_id");
                (answer.status, said)
            });
        assert_eq!((said[0].0, &said[0].1["code"]), (404, &json!("not_found")));
        assert_eq!((&said[0], &said[0]), (&said[1], &said[2]), "it could be told from what is not there");
    }
    assert_eq!(platform.send("GET", &served, &[], "").code(), "missing_credential");

    assert_eq!(ada.delete(&format!("/agents/{agent}")), 409, "it is in use");
    assert_eq!(eve.delete(&path), 404);
    assert_eq!(ada.delete(&path), 204);
    assert_eq!(ada.get(&served).code(), "not_found", "it is gone, and still served");
    assert_eq!(ada.delete(&format!("/agents/{agent}")), 204);
}

#[test]
fn an_organisation_has_as_many_agents_as_its_tier_says() {
    let setup = Setup::default().edit("tiers.toml", "agents = 5, instances = 20", "agents = 2, instances = 1");
    let platform = setup.start();
    let (root, registered) = (platform.admin(), platform.register("ada@example.com"));
    let (ada, account) = (By(&platform, token(&registered)), id(&registered["user"]));
    let developer = json!({ "role": "developer" });
    assert_eq!(By(&platform, &root).call("PATCH", &format!("/admin/users/{account}"), developer).status, 200);
    let agents: Vec<_> = ["A", "B"].map(|name| id(&ada.post("/agents", json!({ "name": name })))).into();
    let more = ada.call("POST", "/agents", json!({ "name": "C" }));
    assert_eq!((more.status, more.code()), (409, "quota_exceeded".to_owned()));
    let instance = || json!({ "agent_id": agents[0], "name": "I" });
    ada.post("/agent-instances", instance());
    let more = ada.call("POST", "/agent-instances", instance());
    assert_eq!((more.status, more.code()), (409, "quota_exceeded".to_owned()));
    assert_eq!(ada.delete(&format!("/agents/{}", agents[1])), 204);
    ada.post("/agents", json!({ "name": "C" }));
}

/// Makes somebody a developer who has so many instances of an agent; says which.
fn instances(ada: &By<'_>, root: &By<'_>, account: &str, number: usize) -> Vec<String> {
    let developer = root.call("PATCH", &format!("/admin/users/{account}"), json!({ "role": "developer" }));
    assert_eq!(developer.status, 200, "{developer:?}");
    let agent = id(&ada.post("/agents", json!({ "name": "Helper" })));
    let made = |_| id(&ada.post("/agent-instances", json!({ "agent_id": agent, "name": "Mine" })));
    (0..number).map(made).collect()
}

#[test]
fn whose_a_thing_is_is_asked_last_and_who_finds_nothing_of_theirs_pays_for_it() {
    let setup = Setup::default().append("routes.toml", ROUTES).edit(
        "gateway.toml",
        "refusals = \"120/minute\"",
        "refusals = \"4/hour\"",
    );
    let platform = setup.start();
    let (root, registered) = (platform.admin(), platform.register("ada@example.com"));
    let eve = platform.register("eve@example.com");
    let (ada, eve, root) = (By(&platform, token(&registered)), By(&platform, token(&eve)), By(&platform, &root));
    let own = instances(&ada, &root, &id(&registered["user"]), 6);
    let nobodys = |route: &str, number: u32| format!("/own/{route}/0190a5a0-0000-7000-8000-{number:012}");

    // Who oversees it is refused nothing, and who may not at all makes nobody look.
    for instance in &own {
        assert_eq!(root.get(&format!("/own/overseen/{instance}")).status, 200);
    }
    for number in 0..6 {
        assert_eq!(eve.get(&nobodys("developers", number)).code(), "forbidden");
    }
    // A limit is spent first.
    for number in 10..13 {
        assert_eq!(eve.get(&nobodys("limited", number)).code(), "not_found");
    }
    assert_eq!(eve.get(&nobodys("limited", 13)).code(), "rate_limited");
    // Three of four are gone.
    assert_eq!(eve.get(&nobodys("overseen", 14)).code(), "not_found");
    assert_eq!(eve.get(&nobodys("overseen", 15)).code(), "too_many_refusals");
    assert_eq!(ada.get(&format!("/own/overseen/{}", own[0])).status, 200, "what is known is served");
}

#[test]
fn a_stream_on_what_is_ones_own_lasts_while_it_is_and_an_overseers_while_they_oversee() {
    let platform = Setup::default().append("routes.toml", ROUTES).upstream(backend(echo)).start();
    let (root, registered) = (platform.admin(), platform.register("ada@example.com"));
    let bob = platform.register("bob@example.com");
    let (ada, root) = (By(&platform, token(&registered)), By(&platform, &root));
    let own = instances(&ada, &root, &id(&registered["user"]), 1);
    let role = |of: &Value, role: &str| {
        let changed = root.call("PATCH", &format!("/admin/users/{}", id(&of["user"])), json!({ "role": role }));
        assert_eq!(changed.status, 200, "{changed:?}");
    };
    role(&bob, "admin");
    let path = format!("/own/overseen/{}", own[0]);
    let mut owner = wire::open(platform.http, &path, ada.1);
    let mut overseer = wire::open(platform.http, &path, token(&bob));
    role(&bob, "user");
    assert_eq!(overseer.close(), (4401, "not_found".to_owned()));
    owner.echoes("it is mine");
}

#[test]
fn a_stream_on_what_is_ones_own_ends_when_it_is_gone_and_others_live_on() {
    let platform = Setup::default().append("routes.toml", ROUTES).upstream(backend(echo)).start();
    let (root, registered) = (platform.admin(), platform.register("ada@example.com"));
    let (ada, root) = (By(&platform, token(&registered)), By(&platform, &root));
    let own = instances(&ada, &root, &id(&registered["user"]), 2);
    let [mut gone, mut kept] =
        [0, 1].map(|number| wire::open(platform.http, &format!("/own/overseen/{}", own[number]), ada.1));
    let path = |number: usize| format!("/agent-instances/{}", own[number]);
    assert_eq!(ada.call("PATCH", &path(0), json!({ "name": "Another name" })).status, 200);
    gone.echoes("it is mine by any name");
    assert_eq!(ada.delete(&path(0)), 204);
    assert_eq!(gone.close(), (4401, "revoked".to_owned()));
    kept.echoes("this one is there");
}

#[test]
fn a_stream_ends_when_its_upstream_was_told_other_teams_than_there_are() {
    let setup = Setup::default().append("routes.toml", ROUTES).edit(
        "gateway.toml",
        "headers = [\"x-user-id\"",
        "headers = [\"x-user-teams\", \"x-user-domains\", \"x-user-id\"",
    );
    let platform = setup.upstream(backend(echo)).start();
    let [ada, eve, witness] = ["ada", "eve", "witness"].map(|name| platform.register(&format!("{name}@example.com")));
    let (ada, eve, witness) = (By(&platform, token(&ada)), token(&eve), By(&platform, token(&witness)));
    let mut streams = [ada.1, eve, witness.1].map(|token| wire::open(platform.http, "/streams", token));
    let other = id(&ada.post("/teams", json!({ "name": "Other" })));
    assert_eq!(ada.call("PATCH", &format!("/teams/{other}"), json!({ "name": "Another" })).status, 200);
    // Whoever is ended by a later change was looked at after the earlier ones.
    assert_eq!(witness.call("POST", "/auth/logout", json!({})).status / 100, 2);
    assert_eq!(streams[2].close(), (4401, "revoked".to_owned()));
    streams[0].echoes("it is none of my teams");
    let own = id(&ada.get("/teams").json()[0]);
    assert_eq!(ada.call("PATCH", &format!("/teams/{own}"), json!({ "name": "Lab" })).status, 200);
    assert_eq!(streams[0].close(), (4401, "revoked".to_owned()));
    streams[1].echoes("nor is it my organisation");
}
