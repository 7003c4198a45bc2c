//! Restarts that nobody notices: a new process takes the sockets over, or a balancer is told in time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    backends::{After, Backend},
    platform::{Running, Setup, eventually},
};

/// Asks again and again, as a client does that keeps its connection for as long as it may.
fn ask_on(door: SocketAddr, reuses: bool, answered: &AtomicUsize, over: &AtomicBool) -> Result<(), String> {
    let mut kept = None;
    while !over.load(Ordering::Relaxed) {
        let mut stream: TcpStream = match kept.take() {
            Some(stream) => stream,
            None => TcpStream::connect(door).map_err(|error| format!("connect: {error}"))?,
        };
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = "GET /demo/public/x HTTP/1.1\r\nHost: door.test\r\n\r\n";
        stream.write_all(request.as_bytes()).map_err(|error| format!("write: {error}"))?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\nok") {
            let mut piece = [0; 1024];
            match stream.read(&mut piece) {
                Ok(0) => return Err(format!("closed after {:?}", String::from_utf8_lossy(&bytes))),
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) => return Err(format!("read: {error}")),
            }
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(text);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        kept = (reuses && !text.contains("connection: close")).then_some(stream);
    }
    Ok(())
}

#[test]
fn ten_restarts_under_load_cost_no_request() {
    let backend = Backend::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    let (setup, folder) = (Setup::default(), Setup::default().folder());
    let log = folder.path().join("gateway.log");
    let mut serving = Running::start(&mut setup.command(folder.path(), backend.address), Some(&log));
    let door = serving.address("http");
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (answered, over) = (Arc::clone(&answered), Arc::clone(&over));
            thread::spawn(move || ask_on(door, number % 2 == 0, &answered, &over))
        })
        .collect();
    for _ in 0..10 {
        let before = answered.load(Ordering::Relaxed);
        let mut next = setup.command(folder.path(), backend.address);
        let next = Running::start(next.arg("--take-over"), Some(&log));
        assert_eq!((next.address("http"), next.address("metrics")), (door, serving.address("metrics")));
        let mut old = std::mem::replace(&mut serving, next);
        assert_eq!(old.wait(), Some(0));
        eventually("requests go on", || answered.load(Ordering::Relaxed) > before + 20);
    }
    over.store(true, Ordering::Relaxed);
    let failed: Vec<String> = clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
    assert!(failed.is_empty(), "{failed:?} after {} answers", answered.load(Ordering::Relaxed));
}

#[test]
fn one_that_cannot_start_takes_nothing_over() {
    let setup = Setup::default();
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
        let client = scope.spawn(|| ask_on(serving.address("http"), false, &answered, &over));
        eventually("requests go on", || answered.load(Ordering::Relaxed) > 20);
        over.store(true, Ordering::Relaxed);
        assert_eq!(client.join().unwrap(), Ok(()));
    });
    let mut next = setup.command(folder.path(), backend.address);
    let next = Running::start(next.arg("--take-over"), Some(&log));
    assert_eq!(next.address("http"), serving.address("http"), "and another one can");
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
    let mut platform = Setup::default().env("PORTCULLIS_DRAIN_DELAY", "2s").start();
    let began = Instant::now();
    platform.gateway().signal("TERM");
    eventually("the balancer hears", || platform.send("GET", "/readyz", &[], "").status == 503);
    let answer = platform.send("GET", "/demo/public/x", &[], "");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "who has not heard is served");
    assert_eq!(platform.gateway().wait(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}
