//! What one request may try again, and until when.

use super::*;
use crate::config::{RetrySettings, UpstreamTimeouts};

#[tokio::test]
async fn a_request_is_tried_on_other_servers_only_and_three_times_at_most() {
    let pool = made(&settings(5), None).await;
    let (permit, mut tries, mut seen) = (permit(), tries(), BTreeSet::new());
    loop {
        let (_, mut attempt) = pool.pick(&permit, IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries).unwrap();
        assert!(seen.insert(name(&attempt)), "twice at one server");
        attempt.failed(Failure::Connect);
        tries.without(&attempt);
        if !pool.may_retry(&tries, Break::Failure) {
            break;
        }
    }
    assert_eq!(seen.len(), 3);
    assert_eq!(pool.metrics.retries.get(), 2);

    let alone = made(&settings(1), None).await;
    let mut tries = self::tries();
    let (_, attempt) = alone.pick(&permit, IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries).unwrap();
    tries.without(&attempt);
    assert!(!alone.may_retry(&tries, Break::Failure), "there is no other");
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let retry = RetrySettings { tries: 3, percent: 10, per_second: 0 };
    let pool = made(&UpstreamSettings { retry, ..settings(2) }, None).await;
    let mut retried = 0;
    for _ in 0..100 {
        let mut tries = tries();
        drop(pool.pick(&permit(), IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries).unwrap());
        retried += usize::from(pool.may_retry(&tries, Break::Failure));
    }
    assert_eq!(retried, 10);
    assert_eq!(pool.metrics.retries_withheld.get(), 90);
}

#[tokio::test]
async fn the_whole_request_has_an_end_whatever_is_tried() {
    let shipped = UpstreamSettings::shipped().timeouts;
    let timeouts = UpstreamTimeouts { total: Some(Duration::from_millis(20)), ..shipped };
    let pool = made(&UpstreamSettings { timeouts, ..settings(2) }, None).await;
    let mut tries = tries();
    let (peer, attempt) = pool.pick(&permit(), IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries).unwrap();
    assert!(peer.options.write_timeout.unwrap() <= Duration::from_millis(20));
    while !attempt.is_overdue() {
        std::thread::yield_now();
    }
    let refusal = pool.pick(&permit(), IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries).err().unwrap();
    assert_eq!(refusal, Refusal::UpstreamTimeout);
}
