//! Backends that die, freeze, lie, drip or come back, seen through the door; and how requests are shared out among them.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

pub(crate) use crate::cluster::kept;
use crate::platform::{Answer, PORTCULLIS, Platform, Running, Setup, eventually, exchange, pace, silence, time_until};

/// Everything under `/pool/` goes to a pool of these servers, and nobody needs to be known.
pub(crate) fn pool(servers: &[impl ToString], more: &str) -> Setup {
    pools(&[("pool", servers.iter().map(ToString::to_string).collect(), more)])
}

/// Several of them, by name.
pub(crate) fn pools(pools: &[(&str, Vec<String>, &str)]) -> Setup {
    let (mut upstreams, mut routes) = (String::new(), String::new());
    for (name, servers, more) in pools {
        write!(upstreams, "\n[upstreams.{name}]\nservers = {servers:?}\n{more}\n").unwrap();
        write!(
            routes,
            "\n[[route]]\nname = \"{name}\"\npaths = [\"/{name}/*\"]\nupstream = \"{name}\"\nauth = \"none\"\n"
        )
        .unwrap();
    }
    Setup::default().append("gateway.toml", &upstreams).append("routes.toml", &routes)
}

/// A server in a thread of its own that remembers what it received.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
}

/// What becomes of a connection after a request.
#[derive(PartialEq)]
pub(crate) enum After {
    Keep,
    Close,
}

impl Backend {
    /// Calls `answer` for each request with its head.
    pub(crate) fn start(answer: impl Fn(&str, &mut TcpStream) -> After + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (seen, answer) = (Arc::clone(&received), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen, answer) = (stream.unwrap(), Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || {
                    while let Some(head) = read_request(&mut stream) {
                        seen.lock().unwrap().push(head.clone());
                        if answer(&head, &mut stream) == After::Close {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, received }
    }

    /// One that answers with its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_, stream| {
            drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            After::Keep
        })
    }

    /// One that reads each request to its end and hangs up.
    fn hanging_up() -> Self {
        Self::start(|_, _| After::Close)
    }

    /// Requests of that method so far.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.received.lock().unwrap().iter().filter(|head| head.starts_with(method)).count()
    }
}

/// Reads one request with its body; gives its head.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16384]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut missing = length.unwrap_or(0_usize).saturating_sub(bytes.len() - end - 4);
        while missing > 0 {
            missing -= stream.read(&mut buffer).ok().filter(|read| *read > 0)?.min(missing);
        }
        return Some(head);
    }
}

fn demo(address: &str) -> Running {
    Running::start(Command::new(PORTCULLIS).args(["demo-upstream", "--listen", address]), None)
}

fn get(platform: &Platform, path: &str) -> Answer {
    platform.send("GET", path, &[], "")
}

fn healthy(platform: &Platform) -> u64 {
    platform.metric("portcullis_upstream_servers_healthy{upstream=\"pool\"}")
}

/// Clients who ask again and again until they are told to stop, and what they were answered.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr, path: &'static str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let clients = (0..4).map(|_| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                    let answer = Answer::parse(&exchange(address, request.as_bytes()));
                    answers.lock().unwrap().push(answer);
                }
            })
        });
        let clients = clients.collect();
        Self { stop, answers, clients }
    }

    fn wait_for(&self, more: usize) {
        let before = self.answers.lock().unwrap().len();
        eventually("answers", || self.answers.lock().unwrap().len() >= before + more);
    }

    fn end(self) -> Vec<Answer> {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
        std::mem::take(&mut self.answers.lock().unwrap())
    }
}

/// Waits until what has just come back is in use: within five seconds, with what is shipped.
pub(crate) fn is_back(is_in_use: impl FnMut() -> bool) {
    let took = time_until("the return", is_in_use);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_backend_that_is_killed_under_load_costs_no_request_and_is_used_again_when_it_is_back() {
    let (_kept, address) = kept();
    let (one, two) = (demo(&address.to_string()), demo("127.0.0.1:0"));
    let platform = pool(&[address, two.address("http")], "").start();
    let load = Load::on(platform.http, "/pool/x");
    load.wait_for(50);
    drop(one);
    load.wait_for(50);
    eventually("the ejection", || healthy(&platform) == 1);
    // The third time in a row is as long as any.
    eventually("it to be left out again", || {
        platform.metric("portcullis_upstream_ejections_total{upstream=\"pool\"}") == 3
    });
    let _again = demo(&address.to_string());
    is_back(|| healthy(&platform) == 2);
    load.wait_for(20);
    let answers = load.end();
    let wrong: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), answers.len());
}

#[test]
fn a_frozen_backend_is_told_in_time_left_alone_and_asked_again_when_it_thaws() {
    let frozen = demo("127.0.0.1:0");
    let platform = pool(&[frozen.address("http")], "response_timeout = \"300ms\"").start();
    // On a busy machine one that has just been started may be slower than that.
    eventually("an answer", || get(&platform, "/pool/x").status == 200);
    frozen.signal("STOP");
    // A request may slip through before the signal has reached every thread.
    eventually("the frost", || get(&platform, "/pool/x").status == 504);
    let load = Load::on(platform.http, "/pool/x");
    eventually("the circuit to open", || platform.metric("portcullis_upstream_circuit_open{upstream=\"pool\"}") == 1);
    load.wait_for(20);
    assert_eq!(get(&platform, "/demo/public/x").status, 200, "others are unaffected");
    for answer in load.end() {
        let told = (answer.status, answer.code());
        match told.0 {
            504 => assert_eq!(told.1, "upstream_timeout"),
            503 => {
                assert_eq!(told.1, "upstream_circuit_open");
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=2).contains(&wait), "{answer:?}");
            }
            _ => panic!("{answer:?}"),
        }
    }
    frozen.signal("CONT");
    is_back(|| get(&platform, "/pool/x").status == 200);
    assert_eq!(platform.metric("portcullis_upstream_circuit_open{upstream=\"pool\"}"), 0);
    assert!(platform.metric("portcullis_upstream_circuit_opened_total{upstream=\"pool\"}") >= 1);
}

#[test]
fn the_only_backend_is_used_again_when_it_has_been_killed_under_load_and_is_back() {
    let (_kept, address) = kept();
    let backend = demo(&address.to_string());
    let platform = pool(&[address], "").start();
    let load = Load::on(platform.http, "/pool/x");
    load.wait_for(50);
    drop(backend);
    eventually("the circuit to open", || platform.metric("portcullis_upstream_circuit_open{upstream=\"pool\"}") == 1);
    load.wait_for(50);
    let _again = demo(&address.to_string());
    is_back(|| get(&platform, "/pool/x").status == 200);
    let told: BTreeSet<(u16, String)> = load.end().iter().map(|answer| (answer.status, answer.code())).collect();
    for (status, code) in told {
        let is_clear = match status {
            200 => true,
            502 => ["upstream_unreachable", "upstream_closed"].contains(&&*code),
            503 => code == "upstream_circuit_open",
            _ => false,
        };
        assert!(is_clear, "{status} {code}");
    }
}

#[test]
fn one_frozen_server_of_two_is_left_out_after_a_few_requests() {
    let (frozen, good) = (demo("127.0.0.1:0"), demo("127.0.0.1:0"));
    let more = "response_timeout = \"2s\"\nejection = { failures = 2, time = \"1m\", max_time = \"1m\" }";
    let platform = pool(&[frozen.address("http"), good.address("http")], more).start();
    frozen.signal("STOP");
    eventually("the frost", || get(&platform, "/pool/x").status == 504);
    let answers: Vec<u16> = (0..20).map(|_| get(&platform, "/pool/x").status).collect();
    assert_eq!(answers.iter().filter(|status| **status == 504).count(), 1, "the second, and no more: {answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 19, "{answers:?}");
    assert_eq!(platform.metric("portcullis_upstream_ejections_total{upstream=\"pool\"}"), 1);
    frozen.signal("CONT");
}

#[test]
fn a_hung_server_is_sent_one_request_that_finds_out_and_no_other_as_long_as_that_may_wait() {
    let release = Arc::new(AtomicBool::new(false));
    // Hangs up once, and then neither answers nor hangs up.
    let hung = || {
        let (release, failed) = (Arc::clone(&release), AtomicBool::new(false));
        Backend::start(move |_, stream| {
            if !failed.swap(true, SeqCst) {
                return After::Close;
            }
            eventually("the release", || release.load(SeqCst));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
            After::Keep
        })
    };
    let (one_of_two, alone, good) = (hung(), hung(), Backend::named("good"));
    let two = vec![one_of_two.address.to_string(), good.address.to_string()];
    let platform = pools(&[
        ("two", two, "ejection = { failures = 1, time = \"50ms\", max_time = \"50ms\" }"),
        ("one", vec![alone.address.to_string()], "circuit = { failures = 1, open = \"50ms\" }"),
    ])
    .start();
    assert_eq!(get(&platform, "/one/x").status, 502);
    while one_of_two.count("GET") == 0 {
        assert_eq!(get(&platform, "/two/x").status, 200);
    }
    let loads = ["/two/x", "/one/x"].map(|path| Load::on(platform.http, path));
    eventually("two requests that find out", || one_of_two.count("GET") == 2 && alone.count("GET") == 2);
    // Longer than a client that owes its body keeps others from it; the time for an answer is a minute.
    let found_out = Instant::now();
    eventually("three seconds", || found_out.elapsed() > Duration::from_secs(3));
    assert_eq!((one_of_two.count("GET"), alone.count("GET")), (2, 2));
    release.store(true, SeqCst);
    for load in loads {
        load.wait_for(20);
        let statuses: BTreeSet<u16> = load.end().iter().map(|answer| answer.status).collect();
        assert!(statuses.is_subset(&BTreeSet::from([200, 503])), "{statuses:?}");
    }
}

/// The failures of these tests leave nobody out.
const PATIENT: &str = "ejection = { failures = 1000 }\ncircuit = { failures = 1000 }";

#[test]
fn only_what_may_be_done_twice_is_tried_again_and_only_before_the_answer_begins() {
    let (bad, good) = (Backend::hanging_up(), Backend::named("good"));
    let platform = pool(&[bad.address, good.address], PATIENT).start();
    for _ in 0..10 {
        let answer = get(&platform, "/pool/x");
        assert_eq!((answer.status, answer.body.as_str()), (200, "good"));
    }
    assert_eq!((bad.count("GET"), good.count("GET")), (5, 10));
    let posted: Vec<Answer> = (0..10).map(|_| platform.send("POST", "/pool/x", &[], "once")).collect();
    let failed: Vec<_> = posted.iter().filter(|answer| answer.status == 502).collect();
    assert!(failed.len() == 5 && failed.iter().all(|answer| answer.code() == "upstream_closed"), "{posted:?}");
    assert_eq!(bad.count("POST") + good.count("POST"), 10, "each once");
    // Idempotent, but too long to be kept for a second time.
    let long = "x".repeat(200_000);
    let put: Vec<u16> = (0..4).map(|_| platform.send("PUT", "/pool/x", &[], &long).status).collect();
    assert_eq!(put.iter().filter(|status| **status == 502).count(), 2, "{put:?}");
    let short: Vec<u16> = (0..4).map(|_| platform.send("PUT", "/pool/x", &[], "short").status).collect();
    assert_eq!(short, [200; 4]);

    let breaking = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"));
        After::Close
    });
    let other = Backend::named("other");
    let platform = pool(&[breaking.address, other.address], PATIENT).start();
    let bodies: Vec<String> = (0..4).map(|_| get(&platform, "/pool/x").body).collect();
    assert_eq!(bodies.iter().filter(|body| *body == "other").count(), 2, "{bodies:?}");
    assert_eq!(breaking.count("GET") + other.count("GET"), 4, "what has begun is not begun again");
}

#[test]
fn nothing_is_tried_again_without_budget() {
    let (bad, good) = (Backend::hanging_up(), Backend::named("good"));
    let more = format!("{PATIENT}\nretry = {{ percent = 0, per_second = 0 }}");
    let platform = pool(&[bad.address, good.address], &more).start();
    let answers: Vec<u16> = (0..10).map(|_| get(&platform, "/pool/x").status).collect();
    assert_eq!(answers.iter().filter(|status| **status == 502).count(), 5, "{answers:?}");
    assert_eq!(platform.metric("portcullis_upstream_retries_withheld_total{upstream=\"pool\"}"), 5);
    assert_eq!(platform.metric("portcullis_upstream_retries_total{upstream=\"pool\"}"), 0);
}

#[test]
fn a_request_that_found_no_connection_is_tried_elsewhere_whatever_its_method() {
    let (_kept, down) = kept();
    let good = Backend::named("good");
    let platform = pool(&[down, good.address], PATIENT).start();
    let answers: Vec<u16> = (0..10).map(|_| platform.send("POST", "/pool/x", &[], "once").status).collect();
    assert_eq!(answers, [200; 10]);
    assert_eq!(good.count("POST"), 10);
    assert_eq!(platform.metric("portcullis_upstream_failures_total{kind=\"connect\",upstream=\"pool\"}"), 5);
}

#[test]
fn least_connections_avoids_who_is_busy_and_a_caller_of_a_consistent_hash_stays() {
    let release = Arc::new(AtomicBool::new(false));
    let held = Arc::new(AtomicUsize::new(0));
    let (let_go, holding) = (Arc::clone(&release), Arc::clone(&held));
    let answer = move |name: &'static str| {
        let (let_go, holding) = (Arc::clone(&let_go), Arc::clone(&holding));
        Backend::start(move |head, stream| {
            if head.contains("/hold ") {
                holding.fetch_add(1, SeqCst);
                eventually("the release", || let_go.load(SeqCst));
            }
            drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            After::Keep
        })
    };
    let (one, two) = (answer("one"), answer("two"));
    let servers = vec![one.address.to_string(), two.address.to_string()];
    let platform = pools(&[
        ("least", servers.clone(), "balance = \"least_connections\""),
        ("hash", servers, "balance = \"consistent_hash\""),
    ])
    .start();
    let http = platform.http;
    let busy = thread::spawn(move || {
        Answer::parse(&exchange(http, b"GET /least/hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).body
    });
    eventually("the request that is held", || held.load(SeqCst) == 1);
    // A client may have its answer a moment before the door is done with it; so ten in a row are waited for.
    let mut others = Vec::new();
    eventually("ten in a row that avoid who is busy", || {
        others.push(get(&platform, "/least/x").body);
        others.windows(10).last().is_some_and(|ten| ten.iter().all(|server| *server == ten[0]))
    });
    release.store(true, SeqCst);
    assert_ne!(busy.join().unwrap(), *others.last().unwrap());

    let hashed: Vec<String> = (0..10).map(|_| get(&platform, "/hash/x").body).collect();
    assert!(hashed.iter().all(|server| *server == hashed[0]), "{hashed:?}");
}

#[test]
fn an_answer_that_drips_for_ever_is_ended_by_the_time_for_the_whole() {
    let dripping = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        // Nearly for ever: about 30 s.
        for _ in 0..1500 {
            if stream.write_all(b"1\r\nx\r\n").is_err() {
                break;
            }
            pace(Duration::from_millis(20));
        }
        After::Close
    });
    let platform = pool(&[dripping.address], "total_timeout = \"2s\"").start();
    let began = Instant::now();
    let answer = get(&platform, "/pool/x");
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with('x'), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // One that says nothing at all is told, and no later.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let platform = pool(&[silent.local_addr().unwrap()], "total_timeout = \"500ms\"").start();
    let answer = get(&platform, "/pool/x");
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

#[test]
fn an_answer_may_take_long_to_begin_where_it_is_allowed_to() {
    let slow = Backend::start(|_, stream| {
        silence(Duration::from_millis(900));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"));
        After::Close
    });
    let servers = vec![slow.address.to_string()];
    let platform = pools(&[
        ("hasty", servers.clone(), "response_timeout = \"300ms\""),
        ("patient", servers, "response_timeout = \"300ms\"\nfirst_byte_timeout = \"20s\""),
    ])
    .start();
    assert_eq!(get(&platform, "/hasty/x").status, 504);
    assert_eq!(get(&platform, "/patient/x").body, "slow");
}

#[test]
fn a_unix_socket_is_a_server_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backend.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while read_request(&mut stream).is_some() {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsocket"));
            }
        }
    });
    let platform = pool(&[format!("unix:{}", path.display())], "").start();
    assert_eq!(get(&platform, "/pool/x").body, "socket");
    assert_eq!(get(&platform, "/pool/x").body, "socket");
}

#[test]
fn who_fails_its_health_checks_gets_no_requests_until_it_passes_them() {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let backend = Backend::start(move |head, stream| {
        let status = if head.starts_with("GET /healthz ") && !is_well.load(SeqCst) { 500 } else { 200 };
        drop(write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let more = "health = { path = \"/healthz\", interval = \"1s\", timeout = \"10s\" }";
    let platform = pool(&[backend.address], more).start();
    eventually("a check", || backend.count("GET /healthz ") > 0);
    assert_eq!(get(&platform, "/pool/x").status, 200);
    well.store(false, SeqCst);
    eventually("the refusal", || get(&platform, "/pool/x").code() == "upstream_unavailable");
    let refused = get(&platform, "/pool/x");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_eq!(healthy(&platform), 0);
    well.store(true, SeqCst);
    is_back(|| get(&platform, "/pool/x").status == 200);
    assert_eq!(healthy(&platform), 1);
    let received = backend.received.lock().unwrap();
    let check = received.iter().find(|head| head.starts_with("GET /healthz ")).unwrap().to_lowercase();
    assert!(check.contains(&format!("host: {}", backend.address)) && !check.contains("x-gateway-"), "{check}");
}

#[test]
fn without_a_path_a_server_passes_its_checks_for_as_long_as_it_takes_connections() {
    let (_kept, address) = kept();
    let listener = TcpListener::bind(address).unwrap();
    let platform = pool(&[address], "health = { interval = \"100ms\", timeout = \"10s\" }").start();
    for _ in 0..3 {
        let mut asked = String::new();
        listener.accept().unwrap().0.read_to_string(&mut asked).unwrap();
        assert_eq!((asked.as_str(), healthy(&platform)), ("", 1), "it is asked for nothing");
    }
    drop(listener);
    eventually("the refusal", || get(&platform, "/pool/x").code() == "upstream_unavailable");
    assert_eq!(healthy(&platform), 0);
    let _again = TcpListener::bind(address).unwrap();
    eventually("the recovery", || healthy(&platform) == 1);
}

#[test]
fn checks_end_with_the_configuration_that_asked_for_them() {
    let (backend, control) = (Backend::named("x"), Backend::named("y"));
    let more = "health = { path = \"/healthz\", interval = \"20ms\" }";
    let platform = pools(&[
        ("pool", vec![backend.address.to_string()], more),
        ("control", vec![control.address.to_string()], "health = { path = \"/alive\", interval = \"20ms\" }"),
    ])
    .start();
    eventually("a check", || backend.count("GET /healthz ") > 0);
    let path = platform.folder.path().join("config/gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let before = platform.metric("portcullis_config_generation");
    std::fs::write(&path, text.replace(more, "")).unwrap();
    eventually("the reload", || platform.metric("portcullis_config_generation") > before);
    eventually("the end of the checks", || {
        let (checks, others) = (backend.count("GET /healthz "), control.count("GET /alive "));
        eventually("checks of another", || control.count("GET /alive ") > others + 10);
        backend.count("GET /healthz ") == checks
    });
}

#[test]
fn a_name_that_is_not_there_yet_keeps_nobody_out_but_does_not_get_in_by_a_reload() {
    let backend = Backend::named("named");
    let there = format!("localhost:{}", backend.address.port());
    let platform = pools(&[("there", vec![there], ""), ("lost", vec!["nowhere.invalid:80".to_owned()], "")]).start();
    assert_eq!(get(&platform, "/there/x").body, "named");
    let lost = get(&platform, "/lost/x");
    assert_eq!((lost.status, lost.code().as_str()), (502, "upstream_unreachable"));
    // As the access log has it.
    let failed = "portcullis_requests_total{code=\"upstream_unreachable\",outcome=\"failed\",route=\"lost\"}";
    eventually("the failure to be counted", || platform.metric(failed) == 1);
    let tries = || platform.metric("portcullis_upstream_resolve_failures_total{upstream=\"lost\"}");
    eventually("a third try", || tries() >= 3);
    assert_eq!(platform.log().matches("what was known of it stays").count(), 1, "{}", platform.log());
    let path = platform.folder.path().join("config/gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[upstreams.new]\nservers = [\"typo.invalid:80\"]\n")).unwrap();
    eventually("the refusal", || platform.metric("portcullis_config_reloads_total{outcome=\"refused\"}") >= 1);
    let told = format!("gateway.toml:{}:11: upstream `new`: `typo.invalid:80`", text.lines().count() + 3);
    eventually(&format!("the log to name it and its place: {told}"), || platform.log().contains(&told));
}
