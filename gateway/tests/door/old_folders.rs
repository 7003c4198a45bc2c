//! What older systems have beside accounts, brought here by `portcullis import DIR`.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::platform::{PASSWORD, PORTCULLIS, Platform, Setup};

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

fn import(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PORTCULLIS);
    command.arg("import").arg(folder.join("export")).args(arguments).arg("--config").arg(folder.join("config"));
    command.arg("--data").arg(folder.join("data")).output().unwrap()
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

#[test]
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
    let output = import(platform.folder.path(), &["--system", "old"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let rejected = rejected(&platform);
    let places: Vec<(&str, u64)> =
        rejected.iter().map(|told| (told["file"].as_str().unwrap(), told["line"].as_u64().unwrap())).collect();
    let mut expected = vec![("tenants.jsonl", 3), ("users.jsonl", 3)];
    // What is wrong by itself is told when it is read, before what refers to nothing.
    expected.extend([5, 6, 3, 4].map(|line| ("members.jsonl", line)));
    expected.extend([4, 5, 2].map(|line| ("teams.jsonl", line)));
    expected.extend([2, 3].map(|line| ("team_memberships.jsonl", line)));
    expected.extend([1, 2, 3].map(|line| ("domains.jsonl", line)));
    assert_eq!(places, expected, "{rejected:?}");
    assert_eq!(rejected[10]["reason"], json!("its team is not here"), "a team of another tenant is none");
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
