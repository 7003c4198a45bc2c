//! Passkeys through the door: in Chromium, whose protocol has an authenticator of its own (Web Authentication §11), and as the pages are
//! without one.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::{
    accessible::is_accessible,
    chromium::Chromium,
    mfa::from_base32,
    pages::{Visitor, hidden},
    platform::{PASSWORD, Platform, Setup, eventually},
};

const SCRIPTED: &str = "default-src 'none'; style-src 'self'; script-src http://localhost/account/passkeys.js; connect-src 'self'; form-action 'self'; \
                        frame-ancestors 'none'; base-uri 'none'";

/// A platform whose public address is one that browsers have passkeys for.
fn named() -> Platform {
    Setup::default().env("PORTCULLIS_PUBLIC_URL", "http://localhost").start()
}

/// A browser that finds it there, with an authenticator.
fn browser(platform: &Platform) -> Chromium {
    let browser = Chromium::start_with(&[format!("--host-resolver-rules=MAP localhost {}", platform.http)]);
    let device = json!({
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": true,
        "hasUserVerification": true,
        "isUserVerified": true,
    });
    browser.tell("webauthn/authenticator", &device);
    browser
}

#[test]
fn somebody_adds_a_passkey_and_signs_in_by_it_alone_and_besides_a_password_in_chromium() {
    let platform = named();
    let browser = browser(&platform);
    browser.go("http://localhost/account/sign-up");
    browser.is_at("Make an account");
    browser.fill("#email", "ada@example.com");
    browser.fill("#password", PASSWORD);
    browser.fill("#name", "Ada\u{e007}");
    browser.is_at("Sessions");
    browser.click("a[href='/account/security']");
    browser.is_at("Security");
    assert_eq!(is_accessible(&browser, "security, nothing yet"), 2, "a name for each kind");
    browser.fill("#passkey-name", "Laptop\u{e007}");
    eventually("the codes", || browser.text("main").contains("Your recovery codes"));
    is_accessible(&browser, "security, with recovery codes");
    let recovery = browser.text(".codes li:first-child code");
    assert!(browser.text("main").contains("Passkey: Laptop"), "{}", browser.text("main"));

    // Alone, and on to where the way led.
    browser.click("nav button");
    browser.is_at("Sign in");
    browser.go("http://localhost/account/keys");
    browser.is_at("Sign in");
    browser.click("form[data-ask] button");
    browser.is_at("API keys");
    browser.click("a[href='/account/sessions']");
    browser.is_at("Sessions");
    assert!(browser.text("main").contains("a passkey"), "{}", browser.text("main"));

    // An authenticator that shows codes besides, for which the page needs no script.
    browser.click("a[href='/account/security']");
    browser.is_at("Security");
    browser.fill("#name", "Phone\u{e007}");
    eventually("the secret", || browser.text("main").contains("Your new authenticator"));
    is_accessible(&browser, "security, a new authenticator");
    let secret = from_base32(&browser.text("#secret"));
    browser.fill("#code", "000000\u{e007}");
    browser.is_at("Error: Security");
    let since = Utc::now();
    browser.fill("#code", &format!("{}\u{e007}", secret.code_at(since)));
    eventually("the authenticator", || browser.text("main").contains("Authenticator: Phone"));

    // After a password: the passkey, a code, or what was written down.
    let steps: [&dyn Fn(); 3] = [
        &|| browser.click("form[data-ask] button"),
        &|| browser.fill("#code", &format!("{}\u{e007}", secret.code_at(since + TimeDelta::seconds(30)))),
        &|| browser.fill("#code", &format!("{recovery}\u{e007}")),
    ];
    for step in steps {
        browser.click("nav button");
        browser.is_at("Sign in");
        browser.fill("#email", "ada@example.com");
        browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
        browser.is_at("Your second factor");
        assert_eq!(is_accessible(&browser, "second factor"), 1);
        step();
        browser.is_at("Sessions");
    }
    browser.click("a[href='/account/security']");
    browser.is_at("Security");
    assert!(browser.text("main").contains("Recovery codes that are left: 9"), "{}", browser.text("main"));
    browser.click("form[action$='/remove'] button");
    eventually("it is gone", || !browser.text("main").contains("Laptop"));
    let logged = browser.tell("se/log", &json!({ "type": "browser" })).to_string();
    assert!(!logged.contains("Content Security Policy"), "{logged}");
}

#[test]
fn an_authenticator_that_has_none_or_gives_none_is_told_in_a_sentence_in_chromium() {
    let platform = named();
    let browser = browser(&platform);
    browser.go("http://localhost/account/sign-in");
    browser.is_at("Sign in");
    is_accessible(&browser, "sign-in, by a passkey");
    browser.click("form[data-ask] button");
    let told = "Your browser has given no passkey. Try again.";
    eventually("the sentence", || browser.text("form[data-ask] [role=alert]") == told);
    is_accessible(&browser, "sign-in, without a passkey");
}

#[test]
fn only_pages_that_ask_for_passkeys_run_anything_and_only_where_there_can_be_one() {
    let platform = named();
    for (path, asks) in [("sign-in", true), ("sign-up", false), ("forgot-password", false), ("magic-link", false)] {
        let page = platform.send("GET", &format!("/account/{path}"), &[], "");
        assert_eq!(page.header("content-security-policy") == Some(SCRIPTED), asks, "{path}");
        assert_eq!(page.body.contains("<script src=\"/account/passkeys.js\" defer></script>"), asks, "{path}");
        assert_eq!(page.body.matches("<script").count(), usize::from(asks), "{path}");
    }
    let sign_in = platform.send("GET", "/account/sign-in?return_to=/demo/x", &[], "");
    assert!(sign_in.body.contains("data-ask=\"/auth/passkey/options\" hidden>"), "{}", sign_in.body);
    let script = platform.send("GET", "/account/passkeys.js", &[], "");
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert!(!script.body.contains("innerHTML") && !script.body.contains("eval"), "{}", script.body);
    let nothing = Visitor::default().post(&platform, "/account/sign-in/passkey", "challenge=x&credential=%7B%7D");
    assert_eq!((nothing.status, nothing.header("set-cookie")), (422, None), "{nothing:?}");
    let numbered = Platform::start().send("GET", "/account/sign-in", &[], "");
    assert!(!numbered.body.contains("passkey"), "{}", numbered.body);
}

#[test]
fn what_is_no_passkey_is_written_in_no_line_of_the_log() {
    let platform = named();
    let ada = platform.register("ada@example.com");
    let token = ada["access_token"].as_str();
    assert_eq!(platform.post("/auth/mfa/passkeys", token, &json!({})).status, 201);
    // Whose site it is for, flags, count, the device's kind and the credential's id (Web Authentication §6.1), and a key that is none.
    let no_key = vec![0xff; 30_000];
    let about = [&[0_u8; 32][..], &[0x45], &[0; 4], &[0; 16], &16_u16.to_be_bytes(), &[0; 16], &no_key].concat();
    let length = u16::try_from(about.len()).unwrap().to_be_bytes();
    let attestation = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"[..], &length, &about[..]].concat();
    let client = json!({ "type": "webauthn.create", "challenge": "AAAA", "origin": "http://localhost" });
    let credential = json!({
        "id": "AAAA",
        "rawId": "AAAA",
        "type": "public-key",
        "response": {
            "attestationObject": B64.encode(attestation),
            "clientDataJSON": B64.encode(client.to_string()),
        },
        "extensions": {},
    });
    let refused = platform.post("/auth/mfa/passkeys/confirm", token, &json!({ "credential": credential }));
    assert!(refused.status == 422 && refused.body.contains("is not the passkey that was asked for"), "{refused:?}");
    let log = platform.log();
    assert!(!log.contains("255, 255") && !log.contains("webauthn_rs"), "{}", &log[log.len().saturating_sub(500)..]);
}

#[test]
fn second_factors_are_added_and_taken_away_on_a_page_without_a_script() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    let ada = Visitor::signed_in(&platform, "ada@example.com");
    let page = ada.get(&platform, "/account/security");
    assert!(page.body.contains("There is nothing yet") && !page.body.contains("<script"), "{}", page.body);
    let csrf = format!("csrf={}", hidden(&page, "csrf"));
    let foreign = ada.post(&platform, "/account/security/totp", "csrf=x&name=");
    assert_eq!(foreign.status, 403, "{foreign:?}");
    let long = ada.post(&platform, "/account/security/totp", &format!("{csrf}&name={}", "x".repeat(101)));
    assert!(long.status == 422 && long.body.contains("id=\"name-error\""), "{long:?}");
    let begun = ada.post(&platform, "/account/security/totp", &format!("{csrf}&name=%3Ci%3E"));
    assert_eq!((begun.status, begun.header("cache-control")), (200, Some("no-store")), "{begun:?}");
    assert!(begun.body.contains("href=\"otpauth://totp/"), "{}", begun.body);
    // The code to be read by a telephone stands in the page, whose policy allows no more for it.
    assert!(begun.body.contains("<svg class=\"qr\"") && !begun.body.contains("style="), "{}", begun.body);
    assert_eq!(begun.header("content-security-policy"), page.header("content-security-policy"));
    let secret = from_base32(begun.body.split("id=\"secret\">").nth(1).unwrap().split('<').next().unwrap());
    let wrong = ada.post(&platform, "/account/security/totp/confirm", &format!("{csrf}&code=000000"));
    assert!(wrong.status == 403 && wrong.body.contains("id=\"secret\""), "{wrong:?}");
    let code = secret.code_at(Utc::now());
    let added = ada.post(&platform, "/account/security/totp/confirm", &format!("{csrf}&code={code}"));
    assert!(added.status == 200 && added.body.matches("<li><code>").count() == 10, "{added:?}");
    assert!(added.body.contains("Authenticator: &#60;i&#62;"), "{}", added.body);
    // The browser has another cookie now, and the page's forms go with it.
    let csrf = format!("csrf={}", hidden(&added, "csrf"));
    let renewed = ada.post(&platform, "/account/security/recovery-codes", &csrf);
    assert!(renewed.status == 200 && renewed.body.matches("<li><code>").count() == 10, "{renewed:?}");
    let list = ada.get(&platform, "/account/security");
    assert!(
        !list.body.contains("<li><code>") && list.body.contains("Recovery codes that are left: 10"),
        "{}",
        list.body
    );
    assert!(!list.body.contains("<svg"), "{}", list.body);
    let at = list.body.find("/account/security/0").unwrap();
    let path = list.body[at..].split('"').next().unwrap();
    assert!(path.ends_with("/rename"), "{path}");
    let long = ada.post(&platform, path, &format!("{csrf}&name={}", "x".repeat(101)));
    assert!(long.status == 422 && long.body.contains("role=\"alert\">Name must have 100 characters"), "{long:?}");
    assert_eq!(
        ada.post(&platform, path, &format!("{csrf}&name=Old%20phone")).header("location"),
        Some("/account/security")
    );
    assert!(ada.get(&platform, "/account/security").body.contains("Authenticator: Old phone"));
    let path = &path.replace("/rename", "/remove");
    assert_eq!(ada.post(&platform, path, &csrf).header("location"), Some("/account/security"));
    let login = platform.post("/auth/login", None, &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_eq!(login.status, 200, "nothing more is asked for: {login:?}");
    assert_eq!(Visitor::default().get(&platform, "/account/security").status, 303);
    let events = platform.get("/admin/audit?event=remove_factor", &platform.admin()).json();
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
}
