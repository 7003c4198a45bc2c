//! The master key becomes another one while gateways serve, however often whoever does it is killed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::platform::{PORTCULLIS, Platform, Setup, eventually, pace, silence};

const ROUTE: &str = "\n[[route]]\nname = \"openai\"\npaths = [\"/openai/*\"]\nupstream = \"demo\"\ntier_limits = false\n\
                     inject_credential = { service = \"openai\", header = \"Authorization\" }\n";

fn rotation(folder: &Path) -> Command {
    let mut command = Command::new(PORTCULLIS);
    command
        .args(["keys", "rotate-master", "--config"])
        .arg(folder.join("config"))
        .arg("--data")
        .arg(folder.join("data"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn keys(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("data/master.key")).unwrap();
    text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Does everything that is sealed still open?
fn serves(platform: &Platform, token: &str) {
    let answer = platform.get("/openai/x", token);
    assert_eq!(
        (answer.status, answer.received("authorization")),
        (200, vec!["sk-openai-of-ada".to_owned()]),
        "{answer:?}"
    );
    assert_eq!(platform.get("/demo/x", &platform.login("ada@example.com")).status, 200);
}

pub(crate) fn kill_after(mut child: Child, time: Duration) {
    silence(time);
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn the_master_key_is_rotated_while_a_gateway_serves_and_whoever_does_it_is_killed() {
    let setup = Setup::default().append("routes.toml", ROUTE).edit("routes.toml", "60/minute", "6000/minute");
    let platform = setup.edit("routes.toml", "30/minute", "3000/minute").start();
    let folder = platform.folder.path().to_owned();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let keep = |service: &str| {
        let body = json!({ "service": service, "api_key": "sk-openai-of-ada" });
        assert_eq!(platform.post("/integrations", Some(&token), &body).status, 201);
    };
    keep("openai");
    for n in 0..49 {
        keep(&format!("service-{n}"));
    }
    let before = keys(&folder);
    assert_eq!(before.len(), 1);

    // From before the first state is written down to the middle of the work and after it.
    for time in [20, 60, 100, 150, 250, 400, 700, 1000, 1300, 1600, 2000, 2500] {
        kill_after(rotation(&folder).spawn().unwrap(), Duration::from_millis(time));
        serves(&platform, &token);
    }
    let done = rotation(&folder).output().unwrap();
    assert!(done.status.success() && said(&done).contains("The old key may go"), "{}", said(&done));
    let both = keys(&folder);
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[1], before[0], "one new key, and the old one after it");
    serves(&platform, &token);

    // Without the old key everything opens: in the gateway that runs, in the next one, and the trail.
    fs::write(folder.join("data/master.key"), format!("{}\n", both[0])).unwrap();
    eventually("the gateway to forget the old key", || {
        platform.log().matches("the master keys are others").count() >= 3
    });
    serves(&platform, &token);
    let next = Setup::default().append("routes.toml", ROUTE).edit("routes.toml", "30/minute", "3000/minute");
    let next = next.start_on(&folder.join("data"));
    serves(&next, &next.login("ada@example.com"));
    eventually("what does not open to be counted", || {
        next.metric("portcullis_sealed_unreadable{table=\"integrations\"}") == 0
    });
    assert_eq!(next.send("GET", "/readyz", &[], "").json()["status"], "ready");
    let verified =
        Command::new(PORTCULLIS).args(["audit", "verify", "--data"]).arg(folder.join("data")).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

/// It has read the keys when it began, and seals until its end.
#[test]
fn an_import_that_is_on_its_way_goes_on_with_the_new_master_key() {
    let platform = Platform::start();
    let (root, folder) = (platform.admin(), platform.folder.path());
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut import = platform.command(&["import", pipe.to_str().unwrap()]);
    let import = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    eventually("the import to begin", || {
        pace(Duration::from_millis(100));
        let begun = platform.get("/admin/audit?event=import", &root).json();
        !begun["items"].as_array().unwrap().is_empty()
    });
    let done = rotation(folder).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    lines.write_all(b"{\"email\":\"old@example.com\"}\n").unwrap();
    drop(lines);
    let done = import.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    // What it has written down of itself is sealed too.
    fs::write(folder.join("data/master.key"), format!("{}\n", keys(folder)[0])).unwrap();
    let verified =
        Command::new(PORTCULLIS).args(["audit", "verify", "--data"]).arg(folder.join("data")).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

#[test]
fn what_did_not_open_is_tried_again_with_another_master_key() {
    let platform = Setup::default().append("routes.toml", ROUTE).start();
    let file = platform.folder.path().join("data/master.key");
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let body = json!({ "service": "openai", "api_key": "sk-openai-of-ada" });
    assert_eq!(platform.post("/integrations", Some(&token), &body).status, 201);
    let right = keys(platform.folder.path()).remove(0);
    let wrong = format!("{}{}", if right.starts_with('A') { 'B' } else { 'A' }, &right[1..]);
    let taken_up = || platform.log().matches("the master keys are others").count();
    fs::write(&file, format!("{wrong}\n")).unwrap();
    eventually("the wrong key to be taken up", || taken_up() == 1);
    assert_eq!(platform.get("/openai/x", &token).code(), "integration_unreadable");
    fs::write(&file, format!("{wrong}\n{right}\n")).unwrap();
    eventually("the right key to be taken up", || taken_up() == 2);
    assert_eq!(platform.get("/openai/x", &token).status, 200);
}

#[test]
fn a_gateway_that_cannot_have_the_new_key_holds_the_rotation_up() {
    let platform = Setup::default().start();
    let folder = platform.folder.path();
    let file = folder.join("data/master.key");
    // The command is told of another file than the one that the gateway reads.
    let mut command = rotation(folder);
    let other = tempfile::tempdir().unwrap();
    fs::copy(&file, other.path().join("master.key")).unwrap();
    let text = fs::read_to_string(folder.join("config/gateway.toml")).unwrap();
    let moved = format!("master_key_file = \"{}\"", other.path().join("master.key").display());
    fs::create_dir(other.path().join("config")).unwrap();
    for entry in fs::read_dir(folder.join("config")).unwrap() {
        let path = entry.unwrap().path();
        drop(fs::copy(&path, other.path().join("config").join(path.file_name().unwrap())));
    }
    fs::write(other.path().join("config/gateway.toml"), text.replace("master_key_file = \"master.key\"", &moved))
        .unwrap();
    command = {
        drop(command);
        let mut command = Command::new(PORTCULLIS);
        command.args(["keys", "rotate-master", "--config"]).arg(other.path().join("config"));
        command.arg("--data").arg(folder.join("data")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut waiting = command.spawn().unwrap();
    eventually("the new key to be made", || {
        fs::read_to_string(other.path().join("master.key")).unwrap().lines().count() == 2
    });
    // It waits for the gateway, until somebody gives it the key.
    let given = fs::read_to_string(other.path().join("master.key")).unwrap();
    assert!(given.contains(" next"), "{given}");
    assert!(waiting.try_wait().unwrap().is_none());
    fs::copy(other.path().join("master.key"), &file).unwrap();
    eventually("the other file to be taken a step on", || {
        fs::read_to_string(other.path().join("master.key")).unwrap().contains(" old")
    });
    assert!(waiting.try_wait().unwrap().is_none(), "the gateway still seals with the old key");
    fs::copy(other.path().join("master.key"), &file).unwrap();
    let done = waiting.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
}

#[test]
fn what_does_not_open_is_seen_from_outside() {
    let platform = Setup::default().start();
    platform.register("ada@example.com");
    let root = platform.admin();
    let agent = platform.post("/agents", Some(&root), &json!({ "name": "Helper" })).json();
    let file = platform.folder.path().join("data/master.key");
    // A key that is of no use beside the right one: the database was restored, and the key was not.
    let done = Command::new(PORTCULLIS).args(["keys", "generate"]).output().unwrap();
    let strange =
        said(&done).lines().find_map(|line| line.strip_prefix("MASTER_ENCRYPTION_KEY=").map(str::to_owned)).unwrap();
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{strange},{right}")).unwrap();
    eventually("the gateway to seal with another key", || platform.log().contains("the master keys are others"));
    let token = platform.login("ada@example.com");
    let body = json!({ "service": "openai", "api_key": "sk-openai-of-ada" });
    assert_eq!(platform.post("/integrations", Some(&token), &body).status, 201);
    let wanted = json!({ "agent_id": agent["id"], "name": "Mine", "config": { "key": "secret" } });
    let made = platform.post("/agent-instances", Some(&root), &wanted);
    assert_eq!(made.status, 201, "{made:?}");
    fs::write(&file, right).unwrap();
    eventually("the gateway to have the old key alone", || {
        platform.log().matches("the master keys are others").count() == 2
    });
    // What the account service meets is said at once, and not at the next count in an hour.
    let instance = format!("/agent-instances/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(platform.get(&instance, &root).code(), "unreadable");
    assert_eq!(platform.send("GET", "/readyz", &[], "").json()["reasons"], json!(["sealed_values_unreadable"]));
    assert_eq!(platform.get("/integrations", &token).json()["items"][0]["status"], "unreadable");
    let next = Setup::default().start_on(&platform.folder.path().join("data"));
    eventually("it to be counted", || next.metric("portcullis_sealed_unreadable{table=\"integrations\"}") == 1);
    let ready = next.send("GET", "/readyz", &[], "").json();
    assert_eq!(
        (ready["status"].as_str(), ready["reasons"][0].as_str()),
        (Some("degraded"), Some("sealed_values_unreadable"))
    );
}

#[test]
fn beside_a_used_database_nobody_is_told_to_make_another_master_key() {
    let setup = Setup::default();
    let folder = setup.folder();
    let data = folder.path().join("data");
    let refused = |put: &str| {
        fs::write(data.join("master.key"), put).unwrap();
        fs::set_permissions(data.join("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let done = setup.command(folder.path(), ([127, 0, 0, 1], 9).into()).output().unwrap();
        assert_eq!(done.status.code(), Some(78), "{}", said(&done));
        said(&done)
    };
    fs::create_dir(&data).unwrap();
    let fresh = refused("");
    assert!(
        fresh.contains("master.key holds no master key: ") && fresh.contains("`portcullis keys generate`"),
        "{fresh}"
    );
    fs::remove_file(data.join("master.key")).unwrap();
    drop(Setup::default().start_on(&data));
    for put in ["", "garbled\n"] {
        let used = refused(put);
        assert!(used.contains("; put back the one that has sealed") && !used.contains("keys generate"), "{used}");
    }
}
