//! The pages in a real browser: Chromium without a window, driven by a protocol of the W3C's (`WebDriver` 2).

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
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
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.tell("goog/cdp/execute", &json!({ "cmd": "Emulation.setEmulatedMedia", "params": dark }));
    assert_eq!(browser.style("body", "background-color"), "rgba(23, 24, 28, 1)");

    browser.click("a[href='/account/sign-up']");
    browser.is_at("Make an account");
    browser.fill("#email", "ada@example.com");
    browser.fill("#password", "short");
    browser.fill("#name", "Ada\u{e007}");
    browser.is_at("Error: Make an account");
    assert_eq!(browser.text("#password-error"), "The password needs at least 8 characters.");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("Sessions");
    assert!(browser.text("main").contains("This browser"), "{}", browser.text("main"));

    browser.click("a[href='/account/keys']");
    browser.is_at("API keys");
    browser.fill("#name", "ci\u{e007}");
    eventually("the key", || browser.text("main").contains("Copy it now"));
    assert_eq!(platform.get("/demo/x", &browser.text("#key")).status, 200);

    browser.click("nav button");
    browser.is_at("Sign in");
    assert_eq!(browser.text(".notice"), "You are signed out.");
    browser.go(&format!("{here}/account/keys"));
    browser.is_at("Sign in");
    browser.fill("#email", "ada@example.com");
    browser.fill("#password", "wrong\u{e007}");
    browser.is_at("Error: Sign in");
    assert_eq!(browser.text("[role=alert]"), "Unknown account or wrong password.");
    browser.fill("#password", &format!("{PASSWORD}\u{e007}"));
    browser.is_at("API keys");
    assert_eq!(browser.url(), format!("{here}/account/keys"), "back where it was going");

    let logged = browser.tell("se/log", &json!({ "type": "browser" })).to_string();
    assert!(!logged.contains("Content Security Policy"), "{logged}");
}
