//! Starting, reloading, stopping, and what happens when something is gone: each fault is caused for real.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Redis,
    database::Database,
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, Running, Setup, eventually, exchange, shipped},
    servers::Link,
};
use serde_json::json;

fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_first_start_makes_what_is_needed_and_says_how_to_go_on() {
    let platform = Platform::start();
    let data = platform.folder.path().join("data");
    assert_eq!(fs::metadata(data.join("master.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(data.join("portcullis.db").exists());
    let config = platform.folder.path().join("config");
    let told = format!("--email you@example.com --config {} --data {}\n", config.display(), data.display());
    assert!(platform.log().contains(&format!("portcullis create-admin {told}")), "{}", platform.log());
}

#[test]
fn what_is_in_use_is_not_rounded_up_to_huge_pages() {
    let mut platform = Platform::start();
    let status = fs::read_to_string(format!("/proc/{}/status", platform.gateway().pid())).unwrap();
    assert!(!status.contains("THP_enabled:\t1"), "{status}");
}

#[test]
fn a_master_key_that_others_can_read_is_refused() {
    let setup = Setup::default();
    let folder = setup.folder();
    drop(Running::start(&mut setup.command(folder.path(), nowhere()), None));
    fs::set_permissions(folder.path().join("data/master.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"), "{output:?}");
}

#[test]
fn what_cannot_be_made_or_opened_at_a_start_is_named_and_is_a_fault_of_the_configuration() {
    let refused = |setup: &Setup, make: fn(&Path)| {
        let folder = setup.folder();
        make(folder.path());
        let output = setup.command(folder.path(), nowhere()).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(
        &Setup::default().edit("gateway.toml", "access = \"stderr\"", "access = \"/nowhere/access.log\""),
        |_| {},
    );
    assert!(said.contains("[log]: access = \"/nowhere/access.log\" cannot be opened"), "{said}");
    // A file stands where the folder should.
    let said = refused(&Setup::default(), |folder| fs::write(folder.join("data"), "").unwrap());
    assert!(said.contains("the data folder ") && said.contains("cannot be made"), "{said}");
}

#[test]
fn another_master_key_cannot_open_the_signing_keys_and_the_start_says_so() {
    let setup = Setup::default();
    let folder = setup.folder();
    drop(Running::start(&mut setup.command(folder.path(), nowhere()), None));
    let file = folder.path().join("data/master.key");
    let other = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    fs::write(&file, other).unwrap();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is this the master key") && said.contains(&file.display().to_string()), "{said}");
    // Where there is none, as with a database that was restored, none is made beside it: the right one would be looked for elsewhere.
    fs::remove_file(&file).unwrap();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("put it back") && said.contains("master.key") && said.contains("MASTER_ENCRYPTION_KEY"),
        "{said}"
    );
    assert!(!file.exists());
}

/// The platform does not bill itself: what its administrator may is their account's, and their organisation has bought nothing.
#[test]
fn the_first_administrators_organisation_has_a_tier_without_a_price_from_its_first_moment() {
    let platform = Platform::start();
    let root = platform.admin();
    assert_eq!(platform.get("/auth/me", &root).json()["tier"], "enterprise");
    assert_eq!(platform.get("/tenants", &root).json()["items"][0]["tier"], "free");
}

/// A folder's name is no URL.
#[test]
fn a_data_folder_may_have_any_name_and_options_stand_where_one_puts_them() {
    let setup = Setup::default();
    let folder = setup.folder();
    let data = folder.path().join("100%41 what?x=1");
    let up = |data: &Path| {
        let mut command = Command::new(PORTCULLIS);
        command.args(["migrate", "up", "--config"]).arg(folder.path().join("config")).arg("--data").arg(data);
        command.output().unwrap()
    };
    let output = up(&data);
    assert!(output.status.success(), "{output:?}");
    assert!(data.join("portcullis.db").is_file());
    // What is not there is not backed up, nor made for it.
    let nowhere = folder.path().join("misspelt");
    let mut command = Command::new(PORTCULLIS);
    command
        .arg("backup")
        .arg(folder.path())
        .arg("--config")
        .arg(folder.path().join("config"))
        .arg("--data")
        .arg(&nowhere);
    assert_eq!(command.output().unwrap().status.code(), Some(69));
    assert!(!nowhere.exists());
}

/// What cannot be deleted, and what would be deleted after it.
const STUCK: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
if sys.argv[2] == 'lay':
    database.execute(\"CREATE TRIGGER stuck BEFORE DELETE ON login_failures BEGIN SELECT RAISE(ABORT, 'stuck'); END\")
    long_ago = '2020-01-01T00:00:00.000000Z'
    database.execute('INSERT INTO login_failures (subject, source, failures, locks, last_at) VALUES (?, ?, 1, 0, ?)', (b's', b'p', long_ago))
    database.execute('INSERT INTO billing_events VALUES (?, ?)', ('evt', long_ago))
    database.commit()
print(database.execute('SELECT (SELECT COUNT(*) FROM billing_events), (SELECT COUNT(*) FROM login_failures)').fetchone())";

#[test]
fn what_cannot_be_deleted_keeps_nothing_else() {
    let setup = Setup::default();
    let folder = setup.folder();
    drop(Running::start(&mut setup.command(folder.path(), nowhere()), None));
    let database = folder.path().join("data/portcullis.db");
    let ask = |what: &str| {
        let done = Command::new("python3").args(["-c", STUCK]).arg(&database).arg(what).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(ask("lay"), "(1, 1)");
    let _serving = Running::start(&mut setup.command(folder.path(), nowhere()), None);
    eventually("what comes after to be deleted", || ask("look") == "(0, 1)");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::default()
        .edit("gateway.toml", "# https = \"0.0.0.0:443\"", "https = { env = \"HTTPS\", default = \"127.0.0.1:0\" }")
        .edit("gateway.toml", "certificates = []", "certificates = [{ certificate = \"own.pem\", key = \"own.key\" }]");
    let folder = setup.folder();
    let own = rcgen::generate_simple_self_signed(["own.test".to_owned()]).unwrap();
    fs::write(folder.path().join("config/own.pem"), own.cert.pem()).unwrap();
    fs::write(folder.path().join("config/own.key"), own.signing_key.serialize_pem()).unwrap();
    for (what, variable) in
        [("http", "PORTCULLIS_LISTEN"), ("https", "HTTPS"), ("metrics", "PORTCULLIS_METRICS_LISTEN")]
    {
        let mut command = Command::new(PORTCULLIS);
        command.args(["serve", "--config"]).arg(folder.path().join("config"));
        let output = command
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("PORTCULLIS_LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS_METRICS_LISTEN", "127.0.0.1:0")
            .env(variable, &address)
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{what}: {said}");
        assert!(said.contains(&format!("cannot listen on {address} (listen.{what})")), "{what}: {said}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_every_place_and_exit_code_78() {
    let setup = Setup::default().edit("routes.toml", "upstream = \"demo\"", "upstraem = \"demo\"");
    let folder = setup.folder();
    let output =
        Command::new(PORTCULLIS).arg("check").arg("--config").arg(folder.path().join("config")).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("routes.toml:") && said.contains("did you mean `upstream`"), "{said}");
    let served = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(served.status.code(), Some(78), "{served:?}");
}

/// Two pairs, neither of which is there.
const NOWHERE: &str = "certificates = [
    { certificate = \"no.pem\", key = \"no.key\" },
    { certificate = \"none.pem\", key = \"none.key\" },
]";

#[test]
fn certificates_that_cannot_be_shown_are_told_with_their_places_and_hide_no_case_that_fails() {
    let setup = Setup::default()
        .edit("gateway.toml", "# https = \"0.0.0.0:443\"", "https = \"127.0.0.1:0\"")
        .edit("gateway.toml", "certificates = []", NOWHERE)
        .edit("gateway.toml", "# client_ca = \"tls/clients.pem\"", "client_ca = \"nobody.pem\"")
        .append(
            "cases.toml",
            "\n[[case]]\nname = \"a door for all\"\nrequest = \"GET /demo/x\"\nanswer = \"permit\"\n",
        );
    let folder = setup.folder();
    let text = fs::read_to_string(folder.path().join("config/gateway.toml")).unwrap();
    let line = |of: &str| text[..text.find(of).unwrap()].matches('\n').count() + 1;
    let checked =
        Command::new(PORTCULLIS).arg("check").arg("--config").arg(folder.path().join("config")).output().unwrap();
    for output in [checked, setup.command(folder.path(), nowhere()).output().unwrap()] {
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("portcullis: the configuration is wrong:\n"), "{said}");
        let (first, authorities) = (line("{ certificate = \"no.pem"), line("client_ca = "));
        for (line, column, file) in [(first, 5, "no.pem"), (first + 1, 5, "none.pem"), (authorities, 13, "nobody.pem")]
        {
            let told = format!("gateway.toml:{line}:{column}: ");
            assert!(said.lines().any(|line| line.starts_with(&told) && line.contains(file)), "{told}{file} in {said}");
        }
        assert!(said.contains("a door for all"), "{said}");
    }
}

#[test]
fn check_finds_the_shipped_configuration_good_and_shows_who_may_call_what() {
    let output = Command::new(PORTCULLIS).arg("check").arg("--config").arg(shipped("config")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("/demo/admin/*") && said.contains("cases hold"), "{said}");
    let embedded = Command::new(PORTCULLIS).arg("check").current_dir(std::env::temp_dir()).output().unwrap();
    assert!(embedded.status.success(), "{embedded:?}");
}

#[test]
fn what_was_given_and_does_not_fit_is_exit_code_65_and_a_file_that_is_not_there_69() {
    let place = tempfile::tempdir().unwrap();
    let (data, junk) = (place.path().join("data"), place.path().join("junk"));
    fs::write(&junk, "no backup\n").unwrap();
    let (junk, nothing) = (junk.to_str().unwrap(), place.path().join("nothing"));
    let nothing = nothing.to_str().unwrap();
    for (words, code, told) in [
        (vec!["create-admin", "--email", "nobody"], 65, "the address cannot be used"),
        (vec!["create-admin", "--email", "a@example.com", "--password", "short"], 65, "the password is too weak"),
        (
            vec!["service-account", "create", "x", "--allowed-network", "::1", "--allowed-network", "10.0.0.0/99"],
            65,
            "--allowed-network \"10.0.0.0/99\" is neither",
        ),
        (vec!["restore", junk], 65, "this is no backup"),
        (vec!["restore", nothing], 69, "No such file"),
        (vec!["import", junk], 65, "lines were rejected"),
        (vec!["import", nothing], 69, "cannot be read: No such file"),
    ] {
        let output = Command::new(PORTCULLIS).args(&words).arg("--data").arg(&data).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
}

#[test]
fn an_unreachable_database_is_retried_and_then_exit_code_69() {
    let setup = Setup::default()
        .edit("gateway.toml", "start_timeout = \"30s\"", "start_timeout = \"2s\"")
        .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"200ms\"")
        .env("DATABASE_URL", &format!("postgres://x:y@{}/z", nowhere()));
    let folder = setup.folder();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("trying again") && said.contains("the database is not to be had"), "{said}");
    let mut command = Command::new(PORTCULLIS);
    command.args(["create-admin", "--email", "a@example.com", "--config"]).arg(folder.path().join("config"));
    command.arg("--data").arg(folder.path().join("data"));
    let output = command.env("DATABASE_URL", format!("postgres://x:y@{}/z", nowhere())).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("trying again for 2s") && said.contains("the database is not to be had"), "{said}");
}

/// Whoever runs the tests may be root, whom no mode keeps out.
#[test]
fn what_does_not_pass_by_itself_is_not_waited_for() {
    let setup = Setup::default();
    let folder = setup.folder();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("portcullis.db")).unwrap();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = format!("the database {}/portcullis.db is not to be had: Is a directory", data.display());
    assert!(said.contains(&told) && !said.contains("trying again"), "{said}");
}

#[test]
fn a_file_that_is_no_database_is_named_and_is_exit_code_69() {
    let setup = Setup::default();
    let folder = setup.folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("portcullis.db"), "no database\n".repeat(400)).unwrap();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("the database {}/portcullis.db is not to be had", data.display())), "{said}");
}

#[test]
fn a_good_configuration_takes_effect_without_a_restart_and_a_bad_one_changes_nothing() {
    let platform = Platform::start();
    let admin = platform.admin();
    let routes = platform.folder.path().join("config/routes.toml");
    let shipped = fs::read_to_string(&routes).unwrap();
    fs::write(
        &routes,
        format!("{shipped}\n[[route]]\nname = \"added\"\npaths = [\"/added\"]\nupstream = \"demo\"\nauth = \"none\"\n"),
    )
    .unwrap();
    eventually("the new route", || platform.send("GET", "/added", &[], "").status == 200);

    fs::write(&routes, format!("{shipped}\n[[route]]\nname = \"bad\"\npaths = [\"/bad\"]\nupstream = \"nowhere\"\n"))
        .unwrap();
    eventually("the refusal", || platform.metric("portcullis_config_reloads_total{outcome=\"refused\"}") >= 1);
    assert_eq!(platform.send("GET", "/added", &[], "").status, 200, "the old one stays");
    eventually("the log to name what is wrong", || platform.log().contains("nowhere"));
    let refused = platform.post("/admin/config/reload", Some(&admin), &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (422, "config_refused"), "{refused:?}");
    let refused = || platform.get("/admin/audit?event=reload_config&outcome=config_refused", &admin).json();
    eventually("both to be written down", || {
        let told = refused();
        let events = told["items"].as_array().unwrap();
        (events.len(), events.iter().filter(|event| event["actor"].is_null()).count()) == (2, 1)
    });
}

#[test]
fn an_administrator_reloads_and_is_told_what_is_wrong() {
    let platform = Platform::start();
    let admin = platform.admin();
    let good = platform.post("/admin/config/reload", Some(&admin), &json!({}));
    assert_eq!(good.status, 200, "{good:?}");
    let tiers = platform.folder.path().join("config/tiers.toml");
    let shipped = fs::read_to_string(&tiers).unwrap();
    fs::write(&tiers, shipped.replace("100/minute", "-100/minute")).unwrap();
    let bad = platform.post("/admin/config/reload", Some(&admin), &json!({}));
    assert_eq!(bad.status, 422, "{bad:?}");
    assert!(bad.body.contains("tiers.toml:"), "{bad:?}");
}

#[test]
fn a_hangup_reloads() {
    let mut platform = Platform::start();
    let before = platform.metric("portcullis_config_generation");
    platform.gateway().signal("HUP");
    eventually("a new generation", || platform.metric("portcullis_config_generation") > before);
}

#[test]
fn a_request_in_flight_is_answered_before_the_process_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut platform = Setup::default().upstream(upstream).start();
    let http = platform.http;
    let client =
        thread::spawn(move || Answer::parse(&exchange(http, b"GET /demo/public/slow HTTP/1.1\r\nHost: x\r\n\r\n")));
    // The request has reached the upstream; now the gateway is told to stop.
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    assert!(stream.read(&mut buffer).unwrap() > 0);
    platform.gateway().signal("TERM");
    eventually("the door to close", || TcpStream::connect(http).is_err());
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    let answer = client.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn who_tells_it_to_stop_twice_does_not_wait_for_what_is_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut platform = Setup::default()
        .upstream(listener.local_addr().unwrap())
        .edit("gateway.toml", "drain = \"30s\"", "drain = \"1h\"")
        .start();
    let mut client = TcpStream::connect(platform.http).unwrap();
    client.write_all(b"GET /demo/public/slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _never_answered = listener.accept().unwrap();
    platform.gateway().signal("TERM");
    eventually("the door to close", || TcpStream::connect(platform.http).is_err());
    platform.gateway().signal("INT");
    assert_eq!(platform.gateway().wait(), Some(0));
}

#[test]
fn an_upstream_that_is_away_slow_or_lying_is_told_in_time_and_strangers_learn_nothing_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let platform = Setup::default()
        .upstream(address)
        .edit("gateway.toml", "response_timeout = \"60s\"", "response_timeout = \"1s\"")
        .start();
    let token = platform.register("up@example.com")["access_token"].as_str().unwrap().to_owned();
    // Accepts and says nothing.
    let silent = platform.get("/demo/x", &token);
    assert_eq!((silent.status, silent.code().as_str()), (504, "upstream_timeout"), "{silent:?}");
    // Says what is not HTTP.
    let liar = thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(b"nonsense\r\n\r\n"));
        }
    });
    let lying = platform.get("/demo/x", &token);
    assert_eq!((lying.status, lying.code().as_str()), (502, "upstream_invalid"), "{lying:?}");
    assert_eq!(platform.get("/demo/x", "stran.ger.s").status, 401);
    drop(TcpStream::connect(address));
    drop(TcpStream::connect(address));
    liar.join().unwrap();
    // Nobody there.
    let away = platform.get("/demo/x", &token);
    assert_eq!((away.status, away.code().as_str()), (502, "upstream_unreachable"), "{away:?}");
    assert_eq!(platform.get("/auth/me", &token).status, 200, "others are unaffected");
}

#[test]
fn concurrent_requests_are_counted_and_their_slots_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let platform = Setup::default()
        .upstream(upstream)
        .append("routes.toml", "\n[[route]]\nname = \"narrow\"\npaths = [\"/narrow\"]\nupstream = \"demo\"\nauth = \"none\"\nlimits = [{ per = \"ip\", concurrent = 1 }]\n")
        .start();
    let http = platform.http;
    let held = thread::spawn(move || {
        Answer::parse(&exchange(http, b"GET /narrow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    });
    let (mut stream, _) = listener.accept().unwrap();
    drop(stream.read(&mut [0; 4096]));
    let second = platform.send("GET", "/narrow", &[], "");
    assert_eq!((second.status, second.code().as_str()), (429, "concurrency_limited"), "{second:?}");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(held.join().unwrap().status, 200);
    // The client has its answer a moment before the slot is free.
    let third = thread::spawn(move || {
        loop {
            let request = b"GET /narrow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let answer = Answer::parse(&exchange(http, request));
            if answer.status != 429 {
                return answer;
            }
        }
    });
    let (mut stream, _) = listener.accept().unwrap();
    drop(stream.read(&mut [0; 4096]));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(third.join().unwrap().status, 200);
}

#[test]
fn a_rotated_signing_key_signs_anew_and_old_tokens_stay_good() {
    let platform = Platform::start();
    let old = platform.register("rotate@example.com")["access_token"].as_str().unwrap().to_owned();
    let kid = |token: &str| {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        let header: serde_json::Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let rotated = Command::new(PORTCULLIS)
        .args(["keys", "rotate", "--config"])
        .arg(platform.folder.path().join("config"))
        .arg("--data")
        .arg(platform.folder.path().join("data"))
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    // One more key verifies: next, current and the retiring one, beside those of assertions.
    eventually("the new keys", || {
        platform.send("GET", "/.well-known/jwks.json", &[], "").body.matches("\"kid\"").count() == 6
    });
    let new = platform.login("rotate@example.com");
    assert_ne!(kid(&new), kid(&old));
    assert_eq!(platform.get("/demo/x", &old).status, 200);
    assert_eq!(platform.get("/demo/x", &new).status, 200);
}

#[test]
fn every_signing_algorithm_serves() {
    for algorithm in ["RS256", "ES256", "HS256"] {
        let mut setup =
            Setup::default().edit("gateway.toml", "default = \"EdDSA\"", &format!("default = \"{algorithm}\""));
        if algorithm == "HS256" {
            setup = setup
                .edit("gateway.toml", "# shared_secret = ", "shared_secret = ")
                .env("AUTH_JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
        }
        let platform = setup.start();
        let token = platform.register("alg@example.com")["access_token"].as_str().unwrap().to_owned();
        assert_eq!(platform.get("/demo/x", &token).status, 200, "{algorithm}");
    }
}

#[test]
fn a_shared_secret_under_32_bytes_is_refused_at_start() {
    let setup = Setup::default()
        .edit("gateway.toml", "default = \"EdDSA\"", "default = \"HS256\"")
        .edit("gateway.toml", "# shared_secret = ", "shared_secret = ")
        .env("AUTH_JWT_SECRET_KEY", "short");
    let folder = setup.folder();
    let output = setup.command(folder.path(), nowhere()).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("short\""), "the secret is not shown");
}

#[test]
fn without_its_database_the_door_serves_known_callers_and_answers_503_to_others_and_recovers_by_itself() {
    let (link, database) = Link::before(&Database::new("door"));
    let platform = Setup::default()
        .env("DATABASE_URL", &database.url)
        .edit("gateway.toml", "acquire_timeout = \"2s\"", "acquire_timeout = \"500ms\"")
        .start();
    let known = platform.register("known@example.com")["access_token"].as_str().unwrap().to_owned();
    let unseen = platform.login("known@example.com");
    assert_eq!(platform.get("/demo/x", &known).status, 200);
    let is_heard = || platform.metric("portcullis_feed_healthy") == 1;
    eventually("changes to be heard", is_heard);

    link.cut();
    eventually("the outage to be noticed", || {
        platform.send("GET", "/readyz", &[], "").body.contains("store_unavailable")
    });
    assert!(!is_heard());
    assert_eq!(platform.get("/demo/x", &known).status, 200, "known callers are served");
    let refused = platform.get("/demo/x", &unseen);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "directory_unavailable"),
        "never 401, never open: {refused:?}"
    );
    assert!(refused.header("retry-after").is_some());
    let login = platform.post(
        "/auth/login",
        None,
        &json!({ "email": "known@example.com", "password": crate::platform::PASSWORD }),
    );
    assert_eq!(login.status, 503, "{login:?}");
    eventually("the silence to be told", || platform.metric("portcullis_feed_silent_seconds") >= 2);

    link.mend();
    eventually("the recovery", || platform.get("/demo/x", &unseen).status == 200);
    eventually("changes to be heard again", || is_heard() && platform.metric("portcullis_feed_silent_seconds") == 0);
}

#[test]
fn idle_connections_do_not_hold_up_a_stop() {
    let mut platform = Platform::start();
    let mut idle = TcpStream::connect(platform.http).unwrap();
    idle.write_all(b"GET /demo/public/x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    let began = Instant::now();
    platform.gateway().signal("TERM");
    assert_eq!(platform.gateway().wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_password_of_redis_may_hold_anything() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = folder.path().join("portcullis");
    std::fs::write(&stand_in, "#!/bin/sh\nprintf %s \"$REDIS_URL\"\n").unwrap();
    std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::join_paths([folder.path(), "/bin".as_ref(), "/usr/bin".as_ref()]).unwrap();
    let mut entrypoint = Command::new(shipped("deploy/entrypoint"));
    let told = entrypoint.env_clear().env("PATH", path).env("REDIS_HOST", "cache").env("REDIS_PASSWORD", "p@s/w#?% *é");
    let url = String::from_utf8(told.output().unwrap().stdout).unwrap();
    assert_eq!(url, "redis://:%70%40%73%2f%77%23%3f%25%20%2a%c3%a9@cache:6379");
}

/// What the image runs, as process 1 on a machine whose `/etc` is the image's as far as we are concerned: only what is started so sees it.
fn container(folder: &Path) -> Command {
    const WITHIN: &str = "mount -t tmpfs tmpfs /etc && ln -s \"$0\" /etc/portcullis && exec \"$@\"";
    let path = std::env::join_paths([Path::new(PORTCULLIS).parent().unwrap(), "/usr/bin".as_ref(), "/bin".as_ref()]);
    let mut container = Command::new("unshare");
    container.args(["--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", WITHIN]);
    container.args([shipped("config"), shipped("deploy/entrypoint")]).arg("serve").env_clear();
    container.env("PATH", path.unwrap()).env("PORTCULLIS_DATA", folder.join("data"));
    container.env("PORT", "0").env("PORTCULLIS_METRICS_LISTEN", "127.0.0.1:0");
    container
}

/// Asks what listens on every address.
fn ask(http: SocketAddr, head: &str, body: &str) -> Answer {
    assert!(http.ip().is_unspecified() && http.port() != 0, "{http}");
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    Answer::parse(&exchange(SocketAddr::from(([127, 0, 0, 1], http.port())), request.as_bytes()))
}

#[test]
fn a_container_starts_with_variables_alone() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&mut container(folder.path()), Some(&folder.path().join("log")));
    assert_eq!(ask(running.address("http"), "GET /healthz", "").status, 200);
    assert!(folder.path().join("data/portcullis.db").exists());
}

#[test]
fn a_container_that_is_told_to_stop_before_it_serves_ends_at_once() {
    let (folder, silent) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut gateway = container(folder.path());
    gateway.env("DATABASE_URL", format!("postgres://x:y@{}/z", silent.local_addr().unwrap()));
    let mut gateway = gateway.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _waited_for = silent.accept().unwrap();
    let first = Command::new("ps").args(["-o", "pid=", "--ppid", &gateway.id().to_string()]).output().unwrap();
    let first = String::from_utf8(first.stdout).unwrap();
    assert!(Command::new("kill").args(["-TERM", first.trim()]).status().unwrap().success());
    assert_eq!(gateway.wait().unwrap().code(), Some(0), "not 69, when its patience ends");
}

#[test]
fn a_container_that_is_told_of_a_redis_shares_it_and_a_postgres_with_others() {
    let folder = tempfile::tempdir().unwrap();
    let (database, redis) = (Database::new("container"), Redis::with(&["--requirepass", "a@/word"]));
    let mut gateway = container(folder.path());
    gateway.env("DATABASE_URL", &database.url).env("REDIS_HOST", "127.0.0.1");
    gateway.env("REDIS_PORT", redis.port.to_string()).env("REDIS_PASSWORD", "a@/word");
    let running = Running::start(&mut gateway, Some(&folder.path().join("log")));
    let person = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Ada" }).to_string();
    let registered = ask(running.address("http"), "POST /auth/register", &person);
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(database.run("SELECT COUNT(*) FROM accounts"), "1");
    let metrics =
        || exchange(running.address("metrics"), b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    eventually("Redis to be found", || String::from_utf8_lossy(&metrics()).contains("\nportcullis_redis_healthy 1\n"));
}

/// As Fargate does, inside the container, with what the image has.
#[test]
fn the_health_check_of_a_task_tells_a_gateway_from_none() {
    let task = fs::read_to_string(shipped("deploy/ecs/task-definition.json")).unwrap();
    let task: serde_json::Value = serde_json::from_str(&task).unwrap();
    let words = task["containerDefinitions"][0]["healthCheck"]["command"].as_array().unwrap();
    let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
    let [kind, shell, option, text] = words[..] else { panic!("{words:?}") };
    let platform = Platform::start();
    let says = |at: SocketAddr| {
        let text = text.replace("/9464 ", &format!("/{} ", at.port()));
        Command::new(shell).args([option, &text]).output().unwrap().status.success()
    };
    assert_eq!((kind, says(platform.metrics), says(nowhere())), ("CMD", true, false));
}
