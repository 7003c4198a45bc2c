//! The audit trail from end to end: what comes through the door and what is typed is in it, and a row that was altered is named.

use std::process::{Command, Output};

use serde_json::json;

use crate::platform::{PORTCULLIS, Platform, eventually};

/// Changes a row past the gateway.
const ALTER: &str = "import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute(\"UPDATE audit_events SET address = '203.0.113.9' WHERE event = 'logout'\")";

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
