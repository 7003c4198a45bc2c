//! The audit trail from end to end: what comes through the door and what is typed is in it, and a row that was altered is named.

use std::process::{Command, Output};

use serde_json::json;

use crate::platform::{PORTCULLIS, Platform, eventually};

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
    for event in ["register", "logout", "create_admin", "login"] {
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
    assert!(said.contains("event 2 was altered"), "{said}");
}
