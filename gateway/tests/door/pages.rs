//! The pages through the door, as a browser without scripts sees them; in Chromium itself they are seen by `chromium`.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::{Value, json};

use crate::{
    backends::kept,
    issuers::now,
    mail::{next_mail, token_in},
    mfa::arm,
    oauth::{Provider, goes_to, log_in},
    platform::{Answer, PASSWORD, Platform, Setup},
};

const HTML: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");
const HERE: (&str, &str) = ("Sec-Fetch-Site", "same-origin");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Keeps cookies.
#[derive(Default)]
pub(crate) struct Visitor(pub(crate) RefCell<BTreeMap<String, String>>);

impl Visitor {
    pub(crate) fn send(
        &self,
        platform: &Platform,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookies =
            self.0.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = [&[HTML][..], fields].concat();
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        let answer = platform.send(method, path, &headers, body);
        has_labels(&answer);
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if set.contains("Max-Age=0") {
                self.0.borrow_mut().remove(name);
            } else {
                self.0.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) fn get(&self, platform: &Platform, path: &str) -> Answer {
        self.send(platform, "GET", path, &[], "")
    }

    /// A form of one of our own pages.
    pub(crate) fn post(&self, platform: &Platform, path: &str, body: &str) -> Answer {
        self.send(platform, "POST", path, &[HERE, FORM], body)
    }

    pub(crate) fn signed_in(platform: &Platform, email: &str) -> Self {
        let visitor = Self::default();
        let answer = visitor.post(platform, "/account/sign-in", &credentials(email));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/account/sessions")), "{answer:?}");
        visitor
    }
}

pub(crate) fn credentials(email: &str) -> String {
    format!("email={}&password={PASSWORD}", email.replace('@', "%40"))
}

/// The value of a hidden field of the first form that has it.
pub(crate) fn hidden(page: &Answer, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let at = page.body.find(&field).unwrap_or_else(|| panic!("no {name} in {page:?}")) + field.len();
    page.body[at..].split('"').next().unwrap().to_owned()
}

/// The attributes of each field of a page that is seen.
fn fields(page: &Answer) -> impl Iterator<Item = &str> {
    let inputs = page.body.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap());
    inputs.filter(|input| !input.contains("type=\"hidden\""))
}

/// Each field says what belongs in it, and each label has its field.
fn has_labels(page: &Answer) {
    let id = |after: &str| after.split('"').next().unwrap().to_owned();
    let fields: Vec<String> = fields(page).map(|field| id(field.strip_prefix("id=\"").unwrap())).collect();
    let labels: Vec<String> = page.body.split("<label for=\"").skip(1).map(id).collect();
    assert_eq!(fields, labels, "{}", page.body);
}

/// Whatever is to be typed that is no address, name or number is masked, and left to whoever keeps passwords under these names.
fn are_masked(page: &Answer, names: &[&str]) {
    let plain = ["email", "new_email", "name", "expires_in_days"].map(|name| format!(" name=\"{name}\""));
    let secret: Vec<&str> = fields(page).filter(|field| !plain.iter().any(|name| field.contains(name))).collect();
    assert_eq!(secret.len(), names.len(), "{secret:?}: {page:?}");
    for (field, name) in secret.iter().zip(names) {
        assert!(field.contains("type=\"password\""), "{field}");
        assert!(field.contains(&format!("autocomplete=\"{name}\"")), "{field}");
    }
}

#[test]
fn what_is_typed_as_a_password_is_masked_and_left_to_whoever_keeps_passwords() {
    let platform = Platform::start();
    for (path, names) in [
        ("sign-in", &["current-password"][..]),
        ("sign-up", &["new-password"]),
        ("reset-password?token=x", &["new-password"]),
        ("accept-invite?token=x", &["new-password"]),
        ("forgot-password", &[]),
        ("magic-link", &[]),
    ] {
        are_masked(&Visitor::default().get(&platform, &format!("/account/{path}")), names);
    }
}

#[test]
fn each_page_of_somebody_who_is_signed_in_leads_out_and_masks_the_password_that_it_asks_for() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let ada = Visitor::default();
    // Whoever was seen at the provider this long ago has to show who they are before anything is changed.
    let long_ago = |claims: &mut Value| claims["auth_time"] = json!(now() - 301);
    assert_eq!(goes_to(&log_in(&platform, &provider, &ada, long_ago)), "/demo/x?a=b");
    let sent = ada.get(&platform, "/auth/oauth/acme?link=1");
    let back = provider.agree(&sent, |claims| claims["sub"] = json!("ada-elsewhere"));
    assert_eq!(goes_to(&ada.get(&platform, &back)), "/account/link");
    let is_right = |page: &Answer, status: u16, names: &[&str]| {
        assert_eq!(page.status, status, "{page:?}");
        assert!(page.body.contains("action=\"/account/sign-out\""), "{page:?}");
        are_masked(page, names);
    };
    for path in ["sessions", "identities", "keys", "organisations"] {
        is_right(&ada.get(&platform, &format!("/account/{path}")), 200, &[]);
    }
    for path in ["security", "email", "link"] {
        is_right(&ada.get(&platform, &format!("/account/{path}")), 200, &["current-password"]);
    }
    let csrf = format!("csrf={}", hidden(&ada.get(&platform, "/account/sessions"), "csrf"));
    is_right(&ada.post(&platform, "/account/sessions/end-others", &csrf), 403, &["current-password"]);
}

#[test]
fn who_goes_to_a_page_is_sent_to_sign_in_and_programs_are_refused() {
    let platform = Platform::start();
    let to = |method: &str, path: &str, fields: &[(&str, &str)]| {
        let answer = platform.send(method, path, fields, "");
        assert!(answer.status != 303 || answer.header("cache-control") == Some("no-store"), "{answer:?}");
        (answer.status, answer.header("location").unwrap_or_default().to_owned())
    };
    let navigate = ("Sec-Fetch-Mode", "navigate");
    let sign_in = |back: &str| (303, format!("/account/sign-in{back}"));
    assert_eq!(to("GET", "/demo/x", &[HTML]), sign_in("?return_to=/demo/x"));
    assert_eq!(to("GET", "/demo/x?a=b&c=//d", &[HTML, navigate]), sign_in("?return_to=/demo/x%3Fa%3Db%26c%3D//d"));
    assert_eq!(to("POST", "/demo/x", &[HTML, navigate]), sign_in(""), "nothing is posted twice");
    assert_eq!(to("GET", "/demo/x", &[HTML, ("Cookie", "portcullis=stale")]), sign_in("?return_to=/demo/x"));
    let refused = (401, String::new());
    for fields in [
        &[][..],
        &[("Accept", "application/json")],
        &[HTML, ("Sec-Fetch-Mode", "cors")],
        &[HTML, ("Authorization", "Bearer x")],
        &[HTML, ("X-API-Key", "pck_x")],
    ] {
        assert_eq!(to("GET", "/demo/x", fields), refused, "{fields:?}");
    }
    let challenged = platform.send("GET", "/demo/x", &[], "");
    assert_eq!(challenged.header("www-authenticate"), Some("Bearer realm=\"portcullis\""));
    assert_eq!(to("GET", "/nowhere", &[HTML]).0, 404);
    let without = Setup::default().edit(
        "routes.toml",
        "\"/account/sign-in\", \"/account/sign-up\", \"/account/check-mail\"",
        "\"/account/check-mail\"",
    );
    let without = without.edit("cases.toml", "\"GET /account/sign-in\", ", "");
    assert_eq!(without.start().send("GET", "/demo/x", &[HTML], "").status, 401, "no page, no way to it");
}

#[test]
fn who_is_refused_a_page_is_told_so_on_one_and_programs_get_their_problem() {
    let (_kept, nobody) = kept();
    let once = "auth = \"none\"\nlimits = [{ per = \"ip\", requests = \"1/minute\" }]\n\n[[route]]\nname = \"demo\"\n";
    let platform = Setup::default()
        .edit("gateway.toml", "product = \"Portcullis\"", "product = \"A & <b>\"")
        .edit("routes.toml", "auth = \"none\"\n\n[[route]]\nname = \"demo\"\n", once)
        .upstream(nobody)
        .start();
    platform.register("ada@example.com");
    let ada = Visitor::signed_in(&platform, "ada@example.com");
    let navigate = ("Sec-Fetch-Mode", "navigate");
    assert_eq!(ada.get(&platform, "/demo/public/x").status, 502);
    for (path, status, code, title, detail) in [
        ("/demo/admin", 403, "forbidden", "Forbidden", "This needs role admin."),
        ("/demo/public/x", 429, "rate_limited", "Too many requests", "is used up; try again in"),
        ("/demo/x", 502, "upstream_unreachable", "Upstream unreachable", "cannot be reached."),
    ] {
        let page = ada.send(&platform, "GET", path, &[navigate], "");
        assert_eq!((page.status, page.header("content-type")), (status, Some("text/html; charset=utf-8")), "{page:?}");
        let policy =
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        assert_eq!(page.header("content-security-policy"), Some(policy), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(page.header("retry-after").is_some(), status == 429, "{page:?}");
        let id = page.header("x-request-id").unwrap();
        for said in
            [&format!("<h1>{title}</h1>"), detail, &format!("<code>{code}</code>"), &format!("<code>{id}</code>")]
        {
            assert!(page.body.contains(said), "{said}: {}", page.body);
        }
        assert!(page.body.contains("A &#38; &#60;b&#62;") && !page.body.contains("<b>"), "{}", page.body);
        assert!(!page.body.contains("<script") && !page.body.contains("style="), "{}", page.body);
        let problem = ada.send(&platform, "GET", path, &[("Sec-Fetch-Mode", "cors")], "");
        assert_eq!((problem.status, &*problem.code()), (status, code), "{problem:?}");
        assert_eq!(problem.header("content-type"), Some("application/problem+json"), "{problem:?}");
        assert_eq!(problem.header("content-security-policy"), Some("frame-ancestors 'none'"), "{problem:?}");
    }
    assert_eq!(ada.send(&platform, "GET", "/nowhere", &[navigate], "").code(), "no_route");
}

#[test]
fn whoever_has_an_authenticator_is_asked_for_its_code_on_a_page_of_its_own() {
    let platform = Platform::start();
    let (ada, visitor) = (arm(&platform), Visitor::default());
    let asked = visitor.post(&platform, "/account/sign-in", &(credentials("ada@example.com") + "&return_to=/demo/x"));
    assert_eq!((asked.status, asked.header("referrer-policy")), (200, Some("strict-origin")), "{asked:?}");
    assert!(asked.body.contains("autocomplete=\"one-time-code\""), "{}", asked.body);
    assert_eq!(visitor.get(&platform, "/demo/x").status, 303, "a password alone is no session");
    let step = |token: &str, code: &str| {
        visitor.post(&platform, "/account/sign-in/code", &format!("token={token}&return_to=/demo/x&code={code}"))
    };
    let token = hidden(&asked, "token");
    let wrong = step(&token, "000000");
    assert_eq!((wrong.status, hidden(&wrong, "token")), (403, token.clone()), "{wrong:?}");
    let right = step(&token, &ada.next_code());
    assert_eq!((right.status, right.header("location")), (303, Some("/demo/x")), "{right:?}");
    assert_eq!(visitor.get(&platform, "/demo/x").status, 200);
    // The token is used up, and so is the code; a recovery code serves in its place.
    assert_eq!(step(&token, &ada.recovery[0]).status, 403);
    let asked = visitor.post(&platform, "/account/sign-in", &credentials("ada@example.com"));
    assert_eq!(step(&hidden(&asked, "token"), &ada.recovery[0]).status, 303);
    let root = platform.admin();
    let events = platform.get("/admin/audit?event=verify_factor", &root).json();
    let outcomes: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "invalid_mfa_token", "ok", "invalid_code"]);
    let logins = platform.get("/admin/audit?event=login&outcome=mfa_required", &root).json();
    assert_eq!(logins["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_page_runs_nothing_and_is_shown_in_no_frame() {
    let platform = Setup::default().edit("gateway.toml", "accent = \"#1f5fbf\"", "accent = \"#ffcc00\"");
    let platform = platform.edit("gateway.toml", "product = \"Portcullis\"", "product = \"A & <b>\"").start();
    let by_mail = ["reset-password", "verify-email", "magic-link", "confirm-email", "accept-invite"];
    for path in ["sign-in", "sign-up", "check-mail", "forgot-password"].into_iter().chain(by_mail) {
        let page = platform.send("GET", &format!("/account/{path}"), &[], "");
        let policy =
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        assert_eq!(page.header("content-security-policy"), Some(policy), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("same-origin"), "{path}");
        let with_token = platform.send("GET", &format!("/account/{path}?token=x"), &[], "");
        let shows_token = with_token.body.contains("name=\"token\"");
        assert_eq!(shows_token, by_mail.contains(&path), "{path}");
        let policy = if shows_token { "strict-origin" } else { "same-origin" };
        assert_eq!(with_token.header("referrer-policy"), Some(policy), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert!(page.body.contains("A &#38; &#60;b&#62;") && !page.body.contains("<b>"), "{}", page.body);
        assert!(!page.body.contains("<script") && !page.body.contains("style="), "{}", page.body);
        has_labels(&page);
        has_labels(&with_token);
    }
    let style = platform.send("GET", "/account/style.css", &[], "");
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.body.contains("--accent: #ffcc00; --ink: #000000;"), "{}", style.body);
}

#[test]
fn somebody_signs_in_sees_where_and_signs_out() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let visitor = Visitor::default();
    let page = visitor.get(&platform, "/account/sign-in?return_to=/demo/x%3Fa%3Db");
    assert_eq!(hidden(&page, "return_to"), "/demo/x?a=b");
    let wrong =
        visitor.post(&platform, "/account/sign-in", "email=ada%40example.com&password=wrong&return_to=%2Fdemo%2Fx");
    assert_eq!(wrong.status, 403);
    assert!(
        wrong.body.contains("role=\"alert\"") && wrong.body.contains("value=\"ada@example.com\""),
        "{}",
        wrong.body
    );
    assert!(!wrong.body.contains("wrong\""), "no password is sent back: {}", wrong.body);
    let body = format!("{}&return_to=%2Fdemo%2Fx%3Fa%3Db", credentials("ada@example.com"));
    let signed_in = visitor.post(&platform, "/account/sign-in", &body);
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/demo/x?a=b")));
    assert_eq!(visitor.get(&platform, "/demo/x?a=b").status, 200);
    assert_eq!(visitor.get(&platform, "/account").header("location"), Some("/account/sessions"));
    let sessions = visitor.get(&platform, "/account/sessions");
    assert!(sessions.body.contains("This browser") && sessions.body.contains("ada@example.com"), "{}", sessions.body);
    let csrf = format!("csrf={}", hidden(&sessions, "csrf"));
    let ended = visitor.post(&platform, "/account/sessions/end-others", &csrf);
    assert_eq!((ended.status, ended.header("location")), (303, Some("/account/sessions")), "{ended:?}");
    assert!(!visitor.get(&platform, "/account/sessions").body.contains("End all other"));
    let before = visitor.0.borrow()["portcullis"].clone();
    assert_eq!(visitor.post(&platform, "/account/sign-in", &credentials("ada@example.com")).status, 303);
    let old = platform.send("GET", "/demo/x", &[("Cookie", &format!("portcullis={before}"))], "");
    assert_eq!(old.code(), "revoked", "whoever signs in anew leaves the old session behind");
    let other = Visitor::signed_in(&platform, "ada@example.com");
    let sessions = visitor.get(&platform, "/account/sessions");
    let csrf = format!("csrf={}", hidden(&sessions, "csrf"));
    let at = sessions.body.find("/account/sessions/0").unwrap();
    let path = sessions.body[at..].split('"').next().unwrap();
    assert_eq!(visitor.post(&platform, path, &csrf).status, 303);
    assert_eq!(other.get(&platform, "/account/sessions").status, 303, "it has ended");
    let out = visitor.post(&platform, "/account/sign-out", &csrf);
    assert_eq!(out.header("location"), Some("/account/sign-in?notice=signed_out"), "{out:?}");
    assert_eq!(visitor.0.borrow().keys().collect::<Vec<_>>(), ["portcullis-device"]);
    assert!(visitor.get(&platform, "/account/sign-in?notice=signed_out").body.contains("You are signed out."));
    assert_eq!(visitor.get(&platform, "/account/sessions").status, 303);
}

#[test]
fn no_link_leads_from_signing_in_to_elsewhere_or_makes_a_page_say_things() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    for (n, trick) in [
        "//evil.test",
        "/%5Cevil.test",
        "https:%2F%2Fevil.test",
        "%2F%09%2Fevil.test",
        "%2F%2Fevil.test",
        "javascript:alert(1)",
    ]
    .into_iter()
    .enumerate()
    {
        let page = platform.send("GET", &format!("/account/sign-in?return_to={trick}&notice=%3Cb%3EYou+won"), &[], "");
        assert!(
            !page.body.contains("return_to") && !page.body.contains("evil") && !page.body.contains("won"),
            "{page:?}"
        );
        if n < 3 {
            let body = format!("{}&return_to={trick}", credentials("ada@example.com"));
            let answer = Visitor::default().post(&platform, "/account/sign-in", &body);
            assert_eq!(answer.header("location"), Some("/account/sessions"), "{trick}");
        }
    }
}

#[test]
fn a_form_of_a_strangers_page_signs_nobody_in_and_changes_nothing() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let body = credentials("ada@example.com");
    for fields in [
        &[FORM][..],
        &[FORM, ("Sec-Fetch-Site", "cross-site")],
        &[FORM, ("Sec-Fetch-Site", "same-site"), ("Origin", "http://door.test")],
        &[FORM, ("Origin", "http://evil.test")],
        &[FORM, ("Origin", "null")],
    ] {
        let answer = platform.send("POST", "/account/sign-in", fields, &body);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{fields:?}");
    }
    assert_eq!(platform.send("POST", "/account/sign-in", &[FORM, ("Origin", "http://door.test")], &body).status, 303);
    let json = platform.send("POST", "/account/sign-in", &[HERE, ("Content-Type", "text/plain")], &body);
    assert_eq!(json.status, 415, "{json:?}");

    let (ada, other) =
        (Visitor::signed_in(&platform, "ada@example.com"), Visitor::signed_in(&platform, "ada@example.com"));
    let csrf = hidden(&ada.get(&platform, "/account/keys"), "csrf");
    let foreign = hidden(&other.get(&platform, "/account/keys"), "csrf");
    let key = |csrf: &str| format!("{csrf}name=ci&expires_in_days=");
    for wrong in [
        String::new(),
        "csrf=&".to_owned(),
        "csrf=x&".to_owned(),
        format!("csrf={foreign}&"),
        format!("csrf={csrf}&csrf={csrf}&"),
    ] {
        assert_eq!(ada.post(&platform, "/account/keys", &key(&wrong)).status, 403, "{wrong}");
    }
    let right = key(&format!("csrf={csrf}&"));
    let elsewhere = ada.send(&platform, "POST", "/account/keys", &[FORM, ("Sec-Fetch-Site", "cross-site")], &right);
    assert_eq!(elsewhere.code(), "csrf", "the door itself refuses it");
    for path in ["/account/sign-out", "/account/sessions/end-others"] {
        assert_eq!(ada.post(&platform, path, "csrf=x").status, 403, "{path}");
    }
    assert!(ada.get(&platform, "/account/keys").body.contains("There are none."));
    assert_eq!(ada.post(&platform, "/account/keys", &right).status, 201);
}

#[test]
fn a_key_is_shown_once_and_deleted_where_it_was_made() {
    let platform = Platform::start();
    let registered = platform.register("ada@example.com");
    let ada = Visitor::signed_in(&platform, "ada@example.com");
    let csrf = format!("csrf={}", hidden(&ada.get(&platform, "/account/keys"), "csrf"));
    for (fields, said) in [
        ("name=&expires_in_days=", "Name must not be empty."),
        ("name=x&expires_in_days=0", "Days must be between 1 and 3650."),
        ("name=x&expires_in_days=soon", "Days must be a whole number."),
    ] {
        let wrong = ada.post(&platform, "/account/keys", &format!("{csrf}&{fields}"));
        assert!(wrong.status == 422 && wrong.body.contains(said) && wrong.body.contains("aria-invalid"), "{wrong:?}");
    }
    let made = ada.post(&platform, "/account/keys", &format!("{csrf}&name=%3Ci%3Eci&expires_in_days=30"));
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
    let at = made.body.find("pck_").unwrap();
    let key: String = made.body[at..].chars().take(75).collect();
    assert_eq!(platform.get("/demo/x", &key).status, 200);
    let list = ada.get(&platform, "/account/keys");
    assert!(
        !list.body.contains(&key) && list.body.contains("&#60;i&#62;ci") && !list.body.contains("<i>"),
        "{}",
        list.body
    );
    assert!(!list.body.contains("Good from"), "it is good from anywhere");
    let at = list.body.find("/account/keys/0").unwrap();
    let path = list.body[at..].split('"').next().unwrap();
    assert_eq!(ada.post(&platform, path, &csrf).status, 303);
    assert_eq!(platform.get("/demo/x", &key).code(), "revoked");
    assert_eq!(platform.get("/account/keys", &key).status, 401, "it is deleted");

    let bound = json!({ "name": "bound", "allowed_networks": ["192.0.2.0/24", "2001:db8::1"] });
    assert_eq!(platform.post("/auth/api-keys", registered["access_token"].as_str(), &bound).status, 201);
    let list = ada.get(&platform, "/account/keys").body;
    assert!(list.contains("<dt>Good from</dt><dd>192.0.2.0/24, 2001:db8::1/128</dd>"), "{list}");
}

#[test]
fn a_link_in_a_mail_is_used_up_by_a_button_and_not_by_whoever_looks_at_it() {
    let platform = Platform::start();
    let visitor = Visitor::default();
    let taken_in = visitor.post(&platform, "/account/sign-up", &format!("{}&name=Ada", credentials("ada@example.com")));
    assert_eq!(taken_in.header("location"), Some("/account/sessions"), "{taken_in:?}");
    let again = visitor.post(&platform, "/account/sign-up", &format!("{}&name=", credentials("ada@example.com")));
    assert_eq!(again.status, 409, "{again:?}");
    let short = visitor.post(&platform, "/account/sign-up", "email=bob&password=x&name=");
    assert!(short.body.contains("aria-describedby=\"password-hint password-error\""), "{}", short.body);

    let verify = |token: &str| visitor.get(&platform, &format!("/account/verify-email?token={token}"));
    let token = token_in(&next_mail(&platform, "Confirm your address"));
    for _ in 0..2 {
        assert_eq!(hidden(&verify(&token), "token"), token, "to look changes nothing");
    }
    let shown = format!("token={token}");
    assert_eq!(
        visitor.post(&platform, "/account/verify-email", &shown).header("location"),
        Some("/account/sign-in?notice=confirmed")
    );
    assert_eq!(visitor.post(&platform, "/account/verify-email", &shown).status, 400, "once");
    assert_eq!(visitor.get(&platform, "/account/verify-email").status, 400);

    let asked = visitor.post(&platform, "/account/magic-link", "email=ada%40example.com");
    assert_eq!(asked.header("location"), Some("/account/check-mail"));
    let shown = format!("token={}", token_in(&next_mail(&platform, "Your link to log in")));
    assert_eq!(visitor.get(&platform, &format!("/account/magic-link?{shown}")).status, 200);
    let elsewhere = Visitor::default().post(&platform, "/account/magic-link/consume", &shown);
    assert_eq!((elsewhere.status, elsewhere.header("set-cookie")), (400, None), "another browser");
    assert_eq!(
        visitor.post(&platform, "/account/magic-link/consume", &shown).header("location"),
        Some("/account/sessions")
    );

    for address in ["ada%40example.com", "nobody%40example.com"] {
        let asked = visitor.post(&platform, "/account/forgot-password", &format!("email={address}"));
        assert_eq!(asked.header("location"), Some("/account/check-mail"));
    }
    let token = token_in(&next_mail(&platform, "A new password"));
    let weak = visitor.post(&platform, "/account/reset-password", &format!("token={token}&new_password=x"));
    assert!(weak.status == 422 && hidden(&weak, "token") == token, "{weak:?}");
    let body = format!("token={token}&new_password=Another-Horse-8");
    assert_eq!(
        visitor.post(&platform, "/account/reset-password", &body).header("location"),
        Some("/account/sign-in?notice=password")
    );
    assert_eq!(visitor.get(&platform, "/account/sessions").status, 303, "every session has ended");
    let old = platform.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_eq!(old.status, 401);
}
