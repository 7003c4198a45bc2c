//! Every setting that the documents name works as a variable, and two names for one thing have to agree.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};

use crate::{
    cluster::Redis,
    database::Database,
    doors::token,
    platform::{Answer, Platform, Setup, eventually},
};

const SECRET: &str = "J8sXv2qLw9Zr4Tn6Yb1Kc3Mf5Hd7Gp0A";
const OTHER_SECRET: &str = "another secret of thirty-two bytes, or more";
/// As `Fernet.generate_key()` writes it, and one more.
const KEY: &str = "wz3kqVZ0c1B8n5Zy2k7m9QpT4sLr6XaUe1Yd3Gf5Hj8=";
const OTHER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn with(variables: &[(&str, &str)]) -> Setup {
    variables.iter().fold(Setup::default(), |setup, (name, value)| setup.env(name, value))
}

/// The exit code of a start that comes to nothing, and what it says. One that comes to something ends here.
fn refused(setup: &Setup, folder: &Path) -> (Option<i32>, String) {
    let mut command = setup.command(folder, "127.0.0.1:1".parse().unwrap());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    if !ready.is_empty() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ready.is_empty(), "it serves: {ready}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn registered(platform: &Platform) -> Value {
    platform.register("user@example.com")
}

fn header(token: &Value) -> Value {
    let token = token.as_str().unwrap();
    serde_json::from_slice(&B64.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[test]
fn the_database_is_where_database_url_says() {
    let database = Database::new("settings");
    // Both schemes of the documents.
    let url = database.url.replace("postgres://", "postgresql://");
    let platform = with(&[("DATABASE_URL", &url), ("MASTER_ENCRYPTION_KEY", KEY)]).start();
    registered(&platform);
    assert_eq!(database.run("SELECT count(*) FROM portcullis.accounts"), "1");
}

#[test]
fn redis_is_where_redis_host_and_redis_port_say() {
    let redis = Redis::with(&["--requirepass", "p@ss/w#rd"]);
    let port = redis.port.to_string();
    let known = [("REDIS_HOST", "localhost"), ("REDIS_PORT", port.as_str()), ("REDIS_PASSWORD", "p@ss/w#rd")];
    let platform = with(&known).start();
    eventually("Redis to be found", || platform.metric("portcullis_redis_healthy") == 1);
    let platform = with(&known[1..]).start();
    eventually("Redis to be found on this machine", || platform.metric("portcullis_redis_healthy") == 1);
    let without = with(&[("REDIS_PORT", "tcp://10.0.0.1:6379")]).start();
    assert_eq!(without.metric("portcullis_redis_healthy"), 0, "Kubernetes speaks of any service that is called redis");
    let folder = Setup::default().folder();
    let (code, said) =
        refused(&with(&[("REDIS_HOST", "localhost"), ("REDIS_PORT", "tcp://10.0.0.1:6379")]), folder.path());
    assert!(code == Some(78) && said.contains("REDIS_PORT is not a port"), "{said}");
}

#[test]
fn secrets_are_sealed_by_the_key_of_either_name() {
    for name in ["MASTER_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY"] {
        let platform = with(&[(name, KEY)]).start();
        let folder = platform.folder.path().to_owned();
        assert!(
            folder.join("data").is_dir() && !folder.join("data/master.key").exists(),
            "{name}: none is made beside it"
        );
        let (code, said) = refused(&with(&[(name, OTHER_KEY)]), &folder);
        assert!(code != Some(0) && said.contains("is this the master key"), "{name}: {said}");
    }
}

#[test]
fn a_sentence_is_no_master_key() {
    let folder = Setup::default().folder();
    for name in ["MASTER_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY"] {
        let (code, said) = refused(&with(&[(name, "your-encryption-key-change-this")]), folder.path());
        assert!(code == Some(78) && said.contains(name) && said.contains("keys generate"), "{said}");
        assert!(!said.contains("your-encryption-key"), "it is not repeated: {said}");
    }
}

#[test]
fn tokens_are_signed_by_the_secret_of_either_name_without_a_word_about_the_algorithm() {
    for name in ["JWT_SECRET_KEY", "AUTH_JWT_SECRET_KEY"] {
        let platform = with(&[(name, SECRET)]).start();
        let token = token(&platform.post(
            "/auth/register",
            None,
            &json!({ "email": "user@example.com", "password": "password123" }),
        ));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, message.as_bytes(), &B64.decode(signature).unwrap()).unwrap();
        assert_eq!(platform.get("/auth/me", &token).status, 200, "{name}");
        // Services are told by a signature that they can check and not make, all the same.
        let assertion = platform.get("/demo/x", &token).received("x-gateway-assertion");
        assert_eq!(header(&json!(assertion[0]))["alg"], "EdDSA");
    }
}

#[test]
fn a_secret_says_nothing_to_whoever_has_chosen_another_algorithm() {
    for (algorithm, alg) in [("ES256", "ES256"), ("EdDSA", "EdDSA"), ("HS256", "HS256")] {
        let platform = with(&[("AUTH_JWT_ALGORITHM", algorithm), ("AUTH_JWT_SECRET_KEY", SECRET)]).start();
        assert_eq!(header(&registered(&platform)["access_token"])["alg"], alg);
    }
    let legacy =
        "\n[[legacy_issuers]]\nname = \"old\"\nsecret = { env = \"JWT_SECRET_KEY\" }\nuntil = \"2099-12-31\"\n";
    let platform = with(&[("JWT_SECRET_KEY", SECRET)]).append("gateway.toml", legacy).start();
    assert_eq!(
        header(&registered(&platform)["access_token"])["alg"],
        "EdDSA",
        "it is there for another system's tokens"
    );
    assert_eq!(header(&registered(&Platform::start())["access_token"])["alg"], "EdDSA");
}

#[test]
fn an_access_token_lives_for_as_many_minutes_as_either_name_says() {
    for name in ["ACCESS_TOKEN_EXPIRE_MINUTES", "AUTH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES"] {
        assert_eq!(registered(&with(&[(name, "5")]).start())["expires_in"], 300, "{name}");
    }
    assert_eq!(registered(&Platform::start())["expires_in"], 1800);
}

#[test]
fn a_refresh_token_lives_for_as_many_days_as_refresh_token_expire_days_says() {
    let database = Database::new("refresh");
    let shared = [("DATABASE_URL", database.url.as_str()), ("MASTER_ENCRYPTION_KEY", KEY)];
    let platform = with(&[shared[0], shared[1], ("REFRESH_TOKEN_EXPIRE_DAYS", "3")]).start();
    registered(&platform);
    let days = "SELECT round(extract(epoch FROM expires_at - now()) / 86400) FROM portcullis.refresh_tokens";
    assert_eq!(database.run(days), "3");
}

#[test]
fn a_lock_comes_after_max_login_attempts_and_lasts_lockout_duration_minutes() {
    let platform = with(&[("MAX_LOGIN_ATTEMPTS", "2"), ("LOCKOUT_DURATION_MINUTES", "7")]).start();
    registered(&platform);
    let try_in = || -> Answer {
        platform.post("/auth/login", None, &json!({ "email": "user@example.com", "password": "not the password" }))
    };
    assert_eq!([try_in().code(), try_in().code()], ["invalid_credentials", "invalid_credentials"]);
    let locked = try_in();
    assert_eq!(locked.code(), "login_locked");
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((6 * 60..=7 * 60).contains(&wait), "{wait}");
    // Longer than the longest that is shipped, of which the old system knows nothing.
    drop(with(&[("LOCKOUT_DURATION_MINUTES", "2880")]).start());
}

fn preflight(platform: &Platform, path: &str, origin: &str, headers: &str) -> Answer {
    let fields =
        [("Origin", origin), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", headers)];
    platform.send("OPTIONS", path, &fields, "")
}

#[test]
fn foreign_pages_may_call_from_the_origins_of_auth_api_cors_origins_and_never_as_the_browser_s_user() {
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    let platform = with(&[("AUTH_API_CORS_ORIGINS", "https://app.example.com, https://other.example.com")]).start();
    let answer = preflight(&platform, "/auth/me", "https://other.example.com", "authorization, x-api-key");
    assert_eq!((answer.status, allowed(&answer).as_deref()), (204, Some("https://other.example.com")), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    // What is not the account service's has rules of its own, or none.
    assert_eq!(allowed(&preflight(&platform, "/demo/x", "https://app.example.com", "authorization")), None);
    assert_eq!(
        allowed(&preflight(&platform, "/.well-known/jwks.json", "https://app.example.com", "")).as_deref(),
        Some("*")
    );
    let nobody = Platform::start();
    assert_eq!(allowed(&preflight(&nobody, "/auth/me", "https://app.example.com", "authorization")), None);

    let every = with(&[("AUTH_API_CORS_ORIGINS", "*"), ("AUTH_ALLOW_DEV_HEADERS", "true")]).start();
    let answer = preflight(&every, "/auth/me", "https://any.example", "authorization");
    assert_eq!((allowed(&answer).as_deref(), answer.header("access-control-allow-credentials")), (Some("*"), None));
    let answer = preflight(&every, "/auth/me", "https://any.example", "x-user-email");
    assert_eq!(answer.status, 403, "no page of the web says who a developer is: {answer:?}");

    let folder = Setup::default().folder();
    let (code, said) = refused(&with(&[("AUTH_API_CORS_ORIGINS", "app.example.com")]), folder.path());
    assert!(code == Some(78) && said.contains("gateway.toml:") && said.contains("is not an origin"), "{said}");
}

#[test]
fn auth_allow_dev_headers_false_believes_no_header() {
    // As the replay of 003 asks where it is true.
    let me = "GET /auth/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-User-Email: user@example.com\r\n\r\n";
    let platform = with(&[("AUTH_ALLOW_DEV_HEADERS", "false")]).start();
    assert_eq!(platform.raw(me.as_bytes()).code(), "missing_credential");
    assert!(!platform.log().contains("dev_headers"), "{}", platform.log());
    // So others may reach it; the command line has the last word on where it listens.
    let open = with(&[("AUTH_ALLOW_DEV_HEADERS", "false"), ("PORTCULLIS_LISTEN", "0.0.0.0:0")]).start();
    assert_eq!(open.raw(me.as_bytes()).code(), "missing_credential");
    let believing = with(&[("AUTH_ALLOW_DEV_HEADERS", "true")]).start();
    assert_eq!(believing.raw(me.as_bytes()).status, 200);
    let folder = Setup::default().folder();
    let (code, said) = refused(&with(&[("AUTH_ALLOW_DEV_HEADERS", "never")]), folder.path());
    assert!(code == Some(78) && said.contains("gateway.toml:"), "neither: {said}");
}

#[test]
fn two_names_for_one_thing_that_do_not_agree_end_the_start() {
    let folder = Setup::default().folder();
    for (one, other, values) in [
        ("AUTH_JWT_SECRET_KEY", "JWT_SECRET_KEY", [SECRET, OTHER_SECRET]),
        ("MASTER_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY", [KEY, OTHER_KEY]),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "AUTH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", ["30", "31"]),
    ] {
        let (code, said) = refused(&with(&[(one, values[0]), (other, values[1])]), folder.path());
        let line = said.lines().find(|line| line.contains("do not agree")).unwrap_or_else(|| panic!("{said}"));
        assert!(code == Some(78) && line.contains(one) && line.contains(other), "{said}");
        assert!(!said.contains(SECRET) && !said.contains(KEY), "what they hold is not told");
        registered(&with(&[(one, values[0]), (other, values[0])]).start());
    }
    let redis = |host: &str, port: &str| {
        with(&[("REDIS_URL", "redis://:secret@127.0.0.1:7000/0"), ("REDIS_HOST", host), ("REDIS_PORT", port)])
            .edit("gateway.toml", "# redis = { env", "redis = { env")
            .edit("gateway.toml", "# on_outage = \"local\"\n# nodes = 3", "on_outage = \"refuse\"")
    };
    let disagreeing = redis("127.0.0.1", "7001");
    let (code, said) = refused(&disagreeing, disagreeing.folder().path());
    assert!(code == Some(78) && said.contains("REDIS_URL and REDIS_HOST"), "{said}");
    redis("127.0.0.1", "7000").start();
    redis("", "7001").start();
}
