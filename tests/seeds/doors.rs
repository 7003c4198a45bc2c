//! One door to the platform, or three on one Postgres and one Redis, of which each call goes to the next; and calls as the documents
//! write them.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};

use crate::{
    cluster::Redis,
    database::Database,
    platform::{Answer, PASSWORD, PORTCULLIS, Platform, Setup, eventually},
};

/// The environment that a document sets.
pub(crate) type Environment = &'static [(&'static str, &'static str)];

/// What a document starts with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Document {
    pub(crate) env: Environment,
    /// Routes to services of the document's own, added to `routes.toml`.
    pub(crate) routes: &'static str,
}

/// The doors, and what they stand on.
pub(crate) struct Doors {
    gateways: Vec<Platform>,
    next: Cell<usize>,
    env: Vec<(String, String)>,
    _services: Option<(Database, Redis)>,
}

/// Where secrets are sealed by one key on every node and the document names none.
const MASTER_KEY: (&str, &str) =
    ("MASTER_ENCRYPTION_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");

/// Each replay is two tests: with one door and with three. The names are `one::…` and `three::…`.
macro_rules! on_one_and_three {
    ($document:expr; $($replay:ident),+ $(,)?) => {
        mod one {
            $(#[test] fn $replay() { super::$replay(&crate::doors::Doors::one($document)); })+
        }
        mod three {
            $(#[test] fn $replay() {
                super::$replay(&crate::doors::Doors::three(stringify!($replay), $document));
            })+
        }
    };
}
pub(crate) use on_one_and_three;

// === impl Document ===

impl Document {
    fn setup(self, env: &[(String, String)]) -> Setup {
        let setup = Setup::default().append("routes.toml", self.routes);
        env.iter().fold(setup, |setup, (name, value)| setup.env(name, value))
    }

    fn env(self) -> Vec<(String, String)> {
        self.env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

// === impl Doors ===

impl Doors {
    /// As `make run` serves it.
    pub(crate) fn one(document: Document) -> Self {
        let env = document.env();
        Self { gateways: vec![document.setup(&env).start()], next: Cell::new(0), env, _services: None }
    }

    /// Three gateways that share a database and a Redis, told of both as documents 002 to 004 do.
    pub(crate) fn three(name: &str, document: Document) -> Self {
        // Postgres cuts names at 63 bytes.
        let (database, redis) = (Database::new(&name[..name.len().min(40)]), Redis::start());
        redis.is_old();
        let mut env = document.env();
        let mut more = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        more("DATABASE_URL", &database.url);
        more("REDIS_HOST", "127.0.0.1");
        more("REDIS_PORT", &redis.port.to_string());
        if !document.env.iter().any(|(name, _)| name.contains("MASTER")) {
            more(MASTER_KEY.0, MASTER_KEY.1);
        }
        let gateways: Vec<_> = (0..3).map(|_| document.setup(&env).start()).collect();
        for door in &gateways {
            eventually("Redis to be found", || door.metric("portcullis_redis_healthy") == 1);
        }
        Self { gateways, next: Cell::new(0), env, _services: Some((database, redis)) }
    }

    /// The door whose turn it is.
    fn next(&self) -> &Platform {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.gateways.len());
        &self.gateways[turn]
    }

    /// A call as documents 002 and 003 write it: method and path, header fields, and a body from the first line that begins with `{`.
    pub(crate) fn call(&self, text: &str) -> Answer {
        Self::call_at(self.next(), text)
    }

    fn call_at(door: &Platform, text: &str) -> Answer {
        let mut lines = text.trim().lines();
        let (method, path) = lines.next().unwrap().trim().split_once(' ').unwrap();
        let (mut headers, mut body) = (Vec::new(), String::new());
        for line in lines {
            match line.split_once(": ") {
                Some((name, value)) if body.is_empty() && !line.trim().starts_with('{') => {
                    headers.push((name.trim(), value.trim()));
                }
                _ => body += line,
            }
        }
        Self::send(door, method, path, &headers, body.trim())
    }

    fn send(door: &Platform, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let fields = headers.iter().fold(String::new(), |fields, (name, value)| format!("{fields}{name}: {value}\r\n"));
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        // A loopback name, as whoever tries a document out on one machine has it.
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{length}\r\n{body}");
        let mut answer = None;
        // Where Redis has not answered within 20 ms, as it may on a busy machine, the caller is asked to come again.
        eventually("limits to be counted", || {
            let said = door.raw(text.as_bytes());
            let is_counted = said.code() != "limiter_unavailable";
            answer = Some(said);
            is_counted
        });
        answer.unwrap()
    }

    /// A call as documents 003 and 004 write it: a command line of `curl`, to which host and port are given.
    pub(crate) fn curl(&self, text: &str) -> Answer {
        let here = format!("http://localhost:{}", self.next().http.port());
        let script = text.trim().replace("http://localhost:8001", &here).replace("http://localhost:8080", &here);
        let mut answer = None;
        eventually("limits to be counted", || {
            let done = Command::new("bash").args(["-euc", &format!("{script} --raw -s -i")]).output().unwrap();
            assert!(done.status.success(), "{text}: {done:?}");
            let said = Answer::parse(&done.stdout);
            let is_counted = said.code() != "limiter_unavailable";
            answer = Some(said);
            is_counted
        });
        answer.unwrap()
    }

    /// A call of which only the status matters, until it is so at each door: what one is told another one hears a moment later.
    pub(crate) fn becomes(&self, status: u16, text: &str) {
        for door in &self.gateways {
            eventually(text, || Self::call_at(door, text).status == status);
        }
    }

    /// Units of shared limits that were lent and not spent, as of a lease that a door on a busy machine heard of too late.
    pub(crate) fn units_lost(&self) -> u64 {
        self.gateways.iter().map(|door| door.metric("portcullis_lease_units_total{fate=\"lost\"}")).sum()
    }

    /// The one-time token in the mail with this subject, whichever door has sent it. The mail is taken away.
    pub(crate) fn token_in_mail(&self, subject: &str) -> String {
        let mut found = None;
        eventually(subject, || {
            found = self.outboxes().into_iter().find_map(|path| {
                let mail = fs::read_to_string(&path).ok().filter(|mail| mail.contains(subject))?;
                fs::remove_file(path).ok()?;
                Some(mail)
            });
            found.is_some()
        });
        let text = found.unwrap().replace("=\r\n", "").replace("=3D", "=");
        let at = text.find("pco_").unwrap_or_else(|| panic!("no token in {text}"));
        text[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    }

    fn outboxes(&self) -> Vec<PathBuf> {
        let folders = self.gateways.iter().map(|door| door.folder.path().join("data/outbox"));
        folders
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect()
    }

    /// One of the binary's own commands, on the same data.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        let folder = self.gateways[0].folder.path();
        let mut command = Command::new(PORTCULLIS);
        command.args(words).env("PORTCULLIS_CONFIG", folder.join("config")).env("PORTCULLIS_DATA", folder.join("data"));
        command.envs(self.env.iter().cloned()).env("PORTCULLIS_ADMIN_PASSWORD", PASSWORD).output().unwrap()
    }

    /// A service account; its key.
    pub(crate) fn service_account(&self, name: &str) -> String {
        let made = self.command(&["service-account", "create", name]);
        assert!(made.status.success(), "{made:?}");
        let said = String::from_utf8(made.stdout).unwrap();
        said.lines().find_map(|line| line.strip_prefix("client_secret: ")).unwrap().to_owned()
    }

    /// The first administrator, logged in.
    pub(crate) fn administrator(&self) -> String {
        let made = self.command(&["create-admin", "--email", "admin@example.com"]);
        assert!(made.status.success(), "{made:?}");
        let body = format!(r#"{{"email": "admin@example.com", "password": "{PASSWORD}"}}"#);
        token(&self.call(&format!("POST /auth/login\n{body}")))
    }
}

/// The access token in an answer that must have been good.
pub(crate) fn token(answer: &Answer) -> String {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The same token with another end, so many seconds from now, and signed by this secret.
pub(crate) fn signed_anew(token: &str, secret: &str, seconds: i64) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    let mut claims: Value = serde_json::from_slice(&B64.decode(claims).unwrap()).unwrap();
    claims["exp"] = json!(chrono::Utc::now().timestamp() + seconds);
    let message = format!("{header}.{}", B64.encode(claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", B64.encode(signature))
}

/// A person as an answer shows them has these fields, of these kinds; ids are UUIDs in text, where documents show numbers too.
pub(crate) fn is_person(user: &Value, email: &str) {
    assert_eq!(user["email"], email, "{user}");
    assert!(uuid::Uuid::parse_str(user["id"].as_str().unwrap()).is_ok(), "{user}");
}
