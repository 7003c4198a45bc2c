//! What the office asks of browsers itself, past the door: who it is, from where a form comes, and the cookie's token in it.

use axum::{
    body::Body,
    http::{Request, header},
};
use identity::{Grant, SessionCookie};
use serde_json::{Value, json};

use crate::house::{Answer, House, PASSWORD, Shown};

/// Every page of somebody's own.
const OWN: [(&str, &str); 16] = [
    ("GET", "/account/sessions"),
    ("POST", "/account/sessions/0190a5a0-0000-7000-8000-000000000000/end"),
    ("POST", "/account/sessions/end-others"),
    ("GET", "/account/keys"),
    ("POST", "/account/keys"),
    ("POST", "/account/keys/0190a5a0-0000-7000-8000-000000000000/delete"),
    ("POST", "/account/sign-out"),
    ("HEAD", "/account/sessions"),
    ("GET", "/account/security"),
    ("POST", "/account/security/confirm"),
    ("POST", "/account/security/confirm-passkey"),
    ("POST", "/account/security/totp"),
    ("POST", "/account/security/totp/confirm"),
    ("POST", "/account/security/passkeys"),
    ("POST", "/account/security/recovery-codes"),
    ("POST", "/account/security/0190a5a0-0000-7000-8000-000000000000/remove"),
];

pub(crate) async fn send(house: &House, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    house.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn no_page_of_somebodys_own_is_shown_to_a_stranger_or_a_program() {
    let house = House::open().await;
    let person = house.register("ada@example.com").await;
    let assertion = house.assertion_of(&person).await;
    let here = ("Sec-Fetch-Site", "same-origin");
    for (method, path) in OWN {
        let stranger = send(&house, method, path, &[here], "csrf=x&name=x&expires_in_days=").await;
        assert_eq!(stranger.status, 403, "{method} {path}");
        let program = send(&house, method, path, &[here, ("X-Gateway-Assertion", &assertion)], "csrf=x").await;
        assert_eq!(program.status, 409, "{method} {path}: a token is no cookie");
    }
}

#[tokio::test]
async fn a_cookie_that_is_not_of_the_asserted_session_and_a_form_from_elsewhere_are_refused() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let login = house.post("/auth/login", Shown::Nothing, body).await;
    let pair = login.cookie().unwrap();
    let cookie = SessionCookie::parse(pair.split_once('=').unwrap().1).unwrap();
    let facts = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap();
    let assertion = house.assert(&facts.principal(Grant::Cookie(cookie.id())), "admin-api");
    let other = SessionCookie::generate(uuid::Uuid::now_v7().into(), &mut rand::rng());
    let others = format!("__Host-portcullis={}", other.expose());
    let twice = format!("{pair}; {pair}");
    let assertion = ("X-Gateway-Assertion", &*assertion);
    for (cookies, status) in [(&*pair, 200), (&*others, 409), (&*twice, 409), ("", 409)] {
        let fields = [assertion, ("Cookie", cookies)];
        assert_eq!(send(&house, "GET", "/account/keys", &fields, "").await.status, status, "{cookies}");
    }
    let here = ("Sec-Fetch-Site", "same-origin");
    let form = format!("csrf={}&name=ci&expires_in_days=", cookie.csrf_token());
    let own = [assertion, ("Cookie", &*pair)];
    let from = async |more: &[(&str, &str)], form: &str| {
        send(&house, "POST", "/account/keys", &[&own[..], more].concat(), form).await.status
    };
    assert_eq!(from(&[], &form).await, 403);
    assert_eq!(from(&[("Sec-Fetch-Site", "cross-site")], &form).await, 403);
    assert_eq!(from(&[here], &form.replace("csrf=", "csrf=x")).await, 403);
    assert_eq!(from(&[here], &form).await, 201);
    let origin = [("Origin", "https://door.test"), ("X-Forwarded-Host", "door.test"), ("X-Forwarded-Proto", "https")];
    assert_eq!(from(&origin, &form).await, 201);
    assert_eq!(from(&origin[..2], &form).await, 403, "by http it was another page");
}

/// A second click on the way out is none that fails: nobody is asked there whether the session is still good.
#[tokio::test]
async fn whoever_signs_out_twice_is_out() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let login = house.post("/auth/login", Shown::Nothing, body).await;
    let pair = login.cookie().unwrap();
    let cookie = SessionCookie::parse(pair.split_once('=').unwrap().1).unwrap();
    let facts = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap();
    let assertion = house.assert(&facts.principal(Grant::Cookie(cookie.id())), "admin-api");
    let fields = [("X-Gateway-Assertion", &*assertion), ("Cookie", &*pair), ("Sec-Fetch-Site", "same-origin")];
    let form = format!("csrf={}", cookie.csrf_token());
    for click in 1..=2 {
        let out = send(&house, "POST", "/account/sign-out", &fields, &form).await;
        assert_eq!(out.status, 303, "{click}: {}", out.body);
        assert_eq!(out.headers["location"], "/account/sign-in?notice=signed_out");
    }
}

#[tokio::test]
async fn the_page_of_invitations_says_by_whom_each_is() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    house.confirm(ada.id).await;
    for email in ["bob@example.com", "cleo@example.com"] {
        let host = house.register(email).await;
        let tenant = house.tenant_of(&host).await;
        let asked = json!({ "email": "ada@example.com" });
        assert_eq!(house.post(&format!("/tenants/{tenant}/members"), host.shown(), asked).await.status, 202);
    }
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let login = house.post("/auth/login", Shown::Nothing, body).await;
    let pair = login.cookie().unwrap();
    let cookie = SessionCookie::parse(pair.split_once('=').unwrap().1).unwrap();
    let facts = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap();
    let assertion = house.assert(&facts.principal(Grant::Cookie(cookie.id())), "admin-api");
    let fields = [("X-Gateway-Assertion", &*assertion), ("Cookie", &*pair)];
    let page = send(&house, "GET", "/account/organisations", &fields, "").await;
    let page = page.body.as_str().unwrap();
    let by = |email: &str| page.find(&format!("<dt>Asked by</dt><dd>{email}</dd>"));
    assert!(by("cleo@example.com") < by("bob@example.com") && by("cleo@example.com").is_some(), "{page}");
}

#[tokio::test]
async fn what_a_session_is_gone_on_with_is_tokens_or_a_cookie() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let login = async |session: Value| {
        let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": session });
        house.post("/auth/login", Shown::Nothing, body).await
    };
    let tokens = login(json!("tokens")).await;
    assert!(tokens.body["refresh_token"].is_string() && tokens.body.get("csrf_token").is_none(), "{}", tokens.body);
    let cookie = login(json!("cookie")).await;
    assert!(cookie.body["csrf_token"].is_string() && cookie.body.get("refresh_token").is_none(), "{}", cookie.body);
    for wrong in [json!("both"), json!(null), json!({ "cookie": null })] {
        assert_eq!(login(wrong.clone()).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn whoever_is_given_another_cookie_is_told_what_goes_with_it() {
    let house = House::open().await;
    house.register("ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "session": "cookie" });
    let begun = house.post("/auth/login", Shown::Nothing, body).await;
    let value = |answer: &Answer| answer.cookie().unwrap().split_once('=').unwrap().1.to_owned();
    let (mut cookie, mut csrf) = (value(&begun), begun.text("csrf_token").to_owned());
    let life = begun.body["expires_in"].clone();
    let other = "another good one";
    for (path, body) in [
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
        ("/auth/change-password", json!({ "old_password": PASSWORD, "new_password": other })),
        ("/auth/reauthenticate", json!({ "password": other })),
    ] {
        let answer = house.post(path, Shown::Credential(&cookie), body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        cookie = value(&answer);
        assert_eq!(answer.text("csrf_token"), SessionCookie::parse(&cookie).unwrap().csrf_token());
        assert_ne!(answer.text("csrf_token"), csrf, "{path}");
        csrf = answer.text("csrf_token").to_owned();
        assert!(answer.body["expires_in"].is_null() || answer.body["expires_in"] == life, "{}", answer.body);
    }
    let tokens = house.login_by("ada@example.com", other).await;
    let answer = house.post("/auth/reauthenticate", tokens.shown(), json!({ "password": other })).await;
    assert_eq!((answer.status.as_u16(), answer.body.get("csrf_token")), (200, None));
}

#[tokio::test]
async fn a_form_may_leave_out_what_may_be_empty_and_says_what_else_is_missing() {
    let house = House::open().await;
    let here = [("Sec-Fetch-Site", "same-origin")];
    let sign_up = async |form: &str| send(&house, "POST", "/account/sign-up", &here, form).await;
    let short = sign_up("email=ada%40example.com").await;
    assert_eq!(short.status, 422);
    assert!(short.body.as_str().unwrap().contains("The field password is missing."), "{}", short.body);
    let twice = sign_up("email=a&email=b&password=x").await;
    assert!(twice.body.as_str().unwrap().contains("The field email is given twice."), "{}", twice.body);
    let whole = sign_up(&format!("email=ada%40example.com&password={}", PASSWORD.replace(' ', "+"))).await;
    assert_eq!(whole.status, 303, "without a name: {}", whole.body);
}
