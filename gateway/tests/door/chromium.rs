//! The pages in a real browser: Chromium without a window, driven by a protocol of the W3C's (`WebDriver` 2).

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    accessible::is_accessible,
    mail::{next_mail, token_in},
    platform::{Answer, PASSWORD, Platform, eventually},
    wire::Wire,
};

/// How an element is named in the protocol (§12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Chromium {
    driver: Child,
    at: SocketAddr,
    session: String,
    profile: TempDir,
}

// === impl Chromium ===

impl Chromium {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more words on its command line.
    pub(crate) fn start_with(more: &[String]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            line.unwrap()
                .strip_prefix("ChromeDriver was started successfully on port ")?
                .trim_end_matches('.')
                .parse()
                .ok()
        });
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let at = SocketAddr::from(([127, 0, 0, 1], port.unwrap()));
        let mut browser = Self { driver, at, session: String::new(), profile };
        let data = format!("--user-data-dir={}", browser.profile.path().display());
        // Who tests as root has no sandbox, and containers have little shared memory.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            &data,
        ];
        let args: Vec<&str> = args.into_iter().chain(more.iter().map(String::as_str)).collect();
        let wanted = json!({ "goog:chromeOptions": { "args": args }, "goog:loggingPrefs": { "browser": "ALL" } });
        let begun = browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        begun["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.answer(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path} {body}: {answer:?}");
        answer.json()["value"].clone()
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.at,
            body.len()
        );
        self.exchange(&request)
    }

    /// The driver keeps the connection open whatever it is asked for.
    fn exchange(&self, request: &str) -> Answer {
        let mut driver = Wire::connect(self.at);
        driver.write(request);
        let head = driver.head();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let body = driver.read(length.unwrap());
        Answer::parse(&[head.as_bytes(), &body].concat())
    }

    pub(crate) fn tell(&self, command: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{command}", self.session), body)
    }

    fn say(&self, question: &str) -> Value {
        self.ask("GET", &format!("/session/{}/{question}", self.session), &Value::Null)
    }

    pub(crate) fn go(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    pub(crate) fn title(&self) -> String {
        self.say("title").as_str().unwrap().to_owned()
    }

    /// One command to an element. Between the two questions that takes, and while a page arrives, the element may be
    /// one of a page that has gone, or not there yet (§6.6): nothing was done then, and it is asked again.
    fn element(&self, css: &str, method: &str, command: &str, body: &Value) -> Value {
        let path = format!("/session/{}/element", self.session);
        let wanted = json!({ "using": "css selector", "value": css });
        let mut done = Value::Null;
        eventually(css, || {
            let mut answer = self.answer("POST", &path, &wanted);
            if let Some(found) = answer.json()["value"][ELEMENT].as_str() {
                answer = self.answer(method, &format!("{path}/{found}/{command}"), body);
            }
            done = answer.json()["value"].clone();
            let gone = ["stale element reference", "no such element"];
            // The driver's own words for the first of them, when the page goes between its own two questions.
            let left = done["message"].as_str().is_some_and(|words| words.contains("does not belong to the document"));
            let again = left || done["error"].as_str().is_some_and(|error| gone.contains(&error));
            assert!(again || answer.status == 200, "{method} {css} {command}: {answer:?}");
            !again
        });
        done
    }

    pub(crate) fn text(&self, css: &str) -> String {
        self.element(css, "GET", "text", &Value::Null).as_str().unwrap().to_owned()
    }

    fn style(&self, css: &str, property: &str) -> String {
        self.element(css, "GET", &format!("css/{property}"), &Value::Null).as_str().unwrap().to_owned()
    }

    pub(crate) fn click(&self, css: &str) {
        self.element(css, "POST", "click", &json!({}));
    }

    /// By the keyboard; `\u{e007}` is Enter.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.element(css, "POST", "value", &json!({ "text": text }));
    }

    /// Whether the way led there, which may take a moment.
    pub(crate) fn is_at(&self, title: &str) {
        eventually(title, || self.title() == format!("{title} – Portcullis"));
    }

    pub(crate) fn url(&self) -> String {
        self.say("url").as_str().unwrap().to_owned()
    }

    /// What a script returns that is run in the page from outside, as a developer's console runs one: no policy of the page's concerns it.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub(crate) fn press_tab(&self) {
        let keys = json!([{ "type": "keyDown", "value": "\u{e004}" }, { "type": "keyUp", "value": "\u{e004}" }]);
        self.tell("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    pub(crate) fn prefers(&self, scheme: &str) {
        let wanted = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tell("goog/cdp/execute", &json!({ "cmd": "Emulation.setEmulatedMedia", "params": wanted }));
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        } else {
            // The browser goes when its driver is told to end.
            drop(Command::new("kill").arg(self.driver.id().to_string()).status());
            drop(self.driver.wait());
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

#[test]
fn somebody_signs_up_makes_a_key_signs_out_and_comes_back_in_chromium() {
    let platform = Platform::start();
    let here = format!("http://{}", platform.http);
    let browser = Chromium::start();

    browser.go(&format!("{here}/demo/x?a=b"));
    browser.is_at("Sign in");
    assert_eq!(browser.url(), format!("{here}/account/sign-in?return_to=/demo/x%3Fa%3Db"));
    assert_eq!(browser.style("button", "background-color"), "rgba(31, 95, 191, 1)", "the style sheet counts");
    assert_eq!(browser.style("body", "background-color"), "rgba(255, 255, 255, 1)");
    browser.prefers("dark");
    assert_eq!(browser.style("body", "background-color"), "rgba(23, 24, 28, 1)");

    browser.click("a[href='/account/sign-up']");
    browser.is_at("Make an account");
    is_accessible(&browser, "sign-up");
    browser.fill("#email", "ada@example.com");
    browser.fill("#password", "short");
    browser.fill("#name", "Ada\u{e007}");
    browser.is_at("Error: Make an account");
    is_accessible(&browser, "sign-up, too short");
    assert_eq!(browser.text("#password-error"), "The password needs at least 8 characters.");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("Sessions");
    assert!(browser.text("main").contains("This browser"), "{}", browser.text("main"));

    browser.click("a[href='/account/keys']");
    browser.is_at("API keys");
    browser.fill("#name", "ci\u{e007}");
    eventually("the key", || browser.text("main").contains("Copy it now"));
    is_accessible(&browser, "keys, a new one");
    assert_eq!(platform.get("/demo/x", &browser.text("#key")).status, 200);

    browser.click("nav button");
    browser.is_at("Sign in");
    assert_eq!(browser.text(".notice"), "You are signed out.");
    browser.go(&format!("{here}/account/keys"));
    browser.is_at("Sign in");
    browser.fill("#email", "ada@example.com");
    browser.fill("#password", "wrong\u{e007}");
    browser.is_at("Error: Sign in");
    is_accessible(&browser, "sign-in, wrong");
    assert_eq!(browser.text("[role=alert]"), "Unknown account or wrong password.");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("API keys");
    assert_eq!(browser.url(), format!("{here}/account/keys"), "back where it was going");

    let logged = browser.tell("se/log", &json!({ "type": "browser" })).to_string();
    assert!(!logged.contains("Content Security Policy"), "{logged}");
}

#[test]
fn somebody_confirms_the_address_and_takes_a_new_password_by_mail_in_chromium() {
    let platform = Platform::start();
    let here = format!("http://{}/account", platform.http);
    let browser = Chromium::start();
    platform.register("ada@example.com");
    let link = |subject: &str, page: &str| format!("{here}/{page}?token={}", token_in(&next_mail(&platform, subject)));

    let confirm = link("Confirm your address", "verify-email");
    browser.go(&confirm);
    browser.is_at("Confirm your address");
    is_accessible(&browser, "verify-email");
    // A link alone changes nothing: programs open it too.
    assert_eq!(platform.metric("portcullis_verifications_total{outcome=\"ok\"}"), 0);
    browser.click("form button");
    browser.is_at("Sign in");
    assert!(browser.text(".notice").contains("confirmed"), "{}", browser.text(".notice"));
    browser.go(&confirm);
    browser.click("form button");
    browser.is_at("Error: Confirm your address");
    is_accessible(&browser, "verify-email, again");

    browser.go(&format!("{here}/sign-in"));
    browser.is_at("Sign in");
    is_accessible(&browser, "sign-in");
    browser.click("a[href='/account/forgot-password']");
    browser.is_at("Choose a new password");
    is_accessible(&browser, "forgot-password");
    browser.fill("#email", "ada@example.com\u{e007}");
    browser.is_at("Look into your mail");
    is_accessible(&browser, "check-mail");
    let reset = link("A new password for", "reset-password");
    browser.go(&reset);
    browser.is_at("Choose a new password");
    browser.fill("#new_password", "short\u{e007}");
    browser.is_at("Error: Choose a new password");
    is_accessible(&browser, "reset-password, too short");
    browser.fill("#new_password", "Another-Horse-8\u{e007}");
    browser.is_at("Sign in");
    assert!(browser.text(".notice").contains("password"), "{}", browser.text(".notice"));

    browser.fill("#email", "ada@example.com");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("Error: Sign in");
    browser.fill("#password", "Another-Horse-8\u{e007}");
    browser.is_at("Sessions");
    for page in ["sessions", "security", "keys", "identities", "organisations", "email"] {
        browser.go(&format!("{here}/{page}"));
        is_accessible(&browser, page);
    }
    let logged = browser.tell("se/log", &json!({ "type": "browser" })).to_string();
    assert!(!logged.contains("Content Security Policy"), "{logged}");
}

#[test]
fn the_api_is_shown_in_chromium_by_files_of_the_door_alone() {
    let platform = Platform::start();
    let written = platform.send("GET", "/openapi.json", &[], "").json();
    let browser = Chromium::start();
    browser.go(&format!("http://{}/docs", platform.http));
    assert!(browser.text(".info .title").starts_with(written["info"]["title"].as_str().unwrap()));
    let shown = "return [...document.querySelectorAll('.opblock-summary-path')].map(path => path.dataset.path)";
    eventually("every path to be shown", || {
        let shown = browser.run(shown);
        let is_shown = |path: &String| shown.as_array().unwrap().iter().any(|other| other == path.as_str());
        written["paths"].as_object().unwrap().keys().all(is_shown)
    });
    let foreign = "return performance.getEntriesByType('resource').map(file => file.name).filter(name => !name.startsWith(location.origin) && !name.startsWith('data:'))";
    assert_eq!(browser.run(foreign), json!([]));
    let logged = browser.tell("se/log", &json!({ "type": "browser" })).to_string();
    assert!(!logged.contains("Content Security Policy") && !logged.contains("SEVERE"), "{logged}");
}
