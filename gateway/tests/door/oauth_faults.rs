//! Everything that can go wrong at somebody else's, or be made to: each a page with a sentence, and a problem with a stable code for programs.

use serde_json::{Value, json};

use crate::{
    issuers::{key, now},
    oauth::{Provider, goes_to, log_in, query_of},
    pages::Visitor,
    platform::{Answer, Platform, Setup, eventually},
};

/// The code that a program reads, of an answer that somebody else's visitor has not used up.
fn code(platform: &Platform, visitor: &Visitor, path: &str) -> String {
    let cookie = visitor.0.borrow().get("portcullis-device").map(|device| format!("portcullis-device={device}"));
    let headers: Vec<_> = cookie.as_deref().map(|cookie| ("Cookie", cookie)).into_iter().collect();
    let answer = platform.send("GET", path, &headers, "");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    answer.code()
}

fn begun(platform: &Platform) -> (Visitor, Answer) {
    let visitor = Visitor::default();
    let sent = visitor.get(platform, "/auth/oauth/acme");
    (visitor, sent)
}

/// What comes of an ID token that is changed so, in the words of programs; and that a page says it too.
fn told(platform: &Platform, provider: &Provider, change: impl Fn(&mut Value)) -> String {
    let page = log_in(platform, provider, &Visitor::default(), &change);
    assert!(page.status >= 400 && page.body.contains("role=\"alert\""), "{page:?}");
    let (visitor, sent) = begun(platform);
    code(platform, &visitor, &provider.agree(&sent, change))
}

#[test]
fn what_a_provider_says_no_with_is_told_in_our_words() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    for (error, status, code_of_it, words) in [
        ("access_denied", 403, "provider_denied", "did not sign in or did not agree"),
        ("temporarily_unavailable", 503, "provider_unavailable", "cannot be reached at the moment"),
        ("invalid_scope", 502, "provider_refused", "its operator has to look at it"),
        ("%3Cb%3Eboo%3C/b%3E", 502, "provider_refused", "its operator has to look at it"),
    ] {
        let (visitor, sent) = begun(&platform);
        let state = &query_of(&sent)["state"];
        let path = format!("/auth/oauth/acme/callback?state={state}&error={error}&error_description=Call+0900");
        let page = visitor.get(&platform, &path);
        assert_eq!(page.status, status, "{page:?}");
        assert!(
            page.body.contains(words) && !page.body.contains("0900") && !page.body.contains("<b>"),
            "{}",
            page.body
        );
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(code(&platform, &visitor, &path), "invalid_state", "it serves once, whatever came of it");
        let (visitor, sent) = begun(&platform);
        let path = format!("/auth/oauth/acme/callback?state={}&error={error}", query_of(&sent)["state"]);
        assert_eq!(code(&platform, &visitor, &path), code_of_it);
    }
    assert_eq!(code(&platform, &Visitor::default(), "/auth/oauth/nobody"), "not_found");
    assert_eq!(code(&platform, &Visitor::default(), "/auth/oauth/nobody/callback?state=x&code=y"), "not_found");
    let root = platform.admin();
    let events = platform.get("/admin/audit?event=oauth_callback&outcome=provider_denied", &root).json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2, "{events}");
}

#[test]
fn an_answer_serves_once_in_the_browser_that_began_and_for_the_provider_that_was_asked() {
    let (provider, other) = (Provider::start(), Provider::start());
    let platform = other.beside(provider.setup(), "other", "").start();
    let shown = |provider: &Provider| provider.state.lock().unwrap().shown;
    let (visitor, sent) = begun(&platform);
    let back = provider.agree(&sent, |_| ());
    // Another browser has begun nothing, be it one that has begun something else; and uses nothing up.
    let (thief, _) = begun(&platform);
    for other in [&Visitor::default(), &thief] {
        assert_eq!(code(&platform, other, &back), "invalid_state");
    }
    for (path, wrong) in [
        (back.replace("state=pco_", "state=pco_x"), "invalid_state"),
        (back.replace("state=", "status="), "invalid_state"),
        (format!("{back}&state=x"), "malformed"),
        (format!("{back}&code=x"), "malformed"),
    ] {
        assert_eq!(code(&platform, &visitor, &path), wrong, "{path}");
    }
    assert_eq!(shown(&provider), 0, "no code has gone anywhere");
    assert_eq!(goes_to(&visitor.get(&platform, &back)), "/account/sessions");
    assert_eq!(code(&platform, &visitor, &back), "invalid_state", "replayed");
    assert_eq!(shown(&provider), 1);
    // What is for one provider is not shown to another (mix-up).
    let (visitor, sent) = begun(&platform);
    let swapped = provider.agree(&sent, |_| ()).replace("/acme/", "/other/");
    assert_eq!(code(&platform, &visitor, &swapped), "invalid_state");
    assert_eq!((shown(&provider), shown(&other)), (1, 0));
    // Somebody else's code, put in the place of one's own: its verifier is another.
    let (visitor, sent) = begun(&platform);
    let (_, of_another) = begun(&platform);
    let own = provider.agree(&sent, |_| ());
    let stolen = provider.agree(&of_another, |_| ());
    let stolen_code = stolen.split_once("code=").unwrap().1;
    let injected = format!("{}code={stolen_code}", own.split_once("code=").unwrap().0);
    assert_eq!(code(&platform, &visitor, &injected), "code_refused");
    // And the code of one that nobody here knows.
    let (visitor, sent) = begun(&platform);
    let path = format!("/auth/oauth/acme/callback?state={}&code=made-up", query_of(&sent)["state"]);
    let page = visitor.get(&platform, &path);
    assert_eq!(page.status, 400);
    assert!(page.body.contains("knows nothing of this sign-in"), "{}", page.body);
    let (visitor, sent) = begun(&platform);
    let path = format!("/auth/oauth/acme/callback?state={}", query_of(&sent)["state"]);
    assert_eq!(code(&platform, &visitor, &path), "malformed", "neither a code nor an error");
}

#[test]
fn an_answer_that_names_another_issuer_or_none_where_it_should_is_refused() {
    let provider = Provider::start();
    provider.state.lock().unwrap().names_itself = true;
    let platform = provider.setup().start();
    let own = format!("&iss={}", provider.name());
    for other in ["", "&iss=http%3A%2F%2F127.0.0.1%3A1", "&iss="] {
        let (visitor, sent) = begun(&platform);
        let back = provider.agree(&sent, |_| ());
        assert!(back.ends_with(&own));
        assert_eq!(code(&platform, &visitor, &back.replace(&own, other)), "wrong_issuer", "{other}");
    }
    assert_eq!(provider.state.lock().unwrap().shown, 0, "no code has gone anywhere");
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), |_| ())), "/demo/x?a=b");
}

#[test]
fn an_id_token_that_proves_nothing_logs_nobody_in() {
    type Change = fn(&mut Value);
    let provider = Provider::start();
    let platform = provider.setup().start();
    let changes: [(&str, Change); 11] = [
        ("expired", |claims| claims["exp"] = json!(now() - 1)),
        ("old", |claims| claims["iat"] = json!(now() - 400)),
        ("of no age", |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("from the future", |claims| claims["iat"] = json!(now() + 300)),
        ("another's nonce", |claims| claims["nonce"] = json!("x")),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("another's", |claims| claims["aud"] = json!("somebody")),
        ("made for another", |claims| claims["azp"] = json!("somebody")),
        ("for two, and made for nobody in particular", |claims| claims["aud"] = json!(["door", "somebody"])),
        ("of another issuer", |claims| claims["iss"] = json!("https://evil.example")),
        ("of nobody", |claims| claims["sub"] = json!("")),
    ];
    for (why, change) in changes {
        assert_eq!(told(&platform, &provider, change), "invalid_id_token", "{why}");
    }
    let several = |claims: &mut Value| {
        claims["aud"] = json!(["door", "somebody"]);
        claims["azp"] = json!("door");
    };
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), several)), "/demo/x?a=b");
    // Signed by somebody else's key of the same name.
    let real = std::mem::replace(&mut provider.state.lock().unwrap().key, key(identity::Algorithm::Rs256, "k"));
    provider
        .state
        .lock()
        .unwrap()
        .faults
        .insert("/keys", Some((200, json!({ "keys": [real.verifying_key().jwk().unwrap()] }).to_string())));
    assert_eq!(told(&platform, &provider, |_| ()), "invalid_id_token");
    let log = platform.log();
    assert!(log.contains("nonce is another's") && log.contains("signature does not match"), "{log}");
    assert!(!log.contains("code-pco_"), "no code is written down");
}

#[test]
fn a_provider_that_is_away_or_talks_nonsense_is_no_fault_of_whoever_logs_in() {
    let provider = Provider::start();
    // Which is asked again and again.
    let platform = provider.setup().edit("routes.toml", "\"60/minute\"", "\"6000/minute\"").start();
    let fault = |path, fault: Option<(u16, &str)>| {
        let fault = fault.map(|(status, body)| (status, body.to_owned()));
        provider.state.lock().unwrap().faults.insert(path, fault);
    };
    // Before anything is known of it.
    let metadata = "/.well-known/openid-configuration";
    let others = json!({ "issuer": "https://evil.example", "jwks_uri": "https://evil.example/", "authorization_endpoint":
        "https://evil.example/", "token_endpoint": "https://evil.example/" });
    let unsafe_one = json!({ "issuer": provider.name(), "jwks_uri": "http://evil.example/", "authorization_endpoint":
        "http://evil.example/", "token_endpoint": "http://evil.example/" });
    for (answer, wanted) in [
        ((500, "{}"), "provider_unavailable"),
        ((200, "<html>"), "provider_broken"),
        ((200, "{}"), "provider_broken"),
        ((404, "{}"), "provider_broken"),
        ((302, "{}"), "provider_broken"),
        ((200, &*others.to_string()), "provider_broken"),
        ((200, &*unsafe_one.to_string()), "provider_broken"),
        ((200, &*" ".repeat(300 * 1024)), "provider_unavailable"),
    ] {
        fault(metadata, Some(answer));
        // For a second after a failure nobody is asked.
        eventually(wanted, || code(&platform, &Visitor::default(), "/auth/oauth/acme") == wanted);
    }
    let page = Visitor::default().get(&platform, "/auth/oauth/acme");
    assert!(page.header("retry-after").is_none() && page.body.contains("role=\"alert\""), "{page:?}");
    provider.state.lock().unwrap().faults.clear();
    eventually("its return", || Visitor::default().get(&platform, "/auth/oauth/acme").status == 303);

    for (answer, wanted) in [
        (Some((500, "{}")), "provider_unavailable"),
        (Some((200, "<html>")), "provider_broken"),
        (Some((200, "[]")), "provider_broken"),
        (Some((200, "{}")), "provider_broken"),
        (Some((200, "{\"id_token\":\"x.y.z\"}")), "invalid_id_token"),
        (Some((401, "{\"error\":\"invalid_client\"}")), "provider_refused"),
        (Some((403, "{}")), "provider_broken"),
        // It says nothing, for five seconds.
        (None, "provider_unavailable"),
    ] {
        fault("/token", answer);
        let (visitor, sent) = begun(&platform);
        assert_eq!(code(&platform, &visitor, &provider.agree(&sent, |_| ())), wanted, "{answer:?}");
    }
    provider.state.lock().unwrap().faults.clear();
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), |_| ())), "/demo/x?a=b");
    // And one where nobody is.
    let gone = Setup::default().env("ACME_SECRET", "x").append(
        "gateway.toml",
        "\n[[login_providers]]\nid = \"acme\"\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"x\"\nclient_secret = { env = \"ACME_SECRET\" }\n",
    );
    assert_eq!(code(&gone.start(), &Visitor::default(), "/auth/oauth/acme"), "provider_unavailable");
}

#[test]
fn github_is_asked_in_its_own_way_and_only_its_verified_primary_address_counts() {
    let provider = Provider::start();
    let platform = provider.beside(Setup::default(), "github", "preset = \"github\"\n").start();
    let fault = |path, body: Value| {
        provider.state.lock().unwrap().faults.insert(path, Some((200, body.to_string())));
    };
    let come = || {
        let visitor = Visitor::default();
        let sent = visitor.get(&platform, "/auth/oauth/github");
        let asked = query_of(&sent);
        assert!(goes_to(&sent).starts_with(&format!("{}/login/oauth/authorize?", provider.name())), "{sent:?}");
        assert_eq!(
            (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
            ("read:user user:email", "S256")
        );
        let path = format!("/auth/oauth/github/callback?state={}&code=x", asked["state"]);
        (visitor, path)
    };
    fault("/login/oauth/access_token", json!({ "error": "bad_verification_code" }));
    let (visitor, path) = come();
    assert_eq!(code(&platform, &visitor, &path), "code_refused", "which comes with 200");
    fault("/login/oauth/access_token", json!({ "access_token": "gho_x", "token_type": "bearer" }));
    fault(
        "/api/v3/user",
        json!({ "id": 583_231, "login": "octocat", "name": "Octo Cat", "email": "public@example.com" }),
    );
    let email = |address: &str, primary: bool, verified: bool| json!({ "email": address, "primary": primary, "verified": verified, "visibility": null });
    for emails in [json!([]), json!([email("octo@example.com", true, false), email("second@example.com", false, true)])]
    {
        fault("/api/v3/user/emails", emails);
        let (visitor, path) = come();
        assert_eq!(code(&platform, &visitor, &path), "provider_email_unverified");
    }
    fault(
        "/api/v3/user/emails",
        json!([email("second@example.com", false, true), email("octo@example.com", true, true)]),
    );
    let (visitor, path) = come();
    assert_eq!(code(&platform, &visitor, &format!("{path}&iss=https://evil.example")), "wrong_issuer");
    let (visitor, path) = come();
    assert_eq!(goes_to(&visitor.get(&platform, &path)), "/account/sessions", "{}", platform.log());
    let me = visitor.get(&platform, "/auth/me").json();
    assert_eq!((&me["email"], &me["name"]), (&json!("octo@example.com"), &json!("Octo Cat")));
    // The number is who it is, not the name nor the address.
    fault("/api/v3/user", json!({ "id": 7, "login": "octocat", "name": "Octo Cat" }));
    let (visitor, path) = come();
    assert_eq!(goes_to(&visitor.get(&platform, &path)), "/account/link");
    fault("/api/v3/user", json!({ "id": "583231", "login": "octocat" }));
    let (visitor, path) = come();
    assert_eq!(code(&platform, &visitor, &path), "provider_broken");
}
