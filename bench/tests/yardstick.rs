//! The three programs' parts, put together: load through the bare proxy to the upstream.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{net::SocketAddr, num::NonZeroUsize, path::Path, process::Command, time::Duration};

use bench::{
    bare::{self, Downstream},
    load,
    process::listen,
    streams, upstream,
};
use tokio::sync::watch;

fn plan(target: SocketAddr, expect: u16) -> load::Plan {
    load::Plan {
        target,
        path: "/x/{}".to_owned(),
        paths: 3.try_into().unwrap(),
        connections: 5,
        rate: None,
        threads: 2,
        requests: 500,
        turns: NonZeroUsize::MIN,
        headers: vec!["authorization: Bearer a".to_owned(), "authorization: Bearer b".to_owned()],
        expect,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_through_the_bare_proxy_over_connections_that_stay_open() {
    let (stop, stopped) = watch::channel(false);
    let any = "127.0.0.1:0".parse().unwrap();
    let (back, front) = (listen(any).unwrap(), listen(any).unwrap());
    let (back_address, front_address) = (back.local_addr().unwrap(), front.local_addr().unwrap());
    let back = tokio::spawn(upstream::serve(back, stopped.clone()));
    let front = tokio::spawn(bare::serve(front, Downstream::Clear { h2c: true }, back_address, stopped));

    let report = tokio::task::spawn_blocking(move || load::run(plan(front_address, 200))).await.unwrap().unwrap();
    assert_eq!((report.requests, report.errors, report.reconnects), (500, 0, 0), "{report:?}");
    assert_eq!(report.statuses, [(200, 500)].into());
    assert!(report.p50_us > 0 && report.p50_us <= report.p99_us);

    let refused = tokio::task::spawn_blocking(move || load::run(plan(front_address, 401))).await.unwrap().unwrap();
    assert_eq!(refused.errors, 500, "another status than the expected one is an error");

    let scheduled = load::Plan { rate: 5000.try_into().ok(), ..plan(front_address, 200) };
    let scheduled = tokio::task::spawn_blocking(move || load::run(scheduled)).await.unwrap().unwrap();
    assert_eq!((scheduled.requests, scheduled.errors), (500, 0), "{scheduled:?}");
    assert!(
        scheduled.seconds >= 499.0 / 5000.0,
        "the last of 500 requests is due after 499 five-thousandths of a second"
    );

    // In turns: in no pause is anything under way, and what it takes is nobody's time.
    let (pause, turns) = (Duration::from_millis(300), NonZeroUsize::new(3).unwrap());
    let in_turns = load::Plan { turns, ..plan(front_address, 200) };
    let mut pauses = 0;
    let waits = move || {
        std::thread::sleep(pause);
        pauses += 1;
        anyhow::ensure!(pauses <= 3, "a pause too many");
        Ok(())
    };
    let began = std::time::Instant::now();
    let report = tokio::task::spawn_blocking(move || load::run_in_turns(in_turns, waits)).await.unwrap().unwrap();
    assert_eq!((report.requests, report.errors, report.reconnects), (500, 0, 0), "{report:?}");
    assert!(began.elapsed().as_secs_f64() >= report.seconds + 3.0 * pause.as_secs_f64(), "{report:?}");
    let given_up = load::Plan { turns, ..plan(front_address, 200) };
    let failed =
        tokio::task::spawn_blocking(move || load::run_in_turns(given_up, || anyhow::bail!("enough"))).await.unwrap();
    assert!(format!("{:#}", failed.unwrap_err()).contains("enough"));

    stop.send(true).unwrap();
    front.await.unwrap().unwrap();
    back.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_every_stream_arrives_through_the_bare_proxy() {
    let (stop, stopped) = watch::channel(false);
    let any = "127.0.0.1:0".parse().unwrap();
    let (back, front) = (listen(any).unwrap(), listen(any).unwrap());
    let (back_address, target) = (back.local_addr().unwrap(), front.local_addr().unwrap());
    let script = streams::Script { chunks: 20, pace: Duration::from_millis(1) };
    let back = tokio::spawn(streams::serve(back, script, stopped.clone()));
    let front = tokio::spawn(bare::serve(front, Downstream::Clear { h2c: false }, back_address, stopped));

    let watch = |chunks| {
        let (path, spread) = ("/x".to_owned(), Duration::from_millis(1));
        let plan = streams::Plan { target, path, streams: 30, at_once: 10, chunks, spread, headers: vec![] };
        tokio::task::spawn_blocking(move || streams::run(plan))
    };
    let report = watch(20).await.unwrap().unwrap();
    assert_eq!((report.streams, report.errors, report.events), (30, 0, 600), "{report:?}");
    assert!(report.arrivals <= 630 && report.first_byte_p50_us > 0, "{report:?}");
    assert!(report.first_byte_p50_us <= report.first_byte_p99_us, "{report:?}");

    let lacking = watch(21).await.unwrap().unwrap();
    assert_eq!(lacking.errors, 30, "another number of events than expected is an error");

    stop.send(true).unwrap();
    front.await.unwrap().unwrap();
    back.await.unwrap().unwrap();
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_not_a_hang() {
    let address = listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
    let report = load::run(plan(address, 200)).unwrap();
    assert_eq!((report.requests, report.errors), (500, 500));
    assert!(report.failure.unwrap().contains("cannot connect"));
}

/// One file of Python tests; what it says, skipped peers too, goes where the test's own words go.
fn is_good(file: &str) -> bool {
    let binaries = Path::new(env!("CARGO_BIN_EXE_bare")).parent().unwrap();
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let mut python = Command::new("python3");
    python
        .args(["-BWignore::ResourceWarning", "-m", "unittest", "discover", "-v", tests, "-p", file])
        .env("BENCH_BINARIES", binaries);
    python.status().unwrap().success()
}

#[test]
fn the_harness_divides_and_tells_rightly() {
    assert!(is_good("test_yardstick.py"));
}

#[test]
fn every_contender_that_is_installed_starts_as_committed_and_lets_a_request_through() {
    assert!(is_good("test_contenders.py"));
}

#[test]
fn what_is_promised_of_several_gateways_is_judged() {
    assert!(is_good("test_cluster.py"));
}

#[test]
fn what_is_measured_on_postgres_is_what_the_door_asks() {
    assert!(is_good("test_postgres.py"));
}
