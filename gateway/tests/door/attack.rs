//! What a stranger tries: names that fold into ours, paths that mean two things, forged tokens, floods, odd framing. What
//! counts is what the upstream received: nothing forged, and nothing at all where the answer is a refusal.

use std::{io::Read, net::TcpListener, sync::mpsc, thread};

use crate::{
    mail::{next_mail, token_in},
    platform::{PASSWORD, Platform, Setup, eventually},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};

/// Every way to say a reserved name that some server folds into it.
const ALIASES: [&str; 14] = [
    "X-User-Id",
    "x-user-id",
    "X_User_Id",
    "x_user_id",
    "X-User_Id",
    "X.User.Id",
    "x~user~id",
    "X!User!Id",
    "X+User-Id",
    "x|user|id",
    "X-USER-ID",
    "x^user^id",
    "X`User`Id",
    "X$User'Id",
];

#[test]
fn an_identity_header_of_the_client_never_arrives_in_any_spelling() {
    let platform = Platform::start();
    let registered = platform.register("victim@example.com");
    let token = registered["access_token"].as_str().unwrap();
    let id = registered["user"]["id"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    for alias in ALIASES {
        for (path, credential) in [("/demo/x", Some(&*bearer)), ("/demo/public/x", None)] {
            let mut headers = vec![(alias, "mallory"), ("X-Harmless", "yes")];
            headers.extend(credential.map(|credential| ("Authorization", credential)));
            let answer = platform.send("GET", path, &headers, "");
            assert_eq!(answer.status, 200, "{alias}: {answer:?}");
            assert!(!answer.body.contains("mallory"), "{alias} on {path}: {answer:?}");
            assert_eq!(answer.received("x-harmless"), ["yes"]);
            assert_eq!(
                answer.received("x-user-id"),
                credential.map(|_| id).into_iter().collect::<Vec<_>>(),
                "{alias} on {path}"
            );
        }
    }
}

#[test]
fn every_name_that_we_set_or_that_backends_trust_is_removed_on_public_routes_too() {
    let platform = Platform::start();
    for name in [
        "X-User-Email",
        "X-User-Name",
        "X-User-Role",
        "X-User-Permissions",
        "X-User-Tier",
        "X-User-Teams",
        "X-User-Domains",
        "X-User-Anything",
        "X-Tenant-Id",
        "X-Tenant-Role",
        "X-Auth-Method",
        "X-Auth-Anything",
        "X-Session-Id",
        "X-Key-Id",
        "X-Gateway-Assertion",
        "X-Gateway-Anything",
        "X-API-Key",
        "X-Real-IP",
        "X-Forwarded-User",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Uri",
        "Forwarded",
        "Remote-User",
        "Remote-Groups",
        "Remote-Email",
        "Remote-Name",
        "OIDC_CLAIM_sub",
        "OIDC-Access-Token",
        "Tailscale-User-Login",
        "Teleport-Jwt-Assertion",
        "X-Jwt-Assertion",
        "X-Pomerium-Jwt-Assertion",
        "X-Pomerium-Claim-Email",
        "X-Authentik-Username",
        "X-Vouch-User",
        "X-MS-Token-AAD-Id-Token",
        "X-Accel-Redirect",
        "X-Accel-Mapping",
        "X-Sendfile-Type",
        "X-Middleware-Subrequest",
        "X-Override-URL",
        "Impersonate-User",
        "Kubeflow-UserId",
        "X-Scope-OrgID",
        "X-Token-Subject",
        "X-Token-User-Roles",
        "X-AppEngine-Cron",
        "X-Script-Name",
        "X-Remote-User",
        "Client-Cert",
        "X-Client-Cert",
        "Client-Cert-Chain",
        "Client-IP",
        "Proxy-Client-IP",
        "WL-Proxy-Client-IP",
        "X-Originating-IP",
        "X-Custom-IP-Authorization",
        "X-HTTP-Host-Override",
        "CF-Access-Jwt-Assertion",
        "X-Amzn-Oidc-Identity",
        "X-MS-Client-Principal-Id",
        "X-Goog-Authenticated-User-Email",
        "X-Consumer-Username",
        "Auth-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Request-Id",
        "True-Client-IP",
        "Authorization",
    ] {
        let answer = platform.send("GET", "/demo/public/x", &[(name, "mallory")], "");
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(!answer.body.contains("mallory"), "{name}: {answer:?}");
    }
    let answer = platform.send("GET", "/demo/public/x", &[("X-Forwarded-For", "6.6.6.6")], "");
    assert_eq!(answer.received("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn connection_cannot_name_our_headers_away() {
    let platform = Platform::start();
    let token = platform.register("named@example.com")["access_token"].as_str().unwrap().to_owned();
    for nominated in ["X-User-Id", "x-user-id, x-gateway-assertion", "X-User-Role, close"] {
        let request = format!(
            "GET /demo/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close, {nominated}\r\nX-User-Id: mallory\r\nX-User-Role: admin\r\n\r\n"
        );
        let answer = platform.raw(request.as_bytes());
        if answer.status == 200 {
            assert_eq!(
                (answer.received("x-user-id").len(), answer.received("x-user-role")),
                (1, vec!["user".to_owned()]),
                "{nominated}: {answer:?}"
            );
            assert!(!answer.body.contains("mallory"));
        } else {
            assert_eq!(answer.status, 400, "{nominated}: {answer:?}");
        }
    }
}

#[test]
fn no_spelling_of_a_path_reaches_what_it_should_not() {
    let platform = Platform::start();
    let token = platform.register("path@example.com")["access_token"].as_str().unwrap().to_owned();
    for path in [
        "/demo/public/../admin/x",
        "/demo/public/%2e%2e/admin/x",
        "/demo/public/%2E%2e/admin/x",
        "/demo/public/..%2fadmin/x",
        "/demo/public/.%2e/admin/x",
        "/demo/public/%252e%252e/admin/x",
        "/demo/public%2f..%2fadmin/x",
        "/demo//admin/x",
        "//demo/admin/x",
        "/demo/./admin/x",
        "/demo/public/..;/admin/x",
        "/demo/public;x=/../admin",
        "/demo/%61dmin/x",
        "/demo/%61%64%6d%69%6e/x",
        "/demo/admin%2fx",
        "/demo/admin%5cx",
        "/demo/public\\..\\admin",
        "/demo/admin",
        "/demo/admin/",
        "/demo/admin?x",
        "/demo/admin#x",
        "/demo/public/%00/x",
        "/demo/public/%c0%ae%c0%ae/admin",
        "/demo/public/x%",
        "/demo/public/%zz",
        "/admin/users",
        "/admin%2fusers",
        "/%61dmin/users",
        "//admin/users",
        "/./admin/users",
        "/auth/../admin/users",
        "/api/auth/../../admin/users",
        "/admin/users/",
        "/admin;/users",
        "/docs/../admin/users",
        "/docs/%2e%2e/admin/users",
        "/health/../admin/users",
    ] {
        let answer = platform.get(path, &token);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("\"headers\""), "{path} reached the upstream: {answer:?}");
    }
    // What is matched is what is forwarded.
    assert_eq!(platform.send("GET", "/demo/%70ublic/%7Ex", &[], "").json()["path"], "/demo/public/~x");
}

#[test]
fn a_target_that_is_no_plain_path_is_refused() {
    let platform = Platform::start();
    for line in [
        "GET http://door.test/demo/public/x",
        "GET demo/public/x",
        "GET *",
        "GET \\demo\\public",
        "G ET /demo/public/x",
        "GET /demo/public/x#frag",
        "GET /demo/pub\u{1}lic",
        "GET /demo/public/x y",
    ] {
        let answer =
            platform.raw(format!("{line} HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 400, "{line:?}: {answer:?}");
    }
    for method in ["TRACE", "TRACK", "CONNECT"] {
        let answer = platform.send(method, "/demo/public/x", &[], "");
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
    }
}

#[test]
fn a_probe_is_read_and_nothing_else() {
    let platform = Platform::start();
    for path in ["/healthz", "/readyz"] {
        for method in ["TRACE", "TRACK", "CONNECT", "FOO", "get", "POST"] {
            let answer = platform.send(method, path, &[], "");
            assert_eq!((answer.status, &*answer.code()), (405, "method_not_allowed"), "{method} {path}: {answer:?}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"), "{method} {path}");
        }
        let head = platform.send("HEAD", path, &[], "");
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        for method in ["GET", "OPTIONS"] {
            assert_eq!(platform.send(method, path, &[], "").status, 200, "{method} {path}");
        }
    }
}

#[test]
fn a_forged_token_is_refused_with_401_and_never_with_a_5xx() {
    let platform = Platform::start();
    let registered = platform.register("forge@example.com");
    let token = registered["access_token"].as_str().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let header: Value = serde_json::from_slice(&B64.decode(parts[0]).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&B64.decode(parts[1]).unwrap()).unwrap();
    let encode = |value: &Value| B64.encode(value.to_string());
    let with_header = |change: Value| {
        let mut header = header.clone();
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        format!("{}.{}.{}", encode(&header), parts[1], parts[2])
    };
    let mut elevated = claims.clone();
    elevated["sub"] = json!("00000000-0000-7000-8000-000000000000");
    elevated["role"] = json!("admin");
    let mut forged: Vec<(String, String)> = vec![
        ("no signature".into(), format!("{}.{}.", parts[0], parts[1])),
        ("two parts".into(), format!("{}.{}", parts[0], parts[1])),
        ("four parts".into(), format!("{token}.x")),
        ("other claims".into(), format!("{}.{}.{}", parts[0], encode(&elevated), parts[2])),
        ("short signature".into(), format!("{}.{}.{}", parts[0], parts[1], &parts[2][..40])),
        ("zero signature".into(), format!("{}.{}.{}", parts[0], parts[1], B64.encode([0; 64]))),
        ("padded".into(), format!("{token}=")),
        (
            "duplicate alg".into(),
            format!(
                "{}.{}.{}",
                B64.encode(format!(r#"{{"alg":"none",{}"#, &header.to_string()[1..])),
                parts[1],
                parts[2]
            ),
        ),
        ("too long".into(), format!("{token}{}", "A".repeat(9000))),
    ];
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS256", "ES256", "EDDSA", "Ed25519"] {
        forged.push((format!("alg {alg}"), with_header(json!({ "alg": alg }))));
        forged.push((
            format!("alg {alg}, unsigned"),
            format!("{}.{}.", encode(&json!({ "alg": alg, "typ": "JWT" })), encode(&elevated)),
        ));
    }
    for (what, change) in [
        ("kid path", json!({ "kid": "../../../../dev/null" })),
        ("kid sql", json!({ "kid": "' OR 1=1 --" })),
        ("kid empty", json!({ "kid": "" })),
        ("kid number", json!({ "kid": 7 })),
        ("jku", json!({ "jku": "http://127.0.0.1:1/jwks.json", "kid": "attacker" })),
        ("jwk", json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }, "kid": null })),
        ("crit", json!({ "crit": ["exp"] })),
        ("b64", json!({ "b64": false, "crit": ["b64"] })),
    ] {
        forged.push((what.into(), with_header(change)));
    }
    // The public key as an HMAC secret.
    let jwks = platform.send("GET", "/.well-known/jwks.json", &[], "").json();
    let public = jwks["keys"][0]["x"].as_str().unwrap().to_owned();
    for secret in [public.clone().into_bytes(), B64.decode(&public).unwrap()] {
        let signed = format!(
            "{}.{}",
            encode(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": header["kid"] })),
            encode(&claims)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        forged.push((
            "key confusion".into(),
            format!("{signed}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()))),
        ));
    }
    for (what, token) in &forged {
        let answer = platform.get("/demo/x", token);
        // A flood of these is refused unheard; either way nothing passes.
        assert!(
            answer.status == 401
                || (answer.status == 429 && answer.code() == "too_many_refusals")
                || (what == "too long" && answer.status == 431),
            "{what}: {answer:?}"
        );
        assert!(!answer.body.contains("\"headers\""), "{what} reached the upstream");
    }
    assert_eq!(platform.get("/demo/x", token).status, 200, "the real one still works, from the same address");
}

#[test]
fn two_credentials_are_refused_as_ambiguous() {
    let platform = Platform::start();
    let token = platform.register("two@example.com")["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    for headers in [
        vec![("Authorization", bearer.as_str()), ("Authorization", "Bearer x")],
        vec![("Authorization", bearer.as_str()), ("X-API-Key", "pck_x")],
        vec![("X-API-Key", "pck_x"), ("X-API-Key", "pck_y")],
    ] {
        let answer = platform.send("GET", "/demo/x", &headers, "");
        assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_credentials"), "{headers:?}: {answer:?}");
    }
}

#[test]
fn bodies_headers_and_paths_have_their_size() {
    // Less than the demo service takes, which is 2 MB: by axum's default it would refuse the rest itself.
    let platform =
        Setup::default().edit("gateway.toml", "max_body_bytes = 10485760", "max_body_bytes = 1048576").start();
    let long = "a".repeat(9000);
    assert_eq!(platform.send("GET", &format!("/demo/public/{long}"), &[], "").status, 414);
    let exact = format!("/demo/public/{}", "a".repeat(8192 - "/demo/public/".len()));
    assert_eq!(platform.send("GET", &exact, &[], "").status, 200);
    assert_eq!(platform.send("GET", &format!("{exact}a"), &[], "").status, 414);
    let huge = "a".repeat(40_000);
    assert_eq!(platform.send("GET", "/demo/public/x", &[("X-Big", &huge)], "").status, 431);
    let declared = platform.raw(b"POST /demo/public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc");
    assert_eq!((declared.status, declared.code().as_str()), (413, "body_too_large"), "{declared:?}");
    // Undeclared: counted as it comes.
    let mut chunked = b"POST /demo/public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = "b".repeat(1 << 20);
    for _ in 0..4 {
        chunked.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let streamed = platform.raw(&chunked);
    assert_eq!((streamed.status, streamed.code().as_str()), (413, "body_too_large"), "{streamed:?}");
    for (code, route) in [("uri_too_long", "-"), ("body_too_large", "demo-public")] {
        let counted = format!("portcullis_requests_total{{code=\"{code}\",outcome=\"refused\",route=\"{route}\"}}");
        eventually("both to be counted", || platform.metric(&counted) == 2);
    }
    assert_eq!(platform.send("POST", "/demo/public/x", &[], "hello").json()["body"], "hello");
}

#[test]
fn doubtful_framing_is_refused_and_what_follows_is_not_taken_for_a_request() {
    let (seen, upstream) = recording_upstream();
    let platform = Setup::default().upstream(upstream).start();
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -1",
        "Content-Length: 0x4",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Host: other",
    ] {
        let request = format!(
            "POST /demo/public/x HTTP/1.1\r\nHost: door.test\r\n{framing}\r\n\r\n0\r\n\r\nGET /demo/public/smuggled HTTP/1.1\r\nHost: door.test\r\n\r\n"
        );
        let answer = platform.raw(request.as_bytes());
        assert_eq!(answer.status, 400, "{framing:?}: {answer:?}");
    }
    // An early refusal with an unread body closes, so that the body is not taken for the next request.
    let answer = platform.raw(b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\nGET /demo/public/smuggled HTTP/1.1\r\nHost: door.test\r\n\r\n");
    assert_eq!(answer.status, 401);
    assert!(seen.try_iter().all(|request| !request.contains("smuggled")), "a smuggled request arrived");
}

/// An upstream that says ok to everything and shows what it received.
fn recording_upstream() -> (mpsc::Receiver<String>, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(read) = stream.read(&mut buffer) {
                    if read == 0 || tell.send(String::from_utf8_lossy(&buffer[..read]).into_owned()).is_err() {
                        return;
                    }
                    drop(std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
                }
            });
        }
    });
    (seen, address)
}

#[test]
fn a_flood_of_bad_keys_reaches_no_database_and_hurts_no_known_caller() {
    let platform =
        Setup::default().edit("gateway.toml", "refusals = \"120/minute\"", "refusals = \"50/minute\"").start();
    let token = platform.register("neighbour@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/x", &token).status, 200);
    let misses = platform.metric("portcullis_credential_cache_misses_total");
    let mut refused = 0;
    for n in 0..300_u32 {
        let key =
            identity::ApiKey::generate(identity::KeyId::new(uuid::Uuid::from_u128(u128::from(n))), &mut seeded(n));
        let answer = platform.get("/demo/x", key.expose());
        match answer.code().as_str() {
            "invalid_token" => {}
            "too_many_refusals" => {
                refused += 1;
                assert_eq!(answer.status, 429);
                assert!(answer.header("retry-after").is_some());
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(refused, 250, "fifty are heard, the rest is not");
    assert_eq!(platform.metric("portcullis_credential_cache_misses_total") - misses, 50, "only those were looked up");
    assert_eq!(platform.get("/demo/x", &token).status, 200, "a known caller behind the same address is unaffected");
}

fn seeded(n: u32) -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(u64::from(n))
}

#[test]
fn a_password_of_a_megabyte_is_refused_wherever_one_is_shown_and_is_never_hashed() {
    let platform = Platform::start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.post("/auth/request-password-reset", None, &json!({ "email": "ada@example.com" })).status, 202);
    let link = token_in(&next_mail(&platform, "A new password for"));
    let hashes = || platform.metric("portcullis_password_hashes_total");
    let before = hashes();
    assert!(before > 0);
    // What is as long as a body may be is no password either.
    for (size, status) in [(1 << 20, 413), (60_000, 422)] {
        let long = "x".repeat(size);
        for (path, token, body) in [
            ("/auth/login", None, json!({ "email": "ada@example.com", "password": long })),
            ("/auth/register", None, json!({ "email": "bob@example.com", "password": long })),
            ("/auth/reset-password", None, json!({ "token": link, "new_password": long })),
            ("/auth/change-password", Some(&*token), json!({ "old_password": long, "new_password": PASSWORD })),
            ("/auth/change-password", Some(&*token), json!({ "old_password": PASSWORD, "new_password": long })),
            ("/auth/reauthenticate", Some(&*token), json!({ "password": long })),
        ] {
            let answer = platform.post(path, token, &body);
            assert_eq!(answer.status, status, "{path} {size}: {answer:?}");
            assert_eq!(hashes(), before, "{path} {size}");
        }
    }
    platform.login("ada@example.com");
    assert_eq!(hashes(), before + 1);
}
