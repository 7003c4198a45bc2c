//! Restarts that nobody notices: a new process takes the sockets over, or a balancer is told in time.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    backends::{After, Backend},
    cluster::{Redis, member},
    database::Database,
    platform::{Answer, PASSWORD, Running, Setup, eventually, exchange, pace, silence},
};

/// What anybody may ask.
const PUBLIC: &str = "GET /demo/public/x HTTP/1.1\r\nHost: door.test\r\n\r\n";

/// How often a balancer asks its gateways whether they are ready.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// For how long it believes the answer. A gateway that was ready when it was asked, and is told to go then, goes on for three times as long.
const BELIEVED: Duration = Duration::from_secs(1);
/// For how long a gateway that goes keeps a connection at least: since the last answer there, which did not say so, or since it was made.
const STAYS: Duration = Duration::from_secs(1);

/// A balancer of connections: of two gateways it sends each who comes to one that has lately said that it is ready.
struct Balancer {
    address: SocketAddr,
    gateways: Arc<Mutex<[Gateway; 2]>>,
}

/// Where a gateway is, if it is anywhere, and when it was asked last, if it has said then that it is ready.
#[derive(Clone, Copy)]
struct Gateway {
    at: Option<SocketAddr>,
    ready: Option<Instant>,
}

// === impl Gateway ===

impl Gateway {
    fn is_ready(&self) -> bool {
        self.ready.is_some_and(|asked| asked.elapsed() < BELIEVED)
    }
}

// === impl Balancer ===

impl Balancer {
    fn before(gateways: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gateways = Arc::new(Mutex::new(gateways.map(|at| Gateway { at: Some(at), ready: None })));
        let (asked, chosen) = (Arc::clone(&gateways), Arc::clone(&gateways));
        thread::spawn(move || {
            loop {
                (0..2).for_each(|number| ask(&asked, number));
                pace(ASK_EVERY);
            }
        });
        thread::spawn(move || {
            for (turn, near) in listener.incoming().enumerate() {
                // Whoever is sent to one that takes nobody any more has failed.
                let (near, Ok(far)) = (near.unwrap(), TcpStream::connect(choose(&chosen, turn))) else { continue };
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    thread::spawn(move || {
                        drop(io::copy(&mut from, &mut to));
                        drop(to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Self { address, gateways }
    }

    /// A gateway is somewhere else, or nowhere: then its address may be anybody's.
    fn moves(&self, number: usize, at: Option<SocketAddr>) {
        self.gateways.lock().unwrap()[number] = Gateway { at, ready: None };
    }

    fn finds_ready(&self, number: usize) -> bool {
        self.gateways.lock().unwrap()[number].is_ready()
    }
}

/// Asks one of them whether it is ready.
fn ask(gateways: &Mutex<[Gateway; 2]>, number: usize) {
    let Some(at) = gateways.lock().unwrap()[number].at else { return };
    let now = Instant::now();
    let ready = is_ready(at).then_some(now);
    let mut gateways = gateways.lock().unwrap();
    if gateways[number].at == Some(at) {
        gateways[number].ready = ready;
    }
}

/// Whose turn it is of those that are ready; if none is, whoever will be first.
fn choose(gateways: &Mutex<[Gateway; 2]>, turn: usize) -> SocketAddr {
    loop {
        let known = *gateways.lock().unwrap();
        let ready: Vec<_> = known.iter().filter(|one| one.is_ready()).filter_map(|one| one.at).collect();
        if let Some(gateway) = ready.get(turn % ready.len().max(1)) {
            return *gateway;
        }
        pace(ASK_EVERY);
    }
}

fn is_ready(gateway: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(gateway) else { return false };
    // One that hangs must not keep the other from being asked.
    stream.set_read_timeout(Some(BELIEVED)).unwrap();
    let mut answer = Vec::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n");
    drop(asked.and_then(|()| stream.read_to_end(&mut answer)));
    Answer::parse(&answer).status == 200
}

/// Waits for one answer, whose body is `ok`; gives it in lower case. Or says what went wrong, and whether the connection was closed
/// without a word.
fn answer(stream: &mut TcpStream) -> Result<String, (String, bool)> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nok") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => return Err((format!("closed after {:?}", String::from_utf8_lossy(&bytes)), bytes.is_empty())),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) => {
                let is_closed = error.kind() == io::ErrorKind::ConnectionReset;
                return Err((format!("read: {error}"), is_closed && bytes.is_empty()));
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).to_ascii_lowercase())
}

/// Asks again and again, as a client does that keeps its connection for as long as it may. On a busy machine it may be too late for a
/// connection, which is closed then without a word: whoever could be asks once more.
fn ask_on(
    door: SocketAddr,
    request: &str,
    reuses: bool,
    answered: &AtomicUsize,
    over: &AtomicBool,
) -> Result<(), String> {
    let mut kept: Option<(TcpStream, Instant)> = None;
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        // From the second on the connection lasts for `STAYS` at least.
        let (mut stream, since) = match kept.take() {
            Some(kept) => kept,
            None => (TcpStream::connect(door).map_err(|error| format!("connect: {error}"))?, now),
        };
        let asked = stream.write_all(request.as_bytes()).map_err(|error| (format!("write: {error}"), true));
        let may_be_late = since.elapsed() >= STAYS;
        let text = match asked.and_then(|()| answer(&mut stream)) {
            Ok(text) => text,
            Err((_, true)) if may_be_late => continue,
            Err((said, _)) => return Err(said),
        };
        if !text.starts_with("http/1.1 200") {
            return Err(text);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        kept = (reuses && !text.contains("connection: close")).then_some((stream, now));
    }
    Ok(())
}

/// Ends what waits for it, also when a test has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Three clients that make a connection for each request, and so many that keep theirs, while `act` does what it does; none may fail.
fn under_load(door: SocketAddr, request: &str, keeping: usize, act: impl FnOnce(&AtomicUsize)) {
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let client = |number| {
            let (answered, over) = (&answered, &over);
            scope.spawn(move || ask_on(door, request, number >= 3, answered, over))
        };
        let clients: Vec<_> = (0..3 + keeping).map(client).collect();
        let end = End(&over);
        act(&answered);
        drop(end);
        let failed: Vec<String> = clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
        assert!(failed.is_empty(), "{failed:?} after {} answers", answered.load(Ordering::Relaxed));
    });
}

/// `PORTCULLIS_RESTART_REQUESTS` says how many are answered meanwhile: 20,000 are asked by fifty who keep their connections.
#[test]
fn ten_restarts_under_load_cost_no_request() {
    let each = env::var("PORTCULLIS_RESTART_REQUESTS").map_or(200, |number| number.parse().unwrap()) / 10;
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let (setup, folder) = (Setup::default(), Setup::default().folder());
    let log = folder.path().join("gateway.log");
    let mut serving = Running::start(&mut setup.command(folder.path(), backend.address), Some(&log));
    let door = serving.address("http");
    under_load(door, PUBLIC, (each / 40).max(3), |answered| {
        for _ in 0..10 {
            let before = answered.load(Ordering::Relaxed);
            let mut next = setup.command(folder.path(), backend.address);
            let next = Running::start(next.arg("--take-over"), Some(&log));
            assert_eq!((next.address("http"), next.address("metrics")), (door, serving.address("metrics")));
            let mut old = std::mem::replace(&mut serving, next);
            assert_eq!(old.wait(), Some(0));
            eventually("requests go on", || answered.load(Ordering::Relaxed) > before + each);
        }
    });
}

/// `PORTCULLIS_RESTART_SECONDS` says how long the old process has to wait for it: by default a second more than one takes that waits for nothing.
#[test]
fn a_request_that_was_begun_before_a_take_over_is_answered_after_it() {
    let seconds = env::var("PORTCULLIS_RESTART_SECONDS").map_or(4, |number| number.parse().unwrap());
    let (answer, may_answer) = mpsc::channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let backend = Backend::start(move |head, stream| {
        if head.starts_with("GET /demo/public/long ") {
            may_answer.lock().unwrap().recv().unwrap();
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let (setup, folder) = (Setup::default(), Setup::default().folder());
    let log = folder.path().join("gateway.log");
    let mut old = Running::start(&mut setup.command(folder.path(), backend.address), Some(&log));
    let door = old.address("http");
    let ask = move |path: &str| {
        let asked = format!("GET /demo/public/{path} HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n");
        Answer::parse(&exchange(door, asked.as_bytes())).status
    };
    let asked = thread::spawn(move || ask("long"));
    eventually("the request to be in flight", || backend.count("GET /demo/public/long ") == 1);
    let mut kept = TcpStream::connect(old.address("metrics")).unwrap();
    kept.write_all(b"GET /readyz HTTP/1.1\r\nHost: door.test\r\n\r\n").unwrap();
    let next = Running::start(setup.command(folder.path(), backend.address).arg("--take-over"), None);
    assert_eq!(next.address("http"), door);
    let is_told = || fs::read_to_string(&log).unwrap().contains("told to stop; finishing what is in flight");
    eventually("the old process to be told", is_told);
    silence(Duration::from_secs(seconds));
    assert_eq!(ask("short"), 200, "who comes now is served");
    let probe = b"GET /readyz HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n";
    let told = || Answer::parse(&exchange(next.address("metrics"), probe)).status;
    assert!((0..30).all(|_| told() == 200), "operators are told of the one that goes");
    kept.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(kept.read_to_end(&mut Vec::new()).is_ok(), "operators keep a connection to the one that goes");
    answer.send(()).unwrap();
    assert_eq!((asked.join().unwrap(), old.wait()), (200, Some(0)));
    assert_eq!(ask("short"), 200);
}

/// As a platform of containers updates its gateways: one after the other, each told to go, each somewhere else when it is back.
#[test]
fn ten_restarts_behind_a_balancer_cost_no_request() {
    let backend = Backend::start(|_, stream| {
        // So that clients are steady, and requests in flight when a gateway is told to go.
        pace(Duration::from_millis(10));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let (database, redis) = (Database::new("rolling"), Redis::start());
    redis.is_old();
    let setup = member(&database, &redis)
        .env("PORTCULLIS_DRAIN_DELAY", "3s")
        .edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"")
        .edit("gateway.toml", "# nodes = 3", "nodes = 2")
        .edit("tiers.toml", "\"100/minute\"", "\"1000000/minute\"");
    let folders = [setup.folder(), setup.folder()];
    let start = |number: usize| {
        let folder = folders[number].path();
        Running::start(&mut setup.command(folder, backend.address), Some(&folder.join("gateway.log")))
    };
    let mut gateways = [start(0), start(1)];
    let balancer = Balancer::before([gateways[0].address("http"), gateways[1].address("http")]);
    let comes_back = |number| eventually("a gateway to be found ready", || balancer.finds_ready(number));
    comes_back(0);
    comes_back(1);
    let person = format!(r#"{{"email":"ada@example.com","password":"{PASSWORD}","name":"Ada"}}"#);
    let length = person.len();
    let register = format!(
        "POST /auth/register HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{person}"
    );
    let registered = Answer::parse(&exchange(balancer.address, register.as_bytes())).json();
    let token = registered["access_token"].as_str().unwrap();
    let request = format!("GET /demo/x HTTP/1.1\r\nHost: door.test\r\nAuthorization: Bearer {token}\r\n\r\n");
    under_load(balancer.address, &request, 3, |answered| {
        for restart in 0..10 {
            let (number, before) = (restart % 2, answered.load(Ordering::Relaxed));
            gateways[number].signal("TERM");
            assert_eq!(gateways[number].wait(), Some(0));
            balancer.moves(number, None);
            gateways[number] = start(number);
            balancer.moves(number, Some(gateways[number].address("http")));
            comes_back(number);
            eventually("requests go on", || answered.load(Ordering::Relaxed) > before + 20);
        }
    });
}

#[test]
fn one_that_cannot_start_takes_nothing_over() {
    let setup = Setup::default().edit("gateway.toml", "start_timeout = \"30s\"", "start_timeout = \"1s\"");
    let folder = setup.folder();
    let log = folder.path().join("gateway.log");
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let serving = Running::start(&mut setup.command(folder.path(), backend.address), Some(&log));
    let mut broken = setup.command(folder.path(), backend.address);
    // It has the sockets by then, and no database.
    let broken = broken.arg("--take-over").env("DATABASE_URL", "sqlite:/nowhere/portcullis.db").output().unwrap();
    assert!(!broken.status.success(), "{broken:?}");
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let client = scope.spawn(|| ask_on(serving.address("http"), PUBLIC, false, &answered, &over));
        eventually("requests go on", || answered.load(Ordering::Relaxed) > 20);
        over.store(true, Ordering::Relaxed);
        assert_eq!(client.join().unwrap(), Ok(()));
    });
    let mut next = setup.command(folder.path(), backend.address);
    let next = Running::start(next.arg("--take-over"), Some(&log));
    assert_eq!(next.address("http"), serving.address("http"), "and another one can");
}

#[test]
fn one_that_is_told_to_stop_while_it_is_handed_nothing_ends_at_once() {
    let setup = Setup::default();
    let (folder, upstream) = (setup.folder(), Backend::start(|_, _| After::Close));
    let data = folder.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let silent = UnixListener::bind(data.join("handover.sock")).unwrap();
    let mut next = setup.command(folder.path(), upstream.address);
    let mut next = next.arg("--take-over").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _waited_for = silent.accept().unwrap();
    assert!(Command::new("kill").args(["-TERM", &next.id().to_string()]).status().unwrap().success());
    assert_eq!(next.wait().unwrap().code(), Some(0), "not 69, when its patience ends");
}

#[test]
fn where_nobody_serves_the_sockets_are_ones_own() {
    let setup = Setup::default();
    let folder = setup.folder();
    let upstream = Backend::start(|_, _| After::Close);
    let mut first = setup.command(folder.path(), upstream.address);
    let first = Running::start(first.arg("--take-over"), None);
    assert!(TcpStream::connect(first.address("http")).is_ok());
}

#[test]
fn a_balancer_is_told_before_the_door_closes() {
    // Long enough for two questions, however busy the machine is.
    let mut platform = Setup::default().env("PORTCULLIS_DRAIN_DELAY", "5s").start();
    let began = Instant::now();
    platform.gateway().signal("TERM");
    eventually("the balancer hears", || platform.send("GET", "/readyz", &[], "").status == 503);
    let answer = platform.send("GET", "/demo/public/x", &[], "");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "who has not heard is served");
    assert_eq!(platform.gateway().wait(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}
