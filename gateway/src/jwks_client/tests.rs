//! An issuer that takes connections and says nothing: how many wait for it, and for how long. What it is to callers is seen in
//! `tests/door/issuers.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{Ipv4Addr, TcpListener};

use futures_util::future::join_all;
use identity::Algorithm;

use super::*;
use crate::metrics::Metrics;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A client of the issuer that listens there.
fn client_of(issuer: &TcpListener) -> Arc<JwksClient> {
    // As `main` does.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let name = format!("http://{}", issuer.local_addr().unwrap());
    let source = KeySource {
        jwks_url: Some(format!("{name}/keys")),
        issuer: name,
        ca: None,
        algorithms: vec![Algorithm::EdDsa],
        refresh: (Duration::from_mins(1), Duration::from_mins(10)),
        max_stale: Duration::from_hours(1),
    };
    let metrics = Metrics::new().unwrap();
    let limiter = Arc::new(Limiter::new(100, &metrics.limiter_overflow));
    Arc::new(JwksClient::new(&source, Bucket::of_everybody(), limiter, metrics.jwks_fetches).unwrap())
}

#[tokio::test]
async fn so_many_wait_for_an_issuer_that_hangs_and_each_of_them_for_two_seconds() {
    // The kernel takes connections for it, and nobody reads from them.
    let issuer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = client_of(&issuer);
    tokio::time::pause();
    let began = Instant::now();
    let look = async |number: usize| {
        let found = client.look_for(&format!("k{number}"), HOME).await;
        assert!(matches!(found, Err(NoKey::Unavailable)), "{number}");
        began.elapsed()
    };
    let (at_once, waited): (Vec<_>, Vec<_>) =
        join_all((0..=WAITING).map(look)).await.into_iter().partition(Duration::is_zero);
    assert_eq!(at_once.len(), 1, "one more than may wait");
    assert!(waited.iter().all(|waited| (2000..=2001).contains(&waited.as_millis())), "{waited:?}");
}
