//! Names: what is known of them is followed, and nobody waits for it.

use std::{io, net::SocketAddr};

use tokio::sync::watch;

use super::*;
use crate::config::EjectionSettings;

#[tokio::test]
async fn a_name_without_an_address_keeps_a_start_from_nothing_and_a_reload_from_taking_effect() {
    let servers = vec![Endpoint::Name("nowhere.invalid".into(), 80)];
    let settings = UpstreamSettings { servers, ..UpstreamSettings::shipped() };
    let empty = made(&settings, None).await;
    assert_eq!(pick(&empty).err().unwrap(), Refusal::UpstreamConnect);
    let metrics = Metrics::new().unwrap().upstreams.of("pool");
    let error = Upstream::make("pool", &settings, None, false, metrics).await.err().unwrap();
    assert!(error.to_string().contains("nowhere.invalid:80"), "{error}");
}

/// Knows one name, and may hang when it is asked for it.
#[derive(Clone, Default)]
struct Names {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    hang: bool,
    /// How often it was asked.
    asked: watch::Sender<u64>,
}

impl Names {
    fn say(&self, addresses: &[&str]) {
        *self.addresses.lock() = addresses.iter().map(|address| address.parse().unwrap()).collect();
    }

    async fn is_asked(&self, times: u64) {
        let mut receiver = self.asked.subscribe();
        let asked = tokio::time::timeout(Duration::from_secs(30), receiver.wait_for(|asked| *asked >= times)).await;
        assert!(asked.is_ok(), "nobody asks for it");
    }

    /// Waits until what is said now is in force: the next question hears of it, and is done with it when the one after that is asked.
    async fn is_heard(&self) {
        let asked = *self.asked.borrow();
        self.is_asked(asked + 2).await;
    }
}

impl Lookup for Names {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.send_modify(|asked| *asked += 1);
        if self.hang {
            std::future::pending::<()>().await;
        }
        Ok(self.addresses.lock().clone())
    }
}

/// A pool of one name, which is at ONE to begin with: an address is a name that every system knows.
async fn named(interval: Duration) -> Arc<Upstream> {
    let ejection = EjectionSettings { failures: 3, time: Duration::from_mins(1), max_time: Duration::from_mins(1) };
    let servers = vec![Endpoint::Name("10.0.0.1".into(), 80)];
    made(&UpstreamSettings { ejection, servers, resolve_interval: interval, ..UpstreamSettings::shipped() }, None).await
}

#[tokio::test]
async fn a_name_that_moves_takes_its_requests_along_and_a_server_that_stays_stays_left_out() {
    let pool = named(Duration::from_millis(20)).await;
    let names = Names::default();
    names.say(&[ONE]);
    let following = tokio::spawn(Arc::clone(&pool).follow_names(names.clone()));
    names.is_heard().await;
    assert_eq!(picked(&pool), [ONE.to_owned()].into());
    names.say(&[TWO, ONE]);
    names.is_heard().await;
    assert_eq!(picked(&pool), [ONE.to_owned(), TWO.to_owned()].into());
    fail(&pool, ONE, 3);
    assert_eq!(picked(&pool), [TWO.to_owned()].into());
    names.say(&[ONE, "10.0.0.3:80"]);
    names.is_heard().await;
    assert_eq!(picked(&pool), ["10.0.0.3:80".to_owned()].into());
    assert_eq!((pool.metrics.servers.get(), pool.metrics.usable.get()), (2, 1), "the first is there, and left out yet");
    following.abort();
}

#[tokio::test]
async fn a_request_waits_for_no_look_up() {
    let pool = named(Duration::from_millis(1)).await;
    let names = Names { hang: true, ..Names::default() };
    let following = tokio::spawn(Arc::clone(&pool).follow_names(names.clone()));
    names.is_asked(1).await;
    assert!(pool.book.try_lock().is_err(), "somebody asks for names");
    assert_eq!(picked(&pool), [ONE.to_owned()].into());
    following.abort();
}
