//! What older systems have beside accounts, brought here by `portcullis import DIR`.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE as B64};
use serde_json::{Value, json};

use crate::{
    master_key::kill_after,
    platform::{PASSWORD, PORTCULLIS, Platform, Setup},
};

fn hash() -> String {
    bcrypt::hash_with_result(PASSWORD, 4).unwrap().format_for_version(bcrypt::Version::TwoB)
}

fn write(platform: &Platform, files: &[(&str, &[Value])]) {
    let export = platform.folder.path().join("export");
    drop(fs::remove_dir_all(&export));
    fs::create_dir(&export).unwrap();
    for (name, lines) in files {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        fs::write(export.join(name), lines.join("\n")).unwrap();
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PORTCULLIS);
    command.arg("import").arg(folder.join("export")).args(arguments).arg("--config").arg(folder.join("config"));
    command.arg("--data").arg(folder.join("data"));
    command
}

fn import(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn told(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn rejected(platform: &Platform) -> Vec<Value> {
    let report = fs::read_to_string(platform.folder.path().join("export.rejected.jsonl")).unwrap();
    report.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

/// As 003 has it: no tenants.
fn promptstack(platform: &Platform) {
    let users = [
        json!({ "id": "u1", "email": "ada@example.com", "name": "Ada", "password_hash": hash() }),
        json!({ "id": "u2", "email": "bob@example.com", "password_hash": hash() }),
    ];
    let teams = [
        json!({ "id": "t1", "name": "Engineering", "external_ref": "ext-1", "is_active": true }),
        json!({ "id": "t2", "name": "Retired", "is_active": false }),
    ];
    let places = [json!({ "id": "m1", "user_id": "u1", "team_id": "t1", "role": "LEAD" })];
    // The child stands first.
    let domains = [
        json!({ "id": "d2", "key": "search", "name": "Search", "parent_domain_id": "d1", "is_active": true }),
        json!({ "id": "d1", "key": "engineering", "name": "Engineering", "parent_domain_id": null, "is_active": true }),
    ];
    let assigned = [json!({ "id": "x", "user_id": "u1", "domain_id": "d2" })];
    write(
        platform,
        &[
            ("users.jsonl", &users),
            ("teams.jsonl", &teams),
            ("team_memberships.jsonl", &places),
            ("domains.jsonl", &domains),
            ("user_domains.jsonl", &assigned),
        ],
    );
}

#[test]
fn teams_domains_and_who_belongs_to_them_come_with_their_people_and_come_once() {
    let platform = Setup::default().start();
    promptstack(&platform);
    let dry = import(platform.folder.path(), &["--system", "promptstack", "--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    assert!(told(&dry).iter().all(|line| line.ends_with("0 rejected; nothing was stored (--dry-run)")), "{dry:?}");
    let first = import(platform.folder.path(), &["--system", "promptstack"]);
    assert!(first.status.success(), "{first:?}");
    let expected = |made: [u64; 6]| {
        let files = [
            "users.jsonl",
            "members by users.jsonl",
            "teams.jsonl",
            "team_memberships.jsonl",
            "domains.jsonl",
            "user_domains.jsonl",
        ];
        let all = [2, 2, 2, 1, 2, 1];
        let line = |(place, file): (usize, &str)| {
            format!("{file}: {} made, {} were here already, 0 lines rejected", made[place], all[place] - made[place])
        };
        files.into_iter().enumerate().map(line).collect::<Vec<_>>()
    };
    assert_eq!(told(&first), expected([2, 2, 2, 1, 2, 1]));

    let ada = platform.login("ada@example.com");
    let teams = platform.get("/teams", &ada).json();
    assert_eq!((names(&teams, "name"), names(&teams, "role")), (vec!["Engineering".into()], vec!["lead".into()]));
    assert_eq!(teams[0]["external_ref"], "ext-1");
    let mut all = names(&platform.get("/teams/all", &ada).json(), "name");
    all.sort();
    assert_eq!(all, ["Engineering", "Retired"], "a tenant that is imported has what it had, and no seed");
    assert_eq!(names(&platform.get("/domains", &ada).json(), "key"), ["search"]);
    let domains = platform.get("/domains/all", &ada).json();
    let of = |key: &str| domains.as_array().unwrap().iter().find(|domain| domain["key"] == key).unwrap().clone();
    assert_eq!(of("search")["parent_domain_id"], of("engineering")["id"]);
    let bob = platform.login("bob@example.com");
    assert_eq!(platform.get("/teams", &bob).json(), json!([]));
    assert_eq!(platform.get("/teams/all", &bob).json().as_array().unwrap().len(), 2, "he belongs to the same tenant");

    // Again, with other words: what is here stays as it is.
    let file = platform.folder.path().join("export/teams.jsonl");
    let text = fs::read_to_string(&file).unwrap().replace("Retired", "Back");
    fs::write(&file, text).unwrap();
    let again = import(platform.folder.path(), &["--system", "promptstack"]);
    assert_eq!(told(&again), expected([0; 6]), "{again:?}");
    let mut all = names(&platform.get("/teams/all", &bob).json(), "name");
    all.sort();
    assert_eq!(all, ["Engineering", "Retired"]);
    // Another system's `t1` is another team.
    let other = import(platform.folder.path(), &["--system", "other"]);
    assert_eq!(other.status.code(), Some(65), "{other:?}");
    assert!(
        told(&other).contains(&"teams.jsonl: 2 made, 0 were here already, 0 lines rejected".to_owned()),
        "{other:?}"
    );
    assert_eq!(names(&platform.get("/teams", &ada).json(), "name"), ["Engineering"], "nobody is given who is here");
}

/// As Prisma's and `SQLAlchemy`'s exports write them: times without a zone, enumerations in capitals.
#[test]
fn times_without_a_zone_and_words_in_capitals_are_read_and_files_of_other_names_are_not_passed_over() {
    let platform = Setup::default().start();
    let user = json!({
        "id": "u1", "email": "ada@example.com", "password_hash": hash(), "role": "DEVELOPER", "tier": "PRO",
        "created_at": "2024-05-06T07:08:09.123",
    });
    let tenant = json!({ "id": "x", "name": "Acme", "tier": "ENTERPRISE", "created_at": "2024-05-06 07:08:09" });
    let member = json!({ "tenant_id": "x", "user_id": "u1", "role": "OWNER", "created_at": "2024-05-06T07:08:09" });
    let files: [(&str, &[Value]); 3] =
        [("tenants.jsonl", &[tenant]), ("users.jsonl", &[user]), ("members.jsonl", &[member])];
    let misspelt: Vec<_> = files.into_iter().chain([("team_members.jsonl", &[] as &[Value])]).collect();
    write(&platform, &misspelt);
    let refused = import(platform.folder.path(), &["--system", "old"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), told(&refused)), (Some(65), Vec::new()), "{words}");
    assert!(words.contains("team_members.jsonl") && words.contains("team_memberships.jsonl"), "{words}");

    write(&platform, &files);
    let done = import(platform.folder.path(), &["--system", "old"]);
    assert!(done.status.success(), "{done:?}");
    let me = platform.get("/auth/me", &platform.login("ada@example.com")).json();
    assert_eq!((&me["role"], &me["tier"]), (&json!("developer"), &json!("pro")), "{me}");
    assert!(me["created_at"].as_str().unwrap().starts_with("2024-05-06T07:08:09"), "{me}");
    let tenants = platform.get("/tenants", &platform.login("ada@example.com")).json();
    assert_eq!(
        (&tenants["items"][0]["tier"], &tenants["items"][0]["role"]),
        (&json!("enterprise"), &json!("owner")),
        "{tenants}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one folder, from its files to what came of each")]
fn tenants_keep_apart_and_each_line_that_cannot_be_is_told_with_its_file() {
    let platform = Setup::default().start();
    let user = |id: u64, email: &str| json!({ "id": id, "email": email, "password_hash": hash() });
    write(
        &platform,
        &[
            (
                "tenants.jsonl",
                &[
                    json!({ "id": 1, "name": "Acme", "tier": "pro" }),
                    json!({ "id": 2, "name": "Acme" }),
                    json!({ "id": 3, "name": "Gold", "tier": "gold" }),
                ],
            ),
            ("users.jsonl", &[user(1, "ada@example.com"), user(2, "bob@example.com"), user(3, "no address")]),
            (
                "members.jsonl",
                &[
                    json!({ "tenant_id": 1, "user_id": 1, "role": "owner" }),
                    json!({ "tenant_id": 2, "user_id": 2 }),
                    json!({ "tenant_id": 3, "user_id": 2 }),
                    json!({ "tenant_id": 1, "user_id": 3 }),
                    json!({ "user_id": 1 }),
                    json!({ "tenant_id": 1, "user_id": 2, "role": "king" }),
                ],
            ),
            (
                "teams.jsonl",
                &[
                    json!({ "id": 1, "tenant_id": 1, "name": "Core" }),
                    json!({ "id": 2, "tenant_id": 1, "name": "CORE" }),
                    json!({ "id": 3, "tenant_id": 2, "name": "Core" }),
                    json!({ "id": 4, "tenant_id": 2, "name": "" }),
                    json!({ "id": 5, "tenant_id": 2, "name": "x", "colour": "red" }),
                    // It is kept to the letter, and so is its end of a line.
                    json!({ "id": 6, "tenant_id": 2, "name": "y", "external_ref": "grp-1\n" }),
                ],
            ),
            (
                "team_memberships.jsonl",
                &[
                    json!({ "tenant_id": 1, "team_id": 1, "user_id": 1 }),
                    json!({ "tenant_id": 1, "team_id": 1, "user_id": 2 }),
                    json!({ "tenant_id": 2, "team_id": 1, "user_id": 2 }),
                ],
            ),
            (
                "domains.jsonl",
                &[
                    json!({ "id": 1, "tenant_id": 1, "key": "a", "parent_domain_id": 2 }),
                    json!({ "id": 2, "tenant_id": 1, "key": "b", "parent_domain_id": 1 }),
                    json!({ "id": 3, "tenant_id": 2, "key": "c", "parent_domain_id": 4 }),
                    json!({ "id": 4, "tenant_id": 1, "key": "d" }),
                ],
            ),
        ],
    );
    let dry = import(platform.folder.path(), &["--system", "old", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(65), "{dry:?}");
    let foretold = rejected(&platform);
    let output = import(platform.folder.path(), &["--system", "old"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let rejected = rejected(&platform);
    // All but the second team of a name.
    assert_eq!(
        foretold,
        rejected
            .iter()
            .filter(|told| !told["reason"].as_str().unwrap().starts_with("another team"))
            .cloned()
            .collect::<Vec<_>>()
    );
    let places: Vec<(&str, u64)> =
        rejected.iter().map(|told| (told["file"].as_str().unwrap(), told["line"].as_u64().unwrap())).collect();
    let mut expected = vec![("tenants.jsonl", 3), ("users.jsonl", 3)];
    // What is wrong by itself is told when it is read, before what refers to nothing.
    expected.extend([5, 6, 3, 4].map(|line| ("members.jsonl", line)));
    expected.extend([4, 5, 6, 2].map(|line| ("teams.jsonl", line)));
    expected.extend([2, 3].map(|line| ("team_memberships.jsonl", line)));
    expected.extend([1, 2, 3].map(|line| ("domains.jsonl", line)));
    assert_eq!(places, expected, "{rejected:?}");
    assert_eq!(rejected[11]["reason"], json!("its team is not here"), "a team of another tenant is none");
    let ada = platform.login("ada@example.com");
    let me = platform.get("/auth/me", &ada).json();
    assert_eq!(me["tier"], "pro", "her tenant's: {me}");
    assert_eq!(names(&platform.get("/teams/all", &ada).json(), "name"), ["Core"]);
    let bob = platform.login("bob@example.com");
    assert_eq!(names(&platform.get("/teams/all", &bob).json(), "name"), ["Core"]);
    assert_eq!(platform.get("/domains/all", &bob).json(), json!([]));
    let id = |token: &str| platform.get("/teams/all", token).json()[0]["id"].clone();
    assert_ne!(id(&ada), id(&bob));
    let name = json!({ "name": "Made" });
    assert_eq!(platform.post("/teams", Some(&ada), &name).status, 201, "she owns hers");
    assert_eq!(platform.post("/teams", Some(&bob), &name).code(), "forbidden");
}

/// As `Fernet(key).encrypt(text)` does, with a time and IV that are nobody's concern.
fn fernet(key: &str, text: &str) -> String {
    use aws_lc_rs::{
        cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
        hmac,
        iv::FixedLength,
    };
    let key = B64.decode(key).unwrap();
    let cipher = UnboundCipherKey::new(&AES_128, &key[16..]).and_then(PaddedBlockEncryptingKey::cbc_pkcs7).unwrap();
    let mut sealed = text.as_bytes().to_vec();
    let context = EncryptionContext::Iv128(FixedLength::from([7; 16]));
    cipher.less_safe_encrypt(&mut sealed, context).unwrap();
    let mut token = [&[0x80][..], &[0; 8], &[7; 16], &sealed].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..16]), &token);
    token.extend_from_slice(tag.as_ref());
    B64.encode(token)
}

const OLD_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

const ROUTE: &str = r#"
[[route]]
name = "claude"
paths = ["/claude/*"]
upstream = "demo"
tier_limits = false
inject_credential = { service = "claude", header = "x-api-key" }
"#;

/// As 002 has it.
#[test]
fn sealed_keys_open_with_the_old_key_and_the_door_shows_them_to_their_provider() {
    let platform = Setup::default().append("routes.toml", ROUTE).start();
    let users = [
        json!({ "id": 1, "email": "ada@example.com", "password_hash": hash() }),
        json!({ "id": 2, "email": "bob@example.com", "password_hash": hash() }),
    ];
    let sealed = |id: u64, user: u64, service: &str, token: &str| json!({ "id": id, "user_id": user, "service_name": service, "api_key_encrypted": token, "status": "active" });
    let good = fernet(OLD_KEY, "sk-ant-api-key-0123");
    let other = fernet("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sk-ant-other-key");
    let lines = [
        sealed(1, 1, "CLAUDE", &good),
        sealed(2, 2, "claude", &other),
        sealed(3, 2, "openai", &format!("{}A{}", &good[..40], &good[41..])),
        sealed(4, 2, "gemini", &fernet(OLD_KEY, "short")),
        sealed(5, 9, "claude", &good),
        sealed(6, 1, "claude", &good),
    ];
    write(&platform, &[("users.jsonl", &users), ("integrations.jsonl", &lines)]);
    let folder = platform.folder.path();
    let without = import(folder, &["--system", "old"]);
    assert_eq!(without.status.code(), Some(78), "{without:?}");
    assert!(String::from_utf8_lossy(&without.stderr).contains("--fernet-key-env"), "{without:?}");
    let with = |key: &str| {
        let mut command = command(folder, &["--system", "old", "--fernet-key-env", "THEIR_KEY"]);
        command.env("THEIR_KEY", key).output().unwrap()
    };
    assert_eq!(with("your-encryption-key-change-this").status.code(), Some(78));
    let output = with(OLD_KEY);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let summary = "integrations.jsonl: 1 made, 0 were here already, 5 lines rejected".to_owned();
    assert_eq!(told(&output).last(), Some(&summary), "{output:?}");
    let told_of = rejected(&platform);
    let reason = |line: u64| {
        let of = told_of.iter().find(|told| told["line"] == line).unwrap();
        of["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason(2).contains("does not open with the key in THEIR_KEY"), "{told_of:?}");
    assert!(reason(3).contains("does not open"), "{told_of:?}");
    assert!(reason(4).contains("8 to 4096 visible"), "{told_of:?}");
    assert!(reason(5).contains("no account here"), "{told_of:?}");
    assert!(reason(6).contains("has a key of this service already"), "{told_of:?}");
    assert!(!format!("{told_of:?}{output:?}").contains("sk-ant"), "nothing of a key is told");

    let ada = platform.login("ada@example.com");
    let answer = platform.get("/claude/v1/messages", &ada);
    assert_eq!(
        (answer.status, answer.received("x-api-key")),
        (200, vec!["sk-ant-api-key-0123".to_owned()]),
        "{answer:?}"
    );
    let shown = platform.get("/integrations", &ada).json();
    assert_eq!((&shown["items"][0]["last_four"], &shown["items"][0]["status"]), (&json!("0123"), &json!("active")));
    assert_eq!(platform.get("/claude/x", &platform.login("bob@example.com")).status, 403);
    let summary = "integrations.jsonl: 0 made, 1 were here already, 5 lines rejected".to_owned();
    assert_eq!(told(&with(OLD_KEY)).last(), Some(&summary));
}

/// As 000 has it.
#[test]
fn agents_and_instances_come_with_configurations_that_their_owners_alone_read() {
    let platform = Setup::default().start();
    let users = [
        json!({ "id": "dev", "email": "dev@example.com", "password_hash": hash(), "role": "developer" }),
        json!({ "id": "usr", "email": "usr@example.com", "password_hash": hash() }),
    ];
    let agents = [
        json!({ "id": "a1", "developer_id": "dev", "name": "Helper", "description": "Helps.", "is_published": true }),
        json!({ "id": "a2", "developer_id": "dev", "name": "Draft", "description": "", "is_published": false }),
        json!({ "id": "a3", "developer_id": "nobody", "name": "Lost", "description": "" }),
        json!({ "id": "a4", "developer_id": "dev", "name": "Everywhere", "is_published": true, "audience": "platform" }),
        json!({ "id": "a5", "developer_id": "dev", "name": "Nowhere", "is_published": true, "audience": "world" }),
    ];
    let instances = [
        json!({ "id": "i1", "agent_id": "a1", "user_id": "usr", "name": "Mine", "config": { "token": "s3cret" } }),
        json!({ "id": "i2", "agent_id": "a9", "user_id": "usr", "name": "Lost", "config": null }),
    ];
    write(&platform, &[("users.jsonl", &users), ("agents.jsonl", &agents), ("agent_instances.jsonl", &instances)]);
    let output = import(platform.folder.path(), &["--system", "agents"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let places: Vec<Value> = rejected(&platform).iter().map(|told| json!([told["file"], told["line"]])).collect();
    assert_eq!(places, [json!(["agents.jsonl", 5]), json!(["agents.jsonl", 3]), json!(["agent_instances.jsonl", 2])]);
    let (dev, usr) = (platform.login("dev@example.com"), platform.login("usr@example.com"));
    let mut seen = names(&platform.get("/agents", &usr).json()["items"], "name");
    seen.sort_unstable();
    assert_eq!(seen, ["Everywhere", "Helper"]);
    let newcomer = platform.register("new@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(names(&platform.get("/agents", &newcomer).json()["items"], "name"), ["Everywhere"]);
    let instance = &platform.get("/agent-instances", &usr).json()["items"][0];
    let path = format!("/agent-instances/{}", instance["id"].as_str().unwrap());
    assert_eq!(platform.get(&path, &usr).json()["config"], json!({ "token": "s3cret" }));
    assert_eq!(platform.get(&path, &dev).status, 404);
    let agent = format!("/agents/{}", instance["agent_id"].as_str().unwrap());
    let renamed = platform.json("PATCH", &agent, Some(&dev), &json!({ "name": "Better" }));
    assert_eq!(renamed.status, 200, "its developer's it is: {renamed:?}");
    let disk = fs::read(platform.folder.path().join("data/portcullis.db")).unwrap();
    assert!(!disk.windows(6).any(|bytes| bytes == b"s3cret"), "sealed");
}

#[test]
fn no_line_takes_an_id_of_another_tenant() {
    let platform = Setup::default().start();
    let user = |id: &str| json!({ "id": id, "email": format!("{id}@example.com"), "password_hash": hash() });
    let member = |tenant: u64, user: &str| json!({ "tenant_id": tenant, "user_id": user });
    let agent = |tenant: u64, id: &str| json!({ "tenant_id": tenant, "id": id, "name": "Helper" });
    let instance = |tenant: u64, id: &str, agent: &str, user: &str| json!({ "tenant_id": tenant, "id": id, "agent_id": agent, "user_id": user, "name": "Own" });
    write(
        &platform,
        &[
            ("tenants.jsonl", &[json!({ "id": 1, "name": "Acme" }), json!({ "id": 2, "name": "Bolt" })]),
            ("users.jsonl", &[user("ada"), user("bob")]),
            ("members.jsonl", &[member(1, "ada"), member(2, "bob")]),
            ("agents.jsonl", &[agent(1, "a1"), agent(2, "a1"), agent(2, "a2")]),
            (
                "agent_instances.jsonl",
                &[
                    instance(1, "i1", "a1", "ada"),
                    instance(2, "i1", "a2", "bob"),
                    instance(2, "i2", "a1", "bob"),
                    instance(2, "i3", "a2", "bob"),
                ],
            ),
        ],
    );
    let output = import(platform.folder.path(), &["--system", "agents"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let mut told: Vec<_> = rejected(&platform)
        .iter()
        .map(|told| format!("{} {} {}", told["file"], told["line"], told["reason"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "\"agent_instances.jsonl\" 2 another tenant has an instance of this id",
            "\"agent_instances.jsonl\" 3 its agent is not here",
            "\"agents.jsonl\" 2 another tenant has an agent of this id",
        ]
    );
}

/// As 002 has it: what was used and billed. Of API keys nothing can be taken.
#[test]
#[expect(clippy::too_many_lines, reason = "one folder, from its files to what came of each")]
fn usage_and_statements_come_once_and_keys_do_not() {
    let platform = Setup::default().start();
    let users = [json!({ "id": 1, "email": "ada@example.com", "password_hash": hash() })];
    let used = |id: u64, more: Value| {
        let mut line = json!({
            "id": id, "user_id": 1, "service": "CLAUDE", "tokens_used": 1500, "cost": 0.015, "created_at": "2024-05-06T07:08:09Z",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let usage = [
        used(1, json!({ "model_name": "claude-3-opus", "request_type": "completion" })),
        used(2, json!({ "cost": "1e-05" })),
        used(3, json!({ "user_id": 9 })),
        used(4, json!({ "cost": -1 })),
        used(5, json!({ "tokens_used": -1 })),
        used(6, json!({ "created_at": "2999-01-01T00:00:00Z" })),
        used(7, json!({ "service": "" })),
        used(8, json!({ "secret": "sk-ant-0123456789" })),
        used(9, json!({ "tokens_used": "sk-ant-0123456789" })),
        json!({ "id": 10, "user_id": 1, "service": "claude" }),
    ];
    let billed = |id: u64, month: &str, more: Value| {
        let mut line = json!({ "id": id, "month": month, "currency": "USD", "price": 29, "payment_status": "paid" });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let statements = [
        billed(1, "2024-05", json!({ "usage": 0.01501, "paid_at": "2024-06-02T00:00:00Z" })),
        billed(2, "2024-05", json!({})),
        billed(3, "2999-01", json!({})),
        billed(4, "2024-13", json!({})),
        billed(5, "2024-06", json!({ "payment_status": "maybe" })),
        billed(6, "2024-06", json!({ "currency": "usd" })),
        billed(7, "2024-06", json!({ "tier": "gold" })),
        billed(8, "2024-07", json!({ "currency": "JPY", "price": 1_500_000 })),
    ];
    let keys = [json!({ "id": "k1", "user_id": 1, "name": "mine", "key": "encrypted" })];
    write(
        &platform,
        &[
            ("users.jsonl", &users),
            ("usage.jsonl", &usage),
            ("statements.jsonl", &statements),
            ("api_keys.jsonl", &keys),
        ],
    );
    let folder = platform.folder.path();
    // What is wrong by itself is told when it is read, before what refers to nothing.
    let places = || {
        let told: Vec<String> = rejected(&platform)
            .iter()
            .map(|told| format!("{} {}", told["file"].as_str().unwrap(), told["line"]))
            .collect();
        told.join(", ")
    };
    let common = "usage.jsonl 4, usage.jsonl 5, usage.jsonl 6, usage.jsonl 7, usage.jsonl 8, usage.jsonl 9, usage.jsonl 10, usage.jsonl 3, \
                  statements.jsonl 3, statements.jsonl 4, statements.jsonl 5, statements.jsonl 6, statements.jsonl 7, ";
    let dry = import(folder, &["--system", "old", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(65), "{dry:?}");
    // That a month has a statement already is not foreseen.
    assert_eq!(places(), format!("{common}api_keys.jsonl 1"));
    let first = import(folder, &["--system", "old"]);
    assert_eq!(first.status.code(), Some(65), "{first:?}");
    assert_eq!(places(), format!("{common}statements.jsonl 2, api_keys.jsonl 1"));
    let report = fs::read_to_string(folder.join("export.rejected.jsonl")).unwrap();
    assert!(!report.contains("sk-ant") && report.contains("`tokens_used` cannot be read"), "{report}");
    let again = import(folder, &["--system", "old"]);
    let told = told(&again);
    for (file, was_here) in [("usage.jsonl", 2), ("statements.jsonl", 2)] {
        let said = format!("{file}: 0 made, {was_here} were here already");
        assert!(told.iter().any(|line| line.starts_with(&said)), "{told:?}");
    }
    let ada = platform.login("ada@example.com");
    let used = platform.get("/usage?from=2024-05-01&to=2024-05-31&group_by=service,model", &ada).json();
    assert_eq!(
        used["items"],
        json!([
            { "service": "claude", "model_name": null, "requests": 1, "tokens_used": 1500, "cost": "0.00001" },
            { "service": "claude", "model_name": "claude-3-opus", "requests": 1, "tokens_used": 1500, "cost": "0.015" },
        ])
    );
    let root = platform.admin();
    let tenant = platform.get("/auth/me", &ada).json()["tenant_id"].as_str().unwrap().to_owned();
    let bills = platform.get(&format!("/billing/statements?tenant_id={tenant}"), &root).json();
    let bill = &bills["items"][0];
    assert_eq!(
        ["month", "total", "payment_status", "paid_at"].map(|field| bill[field].as_str().unwrap()),
        ["2024-05", "29.01501", "paid", "2024-06-02T00:00:00Z"],
        "{bills}"
    );
    assert_eq!(bills["items"][1]["total"], "1500000.00", "{bills}");
}

#[test]
fn a_folder_whose_import_is_killed_again_and_again_comes_whole_and_nothing_of_it_twice() {
    let platform = Setup::default().start();
    let users = [json!({ "id": 1, "email": "ada@example.com", "password_hash": hash() })];
    let teams: Vec<_> = (0..190).map(|n| json!({ "id": n, "name": format!("Team {n}"), "is_active": true })).collect();
    let use_of = |n: u32| json!({ "id": n, "user_id": 1, "service": "claude", "tokens_used": 10, "cost": 0.5, "created_at": "2024-05-06T07:08:09Z" });
    let usage: Vec<_> = (0..1500).map(use_of).collect();
    write(&platform, &[("users.jsonl", &users), ("teams.jsonl", &teams), ("usage.jsonl", &usage)]);
    let folder = platform.folder.path();
    for time in [50, 100, 150, 200, 300, 400, 500, 700] {
        let mut command = command(folder, &["--system", "old"]);
        kill_after(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), Duration::from_millis(time));
    }
    let done = import(folder, &["--system", "old"]);
    assert!(done.status.success(), "{done:?}");
    let ada = platform.login("ada@example.com");
    let used = platform.get("/usage?from=2024-05-01&to=2024-05-31&group_by=service", &ada).json();
    let whole = json!({ "service": "claude", "requests": 1500, "tokens_used": 15_000, "cost": "750.00" });
    assert_eq!(used["items"], json!([whole]), "{used}");
    assert_eq!(platform.get("/teams/all?limit=200", &ada).json().as_array().unwrap().len(), 190);
    let again = import(folder, &["--system", "old"]);
    let told = told(&again);
    assert_eq!(told.last().unwrap(), "usage.jsonl: 0 made, 1500 were here already, 0 lines rejected", "{told:?}");
}

#[test]
fn a_folder_needs_a_system_and_something_in_it() {
    let platform = Setup::default().start();
    write(&platform, &[("users.json", &[])]);
    let nothing = import(platform.folder.path(), &["--system", "old"]);
    assert_eq!(nothing.status.code(), Some(65), "{nothing:?}");
    assert!(
        String::from_utf8_lossy(&nothing.stderr).contains("holds none of tenants.jsonl, users.jsonl"),
        "{nothing:?}"
    );
    write(&platform, &[("teams.jsonl", &[json!({ "id": 1, "name": "Core" })])]);
    let unnamed = import(platform.folder.path(), &[]);
    assert_eq!(unnamed.status.code(), Some(65), "{unnamed:?}");
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("--system"), "{unnamed:?}");
}
