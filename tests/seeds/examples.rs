//! The services of `examples/`, each installed as its own files say and run behind the door: they know who calls by the door's word
//! alone, and believe no other one.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use identity::{Algorithm, SigningKey, TokenType};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    axum_example,
    cluster::free_port,
    platform::{Answer, Platform, Setup, eventually, exchange, shipped},
};

/// A service behind a door, and a key that it takes for one of the door's: what is signed by it can be wrong in one way at a time.
struct Stage {
    name: &'static str,
    platform: Platform,
    service: SocketAddr,
    key: SigningKey,
}

/// What ends with the test.
struct Service {
    child: Child,
    folder: TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

// === impl Stage ===

impl Stage {
    /// `start` is told where to listen and where the door's keys are.
    fn set(name: &'static str, start: impl FnOnce(SocketAddr, &str)) -> Self {
        let service = at(free_port());
        let upstream = format!("\n[upstreams.{name}]\nservers = [\"{service}\"]\n");
        let route = format!("\n[[route]]\nname = \"{name}\"\npaths = [\"/{name}/*\"]\nupstream = \"{name}\"\n");
        let platform = Setup::default().append("gateway.toml", &upstream).append("routes.toml", &route).start();
        let key = key("a-key-of-the-test");
        let keys = keys_of(platform.http, key.verifying_key().jwk().unwrap().clone());
        start(service, &keys);
        eventually("the service to listen", || TcpStream::connect(service).is_ok());
        Self { name, platform, service, key }
    }

    /// What the service answers to whoever comes past the door.
    fn past_the_door(&self, assertion: Option<&str>) -> Answer {
        let field = assertion.map_or_else(String::new, |text| format!("X-Gateway-Assertion: {text}\r\n"));
        let name = self.name;
        let text = format!("GET /{name}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n");
        Answer::parse(&exchange(self.service, text.as_bytes()))
    }

    fn claims(&self) -> Value {
        let now = chrono::Utc::now().timestamp();
        json!({ "iss": "portcullis", "aud": self.name, "sub": "somebody", "role": "user", "tier": "free", "iat": now, "exp": now + 300 })
    }

    fn with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[claim] = value;
        self.key.sign(TokenType::Assertion, &claims)
    }

    fn believes_the_door_alone(&self) {
        let registered = self.platform.register("ada@example.com");
        let token = registered["access_token"].as_str().unwrap();
        let known = self.platform.get(&format!("/{}/x", self.name), token);
        assert_eq!(known.status, 200, "{known:?}");
        let body = known.json();
        assert_eq!(body["sub"], registered["user"]["id"], "{body}");
        assert_eq!((&body["role"], &body["tier"]), (&json!("user"), &json!("free")), "{body}");
        self.is_not_fooled(token);
    }

    fn is_not_fooled(&self, token: &str) {
        let good = self.key.sign(TokenType::Assertion, &self.claims());
        assert_eq!(self.past_the_door(Some(&good)).status, 200, "what follows is wrong in one way at a time");
        let now = chrono::Utc::now().timestamp();
        let elsewhere = self.platform.get("/demo/x", token).received("x-gateway-assertion").remove(0);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
        let mut without_end = self.claims();
        without_end.as_object_mut().unwrap().remove("exp");
        for (what, assertion) in [
            ("absent", None),
            ("no token", Some("x".to_owned())),
            ("expired", Some(self.with("exp", json!(now - 120)))),
            ("without an end", Some(self.key.sign(TokenType::Assertion, &without_end))),
            ("for another service", Some(self.with("aud", json!("demo")))),
            ("for another service, by the door", Some(elsewhere)),
            ("by another issuer", Some(self.with("iss", json!("elsewhere")))),
            ("an access token", Some(token.to_owned())),
            ("another kind of token", Some(self.key.sign(TokenType::Access, &self.claims()))),
            ("altered", Some(format!("{message}.{flipped}{}", &signature[1..]))),
            ("forged", Some(key("a-key-of-the-test").sign(TokenType::Assertion, &self.claims()))),
            ("by a key that nobody knows", Some(key("unheard-of").sign(TokenType::Assertion, &self.claims()))),
        ] {
            let answer = self.past_the_door(assertion.as_deref());
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
        }
    }
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa, kid.to_owned(), &mut rand::rng()).unwrap()
}

/// Serves what the door publishes, and one key more.
fn keys_of(door: SocketAddr, more: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(stream.try_clone().unwrap()).lines();
            drop(head.map_while(Result::ok).take_while(|line| !line.is_empty()).last());
            let ask = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let mut keys = Answer::parse(&exchange(door, ask)).json();
            keys["keys"].as_array_mut().unwrap().push(more.clone());
            let keys = keys.to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            drop(write!(stream, "{head} {}\r\n\r\n{keys}", keys.len()));
        }
    });
    here
}

/// An example's files in a folder of their own.
fn copied(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(shipped("examples").join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn run(folder: &Path, program: &str, words: &[&str]) {
    let done = Command::new(program).args(words).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn python(name: &str) -> TempDir {
    let folder = copied(name);
    run(folder.path(), "python3", &["-m", "venv", "venv"]);
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        "requirements.txt",
    ];
    run(folder.path(), "venv/bin/python", &install);
    folder
}

fn node() -> TempDir {
    let folder = copied("express");
    run(folder.path(), "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
    folder
}

fn service(folder: TempDir, keys: &str, program: &str, words: &[&str], port: u16, audience: &str) -> Service {
    let log = fs::File::create(folder.path().join("log")).unwrap();
    // As it is named: where its link leads, a Python does not know the packages of its environment.
    let installed = folder.path().join(program);
    let child = Command::new(if installed.exists() { installed } else { program.into() })
        .args(words)
        .current_dir(folder.path())
        .env("DOOR", keys)
        .env("PORT", port.to_string())
        .env("AUDIENCE", audience)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Service { child, folder }
}

/// Sets the stage with a service of these words; `{port}` is where it listens.
fn plays(name: &'static str, folder: TempDir, program: &str, words: &[&str]) -> (Stage, Service) {
    let (hand_over, take) = mpsc::channel();
    let stage = Stage::set(name, |at, keys| {
        let words: Vec<_> = words.iter().map(|word| word.replace("{port}", &at.port().to_string())).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        hand_over.send(service(folder, keys, program, &words, at.port(), name)).unwrap();
    });
    let service = take.recv().unwrap();
    stage.believes_the_door_alone();
    assert!(service.folder.path().exists());
    (stage, service)
}

#[test]
fn fastapi_believes_the_door_alone() {
    plays("fastapi", python("fastapi"), "venv/bin/python", &["-m", "uvicorn", "app:app", "--port", "{port}"]);
}

#[test]
fn flask_believes_the_door_alone() {
    let words = ["-m", "flask", "run", "--port", "{port}"];
    let (stage, _service) = plays("flask", python("flask"), "venv/bin/python", &words);
    // As document 002 writes a view: `user = g.current_user`.
    let token = stage.platform.login("ada@example.com");
    assert_eq!(stage.platform.get("/flask/hello", &token).body, "Hello ada@example.com!");
}

#[test]
fn express_believes_the_door_alone() {
    plays("express", node(), "node", &["app.mjs"]);
}

/// As Next.js calls it: with a `Request`, and whoever it has nothing to answer goes on to the page.
#[test]
fn the_proxy_of_next_js_believes_the_door_alone() {
    let folder = node();
    let next = r#"
import { createServer } from "node:http";
import { proxy } from "./next_proxy.mjs";
import { caller } from "./assertion.mjs";
createServer(async (incoming, outgoing) => {
  const request = new Request("http://here" + incoming.url, { headers: incoming.headers });
  const answer = (await proxy(request)) ?? Response.json(await caller(request.headers.get("x-gateway-assertion")));
  outgoing.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;
    fs::write(folder.path().join("next.mjs"), next).unwrap();
    plays("express", folder, "node", &["next.mjs"]);
}

#[test]
fn axum_believes_the_door_alone() {
    // What reqwest does by itself where its default features are on.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let stage = Stage::set("axum", |at, keys| {
        let app = axum_example::app(axum_example::Door::new(keys, "portcullis", "axum"));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::bind(at).await.unwrap(), app).await.unwrap();
            });
        });
    });
    stage.believes_the_door_alone();
}
