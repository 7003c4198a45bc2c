//! 003, `PromptStack`: register, validate, dev headers, JWT by a shared secret, OIDC by JWKS, CORS origins.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use identity::{Algorithm, SigningKey, TokenType};
use serde_json::{Value, json};

use crate::{
    doors::{Document, Doors, is_person, on_one_and_three, signed_anew, token},
    platform::Answer,
};

const SECRET: &str = "J8sXv2qLw9Zr4Tn6Yb1Kc3Mf5Hd7Gp0A";

/// "Environment Variables".
const DOCUMENT: Document = Document {
    env: &[
        ("AUTH_JWT_SECRET_KEY", SECRET),
        ("AUTH_JWT_ALGORITHM", "HS256"),
        ("AUTH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
        ("AUTH_API_CORS_ORIGINS", "http://localhost:5173,http://localhost:3000,http://localhost:8000"),
        ("AUTH_ALLOW_DEV_HEADERS", "true"),
    ],
    routes: "",
};

on_one_and_three!(
    super::DOCUMENT;
    a_user_registers_logs_in_is_validated_and_asks_who_they_are,
    in_development_headers_say_who_calls,
    tokens_are_verified_by_the_shared_secret_and_live_half_an_hour,
    pages_of_the_listed_origins_may_call_and_no_others,
    health_and_documentation_answer,
    teams_and_domains_are_listed_and_the_seeded_ones_are_there,
);

const REGISTER: &str = r#"POST /auth/register
Content-Type: application/json

{
  "email": "user@example.com",
  "password": "password123",
  "name": "John Doe"
}"#;

const LOGIN: &str = r#"POST /auth/login
Content-Type: application/json

{
  "email": "user@example.com",
  "password": "password123"
}"#;

/// The user of every answer of this document.
fn is_user(user: &Value) {
    is_person(user, "user@example.com");
    assert_eq!(user["name"], "John Doe", "{user}");
    assert!(user["teams"].is_array() && user["domains"].is_array(), "{user}");
}

/// "Register User, Response".
fn is_session(answer: &Answer) -> String {
    let body = answer.json();
    assert!(body["access_token"].as_str().unwrap().starts_with("eyJhbGc"), "{body}");
    assert_eq!(body["token_type"], "bearer");
    is_user(&body["user"]);
    token(answer)
}

fn validate(doors: &Doors, token: &str) -> Value {
    let asked =
        doors.call(&format!("POST /auth/validate\nContent-Type: application/json\n\n{{\n  \"token\": \"{token}\"\n}}"));
    assert_eq!(asked.status, 200, "{asked:?}");
    asked.json()
}

fn a_user_registers_logs_in_is_validated_and_asks_who_they_are(doors: &Doors) {
    let registered = doors.call(REGISTER);
    assert_eq!(registered.status, 201, "{registered:?}");
    is_session(&registered);
    let login = doors.call(LOGIN);
    assert_eq!(login.status, 200, "{login:?}");
    let token = is_session(&login);

    let valid = validate(doors, &token);
    assert_eq!((&valid["valid"], &valid["error"]), (&json!(true), &json!(null)), "{valid}");
    is_user(&valid["user"]);
    let forged = validate(doors, &format!("{token}x"));
    assert_eq!((&forged["valid"], &forged["user"]), (&json!(false), &json!(null)), "{forged}");
    assert!(forged["error"].is_string(), "what the caller raises: {forged}");

    is_user(&doors.call(&format!("GET /auth/me\nAuthorization: Bearer {token}")).json());
    let curl = format!("curl http://localhost:8001/auth/me \\\n  -H \"Authorization: Bearer {token}\"");
    is_user(&doors.curl(&curl).json());
    assert_eq!(doors.call("GET /auth/me").status, 401);
}

fn in_development_headers_say_who_calls(doors: &Doors) {
    let me = doors.call("GET /auth/me\nX-User-Email: user@example.com\nX-User-Name: User Name");
    assert_eq!(me.status, 200, "{me:?}");
    let person = me.json();
    is_person(&person, "user@example.com");
    assert_eq!(person["name"], "User Name");
    // "Returns full user context with teams and domains".
    assert_eq!(of("name", person["teams"].as_array().unwrap()), ["General"], "{person}");
    assert!(person["domains"].is_array(), "{person}");
    let curl = r#"curl http://localhost:8001/auth/me \
  -H "X-User-Email: user@example.com" \
  -H "X-User-Name: Test User""#;
    let again = doors.curl(curl);
    assert_eq!(again.json()["id"], person["id"], "{again:?}");
}

fn tokens_are_verified_by_the_shared_secret_and_live_half_an_hour(doors: &Doors) {
    let token = is_session(&doors.call(REGISTER));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, message.as_bytes(), &B64.decode(signature).unwrap()).unwrap();
    let read = |part: &str| -> Value { serde_json::from_slice(&B64.decode(part).unwrap()).unwrap() };
    let (header, claims) = message.split_once('.').unwrap();
    assert_eq!(read(header)["alg"], "HS256");
    let claims = read(claims);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 1800, "{claims}");

    let me = |token: &str| doors.call(&format!("GET /auth/me\nAuthorization: Bearer {token}"));
    assert_eq!(me(&signed_anew(&token, SECRET, 60)).status, 200, "whoever has the secret signs as we do");
    // Longer ago than clocks may differ by.
    let expired = signed_anew(&token, SECRET, -60);
    let refused = me(&expired);
    assert_eq!((refused.status, refused.code().as_str()), (401, "expired"), "{refused:?}");
    let verdict = validate(doors, &expired);
    assert_eq!((&verdict["valid"], &verdict["user"]), (&json!(false), &json!(null)), "{verdict}");
    assert_eq!(verdict["error"], "expired");
}

fn pages_of_the_listed_origins_may_call_and_no_others(doors: &Doors) {
    let ask = |origin: &str, method: &str, path: &str, headers: &str| {
        doors.call(&format!(
            "OPTIONS {path}\nOrigin: {origin}\nAccess-Control-Request-Method: {method}\nAccess-Control-Request-Headers: {headers}"
        ))
    };
    for origin in ["http://localhost:5173", "http://localhost:3000", "http://localhost:8000"] {
        // Before anybody is known: browsers send no credentials with the question.
        for (method, path, headers) in [
            ("POST", "/auth/login", "content-type"),
            ("GET", "/auth/me", "authorization"),
            ("GET", "/auth/me", "x-user-email,x-user-name"),
        ] {
            let answer = ask(origin, method, path, headers);
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        }
    }
    let stranger = ask("http://evil.example", "POST", "/auth/login", "content-type");
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (403, None), "{stranger:?}");

    let registered = REGISTER.replace("Content-Type", "Origin: http://localhost:5173\nContent-Type");
    let registered = doors.call(&registered);
    assert_eq!(registered.header("access-control-allow-origin"), Some("http://localhost:5173"), "{registered:?}");
    assert_eq!(registered.header("access-control-allow-credentials"), None);
    let elsewhere = doors.call(&LOGIN.replace("Content-Type", "Origin: http://evil.example\nContent-Type"));
    assert_eq!(elsewhere.header("access-control-allow-origin"), None, "{elsewhere:?}");
}

fn health_and_documentation_answer(doors: &Doors) {
    let health = doors.call("GET /health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")), "{health:?}");
    assert_eq!(doors.curl("curl http://localhost:8001/health").status, 200);
    // "API Docs: http://localhost:8001/docs".
    assert_eq!(doors.call("GET /docs").header("location"), Some("docs/"));
    let docs = doors.call("GET /docs/");
    assert!(docs.status == 200 && docs.body.contains("<html"), "{docs:?}");
}

/// "OIDC Mode (Enterprise)".
mod oidc {
    use std::sync::LazyLock;

    use super::*;
    use crate::doors::Environment;

    /// One that publishes this key, and nothing else. It lives as long as the tests.
    struct Provider {
        issuer: String,
        key: SigningKey,
    }

    static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
        let key = fresh_key();
        Provider { issuer: serve(&key), key }
    });

    on_one_and_three!(
        super::document();
        an_identity_provider_is_believed_by_its_keys,
    );

    /// "Optional: OIDC for Production", of a provider that is there.
    fn document() -> Document {
        let issuer = PROVIDER.issuer.as_str();
        let env: Vec<(&'static str, &'static str)> = vec![
            ("AUTH_OIDC_ISSUER", issuer),
            ("AUTH_OIDC_AUDIENCE", "client-id"),
            ("AUTH_OIDC_JWKS_URL", format!("{issuer}/.well-known/jwks.json").leak()),
        ];
        let env: Environment = env.leak();
        Document { env, routes: "" }
    }

    fn fresh_key() -> SigningKey {
        SigningKey::generate(Algorithm::Rs256, "theirs".to_owned(), &mut rand::rng()).unwrap()
    }

    fn serve(key: &SigningKey) -> String {
        let keys = json!({ "keys": [key.verifying_key().jwk().unwrap()] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                drop(head.map_while(Result::ok).take_while(|line| !line.is_empty()).last());
                drop(write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{keys}",
                    keys.len()
                ));
            }
        });
        here
    }

    fn an_identity_provider_is_believed_by_its_keys(doors: &Doors) {
        let Provider { issuer, key } = &*PROVIDER;
        let now = chrono::Utc::now().timestamp();
        let claims = |issuer: &str, audience: &str| json!({ "iss": issuer, "aud": audience, "sub": "7", "email": "user@example.com", "iat": now, "exp": now + 600 });
        let me = |key: &SigningKey, claims: &Value| {
            let token = key.sign(TokenType::Access, claims);
            doors.call(&format!("GET /auth/me\nAuthorization: Bearer {token}"))
        };
        let first = me(key, &claims(issuer, "client-id"));
        assert_eq!(first.status, 200, "{first:?}");
        let other = fresh_key();
        // Where there are three, each at each of them.
        for _ in 0..3 {
            let again = me(key, &claims(issuer, "client-id"));
            assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]), "one account: {again:?}");
        }
        for _ in 0..3 {
            assert_eq!(me(key, &claims(issuer, "another-client")).status, 401);
        }
        for _ in 0..3 {
            assert_eq!(me(key, &claims("https://elsewhere.example", "client-id")).status, 401);
        }
        for _ in 0..3 {
            assert_eq!(me(&other, &claims(issuer, "client-id")).status, 401);
        }
    }
}

fn list(doors: &Doors, path: &str, token: &str) -> Vec<Value> {
    let answer = doors.call(&format!("GET {path}\nAuthorization: Bearer {token}"));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json().as_array().unwrap_or_else(|| panic!("{path} is no plain array: {answer:?}")).clone()
}

fn of(field: &str, items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// "Teams", "Domains", "Seed Data".
fn teams_and_domains_are_listed_and_the_seeded_ones_are_there(doors: &Doors) {
    let registered = doors.call(REGISTER);
    let token = is_session(&registered);
    let (teams, domains) = (list(doors, "/teams/all", &token), list(doors, "/domains/all", &token));
    assert_eq!(of("name", &teams), ["General", "Engineering", "Product", "Design"]);
    assert_eq!(of("key", &domains), ["engineering", "product", "design", "marketing", "sales"]);
    for (item, fields) in teams
        .iter()
        .map(|item| (item, ["id", "name", "external_ref"]))
        .chain(domains.iter().map(|item| (item, ["key", "name", "parent_domain_id"])))
    {
        assert!(uuid::Uuid::parse_str(item["id"].as_str().unwrap()).is_ok(), "{item}");
        assert!(fields.iter().all(|field| item.get(field).is_some()) && item["is_active"] == true, "{item}");
    }
    // A user's own, here and in every answer about the user.
    let id = registered.json()["user"]["id"].as_str().unwrap().to_owned();
    let post = |path: String, body: String| {
        doors.call(&format!("POST {path}\nAuthorization: Bearer {token}\nContent-Type: application/json\n\n{body}"))
    };
    let design = teams.iter().find(|team| team["name"] == "Design").unwrap()["id"].as_str().unwrap();
    let sales = domains.iter().find(|domain| domain["key"] == "sales").unwrap()["id"].as_str().unwrap();
    let added = post(format!("/teams/{design}/members"), format!("{{\"account_id\": \"{id}\", \"role\": \"lead\"}}"));
    assert_eq!(added.status, 201, "{added:?}");
    let added = post(format!("/domains/{sales}/members"), format!("{{\"account_id\": \"{id}\"}}"));
    assert_eq!(added.status, 201, "{added:?}");
    let own = list(doors, "/teams", &token);
    assert!(own.iter().any(|team| team["name"] == "Design" && team["role"] == "lead"), "{own:?}");
    assert!(of("key", &list(doors, "/domains", &token)).contains(&"sales".to_owned()));
    for user in [validate(doors, &token)["user"].clone(), doors.call(LOGIN).json()["user"].clone()] {
        assert!(of("name", user["teams"].as_array().unwrap()).contains(&"Design".to_owned()), "{user}");
        assert!(of("key", user["domains"].as_array().unwrap()).contains(&"sales".to_owned()), "{user}");
    }
    assert_eq!(doors.call("GET /teams").status, 401);
}
