//! An import that is killed, and what whoever waits for long work sees of it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    master_key::kill_after,
    old_systems::{at_terminal, bcrypt, told},
    platform::{Platform, eventually, pace},
};

/// Three batches of an import, and two lines that cannot be.
fn people() -> Vec<String> {
    let hash = bcrypt(bcrypt::Version::TwoB);
    let person = |n: usize| {
        let tier = ["free", "pro"][n % 3 % 2];
        let role = if [99, 599].contains(&n) { "emperor" } else { ["user", "developer"][n % 2] };
        json!({ "email": format!("old-{n}@example.com"), "name": format!("Old {n}"), "id": n, "role": role, "tier": tier,
                "is_verified": n.is_multiple_of(5), "password_hash": hash, "created_at": "2020-01-02T03:04:05Z" })
        .to_string()
    };
    (0..602).map(person).collect()
}

/// All accounts, but for what is chance: ids.
fn everybody(platform: &Platform, root: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = platform.get(&format!("/admin/users?limit=200{cursor}"), root).json();
        all.append(page["items"].as_array_mut().unwrap());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    all.retain(|account| account["email"] != "root@example.com");
    for account in &mut all {
        let account = account.as_object_mut().unwrap();
        assert!(account.remove("id").is_some() && account.remove("tenant_id").is_some());
    }
    all.sort_by_key(|account| account["email"].as_str().unwrap().to_owned());
    all
}

#[test]
fn an_import_that_is_killed_wherever_it_is_and_run_again_leaves_what_one_run_leaves() {
    let (killed, whole, lines) = (Platform::start(), Platform::start(), people());
    let [root, other] = [&killed, &whole].map(Platform::admin);
    let [pipe, file] = ["pipe", "users.jsonl"].map(|name| killed.folder.path().join(name).display().to_string());
    let import = |platform: &Platform, file: &str| {
        let mut command = platform.command(&["import", file, "--system", "old"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // In the middle: two batches are stored, a part of the third is read, and for the rest it waits.
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut waiting = import(&killed, &pipe).spawn().unwrap();
    let mut writer = OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(format!("{}\n", lines[..500].join("\n")).as_bytes()).unwrap();
    eventually("two batches", || {
        pace(Duration::from_millis(100));
        let last = killed.get("/admin/users?email=old-400@example.com", &root).json();
        !last["items"].as_array().unwrap().is_empty()
    });
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(everybody(&killed, &root).len(), 400, "whole batches and nothing else");

    fs::write(&file, lines.join("\n")).unwrap();
    for time in [30, 100, 200, 300] {
        kill_after(import(&killed, &file).spawn().unwrap(), Duration::from_millis(time));
    }
    let last = import(&killed, &file).output().unwrap();
    assert!(last.status.code() == Some(65) && told(&last).ends_with("2 lines rejected"), "{last:?}");
    let once = import(&whole, &file).output().unwrap();
    assert_eq!(told(&once), "600 accounts made, 0 were here already, 2 lines rejected");
    let reports = fs::read_to_string(format!("{file}.rejected.jsonl")).unwrap();
    assert_eq!(reports.lines().count(), 2, "of the run that came last: {reports}");
    let (after, wanted) = (everybody(&killed, &root), everybody(&whole, &other));
    assert_eq!(after.len(), 600);
    assert_eq!(after, wanted);
    for platform in [&killed, &whole] {
        let again = import(platform, &file).output().unwrap();
        assert_eq!(told(&again), "0 accounts made, 600 were here already, 2 lines rejected");
    }
    assert_eq!(killed.get("/auth/me", &killed.login("old-450@example.com")).json()["email"], "old-450@example.com");
}

#[test]
fn who_waits_at_a_terminal_sees_how_far_it_is_and_a_file_gets_nothing_of_it() {
    let platform = Platform::start();
    let file = platform.folder.path().join("users.jsonl");
    fs::write(&file, people()[..50].join("\n")).unwrap();
    for words in [&["import", file.to_str().unwrap(), "--system", "old"][..], &["keys", "rotate-master"]] {
        let seen = at_terminal("", platform.folder.path(), words);
        assert!(seen.status.success() && told(&seen).contains(" % "), "{words:?}: {seen:?}");
        let plain = platform.command(words).output().unwrap();
        let said = told(&plain) + &String::from_utf8_lossy(&plain.stderr);
        assert!(plain.status.success() && !said.contains('%'), "{words:?}: {said}");
    }
}
