//! Pools without a network: who is picked, who is left out, and what survives a reload.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use identity::{AccountId, Grant, KeyId, Principal};
use pingora::upstreams::peer::Peer;
use policies::{Auth, PathPattern, Policy, Route, decide};
use proptest::prelude::*;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::{
    config::{Balance, CircuitSettings, EjectionSettings, HealthSettings, RetrySettings, UpstreamTimeouts},
    metrics::Metrics,
};

/// A pool of that many servers, all of them made up.
fn settings(servers: u8) -> UpstreamSettings {
    let server = |host| Endpoint::Address((Ipv4Addr::new(10, 0, 0, host), 80).into());
    UpstreamSettings { servers: (1..=servers).map(server).collect(), ..UpstreamSettings::shipped() }
}

async fn made(settings: &UpstreamSettings, before: Option<&Arc<Upstream>>) -> Arc<Upstream> {
    let metrics = Metrics::new().unwrap().upstreams.of("pool");
    Upstream::make("pool", settings, before, before.is_none(), metrics).await.unwrap()
}

fn permit() -> Permit {
    let route = Route { auth: Auth::None, ..Route::new("r", "pool", vec![PathPattern::parse("/x").unwrap()]) };
    decide(&Policy::default(), &Arc::new(route), None, 0).unwrap()
}

/// One for the holder of an account.
fn permit_of(account: u128) -> Permit {
    let principal = Principal {
        account: AccountId::new(Uuid::from_u128(account)),
        role: "user".into(),
        tier: "free".into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Key(KeyId::new(Uuid::from_u128(1))),
        scopes: None,
        networks: None,
        authentication: None,
    };
    let route = Route { tier_limits: false, ..Route::new("r", "pool", vec![PathPattern::parse("/x").unwrap()]) };
    decide(&Policy::default(), &Arc::new(route), Some(Arc::new(principal)), 0).unwrap()
}

fn tries() -> Tries {
    Tries::since(Instant::now())
}

fn pick_for(pool: &Arc<Upstream>, client: u32) -> Result<Attempt, Refusal> {
    pool.pick(&permit(), IpAddr::V4(Ipv4Addr::from_bits(client)), &mut tries()).map(|(_, attempt)| attempt)
}

fn pick(pool: &Arc<Upstream>) -> Result<Attempt, Refusal> {
    pick_for(pool, 1)
}

fn name(attempt: &Attempt) -> String {
    attempt.server().to_string()
}

/// Makes requests to one server fail until it is left out.
fn fail(pool: &Arc<Upstream>, server: &str, times: usize) {
    let mut failed = 0;
    while failed < times {
        let mut attempt = pick(pool).unwrap();
        if name(&attempt) == server {
            attempt.failed(Failure::Connect);
            failed += 1;
        } else {
            attempt.succeeded();
        }
    }
}

fn picked(pool: &Arc<Upstream>) -> BTreeSet<String> {
    (0..20).map(|_| name(&pick(pool).unwrap())).collect()
}

const ONE: &str = "10.0.0.1:80";
const TWO: &str = "10.0.0.2:80";

#[tokio::test]
async fn least_connections_goes_where_least_is_in_flight_and_ends_are_counted() {
    let pool = made(&UpstreamSettings { balance: Balance::LeastConnections, ..settings(3) }, None).await;
    let mut held: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(held.iter().map(name).collect::<BTreeSet<_>>().len(), 3, "each has one");
    let first = name(&held[0]);
    drop(held.remove(0));
    assert_eq!(name(&pick(&pool).unwrap()), first);
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_left_out_until_one_request_has_shown_that_it_is_back() {
    let ejection =
        EjectionSettings { failures: 3, time: Duration::from_millis(50), max_time: Duration::from_millis(50) };
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
    let pool = made(&UpstreamSettings { circuit, timeouts, ..settings(1) }, None).await;
    pick(&pool).unwrap().failed(Failure::Closed);
    let mut probe = until(&pool, ONE);
    // Longer than a client that owes its body would keep others out.
    let keeps_others_out = || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            assert_eq!(pick(&pool).err().map(|refusal| refusal.code()), Some("upstream_circuit_open"));
            std::thread::park_timeout(Duration::from_millis(1));
        }
    };
    keeps_others_out();
    probe.is_connected(false, false);
    probe.is_sent();
    keeps_others_out();
    probe.succeeded();
    assert!(pick(&pool).is_ok());
}

/// Picks until that server has its turn.
fn until(pool: &Arc<Upstream>, server: &str) -> Attempt {
    let began = Instant::now();
    loop {
        if let Ok(attempt) = pick(pool)
            && name(&attempt) == server
        {
            return attempt;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{server} never had its turn");
        std::thread::yield_now();
    }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_caller_stays_at_its_server_and_only_those_of_a_lost_one_move(servers in 2_u8..12, lost in 0_usize..12) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = UpstreamSettings { balance: Balance::ConsistentHash, ..settings(servers) };
        let lost = lost % usize::from(servers);
        let mut fewer = all.clone();
        let gone = fewer.servers.remove(lost);
        let (all, fewer) = runtime.block_on(async { (made(&all, None).await, made(&fewer, None).await) });
        let Endpoint::Address(gone) = gone else { unreachable!() };
        let mut moved = 0;
        for client in 0..2000_u32 {
            let before = name(&pick_for(&all, client).unwrap());
            prop_assert_eq!(&before, &name(&pick_for(&all, client).unwrap()), "a caller stays");
            let after = name(&pick_for(&fewer, client).unwrap());
            if before == gone.to_string() {
                moved += 1;
            } else {
                prop_assert_eq!(before, after, "only those of the lost one move");
            }
        }
        // Each server has its share, give or take half of it.
        let share = 2000 / u32::from(servers);
        prop_assert!((share / 2..=share * 3 / 2 + 1).contains(&moved), "{} of 2000 with {} servers", moved, servers);
    }
}

#[tokio::test]
async fn an_account_stays_at_its_server_wherever_it_asks_from_and_those_of_one_address_are_shared_out() {
    let pool = made(&UpstreamSettings { balance: Balance::ConsistentHash, ..settings(4) }, None).await;
    let server = |account, client| {
        let client = IpAddr::V4(Ipv4Addr::from_bits(client));
        name(&pool.pick(&permit_of(account), client, &mut tries()).unwrap().1)
    };
    let mut seen = BTreeSet::new();
    for account in 1..=100 {
        let at: BTreeSet<String> = (1..=20).map(|client| server(account, client)).collect();
        assert_eq!(at.len(), 1, "account {account} is at {at:?}");
        seen.extend(at);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[tokio::test]
async fn whoever_waits_in_vain_gives_up_the_connections_of_http_2_that_others_would_share() {
    for (protocol, are_shared) in [(Protocol::Http2, true), (Protocol::Negotiated, true), (Protocol::Http1, false)] {
        let pool = made(&UpstreamSettings { protocol, ..settings(1) }, None).await;
        let pick = || pool.pick(&permit(), IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries()).unwrap();
        let shared = || {
            let mut attempt = pick().1;
            attempt.is_connected(true, true);
            attempt
        };
        let key = || pick().0.reuse_hash();
        let first = key();
        for failure in [Failure::Connect, Failure::Closed, Failure::Invalid] {
            shared().failed(failure);
        }
        // Who could not connect has waited on none of them.
        pick().1.failed(Failure::Timeout);
        assert_eq!(key(), first);
        let waiting: Vec<Attempt> = (0..3).map(|_| shared()).collect();
        let mut waiting = waiting.into_iter();
        waiting.next().unwrap().failed(Failure::Timeout);
        let second = key();
        assert_eq!(second != first, are_shared, "{protocol:?}");
        // The others waited on the connections that have been given up.
        waiting.for_each(|mut attempt| attempt.failed(Failure::Timeout));
        assert_eq!(key(), second);
        shared().failed(Failure::Timeout);
        assert_eq!(key() != second, are_shared, "{protocol:?}");
    }
}
