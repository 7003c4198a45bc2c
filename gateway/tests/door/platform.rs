//! A whole platform for one test: the real binary in front of a real upstream, on ports of the system's choice, with data
//! and configuration of its own; and clients that show exactly what is sent and received.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// What every test registers with.
pub(crate) const PASSWORD: &str = "Correct-Horse-7";
/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway with a demo upstream behind it.
pub(crate) struct Platform {
    pub(crate) folder: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: SocketAddr,
    env: Vec<(String, String)>,
    gateway: Running,
    _upstream: Option<Running>,
}

/// How a platform differs from the shipped one.
#[derive(Default)]
pub(crate) struct Setup {
    env: Vec<(String, String)>,
    edits: Vec<(&'static str, String, String)>,
    appended: Vec<(&'static str, String)>,
    upstream: Option<SocketAddr>,
    disk: Option<&'static str>,
    descriptors: Option<u32>,
}

/// A child process that ends with the test.
pub(crate) struct Running {
    child: Child,
    pub(crate) ready: Value,
}

/// One answer, with its header names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

// === impl Setup ===

impl Setup {
    /// Sets a variable of the gateway's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Replaces text in a file of the shipped configuration; the text must be there.
    pub(crate) fn edit(mut self, file: &'static str, from: &str, to: &str) -> Self {
        self.edits.push((file, from.into(), to.into()));
        self
    }

    /// Adds text to a file of the shipped configuration.
    pub(crate) fn append(mut self, file: &'static str, text: &str) -> Self {
        self.appended.push((file, text.into()));
        self
    }

    /// Sends the demo routes to a server of the test's own.
    pub(crate) fn upstream(mut self, address: SocketAddr) -> Self {
        self.upstream = Some(address);
        self
    }

    /// Keeps its data on a disk of its own, with room for so much. Only the gateway sees it: others by [`Platform::disk`].
    pub(crate) fn disk(mut self, size: &'static str) -> Self {
        self.disk = Some(size);
        self
    }

    /// Has so many file descriptors, and may not ask for more.
    pub(crate) fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Makes the folder with the configuration and nothing else.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        copy_config(&folder.path().join("config"));
        for (file, from, to) in &self.edits {
            let path = folder.path().join("config").join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from.as_str()), "{file} has no `{from}` to replace");
            fs::write(&path, text.replace(from.as_str(), to)).unwrap();
        }
        for (file, text) in &self.appended {
            let path = folder.path().join("config").join(file);
            fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        folder
    }

    /// The command that serves the folder.
    pub(crate) fn command(&self, folder: &Path, upstream: SocketAddr) -> Command {
        let mut command = Command::new(PORTCULLIS);
        if let Some(size) = self.disk {
            let mount = format!("mkdir -p \"$0\" && mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
            command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", &mount]).arg(folder.join("data")).arg(PORTCULLIS);
        }
        if let Some(most) = self.descriptors {
            command = Command::new("sh");
            command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), PORTCULLIS]);
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(folder.join("config"))
            .arg("--data")
            .arg(folder.join("data"))
            .env_remove("DATABASE_URL")
            .env("PORTCULLIS_METRICS_LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS_DEMO_UPSTREAM", upstream.to_string())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(self) -> Platform {
        let folder = self.folder();
        self.start_in(folder)
    }

    /// Serves data that are there already.
    pub(crate) fn start_on(self, data: &Path) -> Platform {
        let folder = self.folder();
        std::os::unix::fs::symlink(data, folder.path().join("data")).unwrap();
        self.start_in(folder)
    }

    /// Serves a folder that the test has made its own.
    pub(crate) fn start_in(self, folder: TempDir) -> Platform {
        let own = self
            .upstream
            .is_none()
            .then(|| Running::start(Command::new(PORTCULLIS).args(["demo-upstream", "--listen", "127.0.0.1:0"]), None));
        let address = self.upstream.unwrap_or_else(|| own.as_ref().unwrap().address("http"));
        let gateway =
            Running::start(&mut self.command(folder.path(), address), Some(&folder.path().join("gateway.log")));
        Platform {
            http: gateway.address("http"),
            metrics: gateway.address("metrics"),
            env: self.env,
            folder,
            gateway,
            _upstream: own,
        }
    }
}

/// Copies the shipped configuration.
pub(crate) fn copy_config(to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(shipped("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// A path in the repository.
pub(crate) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

// === impl Running ===

impl Running {
    /// Starts and waits for the ready line. Standard error goes to `log`, or nowhere.
    pub(crate) fn start(command: &mut Command, log: Option<&Path>) -> Self {
        let stderr = log
            .map_or_else(Stdio::null, |log| fs::OpenOptions::new().create(true).append(true).open(log).unwrap().into());
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            drop(child.kill());
            panic!(
                "no ready line but {line:?}; log: {}",
                log.map(|log| fs::read_to_string(log).unwrap_or_default()).unwrap_or_default()
            )
        });
        Self { child, ready }
    }

    pub(crate) fn address(&self, what: &str) -> SocketAddr {
        self.ready[what].as_str().unwrap().trim_start_matches("http://").parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits for the end and gives the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

// === impl Platform ===

impl Platform {
    /// The shipped configuration, as `make run` serves it.
    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    pub(crate) fn gateway(&mut self) -> &mut Running {
        &mut self.gateway
    }

    /// Where the data are that only the gateway sees.
    pub(crate) fn disk(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        Path::new(&format!("/proc/{}/root", self.gateway.pid())).join(data.strip_prefix("/").unwrap())
    }

    /// Sends one request and reads one answer over a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        self.raw(format!("{text}\r\n{body}").as_bytes())
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {token}"))], "")
    }

    pub(crate) fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.json("POST", path, token, body)
    }

    pub(crate) fn json(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        self.send(method, path, &headers, &body.to_string())
    }

    /// Sends bytes as they are and reads until the door closes the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        Answer::parse(&exchange(self.http, bytes))
    }

    /// The same for a gateway that may be gone: then the answer is none, with status 0.
    pub(crate) fn try_raw(&self, bytes: &[u8]) -> Answer {
        let Ok(mut stream) = TcpStream::connect(self.http) else { return Answer::parse(b"") };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        // It may be gone at any moment.
        drop(stream.write_all(bytes).and_then(|()| stream.read_to_end(&mut answer)));
        Answer::parse(&answer)
    }

    /// Registers a new account; gives the whole answer's body.
    pub(crate) fn register(&self, email: &str) -> Value {
        let answer =
            self.post("/auth/register", None, &json!({ "email": email, "password": PASSWORD, "name": "A Person" }));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// One of the binary's own commands, on the data of this gateway.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(PORTCULLIS);
        command.args(words).arg("--config").arg(folder.join("config")).arg("--data").arg(folder.join("data"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Makes the first administrator with the binary's own command.
    pub(crate) fn create_admin(&self, password: Option<&str>) -> std::process::Output {
        self.command(&["create-admin", "--email", "root@example.com"])
            .envs(password.map(|password| ("PORTCULLIS_ADMIN_PASSWORD", password)))
            .output()
            .unwrap()
    }

    /// The first administrator, logged in.
    pub(crate) fn admin(&self) -> String {
        let made = self.create_admin(Some(PASSWORD));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.login("root@example.com")
    }

    /// Makes a machine's account by the binary's own command; its id, and the key that is its secret.
    pub(crate) fn service_account(&self, name: &str) -> (String, String) {
        service_account(self.folder.path(), &self.env, name)
    }

    /// One that acts in a tenant.
    pub(crate) fn service_account_in(&self, tenant: &str) -> (String, String) {
        let machine = ["machine", "--tenant", tenant];
        service_account_by(Command::new(PORTCULLIS), self.folder.path(), &self.env, &machine)
    }

    /// The same where the gateway's data is on a disk of its own, which only what shares its mounts sees.
    pub(crate) fn service_account_on_its_disk(&self, name: &str) -> (String, String) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.gateway.pid())).arg(PORTCULLIS);
        service_account_by(command, self.folder.path(), &self.env, &[name])
    }

    pub(crate) fn login(&self, email: &str) -> String {
        let answer = self.post("/auth/login", None, &json!({ "email": email, "password": PASSWORD }));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// What the metrics say of `name` (with its labels as printed), 0 if nothing.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text =
            Answer::parse(&exchange(self.metrics, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .body;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }

    /// Memory of the gateway in KiB: `VmRSS`, what is resident now, or `VmHWM`, the most that ever was.
    pub(crate) fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time that the gateway has used so far, all its threads together.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.gateway.pid())).unwrap();
        // After the name, which may hold anything: the state, and eleven fields on what is user time and system time.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        // Of the ticks that the kernel tells there are a hundred in a second.
        Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }
}

/// Tries until it holds; a test that waits for ever has failed.
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    time_until(what, holds);
}

/// The same, and for how long it did not hold. Only the pauses between tries count: whatever keeps a busy machine from what is waited for
/// keeps it from trying too.
pub(crate) fn time_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    // Often enough for tests that count the time, seldom enough for the quotas of the routes that are asked.
    const PAUSE: Duration = Duration::from_millis(20);
    let (began, mut waited) = (Instant::now(), Duration::ZERO);
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        pace(PAUSE);
        waited += PAUSE;
    }
    waited
}

/// So that what is done again and again is not done all at once. For nothing that could be waited for: see [`eventually`].
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pace(time: Duration) {
    std::thread::sleep(time);
}

/// Nothing happens for so long, since that is what a test is about: longer than somebody may be silent, or until a moment that is as good
/// as any.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn silence(time: Duration) {
    std::thread::sleep(time);
}

/// Sends bytes and reads to the end.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The door may answer and close before everything is sent.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

/// What a body says by that name.
pub(crate) fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned()
}

/// The access token of whoever has registered.
pub(crate) fn token_of(registered: &Value) -> String {
    text(registered, "access_token")
}

/// Makes a machine's account on the data of a folder; its id, and the key that is its secret.
pub(crate) fn service_account(folder: &Path, env: &[(String, String)], name: &str) -> (String, String) {
    service_account_by(Command::new(PORTCULLIS), folder, env, &[name])
}

fn service_account_by(
    mut command: Command,
    folder: &Path,
    env: &[(String, String)],
    named: &[&str],
) -> (String, String) {
    let made = command
        .args(["service-account", "create"])
        .args(named)
        .args(["--tier", "enterprise", "--config"])
        .arg(folder.join("config"))
        .arg("--data")
        .arg(folder.join("data"))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    (line("client_id: "), line("client_secret: "))
}

// === impl Answer ===

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        Self { status, body: if chunked { dechunk(body) } else { body.to_owned() }, headers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The stable code of a refusal.
    pub(crate) fn code(&self) -> String {
        serde_json::from_str::<Value>(&self.body)
            .ok()
            .and_then(|body| body["code"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// What the upstream received under a header's name.
    pub(crate) fn received(&self, name: &str) -> Vec<String> {
        let body = self.json();
        body["headers"][name]
            .as_array()
            .map(|values| values.iter().map(|value| value.as_str().unwrap().to_owned()).collect())
            .unwrap_or_default()
    }
}

fn dechunk(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}
