//! External issuers at the door: real tokens by real keys, from an issuer of the test's own that can be made to misbehave.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use identity::{Algorithm, SigningKey, TokenType};
use serde_json::{Value, json};

use crate::mail::next_mail;
use crate::platform::{Answer, Platform, Setup, eventually, pace};

/// An issuer on this machine.
pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What is answered at `/keys`: status, headers, body.
    keys: (u16, String, String),
    /// What is answered at `/.well-known/openid-configuration`.
    metadata: String,
    /// Requests for keys so far, and how many of them named the keys' `ETag`.
    asked: usize,
    revalidated: usize,
    /// Nothing is answered for as long as this is so.
    hangs: bool,
}

// === impl Issuer ===

impl Issuer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let metadata = json!({ "issuer": format!("http://{address}"), "jwks_uri": format!("http://{address}/keys") });
        let keys = (500, String::new(), String::new());
        let state = State { keys, metadata: metadata.to_string(), asked: 0, revalidated: 0, hangs: false };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&served);
                thread::spawn(move || drop(serve(stream.unwrap(), &state)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(&serde_json::from_str(&key_set(keys)).unwrap());
    }

    pub(crate) fn publish_raw(&self, set: &Value) {
        self.answer(200, "ETag: \"one\"\r\nCache-Control: max-age=600\r\n", &set.to_string());
    }

    fn answer(&self, status: u16, headers: &str, body: &str) {
        self.state.lock().unwrap().keys = (status, headers.to_owned(), body.to_owned());
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.state.lock().unwrap().hangs = hangs;
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    fn revalidated(&self) -> usize {
        self.state.lock().unwrap().revalidated
    }

    /// A platform that believes it, with these keys in its section.
    pub(crate) fn setup(&self, more: &str) -> Setup {
        Setup::default()
            .env("AUTH_OIDC_ISSUER", &self.name())
            .env("AUTH_OIDC_AUDIENCE", "door")
            .env("AUTH_OIDC_ACCOUNTS", "create")
            .edit("gateway.toml", "refresh_min = \"60s\"", &format!("refresh_min = \"60s\"\n{more}"))
    }

    /// What it says of somebody.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        json!({ "iss": self.name(), "aud": "door", "sub": subject, "iat": now(), "exp": now() + 600, "name": "From There" })
    }

    fn token(&self, key: &SigningKey, subject: &str) -> String {
        key.sign(TokenType::Access, &self.claims(subject))
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head += &line;
        line.clear();
    }
    let (mut stream, keys) = (stream, head.starts_with("GET /keys "));
    state.lock().unwrap().asked += usize::from(keys);
    while state.lock().unwrap().hangs {
        pace(Duration::from_millis(5));
    }
    let (status, headers, body) = {
        let mut state = state.lock().unwrap();
        let same = head.to_ascii_lowercase().contains("if-none-match: \"one\"");
        state.revalidated += usize::from(keys && same);
        match keys {
            true if same && state.keys.0 == 200 && state.keys.1.contains("one") => {
                (304, state.keys.1.clone(), String::new())
            }
            true => state.keys.clone(),
            false => (200, String::new(), state.metadata.clone()),
        }
    };
    write!(stream, "HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.verifying_key().jwk().unwrap().clone()).collect();
    json!({ "keys": keys }).to_string()
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(crate) fn key(algorithm: Algorithm, kid: &str) -> SigningKey {
    SigningKey::generate(algorithm, kid.to_owned(), &mut rand::rng()).unwrap()
}

fn demo(platform: &Platform, token: &str) -> Answer {
    platform.get("/demo/private/x", token)
}

/// Status and code of the demo route, which demands somebody.
fn said(platform: &Platform, token: &str) -> (u16, String) {
    let answer = demo(platform, token);
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn let_in() -> (u16, String) {
    refused(200, "")
}

/// What the metrics call so many fetches.
fn fetches(issuer: &Issuer, outcome: &str) -> String {
    format!("portcullis_jwks_fetches_total{{issuer=\"{}\",outcome=\"{outcome}\"}}", issuer.name())
}

#[test]
fn whom_an_issuer_names_is_let_in_under_an_account_of_its_own() {
    let (issuer, rsa) = (Issuer::start(), key(Algorithm::Rs256, "rsa"));
    issuer.publish(&[&rsa]);
    let platform = issuer.setup("").start();
    let token = issuer.token(&rsa, "ada");
    let first = demo(&platform, &token);
    assert_eq!(first.status, 200, "{first:?} {}", platform.log());
    assert_eq!(first.received("x-auth-method"), ["oidc"]);
    assert_eq!(first.received("x-user-role"), ["user"]);
    assert_eq!(first.received("authorization"), Vec::<String>::new());
    let id = first.received("x-user-id");
    assert_eq!(
        demo(&platform, &issuer.token(&rsa, "ada")).received("x-user-id"),
        id,
        "the same subject is the same person"
    );
    assert_ne!(demo(&platform, &issuer.token(&rsa, "bob")).received("x-user-id"), id);
    let me = platform.get("/auth/me", &token);
    assert_eq!((me.status, &me.json()["name"]), (200, &json!("From There")), "{me:?}");
    // An administrator has the last word.
    let admin = platform.admin();
    let path = format!("/admin/users/{}", id[0]);
    let off = platform.json("PATCH", &path, Some(&admin), &json!({ "status": "disabled" }));
    assert_eq!(off.status, 200, "{off:?}");
    assert_eq!(said(&platform, &token), refused(403, "account_disabled"));
}

#[test]
fn what_an_issuer_did_not_say_is_refused() {
    let issuer = Issuer::start();
    let (rsa, other) = (key(Algorithm::Rs256, "rsa"), key(Algorithm::Rs256, "rsa"));
    issuer.publish(&[&rsa]);
    let platform = issuer.setup("").edit("gateway.toml", "level = \"info\"", "level = \"debug\"").start();
    let with = |change: fn(&mut Value)| {
        let mut claims = issuer.claims("eve");
        change(&mut claims);
        rsa.sign(TokenType::Access, &claims)
    };
    assert_eq!(said(&platform, &issuer.token(&rsa, "eve")), let_in());
    for (why, token, code) in [
        ("another's key of the same id", issuer.token(&other, "eve"), "invalid_token"),
        ("for somebody else", with(|claims| claims["aud"] = json!("others")), "invalid_token"),
        ("for nobody", with(|claims| drop(claims.as_object_mut().unwrap().remove("aud"))), "invalid_token"),
        ("about nobody", with(|claims| claims["sub"] = json!("")), "invalid_token"),
        ("without an end", with(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))), "invalid_token"),
        ("over", with(|claims| claims["exp"] = json!(now() - 1)), "expired"),
        ("not begun", with(|claims| claims["nbf"] = json!(now() + 300)), "invalid_token"),
        ("from somebody else", with(|claims| claims["iss"] = json!("http://127.0.0.1:1")), "invalid_token"),
        ("in our own name", with(|claims| claims["iss"] = json!("portcullis")), "invalid_token"),
        ("our word to an upstream", rsa.sign(TokenType::Assertion, &issuer.claims("eve")), "invalid_token"),
    ] {
        assert_eq!(said(&platform, &token), refused(401, code), "{why}");
    }
    // Why, is for the log alone.
    let line = format!("\"error\":\"the token is meant for somebody else\",\"issuer\":\"{}\"", issuer.name());
    eventually("the reason to be in the log", || platform.log().contains(&line));
    assert!(platform.log().contains("\"issuer\":\"none of [[issuers]]\""), "{}", platform.log());
}

#[test]
fn a_published_secret_and_a_short_list_of_other_useless_keys_are_no_keys() {
    let issuer = Issuer::start();
    let good = key(Algorithm::Es256, "good");
    let secret = SigningKey::hs256(&[7; 32], "secret".to_owned()).unwrap();
    let (one, two) = (key(Algorithm::EdDsa, "twin"), key(Algorithm::EdDsa, "twin"));
    let jwk = |key: &SigningKey| key.verifying_key().jwk().unwrap().clone();
    let mut encrypting = jwk(&key(Algorithm::EdDsa, "enc"));
    encrypting["use"] = json!("enc");
    // 32 bytes of 7 in base64url.
    let oct =
        json!({ "kty": "oct", "kid": "secret", "alg": "HS256", "k": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc" });
    issuer.publish_raw(&json!({ "keys": [oct, jwk(&one), jwk(&two), encrypting, jwk(&good)] }));
    let platform = issuer.setup("").start();
    assert_eq!(said(&platform, &issuer.token(&good, "ada")), let_in());
    for useless in [&secret, &one, &two] {
        assert_eq!(said(&platform, &issuer.token(useless, "ada")), refused(401, "invalid_token"), "{}", useless.kid());
    }
}

#[test]
fn a_rotation_is_followed_live_and_what_the_old_key_signed_is_worth_nothing() {
    let issuer = Issuer::start();
    let (old, new) = (key(Algorithm::EdDsa, "old"), key(Algorithm::Rs256, "new"));
    issuer.publish(&[&old]);
    let platform = issuer.setup("").start();
    let before = issuer.token(&old, "ada");
    assert_eq!(said(&platform, &before), let_in());
    let fetched = issuer.asked();
    issuer.answer(200, "ETag: \"two\"\r\n", &json!({ "keys": [new.verifying_key().jwk().unwrap()] }).to_string());
    assert_eq!(said(&platform, &before), let_in(), "nobody has said anything yet");
    assert_eq!(issuer.asked(), fetched);
    assert_eq!(said(&platform, &issuer.token(&new, "ada")), let_in(), "its first token brings the new key");
    assert_eq!(issuer.asked(), fetched + 1);
    assert_eq!(said(&platform, &before), refused(401, "invalid_token"), "the old key is withdrawn, cached or not");
}

#[test]
fn keys_are_asked_for_again_by_their_tag_and_the_last_good_ones_serve_while_the_issuer_is_away() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("")
        .env("AUTH_OIDC_JWKS_URL", &format!("{}/keys", issuer.name()))
        .edit("gateway.toml", "refresh_min = \"60s\"", "refresh_min = \"200ms\"")
        .edit("gateway.toml", "refresh_max = \"10m\"", "refresh_max = \"200ms\"")
        .start();
    eventually("revalidation", || issuer.revalidated() > 1);
    assert_eq!(said(&platform, &issuer.token(&key, "ada")), let_in());
    // A good set of another's, where it must not be taken from.
    let theirs = key_set(&[&self::key(Algorithm::EdDsa, "theirs")]);
    issuer.state.lock().unwrap().metadata.clone_from(&theirs);
    for (status, headers, body) in [
        (500, "", &*theirs),
        (200, "", "<html>"),
        (200, "", &theirs[..theirs.len() / 2]),
        (302, "Location: /elsewhere\r\n", ""),
        (200, "", &*format!("{theirs}{}", " ".repeat(256 * 1024))),
    ] {
        issuer.answer(status, headers, body);
        let [failed, unchanged] = ["failed", "unchanged"].map(|outcome| fetches(&issuer, outcome));
        let before = platform.metric(&failed);
        eventually("a failed fetch", || platform.metric(&failed) > before);
        assert_eq!(
            said(&platform, &issuer.token(&key, &format!("{status} {}", body.len()))),
            let_in(),
            "{status} {headers}"
        );
        // Else each pause would be longer than the one before.
        issuer.publish(&[&key]);
        let before = platform.metric(&unchanged);
        eventually("the issuer's return", || platform.metric(&unchanged) > before);
    }
}

#[test]
fn an_issuer_that_nobody_reaches_any_more_is_believed_by_its_last_keys_and_found_again() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer.setup("").edit("gateway.toml", "refresh_min = \"60s\"", "refresh_min = \"200ms\"");
    let platform = platform.edit("gateway.toml", "refresh_max = \"10m\"", "refresh_max = \"200ms\"").start();
    assert_eq!(said(&platform, &issuer.token(&key, "ada")), let_in());
    let nowhere = json!({ "issuer": issuer.name(), "jwks_uri": "http://127.0.0.1:1/keys" }).to_string();
    let honest = std::mem::replace(&mut issuer.state.lock().unwrap().metadata, nowhere);
    // Where its keys are is looked up again when they are not to be had.
    issuer.answer(500, "", "");
    eventually("the keys to be asked for in vain", || platform.log().contains("Connection refused"));
    assert_eq!(said(&platform, &issuer.token(&key, "bob")), let_in());
    issuer.state.lock().unwrap().metadata = honest;
    issuer.publish(&[&key]);
    let before = platform.metric(&fetches(&issuer, "unchanged"));
    eventually("the issuer's return", || platform.metric(&fetches(&issuer, "unchanged")) > before);
}

#[test]
fn an_issuer_that_publishes_no_key_any_more_is_believed_no_more_at_once() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer.setup("").edit("gateway.toml", "refresh_min = \"60s\"", "refresh_min = \"200ms\"");
    let platform = platform.edit("gateway.toml", "refresh_max = \"10m\"", "refresh_max = \"200ms\"").start();
    let cached = issuer.token(&key, "ada");
    assert_eq!(said(&platform, &cached), let_in());
    let oct = json!({ "kty": "oct", "kid": "k", "alg": "HS256", "k": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc" });
    for none in [json!({ "keys": [] }), json!({ "keys": [oct] })] {
        issuer.answer(200, "", &none.to_string());
        eventually("a refusal of what is cached", || said(&platform, &cached) == refused(401, "invalid_token"));
        assert_eq!(said(&platform, &issuer.token(&key, "bob")), refused(401, "invalid_token"));
        issuer.publish(&[&key]);
        eventually("the issuer's return", || said(&platform, &cached) == let_in());
    }
}

#[test]
fn a_key_that_one_issuer_withdraws_costs_nobody_else_a_look_up() {
    let issuer = Issuer::start();
    let (old, new) = (key(Algorithm::EdDsa, "old"), key(Algorithm::EdDsa, "new"));
    issuer.publish(&[&old]);
    let platform = issuer.setup("").start();
    let own = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let theirs = issuer.token(&old, "bob");
    for token in [&own, &theirs] {
        assert_eq!(said(&platform, token), let_in());
    }
    issuer.answer(200, "", &key_set(&[&new]));
    assert_eq!(said(&platform, &issuer.token(&new, "carol")), let_in());
    let stale = || platform.metric("portcullis_credential_cache_stale_total");
    let before = stale();
    assert_eq!(said(&platform, &own), let_in());
    assert_eq!(stale(), before, "what our own key has signed is as good as it was");
    assert_eq!(said(&platform, &theirs), refused(401, "invalid_token"));
    assert_eq!(stale(), before + 1);
}

#[test]
fn an_issuer_without_ids_of_keys_is_understood_while_there_is_one() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "never said"));
    let jwk = |key: &SigningKey| {
        let mut jwk = key.verifying_key().jwk().unwrap().clone();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    issuer.publish_raw(&json!({ "keys": [jwk(&key)] }));
    let platform = issuer.setup("").start();
    // Without an id, as by a program of its own.
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = issuer.token(&key, "ada");
    assert_eq!(said(&platform, &signed), refused(401, "invalid_token"), "it names a key that nobody has");
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&issuer.claims("ada")));
    let pair = Ed25519KeyPair::from_seed_unchecked(&key.to_bytes()).unwrap();
    let bare = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())));
    assert_eq!(said(&platform, &bare), let_in(), "{}", platform.log());
}

#[test]
fn while_the_issuer_is_silent_an_unknown_key_is_no_fault_of_the_caller() {
    let issuer = Issuer::start();
    let (known, next) = (key(Algorithm::EdDsa, "known"), key(Algorithm::EdDsa, "next"));
    issuer.publish(&[&known]);
    let platform = issuer.setup("").start();
    assert_eq!(said(&platform, &issuer.token(&known, "ada")), let_in());
    issuer.answer(503, "", "");
    let answer = demo(&platform, &issuer.token(&next, "ada"));
    assert_eq!((answer.status, answer.code().as_str()), (503, "issuer_unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(said(&platform, &issuer.token(&known, "bob")), let_in());
    issuer.answer(200, "", &key_set(&[&known, &next]));
    eventually("the issuer's return", || said(&platform, &issuer.token(&next, "ada")) == let_in());
}

#[test]
fn while_the_issuer_hangs_nobody_waits_whose_key_is_known_others_only_for_a_moment_and_what_it_says_is_not_lost() {
    let issuer = Issuer::start();
    let (known, next) = (key(Algorithm::EdDsa, "known"), key(Algorithm::EdDsa, "next"));
    issuer.publish(&[&known]);
    let platform = issuer.setup("").start();
    assert_eq!(said(&platform, &issuer.token(&known, "ada")), let_in());
    issuer.answer(200, "", &key_set(&[&known, &next]));
    issuer.hang(true);
    let count = |outcome: &str| platform.metric(&fetches(&issuer, outcome));
    let (asked, fetched) = (issuer.asked(), count("fetched"));
    thread::scope(|scope| {
        let unknown = scope.spawn(|| demo(&platform, &issuer.token(&next, "ada")));
        eventually("a fetch", || issuer.asked() > asked);
        assert_eq!(said(&platform, &issuer.token(&known, "bob")), let_in());
        assert_eq!(count("failed"), 0, "bob has waited for it");
        let answer = unknown.join().unwrap();
        assert_eq!((answer.status, &*answer.code()), (503, "issuer_unavailable"), "{answer:?}");
        assert!(answer.header("retry-after").is_some());
    });
    assert_eq!(count("failed"), 0, "ada has waited until it was given up");
    issuer.hang(false);
    eventually("the issuer's answer", || count("fetched") > fetched);
    assert_eq!(said(&platform, &issuer.token(&next, "ada")), let_in());
    assert_eq!(issuer.asked(), asked + 1, "it was asked once");
}

#[test]
fn a_flood_of_unknown_keys_asks_the_issuer_a_few_times_and_keeps_nobody_else_out() {
    let (issuer, good) = (Issuer::start(), key(Algorithm::EdDsa, "good"));
    issuer.publish(&[&good]);
    let platform = issuer.setup("").start();
    assert_eq!(said(&platform, &issuer.token(&good, "ada")), let_in());
    let before = issuer.asked();
    let made_up = key(Algorithm::EdDsa, "nobody-has-this");
    for _ in 0..3 {
        assert_eq!(said(&platform, &issuer.token(&made_up, "eve")), refused(401, "invalid_token"));
    }
    assert_eq!(issuer.asked(), before + 1, "that there is no such key is remembered");
    for number in 0..60 {
        let made_up = key(Algorithm::EdDsa, &format!("nobody-has-{number}"));
        let (status, _) = said(&platform, &issuer.token(&made_up, "eve"));
        assert!(matches!(status, 401 | 503), "{status}");
    }
    assert_eq!(issuer.asked(), before + 5, "one address has its own small budget");
    assert_eq!(said(&platform, &issuer.token(&good, "bob")), let_in());
}

#[test]
fn without_being_told_to_nobody_gets_an_account() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    // By the word of the operator, or because the file names the issuer and says no more.
    let from = "issuer = { env = \"AUTH_OIDC_ISSUER\", default = \"\" }";
    let named = issuer.setup("").edit("gateway.toml", from, &format!("issuer = \"{}\"", issuer.name()));
    for setup in [issuer.setup("").env("AUTH_OIDC_ACCOUNTS", "existing"), named.env("AUTH_OIDC_ACCOUNTS", "")] {
        let platform = setup.start();
        assert_eq!(said(&platform, &issuer.token(&key, "ada")), refused(403, "unknown_account"));
        assert_eq!(platform.get("/auth/me", &issuer.token(&key, "ada")).status, 403);
    }
}

#[test]
fn an_issuer_that_variables_alone_name_lets_its_people_in() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer.setup("").env("AUTH_OIDC_ACCOUNTS", "").start();
    assert_eq!(said(&platform, &issuer.token(&key, "ada")), let_in());
}

/// An invitation goes by the address, so an issuer whose word for addresses is not believed opens no organisation.
#[test]
fn whom_an_issuer_names_accepts_invitations_where_its_word_for_addresses_is_believed() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    for (is_believed, status) in [(false, 403), (true, 200)] {
        let yes = format!("link_verified_email = {is_believed}");
        let platform = issuer.setup("").edit("gateway.toml", "link_verified_email = false", &yes).start();
        let owner = platform.register("owner@example.com");
        let (owner, tenant) = (owner["access_token"].as_str().unwrap(), owner["user"]["tenant_id"].as_str().unwrap());
        let mut claims = issuer.claims("ada");
        claims["email"] = json!("ada@example.com");
        claims["email_verified"] = json!(true);
        let ada = key.sign(TokenType::Access, &claims);
        assert_eq!(said(&platform, &ada), let_in());
        let asked = json!({ "email": "ada@example.com", "role": "member" });
        let asked = platform.post(&format!("/tenants/{tenant}/members"), Some(owner), &asked);
        assert_eq!(asked.status / 100, 2, "{asked:?}");
        let path = format!("/auth/invitations/{}/accept", asked.json()["id"].as_str().unwrap());
        let answered = platform.post(&path, Some(&ada), &json!({}));
        assert_eq!(answered.status, status, "{answered:?}");
        if is_believed {
            let switched = platform.post("/auth/switch-tenant", Some(&ada), &json!({ "tenant_id": tenant }));
            assert_eq!(switched.status, 200, "{switched:?}");
            assert_eq!(platform.get("/demo/x", &ada).received("x-tenant-id"), [tenant]);
        } else {
            let detail = answered.json()["detail"].as_str().unwrap().to_owned();
            assert!(answered.code() == "email_unverified" && detail.contains("another issuer"), "{answered:?}");
        }
    }
}

#[test]
fn accounts_are_made_within_a_budget_for_each_address() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("")
        .edit("gateway.toml", "accounts_per_address = \"20/hour\"", "accounts_per_address = \"3/hour\"")
        .start();
    for number in 0..3 {
        assert_eq!(said(&platform, &issuer.token(&key, &number.to_string())), let_in());
    }
    assert_eq!(said(&platform, &issuer.token(&key, "one too many")), refused(429, "rate_limited"));
    // What is no name is none, before anything is kept or counted (Postgres takes no NUL).
    for subject in ["a\0b", "a\nb", "", &"x".repeat(256)] {
        assert_eq!(said(&platform, &issuer.token(&key, subject)), refused(401, "invalid_token"), "{subject:?}");
    }
    assert_eq!(said(&platform, &issuer.token(&key, "1")), let_in(), "who has one needs none");
}

#[test]
fn those_for_whom_a_proxy_asks_without_saying_so_have_the_budget_of_that_proxy() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("")
        .edit("gateway.toml", "accounts_per_address = \"20/hour\"", "accounts_per_address = \"2/hour\"")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    for (number, (proxy, status)) in
        [("127.0.0.7", 200), ("127.0.0.7", 200), ("127.0.0.7", 503), ("127.0.0.8", 200)].into_iter().enumerate()
    {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", proxy)];
        let body = json!({ "token": issuer.token(&key, &number.to_string()) }).to_string();
        let answer = platform.send("POST", "/auth/validate", &headers, &body);
        assert_eq!(answer.status, status, "{number}: {answer:?}");
    }
}

#[test]
fn the_budgets_of_two_issuers_are_two() {
    let (one, other, key) = (Issuer::start(), Issuer::start(), key(Algorithm::EdDsa, "k"));
    one.publish(&[&key]);
    other.publish(&[&key]);
    let section = "\n[[issuers]]\naudience = \"door\"\naccounts = \"create\"\naccounts_per_address = \"2/day\"\n";
    let platform = one
        .setup("")
        .edit("gateway.toml", "accounts_per_address = \"20/hour\"", "accounts_per_address = \"3/hour\"")
        .append("gateway.toml", &format!("{section}issuer = \"{}\"\n", other.name()))
        .start();
    for issuer in [&one, &one, &one, &other, &other] {
        let subject = uuid::Uuid::now_v7().to_string();
        assert_eq!(said(&platform, &issuer.token(&key, &subject)), let_in());
    }
    for issuer in [&one, &other] {
        assert_eq!(said(&platform, &issuer.token(&key, "one too many")), refused(429, "rate_limited"));
    }
}

#[test]
fn an_address_leads_to_an_account_only_if_both_sides_have_seen_that_it_is_its_owners() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let linking = |yes: bool| {
        issuer
            .setup("")
            .edit("gateway.toml", "link_verified_email = false", &format!("link_verified_email = {yes}"))
            .start()
    };
    let token = |subject: &str, email: &str, verified: Value| {
        let mut claims = issuer.claims(subject);
        claims["email"] = json!(email);
        claims["email_verified"] = verified;
        key.sign(TokenType::Access, &claims)
    };
    let platform = linking(true);
    // The administrator's address is confirmed, that of who has registered is not.
    platform.admin();
    platform.register("early@example.com");
    let answer = demo(&platform, &token("a", "root@example.com", json!(true)));
    assert_eq!(answer.received("x-user-role"), ["admin"], "{answer:?}");
    assert_eq!(said(&platform, &token("b", "early@example.com", json!(true))), refused(403, "unknown_account"));
    for unverified in [json!(false), json!(null), json!(1), json!("yes")] {
        let answer = demo(&platform, &token("c", "root@example.com", unverified.clone()));
        assert_eq!(answer.received("x-user-role"), ["user"], "{unverified} {answer:?}");
        assert!(!answer.received("x-user-email")[0].contains("example.com"), "{answer:?}");
    }
    let fresh = demo(&platform, &token("d", "Fresh@example.com", json!(true)));
    assert_eq!(fresh.received("x-user-email"), ["Fresh@example.com"]);

    let platform = linking(false);
    platform.admin();
    assert_eq!(said(&platform, &token("a", "root@example.com", json!(true))), refused(403, "unknown_account"));
}

#[test]
fn an_owner_takes_a_link_away_and_the_issuers_word_brings_it_back_only_if_they_allow_it() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform =
        issuer.setup("").edit("gateway.toml", "link_verified_email = false", "link_verified_email = true").start();
    platform.admin();
    let token = |subject: &str, email: &str| {
        let mut claims = issuer.claims(subject);
        (claims["email"], claims["email_verified"]) = (json!(email), json!(true));
        key.sign(TokenType::Access, &claims)
    };
    let theirs = token("a", "root@example.com");
    assert_eq!(said(&platform, &theirs), let_in());
    next_mail(&platform, "Another way into your account");
    // With a token of the issuer's nobody takes anything away.
    let own = platform.login("root@example.com");
    let listed = |own: &str| platform.get("/auth/identities", own).json()["items"].clone();
    let link = listed(&own)[0].clone();
    assert_eq!(
        (&link["label"], &link["provider"], &link["refused_at"]),
        (&json!(issuer.name()), &json!(null), &json!(null))
    );
    let path = format!("/auth/identities/{}", link["id"].as_str().unwrap());
    let by_token = platform.json("DELETE", &path, Some(&theirs), &json!({}));
    assert_eq!(by_token.code(), "session_required", "{by_token:?}");
    assert_eq!(platform.json("DELETE", &path, Some(&own), &json!({})).status, 204);
    next_mail(&platform, "One way less into your account");
    // Neither the token that was let in a moment ago, nor the next one, nor somebody else of that address.
    for shut_out in [theirs.clone(), token("a", "ROOT@example.com"), token("b", "root@example.com")] {
        assert_eq!(said(&platform, &shut_out), refused(403, "unknown_account"));
    }
    let refusal = listed(&own)[0].clone();
    assert_eq!((&refusal["id"], refusal["refused_at"].is_string()), (&link["id"], true), "{refusal}");
    assert_eq!(platform.json("DELETE", &path, Some(&own), &json!({})).status, 404);
    // Who is somebody else is who they were.
    assert_eq!(said(&platform, &token("c", "other@example.com")), let_in());

    assert_eq!(platform.json("POST", &format!("{path}/allow"), Some(&own), &json!({})).status, 204);
    assert_eq!(listed(&own), json!([]), "nothing is linked by that");
    assert_eq!(said(&platform, &theirs), let_in());
    next_mail(&platform, "Another way into your account");
    assert_eq!(listed(&own)[0]["id"], link["id"]);
    let events = platform.get("/admin/audit?event=allow_issuer", &own).json();
    assert_eq!(events["items"][0]["outcome"], "ok", "{events}");
}

#[test]
fn a_role_is_what_the_table_makes_of_the_issuers_word_and_an_older_word_counts_no_more() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("role_claim = \"/realm_access/roles\"\nroles = [{ value = \"ops\", role = \"admin\" }, { value = \"devs\", role = \"developer\" }]")
        .start();
    let token = |roles: Value, issued_at: i64| {
        let mut claims = issuer.claims("ada");
        claims["realm_access"] = json!({ "roles": roles });
        claims["iat"] = json!(issued_at);
        key.sign(TokenType::Access, &claims)
    };
    let role = |token: &str| demo(&platform, token).received("x-user-role").concat();
    let (first, later) = (token(json!(["devs", "others"]), now() - 100), token(json!(["others"]), now() - 50));
    assert_eq!(role(&first), "developer");
    assert_eq!(role(&later), "user", "who is in no group any more has lost the role");
    assert_eq!(role(&first), "user", "an older token does not bring it back");
    assert_eq!(role(&token(json!(["admin"]), now() - 40)), "user", "a word is not a role by sounding like one");
    assert_eq!(role(&token(json!(["devs", "ops"]), now() - 30)), "admin");
    assert_eq!(role(&later), "admin");
    // What was heard last counts also where it has changed nothing: an older word for a role is no news.
    assert_eq!(role(&token(json!(["ops"]), now() - 10)), "admin");
    assert_eq!(role(&token(json!(["others"]), now() - 20)), "admin");
    let mut timeless = issuer.claims("ada");
    timeless["realm_access"] = json!({ "roles": ["ops"] });
    timeless.as_object_mut().unwrap().remove("iat");
    let timeless = key.sign(TokenType::Access, &timeless);
    assert_eq!(said(&platform, &timeless), refused(401, "invalid_token"), "which of two would be the later one?");
}

#[test]
fn what_an_issuer_does_to_accounts_is_in_the_audit_trail() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer
        .setup("role_claim = \"groups\"\nroles = [{ value = \"ops\", role = \"admin\" }]")
        .edit("gateway.toml", "link_verified_email = false", "link_verified_email = true")
        .start();
    let token = |subject: &str, email: &str, groups: Value, issued_at: i64| {
        let mut claims = issuer.claims(subject);
        claims["groups"] = groups;
        claims["iat"] = json!(issued_at);
        claims["email"] = json!(email);
        claims["email_verified"] = json!(true);
        key.sign(TokenType::Access, &claims)
    };
    let root = platform.admin();
    // Whose it is, and under which name the request stands in the access log.
    let newcomer = |groups: Value, issued_at: i64| {
        let answer = demo(&platform, &token("ada", "ada@example.com", groups, issued_at));
        (answer.received("x-user-id").concat(), answer.header("x-request-id").unwrap().to_owned())
    };
    let (ada, made) = newcomer(json!([]), now() - 50);
    let (id, changed) = newcomer(json!(["ops"]), now() - 40);
    // What changes nothing is no event.
    assert_eq!((&newcomer(json!(["ops"]), now() - 30).0, &id), (&ada, &ada));
    let linked = demo(&platform, &token("root-there", "root@example.com", json!(["ops"]), now() - 20));
    let events = |subject: &str| {
        let listed = platform.get(&format!("/admin/audit?subject={subject}"), &root).json();
        let items = listed["items"].as_array().unwrap().iter();
        let told = items.filter(|event| event["event"].as_str().unwrap().starts_with("issuer_")).map(|event| {
            assert_eq!((&event["actor"], &event["address"]), (&json!(subject), &json!("127.0.0.1")), "{event}");
            assert_eq!(event["details"]["issuer"], json!(issuer.name()), "{event}");
            let [what, role, request] = [&event["event"], &event["details"]["role"], &event["request_id"]];
            [what, role, request].map(|text| text.as_str().unwrap().to_owned()).join(" ")
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(events(&ada), [format!("issuer_role admin {changed}"), format!("issuer_account_made user {made}")]);
    let request = linked.header("x-request-id").unwrap();
    assert_eq!(events(&linked.received("x-user-id").concat()), [format!("issuer_linked admin {request}")]);
    // Whoever is asked about is made as at the door, under the name of the question.
    let eve = token("eve", "eve@example.com", json!([]), now() - 10);
    let asked = platform.post("/auth/validate", None, &json!({ "token": eve }));
    let (id, request) =
        (asked.json()["user"]["id"].as_str().unwrap().to_owned(), asked.header("x-request-id").unwrap());
    assert_eq!(events(&id), [format!("issuer_account_made user {request}")]);
    // And its owner is told.
    let mail = next_mail(&platform, "Another way into");
    assert!(mail.contains("To: root@example.com") && mail.contains("/account/forgot-password"), "{mail}");
}

#[test]
fn where_everybody_needs_a_second_factor_an_issuer_answers_for_one_only_as_it_is_told_to() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let needing =
        |more: &str| issuer.setup(more).edit("gateway.toml", "\nrequired = false", "\nrequired = true").start();
    let token = |shown: Value| {
        let mut claims = issuer.claims("ada");
        claims.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
        key.sign(TokenType::Access, &claims)
    };
    let (two, one) = (token(json!({ "amr": ["pwd", "mfa"] })), token(json!({ "amr": ["pwd"], "acr": "mfa" })));
    let wanted = refused(401, "insufficient_user_authentication");

    let platform = needing("");
    assert_eq!(said(&platform, &two), wanted, "nobody has said that it answers for that");

    let platform = needing("second_factor = { amr = \"mfa\" }");
    assert_eq!((said(&platform, &two), said(&platform, &one)), (let_in(), wanted.clone()));
    for amr in [json!("pwd"), json!("mfaa"), json!(true), json!({ "mfa": 1 }), json!(null)] {
        assert_eq!(said(&platform, &token(json!({ "amr": amr }))), wanted, "{amr}");
    }
    let worth = platform.post("/auth/validate", None, &json!({ "token": two })).json();
    assert_eq!((&worth["valid"], &worth["acr"], &worth["auth_time"]), (&json!(true), &json!("mfa"), &Value::Null));

    let platform = needing("second_factor = { amr = \"mfa\", tenant = \"here\" }");
    assert_eq!(said(&platform, &two), wanted, "all of them");
    assert_eq!(said(&platform, &token(json!({ "amr": "pwd mfa", "tenant": "here" }))), let_in());
}

#[test]
fn how_long_ago_an_issuer_has_seen_somebody_is_what_it_says_and_nothing_if_it_does_not() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let lately =
        "paths = [\"/demo/private/*\"]\nupstream = \"demo\"\nmax_auth_age = \"5m\"\n\n[[route]]\nname = \"demo\"\n";
    let platform = issuer
        .setup("second_factor = { amr = \"mfa\" }")
        .edit("routes.toml", "[[route]]\nname = \"demo\"\n", &format!("[[route]]\nname = \"lately\"\n{lately}"))
        .start();
    let seen = |shown: Value| {
        let mut claims = issuer.claims("ada");
        claims.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
        said(&platform, &key.sign(TokenType::Access, &claims))
    };
    let wanted = refused(401, "insufficient_user_authentication");
    assert_eq!(seen(json!({ "amr": "mfa", "auth_time": now() - 10 })), let_in());
    for unseen in [
        json!({ "amr": "mfa" }),
        json!({ "amr": "mfa", "auth_time": now() - 400 }),
        json!({ "amr": "pwd", "auth_time": now() - 10 }),
        // Nobody was seen in the future, as milliseconds would have it.
        json!({ "amr": "mfa", "auth_time": now() * 1000 }),
        json!({ "amr": "mfa", "auth_time": now() + 400 }),
    ] {
        assert_eq!(seen(unseen.clone()), wanted, "{unseen}");
    }
}

#[test]
fn cognito_says_for_whom_a_token_is_in_a_claim_of_its_own() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::Rs256, "k"));
    // And publishes no algorithm, as Entra ID.
    let mut jwk = key.verifying_key().jwk().unwrap().clone();
    jwk.as_object_mut().unwrap().remove("alg");
    issuer.publish_raw(&json!({ "keys": [jwk] }));
    let platform = issuer
        .setup("")
        .env("AUTH_OIDC_JWKS_URL", &format!("{}/keys", issuer.name()))
        .env("AUTH_OIDC_AUDIENCE_CLAIM", "client_id")
        .start();
    let token = |client: &str, usage: &str| {
        let claims = json!({ "iss": issuer.name(), "sub": "ada", "exp": now() + 60, "iat": now(), "client_id": client, "token_use": usage });
        key.sign(TokenType::Access, &claims)
    };
    assert_eq!(said(&platform, &token("door", "access")), let_in());
    assert_eq!(said(&platform, &token("others", "access")), refused(401, "invalid_token"));
    assert_eq!(said(&platform, &token("door", "id")), refused(401, "invalid_token"));
    // As they are: without that claim.
    let id_token = key.sign(TokenType::Access, &issuer.claims("ada"));
    assert_eq!(said(&platform, &id_token), refused(401, "invalid_token"));
}

/// Of what says something else in a claim that has to say this.
#[test]
fn a_token_is_refused_whose_claims_do_not_say_what_is_required() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer.setup("require = { typ = \"Bearer\" }").start();
    let token = |typ: &str| {
        let mut claims = issuer.claims("ada");
        claims["typ"] = json!(typ);
        key.sign(TokenType::Access, &claims)
    };
    assert_eq!(said(&platform, &token("Bearer")), let_in());
    assert_eq!(said(&platform, &token("Refresh")), refused(401, "invalid_token"));
}

#[test]
fn an_id_token_opens_no_door_and_scopes_limit_what_a_token_may() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::Rs256, "k"));
    issuer.publish(&[&key]);
    let scopes = "scope_claim = \"scope\"\nscopes = [{ value = \"keys\", permission = \"account:manage\" }]";
    let platform = issuer.setup(scopes).start();
    let token = |more: Value| {
        let mut claims = issuer.claims("ada");
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key.sign(TokenType::Access, &claims)
    };
    for id_token in [json!({ "nonce": "n" }), json!({ "at_hash": "h" }), json!({ "typ": "ID" })] {
        assert_eq!(said(&platform, &token(id_token.clone())), refused(401, "invalid_token"), "{id_token}");
    }
    let keys = |scope: Value| platform.get("/auth/api-keys", &token(json!({ "scope": scope }))).status;
    assert_eq!(said(&platform, &token(json!({ "scope": "openid" }))), let_in());
    assert_eq!((keys(json!("openid keys")), keys(json!(["keys"]))), (200, 200));
    // What is given for something else is given for nothing here.
    assert_eq!((keys(json!("openid")), keys(json!("keyss")), keys(json!(1))), (403, 403, 403));
}

#[test]
fn a_token_of_an_issuer_makes_no_key() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let platform = issuer.setup("").start();
    let token = issuer.token(&key, "ada");
    assert_eq!(said(&platform, &token), let_in());
    let made = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "for ever" }));
    assert_eq!((made.status, &*made.code()), (403, "session_required"), "{made:?}");
    assert_eq!(platform.get("/auth/api-keys", &token).json()["items"], json!([]));
}

#[test]
fn a_service_may_ask_what_a_token_of_an_issuer_is_worth() {
    let (issuer, key, other) = (Issuer::start(), key(Algorithm::EdDsa, "k"), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let scopes = "scope_claim = \"scope\"\nscopes = [{ value = \"keys\", permission = \"account:manage\" }]";
    let platform = issuer.setup(scopes).start();
    let worth = |token: &str| {
        let answer = platform.post("/auth/validate", None, &json!({ "token": token }));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let mut claims = issuer.claims("ada");
    claims["scope"] = json!("openid keys");
    let good = key.sign(TokenType::Access, &claims);
    let said_of = worth(&good);
    assert_eq!((&said_of["valid"], &said_of["scopes"]), (&json!(true), &json!(["account:manage"])), "{said_of}");
    // Whom the door knows by it, too.
    let me = platform.get("/auth/me", &good).json();
    assert_eq!(said_of["user"]["id"], me["id"], "{me}");
    for (changed, why) in [("exp", "expired"), ("aud", "invalid_token")] {
        let mut claims = claims.clone();
        claims[changed] = if changed == "exp" { json!(now() - 1) } else { json!("others") };
        assert_eq!(worth(&key.sign(TokenType::Access, &claims))["error"], why, "{changed}");
    }
    let forged = worth(&other.sign(TokenType::Access, &claims));
    assert_eq!(
        (&forged["valid"], &forged["error"], &forged["user"]),
        (&json!(false), &json!("invalid_token"), &Value::Null)
    );
    let off = json!({ "status": "disabled" });
    let path = format!("/admin/users/{}", me["id"].as_str().unwrap());
    assert_eq!(platform.json("PATCH", &path, Some(&platform.admin()), &off).status, 200);
    assert_eq!(worth(&good)["error"], "account_disabled");
    // While nobody knows, it is not said to be bad.
    let (away, unheard) = (Issuer::start(), crate::issuers::key(Algorithm::EdDsa, "k"));
    away.answer(500, "", "");
    let platform = away.setup("").start();
    let answer = platform.post("/auth/validate", None, &json!({ "token": away.token(&unheard, "ada") }));
    assert_eq!((answer.status, &*answer.code()), (503, "directory_unavailable"), "{answer:?}");
}

#[test]
fn an_issuer_that_speaks_for_another_one_is_not_heard() {
    let (issuer, key) = (Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let honest = std::mem::take(&mut issuer.state.lock().unwrap().metadata);
    for lie in [
        json!({ "issuer": "https://other.example", "jwks_uri": format!("{}/keys", issuer.name()) }),
        json!({ "issuer": issuer.name(), "jwks_uri": "http://192.0.2.1/keys" }),
        json!({ "issuer": issuer.name(), "jwks_uri": "file:///etc/passwd" }),
    ] {
        issuer.state.lock().unwrap().metadata = lie.to_string();
        let platform = issuer.setup("").start();
        assert_eq!(said(&platform, &issuer.token(&key, "ada")), refused(503, "issuer_unavailable"), "{lie}");
    }
    issuer.state.lock().unwrap().metadata = honest;
    let platform = issuer.setup("").start();
    eventually("an honest answer", || said(&platform, &issuer.token(&key, "ada")) == let_in());
}

#[test]
fn an_issuer_that_cannot_be_is_told_with_its_place() {
    let wrong = |setup: Setup| {
        let folder = setup.folder();
        let output = setup.command(folder.path(), "127.0.0.1:1".parse().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let issuer = |name: &str| Setup::default().env("AUTH_OIDC_ISSUER", name);
    let good = || issuer("https://id.example.com").env("AUTH_OIDC_AUDIENCE", "door");
    assert!(wrong(issuer("https://id.example.com")).contains("`audience` is missing"));
    assert!(wrong(issuer("http://id.example.com").env("AUTH_OIDC_AUDIENCE", "door")).contains("over https"));
    assert!(wrong(issuer("portcullis").env("AUTH_OIDC_AUDIENCE", "door")).contains("such an issuer already"));
    for name in ["AUTH_OIDC_AUDIENCE", "AUTH_OIDC_JWKS_URL", "AUTH_OIDC_AUDIENCE_CLAIM", "AUTH_OIDC_ACCOUNTS"] {
        let said = wrong(Setup::default().env(name, "create"));
        let told = format!("`issuer` is empty, which this is about (from the environment variable {name})");
        assert!(said.contains("gateway.toml:") && said.contains(&told), "{said}");
    }
    let said = wrong(good().edit("gateway.toml", "algorithms = [\"RS256\"", "algorithms = [\"HS256\""));
    assert!(
        said.contains("gateway.toml:") && said.contains("\"HS256\" is not an algorithm of published keys"),
        "{said}"
    );
    let said = wrong(good().edit("gateway.toml", "role = \"user\" ", "role = \"usr\" "));
    assert!(said.contains("there is no role `usr` in roles.toml"), "{said}");
    let said = wrong(good().edit("gateway.toml", "role = \"user\" ", "role = \"admin\" "));
    assert!(said.contains("`admin` may manage accounts, and whoever comes for the first time would get it"), "{said}");
    let said = wrong(good().edit(
        "gateway.toml",
        "accounts_per_address = \"20/hour\"",
        "accounts_per_address = \"unlimited\"",
    ));
    assert!(said.contains("such as \"20/hour\""), "{said}");
}
