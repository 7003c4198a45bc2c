//! The audit trail from end to end: what comes through the door and what is typed is in it, and a row that was altered is named.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};

use crate::{
    database::Database,
    platform::{PORTCULLIS, Platform, Setup, eventually},
    servers::Link,
};

/// Changes a row past the gateway.
const ALTER: &str = "import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute(\"UPDATE audit_events SET address = '203.0.113.9' WHERE event = 'logout'\")";

#[test]
fn a_help_desk_and_an_auditor_reach_what_is_theirs_of_administration_and_no_more() {
    let platform = Platform::start();
    let ada = platform.register("ada@example.com");
    let (root, id) = (platform.admin(), ada["user"]["id"].as_str().unwrap());
    let key = |scopes: [&str; 2]| {
        let made = platform.post("/auth/api-keys", Some(&root), &json!({ "name": "desk", "scopes": scopes }));
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (desk, auditor) = (key(["users:manage", "account:manage"]), key(["audit:read", "account:manage"]));
    let user = format!("/admin/users/{id}");
    for (by, path, status) in [
        (&desk, "/admin/users?email=ada@example.com", 200),
        (&desk, &*user, 200),
        (&desk, "/admin/sessions", 200),
        (&desk, "/admin/audit", 403),
        (&desk, "/admin/tenants", 403),
        (&desk, "/admin/status", 403),
        (&auditor, "/admin/audit", 200),
        (&auditor, &*user, 403),
        (&auditor, "/admin/keys", 403),
    ] {
        assert_eq!(platform.get(path, by).status, status, "{path}");
    }
    // Whose role may do what the key may not is beyond it, and so is every administrator.
    let disabled = json!({ "status": "disabled" });
    assert_eq!(platform.json("PATCH", &user, Some(&desk), &disabled).code(), "forbidden");
    assert_eq!(platform.json("PATCH", &user, Some(&root), &disabled).json()["status"], "disabled");
    assert_eq!(platform.post("/admin/config/reload", Some(&desk), &json!({})).code(), "forbidden");
}

fn verify(platform: &Platform) -> Output {
    Command::new(PORTCULLIS)
        .args(["audit", "verify", "--config"])
        .arg(platform.folder.path().join("config"))
        .arg("--data")
        .arg(platform.folder.path().join("data"))
        .output()
        .unwrap()
}

#[test]
fn what_comes_through_the_door_and_what_is_typed_is_in_it_and_an_altered_row_is_named() {
    let mut platform = Platform::start();
    let ada = platform.register("ada@example.com");
    assert_eq!(platform.post("/auth/logout", ada["access_token"].as_str(), &json!({})).status, 200);
    let root = platform.admin();
    platform.gateway().signal("HUP");
    let events = || {
        let answer = platform.get("/admin/audit", &root).json();
        let items = answer["items"].as_array().unwrap().clone();
        items.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the reload to be written down", || events().contains(&"reload_config".to_owned()));
    for event in ["start", "register", "logout", "create_admin", "login"] {
        assert!(events().contains(&event.to_owned()), "{event}: {:?}", events());
    }
    let register = platform.get("/admin/audit?event=register", &root).json()["items"][0].clone();
    assert_eq!(register["address"], "127.0.0.1");
    assert_eq!(register["request_id"].as_str().map(str::len), Some(32));

    let whole = verify(&platform);
    assert!(whole.status.success(), "{whole:?}");
    let database = platform.folder.path().join("data/portcullis.db");
    assert!(Command::new("python3").args(["-c", ALTER]).arg(database).status().unwrap().success());
    let altered = verify(&platform);
    let said = String::from_utf8_lossy(&altered.stderr).into_owned();
    assert_eq!(altered.status.code(), Some(1), "{said}");
    assert!(said.contains("event 3 was altered"), "{said}");
}

/// What there is of a kind of event, the latest first.
fn found(platform: &Platform, root: &str, event: &str) -> Vec<Value> {
    let answer = platform.get(&format!("/admin/audit?event={event}"), root).json();
    answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

fn digest_of(platform: &Platform) -> String {
    digest_in(platform.folder.path())
}

/// What docs/audit.md says that an operator can type.
fn digest_in(folder: &Path) -> String {
    let typed = "sha256sum gateway.toml routes.toml roles.toml tiers.toml cases.toml seed.toml | sha256sum";
    let output = Command::new("sh").args(["-c", typed]).current_dir(folder.join("config")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn which_configuration_is_in_force_is_told_also_of_one_that_was_changed_while_nobody_served() {
    let data = tempfile::tempdir().unwrap();
    let configs = |platform: &Platform, event: &str, many: usize| {
        let root = platform.admin();
        eventually("it to be written down", || found(platform, &root, event).len() == many);
        let events = found(platform, &root, event);
        events.iter().map(|event| event["details"]["config"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let stop = |mut platform: Platform| {
        platform.gateway().signal("TERM");
        platform.gateway().wait();
    };
    let platform = Setup::default().start_on(data.path());
    let first = digest_of(&platform);
    assert_eq!(configs(&platform, "start", 1), std::slice::from_ref(&first));
    let cases = platform.folder.path().join("config/cases.toml");
    fs::OpenOptions::new().append(true).open(cases).unwrap().write_all(b"\n# changed\n").unwrap();
    assert_eq!(configs(&platform, "reload_config", 1), [digest_of(&platform)]);
    stop(platform);
    let platform = Setup::default().start_on(data.path());
    assert_eq!(configs(&platform, "start", 2), [first.clone(), first.clone()]);
    stop(platform);
    let platform = Setup::default().append("roles.toml", "\n# changed\n").start_on(data.path());
    let changed = digest_of(&platform);
    assert_ne!(changed, first);
    assert_eq!(configs(&platform, "start", 3), [changed, first.clone(), first]);
    let root = platform.admin();
    assert_eq!(platform.post("/admin/config/reload", Some(&root), &json!({})).status, 200);
    assert_eq!(found(&platform, &root, "reload_config")[0]["details"]["config"], digest_of(&platform));
}

#[test]
fn a_change_while_a_start_waits_for_its_database_is_applied_and_nothing_is_told_that_was_not_in_force() {
    let (link, database) = Link::before(&Database::new("late"));
    link.cut();
    let setup = Setup::default().env("DATABASE_URL", &database.url);
    let folder = setup.folder();
    let (log, config) = (folder.path().join("gateway.log"), folder.path().join("config"));
    let began_with = digest_in(folder.path());
    let meanwhile = thread::spawn(move || {
        let waits = || fs::read_to_string(&log).is_ok_and(|log| log.contains("the database cannot be reached"));
        eventually("the start to wait", waits);
        let mut routes = fs::OpenOptions::new().append(true).open(config.join("routes.toml")).unwrap();
        routes.write_all(b"\n# changed\n").unwrap();
        link.mend();
    });
    let platform = setup.start_in(folder);
    meanwhile.join().unwrap();
    let root = platform.admin();
    let told = |event: &str| {
        eventually("it to be written down", || !found(&platform, &root, event).is_empty());
        found(&platform, &root, event)[0]["details"]["config"].as_str().unwrap().to_owned()
    };
    assert_eq!((told("start"), told("reload_config")), (began_with, digest_of(&platform)));
}

fn import(folder: &Path, lines: &[Value], report: &Path) -> Output {
    let file = folder.join("users.jsonl");
    fs::write(&file, lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let mut command = Command::new(PORTCULLIS);
    command.arg("import").arg(&file).arg("--report").arg(report).arg("--config").arg(folder.join("config"));
    command.arg("--data").arg(folder.join("data")).output().unwrap()
}

#[test]
fn an_import_is_told_before_it_stores_anything_and_so_is_whom_it_lets_manage_others() {
    let platform = Platform::start();
    let (root, folder) = (platform.admin(), platform.folder.path());
    let person = |name: &str, role: &str| json!({ "email": format!("{name}@example.com"), "role": role });
    let told = |event: &str| {
        let events = found(&platform, &root, event).into_iter().rev();
        events
            .map(|event| (event["outcome"].as_str().unwrap().to_owned(), event["details"].clone()))
            .collect::<Vec<_>>()
    };
    let counts =
        |made: u64, present: u64, rejected: u64| json!({ "made": made, "present": present, "rejected": rejected });
    let output = import(folder, &[person("eve", "admin"), person("ada", "user")], &folder.join("report"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told("import"), [("begun".to_owned(), Value::Null), ("ok".to_owned(), counts(2, 0, 0))]);
    let role = json!({ "role": "admin" });
    assert_eq!(told("import_account"), [("begun".to_owned(), role.clone()), ("ok".to_owned(), role)]);
    let eve = platform.get("/admin/users?email=eve@example.com", &root).json()["items"][0]["id"].clone();
    assert!(found(&platform, &root, "import_account").iter().all(|event| event["subject"] == eve));

    // Broken off after the first batch, since a line cannot be told of anywhere.
    let mut lines: Vec<Value> = (0..200).map(|number| person(&format!("person{number}"), "user")).collect();
    lines.push(json!({ "email": "nobody" }));
    let output = import(folder, &lines, &folder.join("nowhere/report"));
    assert!(!output.status.success(), "{output:?}");
    let [.., begun, failed] = &told("import")[..] else { panic!("no events") };
    assert_eq!((&*begun.0, failed), ("begun", &("failed".to_owned(), counts(200, 0, 0))));
}
