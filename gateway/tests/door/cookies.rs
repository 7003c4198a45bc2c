//! Browsers that are logged in by a cookie: what they are given, what it opens, what it does not do by itself, and when it ends.

use std::io::Write;

use serde_json::json;

use crate::{
    backends::{After, Backend, pool},
    platform::{Answer, PASSWORD, Platform, Setup, token_of},
    wire::{Wire, backend, echo, handshake},
};

/// A browser that is logged in.
struct Browser {
    /// The pair that it sends.
    cookie: String,
    csrf: String,
}

const HERE: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

fn log_in(platform: &Platform, email: &str) -> (Answer, Browser) {
    let answer =
        platform.post("/auth/login", None, &json!({ "email": email, "password": PASSWORD, "session": "cookie" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let browser = Browser::of(&answer);
    (answer, browser)
}

fn cookies(answer: &Answer) -> Vec<&str> {
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    cookies.map(|(_, value)| value.as_str()).collect()
}

// === impl Browser ===

impl Browser {
    fn of(answer: &Answer) -> Self {
        let given = |name: &str| {
            let cookies = cookies(answer).into_iter().filter(|cookie| cookie.starts_with(&format!("{name}=")));
            let [one] = cookies.collect::<Vec<_>>()[..] else { panic!("not one {name}: {answer:?}") };
            one.split(';').next().unwrap().to_owned()
        };
        let csrf = given("portcullis-csrf").split_once('=').unwrap().1.to_owned();
        Self { cookie: given("portcullis"), csrf }
    }

    fn send(&self, platform: &Platform, method: &str, path: &str, more: &[(&str, &str)]) -> Answer {
        platform.send(method, path, &[&[("Cookie", self.cookie.as_str())], more].concat(), "")
    }

    fn get(&self, platform: &Platform) -> String {
        let answer = self.send(platform, "GET", "/demo/x", &[]);
        if answer.status == 200 { "200".to_owned() } else { answer.code() }
    }

    /// A request of one of our own pages.
    fn post(&self, platform: &Platform, path: &str, body: &serde_json::Value) -> Answer {
        let headers =
            [("Cookie", &*self.cookie), HERE, ("X-CSRF-Token", &*self.csrf), ("Content-Type", "application/json")];
        platform.send("POST", path, &headers, &body.to_string())
    }
}

#[test]
fn a_browser_is_given_a_cookie_and_no_tokens_and_the_door_opens_to_it_without_the_database() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let (answer, browser) = log_in(&platform, "ada@example.com");
    let body = answer.json();
    assert!(body.get("access_token").is_none() && body.get("refresh_token").is_none(), "{body}");
    assert_eq!((body["csrf_token"].as_str(), &body["expires_in"]), (Some(&*browser.csrf), &json!(43200)));
    let shown: Vec<String> =
        cookies(&answer).into_iter().map(|cookie| cookie.split_once(';').unwrap().1.to_owned()).collect();
    assert_eq!(
        shown,
        [
            " Path=/; Max-Age=43200; SameSite=Lax; HttpOnly",
            " Path=/; Max-Age=43200; SameSite=Lax",
            " Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax",
        ]
    );
    let cookie = format!("theme=dark; {}; portcullis-csrf={}; lang=de", browser.cookie, browser.csrf);
    let seen = platform.send("GET", "/demo/x", &[("Cookie", &cookie)], "");
    assert_eq!(seen.received("cookie"), ["theme=dark; lang=de"], "ours is for us alone");
    assert_eq!(seen.received("x-auth-method"), ["cookie"]);
    assert_eq!(seen.received("x-user-email"), ["ada@example.com"]);
    let asked = "portcullis_credential_cache_misses_total";
    let before = platform.metric(asked);
    for _ in 0..10 {
        assert_eq!(browser.get(&platform), "200");
    }
    assert_eq!(platform.metric(asked), before, "it is cached");
    let listed = browser.send(&platform, "GET", "/auth/sessions", &[]).json();
    let current: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["current"].clone()).collect();
    assert_eq!(current, [json!(true), json!(false)]);
}

#[test]
fn what_a_browser_is_known_by_goes_to_the_account_service_and_to_nobody_else() {
    let platform = Setup::default()
        .append("routes.toml", "\n[[route]]\nname = \"given\"\npaths = [\"/given\"]\nupstream = \"demo\"\nauth = \"none\"\nforward_credential = true\n")
        .start();
    let sent = "a=1; portcullis=c; portcullis-device=d; __Host-portcullis-device=e; portcullis-link=f; b=2";
    let received = |path: &str| platform.send("GET", path, &[("Cookie", sent)], "").received("cookie");
    assert_eq!(received("/demo/public/x"), ["a=1; b=2"]);
    assert_eq!(received("/given"), ["a=1; portcullis=c; b=2"], "a route may be given the session, and that alone");
    // Whoever comes again with it is given no other.
    platform.register("ada@example.com");
    let (first, _) = log_in(&platform, "ada@example.com");
    let device = cookies(&first).into_iter().find(|cookie| cookie.starts_with("portcullis-device=")).unwrap();
    let known = [("Cookie", device.split(';').next().unwrap()), ("Content-Type", "application/json")];
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let again = platform.send("POST", "/auth/login", &known, &body.to_string());
    assert!(again.status == 200 && !cookies(&again).iter().any(|cookie| cookie.contains("-device=")), "{again:?}");
}

#[test]
fn over_https_the_cookie_is_this_hosts_alone_and_no_other_name_is_one() {
    let platform = Setup::default().env("PORTCULLIS_PUBLIC_URL", "https://door.test").start();
    platform.register("ada@example.com");
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let answer = platform.post("/auth/login", None, &body);
    let given = cookies(&answer);
    assert!(
        given[0].starts_with("__Host-portcullis=pcs_") && given[1].starts_with("__Host-portcullis-csrf="),
        "{given:?}"
    );
    assert!(given.iter().all(|cookie| cookie.contains("; Secure") && cookie.contains("; Path=/;")), "{given:?}");
    assert!(given.iter().all(|cookie| !cookie.contains("Domain")), "{given:?}");
    let pair = given[0].split(';').next().unwrap();
    assert_eq!(platform.send("GET", "/demo/x", &[("Cookie", pair)], "").status, 200);
    let plain = pair.trim_start_matches("__Host-");
    let other = platform.send("GET", "/demo/x", &[("Cookie", plain)], "");
    assert_eq!((other.status, other.code().as_str()), (401, "missing_credential"));
}

#[test]
fn a_cookie_is_the_one_credential_where_it_is_looked_at_and_nothing_elsewhere() {
    let platform = Platform::start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let (_, browser) = log_in(&platform, "ada@example.com");
    let bearer = format!("Bearer {token}");
    let code = |headers: &[(&str, &str)]| platform.send("GET", "/demo/x", headers, "").code();
    assert_eq!(browser.get(&platform), "200");
    let twice = format!("{0}; {0}", browser.cookie);
    assert_eq!(code(&[("Cookie", &browser.cookie), ("Authorization", &bearer)]), "ambiguous_credentials");
    assert_eq!(code(&[("Cookie", &browser.cookie), ("X-API-Key", "pck_x")]), "ambiguous_credentials");
    assert_eq!(code(&[("Cookie", &twice)]), "ambiguous_credentials");
    for wrong in ["portcullis=", "portcullis=pcs_x", &format!("portcullis={token}")] {
        assert_eq!(code(&[("Cookie", wrong)]), "invalid_token", "{wrong}");
    }
    // The value of a cookie elsewhere is no token: it would need no page of this host behind it.
    let value = browser.cookie.split_once('=').unwrap().1;
    assert_eq!(code(&[("Authorization", &format!("Bearer {value}"))]), "invalid_token");
    let public = platform.send("POST", "/demo/public/x", &[("Cookie", "a=1; portcullis=rubbish")], "");
    assert_eq!((public.status, public.received("cookie")), (200, vec!["a=1".to_owned()]));
}

#[test]
fn a_cookie_changes_nothing_unless_a_page_of_this_host_shows_its_token() {
    let platform = Platform::start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let (_, browser) = log_in(&platform, "ada@example.com");
    let (_, other) = log_in(&platform, "ada@example.com");
    let csrf = ("X-CSRF-Token", browser.csrf.as_str());
    let ours = ("Origin", "http://door.test");
    let post = |more: &[(&str, &str)]| {
        let answer = browser.send(&platform, "POST", "/demo/x", more);
        if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
    };
    for good in [&[csrf, HERE][..], &[csrf, ours], &[csrf, HERE, ours], &[csrf, ("Sec-Fetch-Site", "none")]] {
        assert_eq!(post(good), "200", "{good:?}");
    }
    for bad in [
        &[csrf][..],
        &[HERE],
        &[ours],
        &[],
        &[csrf, ("Sec-Fetch-Site", "cross-site")],
        &[csrf, ("Sec-Fetch-Site", "same-site")],
        &[csrf, ("Sec-Fetch-Site", "cross-site"), ours],
        &[csrf, HERE, ("Sec-Fetch-Site", "cross-site")],
        &[csrf, ("Origin", "http://evil.test")],
        &[csrf, ("Origin", "https://door.test")],
        &[csrf, ("Origin", "http://door.test:81")],
        &[csrf, ("Origin", "null")],
        &[HERE, ("X-CSRF-Token", "x")],
        &[HERE, ("X-CSRF-Token", other.csrf.as_str())],
        &[HERE, csrf, csrf],
    ] {
        assert_eq!(post(bad), "403 csrf", "{bad:?}");
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(browser.send(&platform, method, "/demo/x", &[HERE]).code(), "csrf", "{method}");
        assert_eq!(browser.send(&platform, method, "/demo/x", &[HERE, csrf]).status, 200, "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        let foreign = [("Sec-Fetch-Site", "cross-site")];
        assert_eq!(browser.send(&platform, method, "/demo/x", &foreign).status, 200, "{method} changes nothing");
    }
    let bearer = format!("Bearer {token}");
    let foreign = [("Authorization", &*bearer), ("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.test")];
    assert_eq!(platform.send("POST", "/demo/x", &foreign, "").status, 200, "no browser sends a token by itself");
}

#[test]
fn a_route_whose_upstream_checks_its_own_forms_asks_for_no_token_but_for_a_page_of_this_host() {
    let route = "\n[[route]]\nname = \"forms\"\npaths = [\"/forms/*\"]\nupstream = \"demo\"\ncsrf = \"origin\"\n";
    let platform = Setup::default().append("routes.toml", route).start();
    platform.register("ada@example.com");
    let (_, browser) = log_in(&platform, "ada@example.com");
    assert_eq!(browser.send(&platform, "POST", "/forms/x", &[HERE]).status, 200);
    assert_eq!(browser.send(&platform, "POST", "/forms/x", &[("Sec-Fetch-Site", "cross-site")]).code(), "csrf");
    assert_eq!(browser.send(&platform, "POST", "/forms/x", &[]).code(), "csrf");
}

#[test]
fn the_token_that_goes_with_the_cookie_goes_no_further_than_the_cookie() {
    let route = |name: &str, more: &str| {
        format!("\n[[route]]\nname = \"{name}\"\npaths = [\"/{name}/*\"]\nupstream = \"demo\"\n{more}\n")
    };
    let platform = Setup::default()
        .append("routes.toml", &route("forms", "csrf = \"origin\""))
        .append("routes.toml", &route("given", "forward_credential = true"))
        .start();
    let token = token_of(&platform.register("ada@example.com"));
    let (_, browser) = log_in(&platform, "ada@example.com");
    let csrf = ("X-CSRF-Token", browser.csrf.as_str());
    let received =
        |method: &str, path: &str| browser.send(&platform, method, path, &[HERE, csrf]).received("x-csrf-token");
    for method in ["POST", "GET"] {
        assert_eq!(received(method, "/demo/x"), [""; 0], "{method}");
        // To whom the cookie is shown, so is its token; and who sees to its own forms has a token of its own.
        assert_eq!(received(method, "/given/x"), [csrf.1], "{method}");
        assert_eq!(received(method, "/forms/x"), [csrf.1], "{method}");
    }
    let bearer = format!("Bearer {token}");
    let other = [("Authorization", &*bearer), ("X-CSRF-Token", "of the service's own")];
    for (path, fields) in [("/demo/x", &other[..]), ("/demo/public/x", &other[1..])] {
        let answer = platform.send("POST", path, fields, "");
        assert_eq!(answer.received("x-csrf-token"), ["of the service's own"], "{path}: no cookie of ours is looked at");
    }
}

#[test]
fn a_browser_of_a_disabled_organisation_signs_out_and_does_nothing_else() {
    let platform = Platform::start();
    let tenant = platform.register("ada@example.com")["user"]["tenant_id"].as_str().unwrap().to_owned();
    let [(_, program), (_, page)] = [0, 1].map(|_| log_in(&platform, "ada@example.com"));
    let disabled = json!({ "status": "disabled" });
    let path = format!("/admin/tenants/{tenant}");
    assert_eq!(platform.json("PATCH", &path, Some(&platform.admin()), &disabled).status, 200);
    assert_eq!(program.get(&platform), "tenant_disabled");
    assert_eq!(page.send(&platform, "GET", "/account/sessions", &[HERE]).code(), "tenant_disabled");
    // It is asked for as much as ever.
    assert_eq!(program.send(&platform, "POST", "/auth/logout", &[HERE]).code(), "csrf");
    let out = program.post(&platform, "/auth/logout", &json!({}));
    assert_eq!(out.status, 200, "{out:?}");
    assert!(cookies(&out).iter().any(|cookie| cookie.starts_with("portcullis=;")), "{out:?}");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let sent = |csrf: &str| {
        let headers = [("Cookie", &*page.cookie), HERE, form];
        platform.send("POST", "/account/sign-out", &headers, &format!("csrf={csrf}"))
    };
    assert_eq!(sent("another").status, 403);
    let out = sent(&page.csrf);
    assert_eq!((out.status, out.header("location")), (303, Some("/account/sign-in?notice=signed_out")), "{out:?}");
    for browser in [program, page] {
        assert_eq!(browser.get(&platform), "revoked");
    }
}

#[test]
fn who_logs_out_leaves_no_cookie_and_the_one_that_was_is_refused_at_once() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let ((_, browser), (_, other)) = (log_in(&platform, "ada@example.com"), log_in(&platform, "ada@example.com"));
    assert_eq!(browser.get(&platform), "200");
    assert_eq!(browser.send(&platform, "POST", "/auth/logout", &[]).code(), "csrf");
    let out = browser.post(&platform, "/auth/logout", &json!({}));
    assert_eq!(out.status, 200, "{out:?}");
    let taken = cookies(&out);
    assert!(taken[0].starts_with("portcullis=; ") && taken[1].starts_with("portcullis-csrf=; "), "{taken:?}");
    assert!(taken.iter().all(|cookie| cookie.contains("Max-Age=0")), "{taken:?}");
    assert_eq!(browser.get(&platform), "revoked");
    assert_eq!(other.get(&platform), "200", "the other browser stays");
    let ended = other.send(&platform, "DELETE", "/auth/sessions", &[HERE, ("X-CSRF-Token", &other.csrf)]);
    assert_eq!(ended.json()["ended"], 1, "the session of the registration");
}

#[test]
fn another_password_or_role_is_another_cookie() {
    let platform = Platform::start();
    let ada = platform.register("ada@example.com");
    let (_, browser) = log_in(&platform, "ada@example.com");
    let (_, second) = log_in(&platform, "ada@example.com");
    assert_ne!(browser.cookie, second.cookie, "each login has its own");
    assert_eq!(browser.get(&platform), "200");
    let changed = browser.post(
        &platform,
        "/auth/change-password",
        &json!({ "old_password": PASSWORD, "new_password": "Another-Horse-8" }),
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    let next = Browser::of(&changed);
    assert_eq!((browser.get(&platform).as_str(), second.get(&platform).as_str()), ("invalid_token", "revoked"));
    assert_eq!(next.get(&platform), "200");
    assert_ne!(next.csrf, browser.csrf);

    let admin = platform.admin();
    let path = format!("/admin/users/{}", ada["user"]["id"].as_str().unwrap());
    let change = |body| assert_eq!(platform.json("PATCH", &path, Some(&admin), &body).status, 200);
    change(json!({ "tier": "pro" }));
    assert_eq!(next.get(&platform), "200", "a tier is no role");
    change(json!({ "role": "developer" }));
    assert_eq!(next.get(&platform), "revoked", "what was given to one role does not serve another");
}

#[test]
fn a_page_elsewhere_opens_no_websocket_by_the_cookie() {
    const ROUTES: &str = r#"
[[route]]
name = "ws"
paths = ["/ws/*"]
upstream = "demo"
websocket = true
cors = { origins = ["https://app.test"], credentials = true }

[[route]]
name = "ws-read"
paths = ["/read/*"]
upstream = "demo"
websocket = true
cors = { origins = ["https://app.test"] }
"#;
    let platform = Setup::default().append("routes.toml", ROUTES).upstream(backend(echo)).start();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let (_, browser) = log_in(&platform, "ada@example.com");
    let cookie = ("Cookie", browser.cookie.as_str());
    let opened = |path: &str, fields: &[(&str, &str)]| {
        let mut client = Wire::connect(platform.http);
        client.write(handshake(path, fields));
        let head = client.head();
        let opened = head.starts_with("HTTP/1.1 101 ");
        if opened {
            client.echoes("hello");
        }
        opened
    };
    assert!(opened("/ws/x", &[cookie, ("Origin", "http://door.test")]));
    assert!(opened("/ws/x", &[cookie, ("Origin", "https://app.test")]), "trusted with credentials");
    for (path, origin) in [
        ("/ws/x", &[("Origin", "https://evil.test")][..]),
        ("/ws/x", &[("Origin", "null")]),
        ("/ws/x", &[("Sec-Fetch-Site", "same-origin")]),
        ("/ws/x", &[]),
        ("/read/x", &[("Origin", "https://app.test")]),
    ] {
        assert!(!opened(path, &[&[cookie][..], origin].concat()), "{path} {origin:?}");
    }
    let bearer = format!("bearer.{token}");
    let by_token = [("Sec-WebSocket-Protocol", &*bearer), ("Origin", "https://evil.test")];
    assert!(opened("/ws/x", &by_token), "no browser sends a token by itself");
}

#[test]
fn no_service_gives_a_browser_a_session_of_ours() {
    let backend = Backend::start(|_, stream| {
        let cookies = [
            "theme=dark",
            "portcullis=pcs_x; Path=/",
            "__Host-portcullis=y",
            " portcullis-csrf=z",
            "portcullisx=1",
            "=portcullis=pcs_x",
            " = portcullis-csrf=z",
        ];
        let fields = cookies.map(|cookie| format!("Set-Cookie: {cookie}\r\n")).concat();
        drop(stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n").as_bytes()));
        After::Keep
    });
    let platform = pool(&[backend.address], "").start();
    let answer = platform.send("GET", "/pool/x", &[], "");
    assert_eq!(cookies(&answer), ["theme=dark", "portcullisx=1"]);
}
