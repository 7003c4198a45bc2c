//! Coming from older systems: their accounts by `portcullis import`, their tokens until a day, and headers that developers sent.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use identity::{SigningKey, TokenType};
use serde_json::{Value, json};

use crate::{
    issuers::now,
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, Setup},
};

const SECRET: &str = "the secret of an old system, long enough";

fn old_system(more: &str) -> Setup {
    let section = format!("\n[[legacy_issuers]]\nname = \"old\"\nsecret = {{ env = \"JWT_SECRET_KEY\" }}\n{more}\n");
    Setup::default().env("JWT_SECRET_KEY", SECRET).append("gateway.toml", &section)
}

/// As python-jose signs: no `kid`, and `typ` is JWT.
fn token(secret: &str, header: &Value, claims: &Value) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
    let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", B64.encode(signature))
}

fn plain(claims: &Value) -> String {
    token(SECRET, &json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

fn said(platform: &Platform, token: &str) -> (u16, String) {
    let answer = platform.get("/demo/x", token);
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn an_old_systems_token_is_its_accounts_and_says_nothing_of_role_or_tier() {
    let platform = old_system("until = \"2099-12-31\"").start();
    let line = json!({ "email": "Ada@Example.com", "password_hash": bcrypt(bcrypt::Version::TwoB) }).to_string();
    assert!(import(platform.folder.path(), &[line], &["--system", "old"]).0.status.success());
    let claims = json!({ "sub": "Ada@Example.com", "exp": now() + 60, "role": "admin", "tier": "enterprise" });
    let answer = platform.get("/demo/x", &plain(&claims));
    assert_eq!(answer.status, 200, "{answer:?} {}", platform.log());
    assert_eq!(answer.received("x-user-email"), ["Ada@Example.com"]);
    assert_eq!(answer.received("x-user-role"), ["user"]);
    assert_eq!(answer.received("x-user-tier"), ["free"]);
    assert_eq!(answer.received("x-auth-method"), ["legacy_jwt"]);
    let with = |change: fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        plain(&claims)
    };
    let other_header = |header: Value| token(SECRET, &header, &claims);
    for (why, token, code) in [
        ("no end", with(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))), "invalid_token"),
        ("nobody", with(|claims| drop(claims.as_object_mut().unwrap().remove("sub"))), "invalid_token"),
        ("over", with(|claims| claims["exp"] = json!(now() - 1)), "expired"),
        ("for somebody", with(|claims| claims["aud"] = json!("another-service")), "invalid_token"),
        ("from somebody", with(|claims| claims["iss"] = json!("old")), "invalid_token"),
        (
            "another secret",
            token("another secret that is also long enough", &json!({ "alg": "HS256" }), &claims),
            "invalid_token",
        ),
        ("a key", other_header(json!({ "alg": "HS256", "kid": "old" })), "invalid_token"),
        ("no algorithm", other_header(json!({ "alg": "none" })), "invalid_token"),
        ("another type", other_header(json!({ "alg": "HS256", "typ": "assertion+jwt" })), "invalid_token"),
    ] {
        assert_eq!(said(&platform, &token), refused(401, code), "{why}");
    }
    // Whoever has registered here has not come from there, and another spelling may be somebody else there.
    platform.register("bob@example.com");
    for stranger in ["nobody@example.com", "bob@example.com", "ada@example.com", "ada"] {
        let token = plain(&json!({ "sub": stranger, "exp": now() + 60 }));
        assert_eq!(said(&platform, &token), refused(403, "unknown_account"), "{stranger}");
    }
    let line = json!({ "email": "bob@example.com", "id": "7" }).to_string();
    let (output, _) = import(platform.folder.path(), &[line], &["--system", "old"]);
    assert_eq!(told(&output), "0 accounts made, 1 were here already, 0 lines rejected");
    let bob = plain(&json!({ "sub": "bob@example.com", "exp": now() + 60 }));
    assert_eq!(
        said(&platform, &bob),
        refused(403, "unknown_account"),
        "an import gives nobody an account that is here"
    );
    // What ends on a day leaves nothing behind that does not.
    let key = platform.post("/auth/api-keys", Some(&plain(&claims)), &json!({ "name": "later" }));
    assert_eq!(key.code(), "session_required", "{key:?}");
    let own = platform.post("/auth/api-keys", Some(&platform.login("ada@example.com")), &json!({ "name": "own" }));
    let rotate = format!("/auth/api-keys/{}/rotate", own.json()["id"].as_str().unwrap());
    let rotated = platform.post(&rotate, Some(&plain(&claims)), &json!({}));
    assert_eq!(rotated.code(), "session_required", "{rotated:?}");
    // Our own tokens are signed by our own keys and no others.
    let ours = SigningKey::hs256(SECRET.as_bytes(), "old".to_owned()).unwrap();
    let claims = json!({ "iss": "portcullis", "aud": "portcullis", "sub": "x", "exp": now() + 60 });
    assert_eq!(said(&platform, &ours.sign(TokenType::Access, &claims)), refused(401, "invalid_token"));
}

#[test]
fn an_old_system_ends_on_its_day_and_its_key_id_and_audience_are_needed() {
    let claims = json!({ "sub": "ada@example.com", "exp": now() + 60 });
    let platform = old_system("until = \"2020-01-01\"").start();
    platform.register("ada@example.com");
    assert_eq!(said(&platform, &plain(&claims)), refused(401, "expired"));

    let more = "until = \"2099-01-01\"\nkid = \"k1\"\naudience = \"us\"";
    let claims = json!({ "sub": "ada@example.com", "exp": now() + 60, "aud": ["them", "us"] });
    let platform = old_system(more).start();
    let line = json!({ "email": "ada@example.com" }).to_string();
    assert!(import(platform.folder.path(), &[line], &["--system", "old"]).0.status.success());
    let by = |header: Value| said(&platform, &token(SECRET, &header, &claims));
    assert_eq!(by(json!({ "alg": "HS256", "kid": "k1" })), refused(200, ""));
    assert_eq!(by(json!({ "alg": "HS256" })), refused(401, "invalid_token"));
    assert_eq!(by(json!({ "alg": "HS256", "kid": "k2" })), refused(401, "invalid_token"));
    for mut claims in [json!({ "aud": "them" }), json!({})] {
        (claims["sub"], claims["exp"]) = (json!("ada@example.com"), json!(now() + 60));
        let token = token(SECRET, &json!({ "alg": "HS256", "kid": "k1" }), &claims);
        assert_eq!(said(&platform, &token), refused(401, "invalid_token"), "{claims}");
    }
}

fn refused_start(setup: &Setup, arguments: &[&str]) -> String {
    let folder = setup.folder();
    let output = setup.command(folder.path(), "127.0.0.1:1".parse().unwrap()).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_short_secret_a_wrong_day_and_two_systems_that_look_alike_are_refused_at_the_start() {
    let said = refused_start(
        &old_system("until = \"2099-12-31\"").env("JWT_SECRET_KEY", "thirty-one bytes are not enough"),
        &[],
    );
    assert!(said.contains("under 32 bytes") && !said.contains("thirty-one"), "{said}");
    let said = refused_start(&old_system("until = \"soon\""), &[]);
    assert!(said.contains("gateway.toml:") && said.contains("\"soon\" is not a day"), "{said}");
    let twice = old_system("until = \"2099-12-31\"").append(
        "gateway.toml",
        "[[legacy_issuers]]\nname = \"two\"\nsecret = { env = \"JWT_SECRET_KEY\" }\nuntil = \"2099-12-31\"\n",
    );
    assert!(refused_start(&twice, &[]).contains("cannot be told from another's"));
}

#[test]
fn two_secrets_that_disagree_are_refused_whatever_signs_and_an_empty_master_key_is_none() {
    let two = Setup::default().env("JWT_SECRET_KEY", &"a".repeat(32)).env("AUTH_JWT_SECRET_KEY", &"b".repeat(32));
    let said = refused_start(&two.env("AUTH_JWT_ALGORITHM", "RS256"), &[]);
    assert!(said.contains("JWT_SECRET_KEY") && !said.contains("bbbb"), "{said}");
    Setup::default().env("MASTER_ENCRYPTION_KEY", "").start().register("ada@example.com");
}

// --- dev headers

fn dev() -> Setup {
    Setup::default().env("AUTH_ALLOW_DEV_HEADERS", "true")
}

fn ask(platform: &Platform, host: &str, path: &str, headers: &str) -> Answer {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    platform.raw(text.as_bytes())
}

const ADA: &str = "X-User-Email: ada@example.com\r\nX-User-Name: Ada\r\n";

#[test]
fn a_developer_is_whoever_the_headers_say_and_gets_an_account_on_first_sight() {
    let platform = dev().start();
    assert!(platform.log().contains("WARNING: dev_headers are on"), "{}", platform.log());
    let first = ask(&platform, "localhost", "/demo/x", ADA);
    assert_eq!(first.status, 200, "{first:?} {}", platform.log());
    assert_eq!(first.received("x-user-email"), ["ada@example.com"]);
    assert_eq!(first.received("x-user-role"), ["user"]);
    assert_eq!(first.received("x-auth-method"), ["dev_headers"]);
    let me = ask(&platform, "127.0.0.1:8001", "/auth/me", ADA);
    assert_eq!((&me.json()["email"], &me.json()["name"]), (&json!("ada@example.com"), &json!("Ada")), "{me:?}");
    assert_eq!(ask(&platform, "localhost", "/demo/x", ADA).received("x-user-id"), first.received("x-user-id"));
    // Nobody can log in to it.
    let login = platform.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_eq!(login.status, 401, "{login:?}");
    assert_eq!(ask(&platform, "localhost", "/demo/x", "X-User-Email: nobody\r\n").code(), "invalid_token");
    let two = format!("{ADA}Authorization: Bearer x\r\n");
    assert_eq!(ask(&platform, "localhost", "/demo/x", &two).code(), "ambiguous_credentials");
    let twice = format!("{ADA}X-User-Email: bob@example.com\r\n");
    assert_eq!(ask(&platform, "localhost", "/demo/x", &twice).code(), "ambiguous_credentials");
}

#[test]
fn dev_headers_that_came_through_something_else_are_not_believed() {
    let platform = dev().start();
    for (host, more) in [
        ("door.test", ""),
        ("evil.example", ""),
        ("localhost", "X-Forwarded-For: 192.0.2.1\r\n"),
        ("localhost", "Via: 1.1 proxy\r\n"),
        ("localhost", "Forwarded: for=192.0.2.1\r\n"),
    ] {
        let answer = ask(&platform, host, "/demo/x", &format!("{ADA}{more}"));
        assert_eq!(answer.code(), "missing_credential", "{host} {more}");
        let public = ask(&platform, host, "/demo/public/x", &format!("{ADA}{more}"));
        assert_eq!(public.received("x-user-email"), Vec::<String>::new(), "they are stripped as ever");
    }
}

#[test]
fn dev_headers_are_off_unless_somebody_switches_them_on() {
    let platform = Platform::start();
    assert_eq!(ask(&platform, "localhost", "/demo/x", ADA).code(), "missing_credential");
    assert!(!platform.log().contains("dev_headers"), "{}", platform.log());
}

#[test]
fn dev_headers_with_a_listener_that_others_can_reach_are_refused() {
    let http = dev().env("PORTCULLIS_LISTEN", "0.0.0.0:0");
    let said = refused_start(&http, &[]);
    assert!(said.contains("gateway.toml:") && said.contains("0.0.0.0:0 can be reached from other machines"), "{said}");
    let https = dev().edit("gateway.toml", "# https = \"0.0.0.0:443\"", "https = \"[::]:0\"");
    assert!(refused_start(&https, &[]).contains("[::]:0 can be reached"));
    let proxied = dev().edit("gateway.toml", "proxy_protocol = false", "proxy_protocol = true");
    assert!(refused_start(&proxied, &[]).contains("no dev_headers then"));
    // The command line has the last word on the listener, and none on this.
    let setup = dev();
    let folder = setup.folder();
    let mut command = Command::new(PORTCULLIS);
    command.args(["serve", "--listen", "0.0.0.0:0", "--config"]).arg(folder.path().join("config"));
    let output =
        command.arg("--data").arg(folder.path().join("data")).env("AUTH_ALLOW_DEV_HEADERS", "true").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}

// --- import

/// A hash as an old system made it, cheaply.
pub(crate) fn bcrypt(version: bcrypt::Version) -> String {
    bcrypt::hash_with_result(PASSWORD, 4).unwrap().format_for_version(version)
}

fn import(folder: &Path, lines: &[String], arguments: &[&str]) -> (Output, PathBuf) {
    let file = folder.join("users.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let mut command = Command::new(PORTCULLIS);
    command.arg("import").arg(&file).args(arguments).arg("--config").arg(folder.join("config"));
    command.arg("--data").arg(folder.join("data")).env("JWT_SECRET_KEY", SECRET);
    (command.output().unwrap(), folder.join("users.jsonl.rejected.jsonl"))
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn people_of_an_old_system_log_in_with_their_old_passwords_and_their_old_tokens() {
    let platform = old_system("until = \"2099-12-31\"\nsubject = \"id\"").start();
    let folder = platform.folder.path();
    let versions = [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY];
    let mut lines: Vec<String> = versions
        .into_iter()
        .enumerate()
        .map(|(number, version)| {
            json!({ "email": format!("old{number}@example.com"), "name": "Old", "password_hash": bcrypt(version), "id": number,
                    "role": "developer", "tier": "pro", "is_verified": true, "created_at": "2020-01-02T03:04:05Z",
                    "avatar_url": format!("https://old.example/{number}.png") })
            .to_string()
        })
        .collect();
    lines.push(json!({ "email": "bare@example.com" }).to_string());
    let (output, _) = import(folder, &lines, &["--system", "old"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told(&output), "4 accounts made, 0 were here already, 0 lines rejected");
    for number in 0..3 {
        let email = format!("old{number}@example.com");
        for _ in 0..2 {
            // The second time it is Argon2's.
            let token = platform.login(&email);
            let me = platform.get("/auth/me", &token).json();
            assert_eq!(
                (&me["role"], &me["tier"], &me["is_verified"]),
                (&json!("developer"), &json!("pro"), &json!(true))
            );
            assert!(me["created_at"].as_str().unwrap().starts_with("2020-01-02"), "{me}");
            assert_eq!(me["avatar_url"], format!("https://old.example/{number}.png"));
        }
    }
    let by_id = |id: &str| said(&platform, &plain(&json!({ "sub": id, "exp": now() + 60 })));
    assert_eq!(by_id("1"), refused(200, ""));
    assert_eq!(by_id("old1@example.com"), refused(403, "unknown_account"));
    // Again, and one more: nothing is made twice, nothing is changed.
    lines.push(json!({ "email": "new@example.com", "id": 9 }).to_string());
    lines[0] = json!({ "email": "OLD0@example.com", "role": "admin", "id": 0 }).to_string();
    let (output, _) = import(folder, &lines, &["--system", "old"]);
    assert_eq!(told(&output), "1 accounts made, 4 were here already, 0 lines rejected", "{output:?}");
    assert_eq!(platform.get("/auth/me", &platform.login("old0@example.com")).json()["role"], "developer");
    assert_eq!(by_id("9"), refused(200, ""));
}

#[test]
fn a_line_that_cannot_be_is_told_with_its_number_and_the_rest_is_imported() {
    let setup = Setup::default();
    let folder = setup.folder();
    let hash = bcrypt(bcrypt::Version::TwoB);
    let lines = [
        json!({ "email": "good@example.com", "password_hash": hash }).to_string(),
        "not json".to_owned(),
        json!({ "email": "nobody" }).to_string(),
        json!({ "email": "a@example.com", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99" }).to_string(),
        json!({ "email": "b@example.com", "password_hash": hash.replace("$04$", "$31$") }).to_string(),
        json!({ "email": "c@example.com", "password_hash": "$argon2id$v=19$m=4000000,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA" }).to_string(),
        json!({ "email": "d@example.com", "role": "emperor" }).to_string(),
        json!({ "email": "e@example.com", "tier": "platinum" }).to_string(),
        json!({ "email": "f@example.com", "id": 7 }).to_string(),
        json!({ "email": "g@example.com", "is_admin": true }).to_string(),
        json!({ "email": "h@example.com", "name": "x".repeat(70_000) }).to_string(),
        json!({ "email": "i@example.com", "name": "\u{202e}ada" }).to_string(),
        json!({ "email": "j@example.com", "avatar_url": "javascript:alert(1)" }).to_string(),
        String::new(),
        // What nobody sees is no name, and no reason to leave somebody behind.
        json!({ "email": "last@example.com", "name": "\u{200b}" }).to_string(),
    ];
    let (output, report) = import(folder.path(), &lines, &["--dry-run"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let mode = fs::metadata(&report).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what is said of people is nobody else's to read");
    assert_eq!(told(&output), "2 lines are good, 12 rejected; nothing was stored (--dry-run)");
    let (output, _) = import(folder.path(), &lines, &[]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    assert_eq!(
        told(&output),
        "2 accounts made, 0 were here already, 12 lines rejected",
        "the dry run has stored nothing"
    );
    let report = fs::read_to_string(report).unwrap();
    let rejected: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = rejected.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    for (reason, part) in rejected.iter().zip([
        "it is no JSON object",
        "one @",
        "neither bcrypt",
        "costs more",
        "costs more",
        "`role` is none of roles.toml",
        "`tier` is none of tiers.toml",
        "--system",
        "a field that is not known here",
        "longer than",
        "a name must not contain characters that turn the direction",
        "`avatar_url` must be an http",
    ]) {
        assert!(reason["reason"].as_str().unwrap().contains(part), "{reason} {part}");
    }
}

#[test]
fn an_old_id_that_is_another_accounts_is_not_taken_from_it() {
    let setup = Setup::default();
    let folder = setup.folder();
    let line = |email: &str| json!({ "email": email, "id": "7" }).to_string();
    let (output, _) = import(folder.path(), &[line("one@example.com")], &["--system", "old"]);
    assert!(output.status.success(), "{output:?}");
    let (output, report) = import(folder.path(), &[line("two@example.com")], &["--system", "old"]);
    assert_eq!(
        (output.status.code(), told(&output).as_str()),
        (Some(65), "0 accounts made, 0 were here already, 1 lines rejected")
    );
    assert!(fs::read_to_string(report).unwrap().contains("another address"));
    let (output, _) = import(folder.path(), &[line("two@example.com")], &["--system", "elsewhere"]);
    assert_eq!(
        told(&output),
        "1 accounts made, 0 were here already, 0 lines rejected",
        "another system has ids of its own"
    );
}

// --- check-connection, reset

fn command(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PORTCULLIS);
    command.args(arguments).arg("--config").arg(folder.join("config")).arg("--data").arg(folder.join("data"));
    command.env("REDIS_URL", "redis://127.0.0.1:1").output().unwrap()
}

#[test]
fn what_can_be_reached_is_told_line_by_line() {
    let good = Setup::default().folder();
    assert!(command(good.path(), &["migrate", "up"]).status.success());
    let output = command(good.path(), &["check-connection"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told(&output), "database  ok\nredis     not configured\nmail      into files");
    let bad = Setup::default()
        .edit(
            "gateway.toml",
            "# redis = { env = \"REDIS_URL\" }",
            "redis = { env = \"REDIS_URL\" }\non_outage = \"refuse\"",
        )
        .edit(
            "gateway.toml",
            "transport = \"file\"",
            "transport = \"smtp\"\nserver = \"127.0.0.1:1\"\nsecurity = \"none\"",
        )
        .folder();
    let output = command(bad.path(), &["check-connection"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let told = told(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("database  not to be had: there is no database "), "{told}");
    assert!(
        lines[1].starts_with("redis     not to be had: ") && lines[2].starts_with("mail      not to be had: "),
        "{told}"
    );
}

/// What there is not cannot be in order, and is not made by looking for it.
#[test]
fn who_mistypes_the_data_folder_is_told_so_and_nothing_is_made() {
    for words in [
        &["audit", "verify"][..],
        &["keys", "rotate"],
        &["keys", "rotate-master"],
        &["check-connection"],
        &["migrate", "status"],
        &["migrate", "revert"],
        &["reset", "--yes-really"],
        &["service-account", "create", "meter"],
        &["service-account", "key", "0190a5a0-0000-7000-8000-000000000000"],
    ] {
        let folder = Setup::default().folder();
        let output = command(folder.path(), words);
        let said = told(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{words:?}: {said}");
        assert!(said.contains("there is no database "), "{words:?}: {said}");
        assert!(!folder.path().join("data").exists(), "{words:?}");
    }
}

/// Runs a command at a terminal, where each line is typed once the command asks for one; says all that stood there.
const TERMINAL: &str = "import os, pty, sys
typed, command = sys.argv[1].split('|'), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
said = b''
try:
    while some := os.read(terminal, 4096):
        said += some
        if said.endswith(b'to go on:\\r\\n'):
            os.write(terminal, typed.pop(0).encode() + b'\\n' if typed else b'\\x04')
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";

/// One of the binary's commands at a terminal, on the data of a folder.
pub(crate) fn at_terminal(typed: &str, folder: &Path, words: &[&str]) -> Output {
    let mut terminal = Command::new("python3");
    terminal.args(["-c", TERMINAL, typed, PORTCULLIS]).args(words).arg("--config").arg(folder.join("config"));
    terminal.arg("--data").arg(folder.join("data")).env("TERM", "xterm").output().unwrap()
}

#[test]
fn a_reset_asks_whoever_sits_there_twice() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let folder = platform.folder.path();
    let reset = |typed: &str| {
        let output = at_terminal(typed, folder, &["reset"]);
        let said = told(&output);
        (output.status.code(), said.matches("to go on:").count(), said)
    };
    for (typed, asked) in
        [("no", 1), ("y", 1), ("delete everything", 1), ("yes|yes", 2), ("yes|delete everything else", 2)]
    {
        let (code, times, said) = reset(typed);
        assert_eq!((code, times), (Some(1), asked), "{typed}: {said}");
        assert!(said.contains("nothing was deleted"), "{typed}: {said}");
        platform.login("ada@example.com");
    }
    let (code, times, said) = reset("yes|delete everything");
    assert_eq!((code, times), (Some(0), 2), "{said}");
    assert!(said.contains("There is no way back") && said.contains("Everything is deleted"), "{said}");
    let login = platform.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_ne!(login.status, 200, "{login:?}");
}

#[test]
fn a_reset_needs_somebody_who_means_it() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let output = command(platform.folder.path(), &["reset"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--yes-really"), "{output:?}");
    platform.login("ada@example.com");
    let folder = platform.folder.path().to_owned();
    let output = command(&folder, &["reset", "--yes-really"]);
    assert!(output.status.success(), "{output:?}");
    let again = command(&folder, &["migrate", "status"]);
    assert!(told(&again).lines().all(|line| line.contains("applied 2")), "{again:?}");
    let login = platform.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_ne!(login.status, 200, "{login:?}");
}
