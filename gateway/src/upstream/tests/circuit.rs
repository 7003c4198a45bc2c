//! Who is left out, for how long, and when all are.

use super::*;
use crate::config::{CircuitSettings, EjectionSettings, UpstreamTimeouts};

#[tokio::test]
async fn a_server_that_keeps_failing_is_left_out_until_one_request_has_shown_that_it_is_back() {
    // Longer than a busy machine keeps this thread from looking who is left out.
    let time = Duration::from_millis(500);
    let ejection = EjectionSettings { failures: 3, time, max_time: time };
    let pool = made(&UpstreamSettings { ejection, ..settings(2) }, None).await;
    fail(&pool, ONE, 3);
    assert_eq!(picked(&pool), [TWO.to_owned()].into());
    assert_eq!((pool.metrics.usable.get(), pool.metrics.ejections.get()), (1, 1));

    let trial = until(&pool, ONE);
    assert_eq!(picked(&pool), [TWO.to_owned()].into(), "one request finds out, and one only");
    // Its client leaves: nothing has been found out.
    drop(trial);
    let mut trial = until(&pool, ONE);
    trial.failed(Failure::Timeout);
    drop(trial);
    assert_eq!(picked(&pool), [TWO.to_owned()].into(), "out again");
    assert_eq!(pool.metrics.ejections.get(), 2);
    until(&pool, ONE).succeeded();
    assert_eq!(picked(&pool).len(), 2);
    assert_eq!(pool.metrics.usable.get(), 2);
}

#[tokio::test]
async fn a_trial_that_another_has_followed_lengthens_nothing_when_it_fails_and_lets_nobody_in_when_its_client_leaves() {
    let short = Duration::from_millis(50);
    let ejection = EjectionSettings { failures: 3, time: short, max_time: Duration::from_hours(1) };
    let pool = made(&UpstreamSettings { ejection, ..settings(2) }, None).await;
    fail(&pool, ONE, 3);
    // The clients of two owe their bodies, and each finds out alone for a moment only.
    let [mut first, second, mut third] = std::array::from_fn(|_| {
        let mut trial = until(&pool, ONE);
        trial.is_connected(false, false);
        trial
    });
    third.is_sent();
    first.failed(Failure::Timeout);
    drop((first, second));
    assert_eq!(picked(&pool), [TWO.to_owned()].into(), "the third finds out, and the third only");
    assert_eq!(pool.metrics.ejections.get(), 1);
    third.failed(Failure::Timeout);
    assert_eq!(pool.metrics.ejections.get(), 2);
}

#[tokio::test]
async fn one_that_finds_out_whether_a_pool_is_back_has_the_time_of_a_connection_and_of_an_answer_for_it() {
    let circuit = CircuitSettings { failures: 1, open: Duration::from_millis(1) };
    let timeouts = UpstreamTimeouts { connect: Duration::from_hours(1), ..UpstreamSettings::shipped().timeouts };
    let pool = made(&UpstreamSettings { timeouts, circuit, ..settings(1) }, None).await;
    pick(&pool).unwrap().failed(Failure::Closed);
    let mut probe = until(&pool, ONE);
    // Longer than a client that owes its body would keep others out.
    let keeps_others_out = || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            assert_eq!(pick(&pool).err().map(|refusal| refusal.code()), Some("upstream_circuit_open"));
            std::thread::yield_now();
        }
    };
    keeps_others_out();
    probe.is_connected(false, false);
    probe.is_sent();
    keeps_others_out();
    probe.succeeded();
    assert!(pick(&pool).is_ok());
}

#[tokio::test]
async fn never_more_than_half_of_a_pool_is_left_out() {
    let ejection = EjectionSettings { failures: 1, time: Duration::from_mins(1), max_time: Duration::from_hours(1) };
    let circuit = CircuitSettings { failures: 1000, open: Duration::from_secs(1) };
    for servers in 1..=7 {
        let pool = made(&UpstreamSettings { ejection, circuit, ..settings(servers) }, None).await;
        for _ in 0..100 {
            pick(&pool).unwrap().failed(Failure::Closed);
        }
        let left = picked(&pool).len();
        assert_eq!(left, usize::from(servers).div_ceil(2), "of {servers}");
    }
}

#[test]
fn each_time_in_a_row_is_twice_as_long_up_to_a_bound() {
    let settings = EjectionSettings { failures: 1, time: Duration::from_secs(1), max_time: Duration::from_secs(5) };
    let vitals = Vitals::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        vitals.eject(settings);
        times.push((vitals.left_out() + 500) / 1000);
    }
    assert_eq!(times, [1, 2, 4, 5, 5]);
    assert!(vitals.succeeded());
    vitals.eject(settings);
    assert_eq!((vitals.left_out() + 500) / 1000, 1, "who came back begins anew");
}

#[tokio::test]
async fn an_open_circuit_refuses_at_once_and_says_for_how_long() {
    let circuit = CircuitSettings { failures: 4, open: Duration::from_mins(1) };
    let pool = made(&UpstreamSettings { circuit, ..settings(1) }, None).await;
    for _ in 0..4 {
        pick(&pool).unwrap().failed(Failure::Timeout);
    }
    let refusal = pick(&pool).err().unwrap();
    assert_eq!((refusal.code(), refusal.retry_after()), ("upstream_circuit_open", Some(60)));
    assert_eq!((pool.metrics.circuit_open.get(), pool.metrics.circuit_opened.get()), (1, 1));
    assert!(!pool.may_retry(&tries(), Break::Failure), "nor is anything tried again");
}
