//! Mail through the real binary: into files, to a real mail server (aiosmtpd), and past one that is away; and the life of an
//! account that hangs on it.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    cluster::free_port,
    database::Database,
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, Running, Setup, eventually, shipped},
};

const SENT: &str = "portcullis_mails_total{outcome=\"sent\"}";
const RETRIED: &str = "portcullis_mails_total{outcome=\"retried\"}";
const FAILED: &str = "portcullis_mails_total{outcome=\"failed\"}";
const FILE: &str = "transport = \"file\"";

/// A mail server of the test's own, which need not run yet.
struct Server {
    port: u16,
    folder: TempDir,
}

// === impl Server ===

impl Server {
    fn new() -> Self {
        Self { port: free_port(), folder: tempfile::tempdir().unwrap() }
    }

    /// Debian's Python, whose package of the server it is.
    fn run(&self, tls: &[PathBuf]) -> Running {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(shipped("gateway/tests/door/smtpd.py")).arg(self.port.to_string()).arg(self.folder.path());
        Running::start(command.args(tls), None)
    }

    /// A gateway that sends its mail there.
    fn setup(&self, host: &str, more: &str) -> Setup {
        let section = format!("transport = \"smtp\"\nserver = \"{host}:{}\"\n{more}", self.port);
        Setup::default().edit("gateway.toml", FILE, &section)
    }

    fn mails(&self) -> Vec<String> {
        mails_in(self.folder.path())
    }
}

fn mails_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

pub(crate) fn token_in(mail: &str) -> String {
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let at = text.find("pco_").unwrap_or_else(|| panic!("no token in {text}"));
    text[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
}

/// The mail that comes next into the folder of a platform, taken out of it.
pub(crate) fn next_mail(platform: &Platform, what: &str) -> String {
    let folder = platform.folder.path().join("data/outbox");
    let mut found = None;
    eventually(what, || {
        found = mails_in(&folder).into_iter().find(|mail| mail.contains(what));
        found.is_some()
    });
    for entry in fs::read_dir(&folder).unwrap() {
        drop(fs::remove_file(entry.unwrap().path()));
    }
    found.unwrap()
}

fn visit(platform: &Platform, path: &str, cookie: Option<&str>, body: &serde_json::Value) -> Answer {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(cookie.map(|cookie| ("Cookie", cookie)));
    platform.send("POST", path, &headers, &body.to_string())
}

fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn by_default_mail_is_a_file_that_the_log_names_and_an_account_lives_by_it() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let mail = next_mail(&platform, "Confirm your address");
    assert!(mail.contains("http://127.0.0.1:8080/account/verify-email?token"), "{mail}");
    eventually("the log to name the file", || platform.log().contains("data/outbox/"));
    let confirmed = platform.post("/api/v2/auth/verify-email", None, &json!({ "token": token_in(&mail) }));
    assert_eq!((confirmed.status, &confirmed.json()["user"]["is_verified"]), (200, &json!(true)), "{confirmed:?}");

    let token = platform.login("ada@example.com");
    let asked = platform.post("/api/auth/request-password-reset", None, &json!({ "email": "ada@example.com" }));
    assert_eq!(asked.status, 202, "{asked:?}");
    let reset = token_in(&next_mail(&platform, "A new password"));
    let body = json!({ "token": reset, "new_password": "Another-Horse-8" });
    assert_eq!(platform.post("/auth/reset-password", None, &body).status, 200);
    assert_eq!(platform.get("/demo/x", &token).code(), "revoked", "at once");
    assert_eq!(platform.post("/auth/reset-password", None, &body).code(), "invalid_link");
    next_mail(&platform, "has changed");

    let asked = visit(&platform, "/auth/magic-link", None, &json!({ "email": "ada@example.com" }));
    let (cookie, link) = (cookie_of(&asked), token_in(&next_mail(&platform, "Your link to log in")));
    let body = json!({ "token": link });
    assert_eq!(visit(&platform, "/auth/magic-link/consume", None, &body).code(), "invalid_link");
    // Whatever other hosts have set beside it.
    let session = visit(&platform, "/auth/magic-link/consume", Some(&format!("name=Zoë; {cookie}")), &body);
    assert_eq!(session.status, 200, "{session:?}");
    let token = session.json()["access_token"].as_str().unwrap().to_owned();
    let listed = platform.get("/auth/sessions", &token).json();
    assert_eq!(listed["items"][0]["address"], "127.0.0.1", "{listed}");
    assert_eq!((&listed["items"][0]["current"], &listed["items"][0]["method"]), (&json!(true), &json!("magic_link")));
}

#[test]
fn a_mail_waits_for_a_server_that_is_away_and_arrives_once() {
    let server = Server::new();
    let platform = server.setup("127.0.0.1", "security = \"none\"").start();
    platform.register("ada@example.com");
    eventually("a failure", || platform.metric(RETRIED) > 0);
    let _running = server.run(&[]);
    eventually("the mail", || !server.mails().is_empty());
    eventually("the note that it was sent", || platform.metric(SENT) == 1);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].starts_with("From no-reply@localhost to ada@example.com tls=False\n"), "{}", mails[0]);
    assert!(mails[0].contains("To: ada@example.com") && mails[0].contains("multipart/alternative"), "{}", mails[0]);
}

#[test]
fn what_the_server_will_never_take_is_given_up_and_what_it_may_take_later_is_tried_again() {
    let server = Server::new();
    let _running = server.run(&[]);
    let platform = server.setup("127.0.0.1", "security = \"none\"").start();
    platform.register("gone@example.com");
    eventually("it to be given up", || platform.metric(FAILED) == 1);
    platform.register("later@example.com");
    eventually("it to be tried again", || platform.metric(RETRIED) > 0);
    assert_eq!((platform.metric(FAILED), server.mails().len()), (1, 0));
}

#[test]
fn mail_goes_over_starttls_with_a_login_and_in_clear_to_nobody() {
    let (server, folder) = (Server::new(), tempfile::tempdir().unwrap());
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("mail.pem"), folder.path().join("mail.key"));
    fs::write(&certificate, issued.cert.pem()).unwrap();
    fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let more = format!(
        "security = \"starttls\"\nusername = \"portcullis\"\npassword = {{ env = \"SMTP_PASSWORD\" }}\nca = \"{}\"",
        certificate.display()
    );
    let platform = server.setup("localhost", &more).env("SMTP_PASSWORD", "hunter2").start();
    let running = server.run(&[certificate, key]);
    platform.register("ada@example.com");
    eventually("the mail", || server.mails().len() == 1);
    assert!(server.mails()[0].starts_with("From no-reply@localhost to ada@example.com tls=True\n"));
    drop(running);

    // Whoever stands in its place offers no TLS.
    let _impostor = server.run(&[]);
    platform.register("bob@example.com");
    eventually("a refusal", || platform.metric(RETRIED) > 0);
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn two_gateways_on_one_database_send_each_mail_once() {
    let (server, database) = (Server::new(), Database::new("mail"));
    let _running = server.run(&[]);
    let node = || {
        server
            .setup("127.0.0.1", "security = \"none\"")
            .env("DATABASE_URL", &database.url)
            .env("MASTER_ENCRYPTION_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
            .start()
    };
    let nodes = [node(), node()];
    let sent = || nodes.iter().map(|node| node.metric(SENT)).sum::<u64>();
    for n in 0..16 {
        nodes[n % 2].register(&format!("person{n}@example.com"));
    }
    eventually("all to be sent", || sent() >= 16);
    let to: BTreeSet<String> = server.mails().iter().map(|mail| mail.lines().next().unwrap().to_owned()).collect();
    assert_eq!((sent(), server.mails().len(), to.len()), (16, 16, 16));
}

#[test]
fn whom_nobody_knows_is_counted_by_the_proxy_that_asks_for_them() {
    let platform = Setup::default()
        .edit("gateway.toml", "attempts_per_address = 50", "attempts_per_address = 3")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let guess = |email: &str, way: &[(&str, &str)]| {
        // Nobody but the door says by which.
        let headers = [("Content-Type", "application/json"), ("X-Gateway-Proxy", "127.0.0.7")];
        let body = json!({ "email": email, "password": "wrong" }).to_string();
        platform.send("POST", "/auth/login", &[&headers, way].concat(), &body).code()
    };
    for email in ["ada@example.com", "bob@example.com", "cleo@example.com"] {
        assert_eq!(guess(email, &[]), "invalid_credentials", "{email}");
    }
    assert_eq!(guess("dan@example.com", &[("X-Forwarded-For", "unknown")]), "login_locked");
    for other in ["127.0.0.7", "127.0.0.9", "192.0.2.1"] {
        assert_eq!(guess("dan@example.com", &[("X-Forwarded-For", other)]), "invalid_credentials", "{other}");
    }
}

#[test]
fn guesses_lock_by_the_address_that_the_door_sees_and_no_other() {
    let platform = Setup::default()
        .env("MAX_LOGIN_ATTEMPTS", "3")
        .env("LOCKOUT_DURATION_MINUTES", "7")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.1/32")
        .start();
    let log_in = |from: &str, password: &str| {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", from),
            // Nobody but the door says where a client is.
            ("X-Gateway-Client", "192.0.2.1"),
            ("X_Gateway_Client", "192.0.2.1"),
        ];
        platform.send(
            "POST",
            "/auth/login",
            &headers,
            &json!({ "email": "ada@example.com", "password": password }).to_string(),
        )
    };
    let home = [("Content-Type", "application/json"), ("X-Forwarded-For", "192.0.2.1")];
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    assert_eq!(platform.send("POST", "/auth/register", &home, &body).status, 201);
    for _ in 0..3 {
        assert_eq!(log_in("198.51.100.7", "wrong").code(), "invalid_credentials");
    }
    let locked = log_in("198.51.100.7", PASSWORD);
    assert_eq!((locked.status, locked.code().as_str()), (429, "login_locked"));
    // Seven minutes, less what has passed of them.
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((361..=420).contains(&wait), "{wait}");
    assert_eq!(log_in("203.0.113.9", PASSWORD).code(), "login_locked");
    assert_eq!(platform.send("POST", "/auth/login", &home, &body).status, 200);
    let mail = next_mail(&platform, "Somebody is guessing");
    // Lines are broken where quoted-printable breaks them (RFC 2045 §6.7).
    let text = mail.replace("=\r\n", "").replace("=\n", "");
    assert!(text.contains("To: ada@example.com") && text.contains("7 minutes"), "{mail}");

    let admin = platform.admin();
    let users = platform.get("/admin/users", &admin).json();
    let id = users["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(platform.post(&format!("/admin/users/{id}/unlock"), Some(&admin), &json!({})).status, 204);
    assert_eq!(log_in("203.0.113.9", PASSWORD).status, 200);
}

#[test]
fn the_production_example_is_good_and_its_passwords_are_of_fifteen_characters() {
    let check = Command::new(PORTCULLIS)
        .args(["check", "--config"])
        .arg(shipped("config/examples/production"))
        .env("DATABASE_URL", "postgres://portcullis@127.0.0.1/portcullis")
        .env("PORTCULLIS_PUBLIC_URL", "https://example.com")
        .env("SMTP_SERVER", "smtp.example.com:587")
        .env("SMTP_USERNAME", "portcullis")
        .env("SMTP_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    // The 3000 commonest that are long enough (OWASP ASVS 6.2.4), each of which counts.
    let listed = fs::read_to_string(shipped("config/examples/production/passwords.txt")).unwrap();
    let listed: HashSet<_> = listed.lines().filter(|line| !line.starts_with('#')).map(str::to_lowercase).collect();
    assert!(listed.len() >= 3000 && listed.iter().all(|one| one.chars().count() >= 15), "{}", listed.len());

    // Its rules and its way to register, on what a test has.
    let text = fs::read_to_string(shipped("config/examples/production/gateway.toml")).unwrap();
    let section = |name: &str| {
        let from = text.find(&format!("[{name}]")).unwrap();
        let rest = &text[from + name.len() + 2..];
        rest[..rest.find("\n[").unwrap()].replace("{ env = \"PORTCULLIS_PUBLIC_URL\" }", "\"https://example.com\"")
    };
    let gateway = format!(
        "[accounts]{}\n[passwords]{}\n[upstreams.demo]\nservers = [\"127.0.0.1:9\"]\n",
        section("accounts"),
        section("passwords")
            .replace("passwords.txt", &shipped("config/examples/production/passwords.txt").display().to_string())
    );
    let setup = Setup::default();
    let folder = setup.folder();
    fs::write(folder.path().join("config/gateway.toml"), gateway + "[listen]\nmetrics = \"127.0.0.1:0\"\n").unwrap();
    let running = Running::start(&mut setup.command(folder.path(), "127.0.0.1:9".parse().unwrap()), None);
    let register = |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password }).to_string();
        let text = format!(
            "POST /auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // Judging one takes a moment unoptimised, and no time is left for it where others compute without rest: then one comes again.
        let ask = || Answer::parse(&crate::platform::exchange(running.address("http"), text.as_bytes()));
        std::iter::repeat_with(ask).take(5).find(|answer| answer.status != 503).unwrap()
    };
    for (weak, why) in [
        ("fourteen chars", "at least 15 characters"),
        ("Correct Horse Battery Staple", "guessed first"),
        ("ada.lovelace@example", "little more than"),
        ("aaaaaaaaaaaaaaaaaaaaaaa1", "too easy to guess"),
        // Which zxcvbn would let pass.
        ("MomsAnAladventure", "guessed first"),
    ] {
        let answer = register("ada.lovelace@example.com", weak);
        assert_eq!(answer.status, 422, "{weak}: {answer:?}");
        assert!(answer.body.contains(why), "{weak}: {answer:?}");
    }
    let good = register("ada.lovelace@example.com", "dry trumpets flatten eleven moths");
    assert_eq!(good.status, 202, "{good:?}");
    let outbox = folder.path().join("data/outbox");
    eventually("the mail", || mails_in(&outbox).len() == 1);
    // A megabyte of password is refused by its size, before anybody looks at it.
    let huge = register("ada.lovelace@example.com", &"x".repeat(1 << 20));
    assert_eq!(huge.status, 413, "{huge:?}");
    let long = register("ada.lovelace@example.com", &"x y".repeat(400));
    assert!(long.status == 422 && long.body.contains("longer than 1024 bytes"), "{long:?}");
    let nul = register("ada.lovelace@example.com", "dry trumpets\u{0} flatten eleven");
    assert!(nul.status == 422 && nul.body.contains("cannot have"), "{nul:?}");
}
