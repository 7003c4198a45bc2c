//! Logging in at a real provider in a real browser: `oidc-provider` of npm, as it comes, at the version of `oidc_provider/package-lock.json`.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    accessible::is_accessible,
    chromium::Chromium,
    oauth::confirmed,
    platform::{PASSWORD, Platform, Running, Setup, eventually},
};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("oidc_provider/package.json")),
    ("package-lock.json", include_str!("oidc_provider/package-lock.json")),
    ("provider.mjs", include_str!("oidc_provider/provider.mjs")),
];
const SECRET: &str = "a secret of ours";

/// A provider, and a platform where people can log in by it, at an address that both have known from the beginning.
struct Stage {
    platform: Platform,
    here: String,
    _provider: Running,
    _modules: TempDir,
}

// === impl Stage ===

impl Stage {
    fn set() -> Self {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = format!("http://{}", front.local_addr().unwrap());
        let modules = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            fs::write(modules.path().join(name), text).unwrap();
        }
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
            .current_dir(modules.path())
            .output()
            .unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let mut node = Command::new("node");
        node.arg("provider.mjs").arg(format!("{here}/auth/oauth/acme/callback")).current_dir(modules.path());
        let provider = Running::start(&mut node, Some(&modules.path().join("provider.log")));
        let section = format!(
            "\n[[login_providers]]\nid = \"acme\"\nlabel = \"Acme\"\nissuer = \"http://{}\"\nclient_id = \"door\"\n\
             client_secret = {{ env = \"ACME_SECRET\" }}\n",
            provider.address("http")
        );
        let setup = Setup::default().env("ACME_SECRET", SECRET).env("PORTCULLIS_PUBLIC_URL", &here);
        let platform = setup.append("gateway.toml", &section).start();
        let door = platform.http;
        thread::spawn(move || front.incoming().for_each(|browser| pass_on(browser.unwrap(), door)));
        Self { platform, here, _provider: provider, _modules: modules }
    }

    /// At the provider: whoever it is says so, and agrees.
    fn agree(browser: &Chromium, name: &str) {
        eventually("the provider's page", || browser.title() == "Sign-in");
        browser.fill("input[name=login]", name);
        browser.fill("input[name=password]", "any\u{e007}");
        eventually("the provider's question", || browser.text("h1") == "Authorize");
        browser.click("button[type=submit]");
    }
}

/// One connection of a browser's, both ways.
fn pass_on(browser: TcpStream, door: SocketAddr) {
    let door = TcpStream::connect(door).unwrap();
    let ways = [(browser.try_clone().unwrap(), door.try_clone().unwrap()), (door, browser)];
    for (mut from, mut to) in ways {
        thread::spawn(move || {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(std::net::Shutdown::Write));
        });
    }
}

#[test]
fn somebody_signs_in_at_a_real_provider_in_chromium() {
    let stage = Stage::set();
    let browser = Chromium::start();
    browser.go(&format!("{}/account/identities", stage.here));
    browser.is_at("Sign in");
    browser.click(".elsewhere a");
    // Not this time.
    eventually("the provider's page", || browser.title() == "Sign-in");
    browser.click(".login-help a");
    browser.is_at("Error: Not signed in");
    assert_eq!(
        browser.text("[role=alert]"),
        "The provider says that you did not sign in or did not agree; nothing has changed here."
    );
    browser.go(&format!("{}/account/identities", stage.here));
    browser.click(".elsewhere a");
    Stage::agree(&browser, "ada");
    browser.is_at("Ways to sign in");
    assert_eq!(browser.url(), format!("{}/account/identities", stage.here), "back where it was going");
    let page = browser.text("main");
    assert!(page.contains("Acme") && page.contains("ada@example.com"), "{page}");
    // The only way in stays.
    browser.click("main button");
    browser.is_at("Error: Last way in");
    browser.click("a[href='/account/sessions']");
    browser.is_at("Sessions");
    assert!(browser.text("main").contains("another provider"), "{}", browser.text("main"));
    browser.click("nav button");
    browser.is_at("Sign in");
    // The provider knows the browser by now, and asks nothing.
    browser.click(".elsewhere a");
    browser.is_at("Sessions");
}

#[test]
fn the_owner_of_an_account_links_a_real_provider_in_chromium() {
    let stage = Stage::set();
    confirmed(&stage.platform, "bob@example.com");
    let browser = Chromium::start();
    browser.go(&format!("{}/account/sign-in", stage.here));
    browser.is_at("Sign in");
    is_accessible(&browser, "sign-in, with a provider");
    browser.click(".elsewhere a");
    Stage::agree(&browser, "bob");
    browser.is_at("Sign in");
    is_accessible(&browser, "sign-in, to link");
    assert!(browser.text(".notice").contains("Sign in to your account here first"), "{}", browser.text(".notice"));
    browser.fill("#email", "bob@example.com");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("Link Acme to your account");
    assert!(browser.text("main").contains("Acme says that you are bob@example.com"), "{}", browser.text("main"));
    assert_eq!(is_accessible(&browser, "link"), 0);
    browser.click("main button");
    browser.is_at("Ways to sign in");
    assert!(browser.text("main").contains("bob@example.com"));
    is_accessible(&browser, "identities, one");
    browser.click("main form button");
    eventually("the end of it", || browser.text("main").contains("There is nobody."));
    let root = stage.platform.admin();
    for event in ["link_identity", "unlink_identity"] {
        let found = stage.platform.get(&format!("/admin/audit?event={event}&outcome=ok"), &root).json();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
        assert_ne!(found["items"][0]["actor"], json!(null));
    }
}
