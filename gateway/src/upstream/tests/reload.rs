//! What survives a reload.

use super::*;
use crate::config::{EjectionSettings, HealthSettings};

#[tokio::test]
async fn what_is_known_of_a_server_survives_a_reload() {
    let ejection = EjectionSettings { failures: 2, time: Duration::from_mins(1), max_time: Duration::from_mins(1) };
    let before = made(&UpstreamSettings { ejection, ..settings(2) }, None).await;
    fail(&before, ONE, 2);
    let unchanged = made(&UpstreamSettings { ejection, ..settings(2) }, Some(&before)).await;
    assert!(Arc::ptr_eq(&before, &unchanged), "what has not changed stays as it is");

    // Another server and other headers: what is known of the two that stay stays.
    let headers = [IdentityHeader::XUserId].into();
    let after = made(&UpstreamSettings { ejection, headers, ..settings(3) }, Some(&before)).await;
    assert_eq!(picked(&after), [TWO.to_owned(), "10.0.0.3:80".to_owned()].into());
    after.begin();
    assert_eq!(after.metrics.usable.get(), 2);
}

#[tokio::test]
async fn what_a_request_from_before_a_reload_finds_out_is_told_of_the_servers_in_force() {
    let ejection = EjectionSettings { failures: 1, time: Duration::from_mins(1), max_time: Duration::from_mins(1) };
    let [two, three] = [2, 3].map(|servers| UpstreamSettings { ejection, ..settings(servers) });
    let metrics = Metrics::new().unwrap().upstreams.of("pool");
    let before = Upstream::make("pool", &two, None, true, metrics.clone()).await.unwrap();
    before.begin();
    let mut late = until(&before, ONE);
    fail(&before, ONE, 1);
    let after = Upstream::make("pool", &three, Some(&before), false, metrics.clone()).await.unwrap();
    before.retire();
    after.begin();
    assert_eq!((metrics.servers.get(), metrics.usable.get()), (3, 2));
    late.succeeded();
    assert_eq!((metrics.servers.get(), metrics.usable.get()), (3, 3));
}

#[tokio::test]
async fn health_checks_that_are_no_longer_made_leave_nobody_out_from_the_moment_they_are_not() {
    let health = HealthSettings::shipped();
    let before = made(&UpstreamSettings { health: Some(health.clone()), ..settings(1) }, None).await;
    let vitals = Arc::clone(&before.servers.load()[0].vitals);
    assert!(!vitals.checked(false, &health), "one bad check is not enough");
    assert!(vitals.checked(false, &health));
    assert_eq!(pick(&before).err().unwrap(), Refusal::UpstreamUnavailable);
    assert!(!vitals.checked(true, &health) && !vitals.checked(false, &health) && !vitals.checked(true, &health));
    assert!(vitals.checked(true, &health), "two good ones in a row are");
    assert!(!vitals.checked(false, &health) && vitals.checked(false, &health));
    let after = made(&settings(1), Some(&before)).await;
    // Until it is in force it changes nothing: the reload may be refused yet.
    assert_eq!(pick(&before).err().unwrap(), Refusal::UpstreamUnavailable);
    after.begin();
    assert!(pick(&after).is_ok());
}
