//! The table: all or nothing, bounded, and never generous. What does not look into it is held on memory and on a real Redis.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod frozen;

use std::net::Ipv4Addr;

use identity::{AccountId, Grant, KeyId, Principal, TenantId};
use policies::{Auth, Owner, PathPattern, Permit, Policy, Route, RouteTable, decide};
use uuid::Uuid;

use super::{table::SHARDS, *};
use crate::{
    config::{Outage, RedisServers, Shared, SharedRedis},
    metrics::{LeaseMetrics, Metrics},
};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn limiter(capacity: usize) -> Arc<Limiter> {
    Arc::new(Limiter::new(capacity, &IntCounter::new("overflow", "overflow").unwrap()))
}

fn quota(text: &str) -> Quota {
    Quota::parse(text).unwrap().unwrap()
}

/// A permit for a stranger on a route with these limits.
fn permit(limits: &[(Per, Kind)]) -> Permit {
    permit_of(None, limits)
}

/// A permit for `principal` on a route with these limits and none of the tier's.
fn permit_of(principal: Option<Principal>, limits: &[(Per, Kind)]) -> Permit {
    let limits = limits.iter().map(|(per, kind)| Limit::new(Owner::Route("r"), *per, *kind));
    permit_under(principal, limits.collect())
}

fn permit_under(principal: Option<Principal>, limits: Vec<Limit>) -> Permit {
    let mut route = Route::new("r", "u", vec![PathPattern::parse("/x").unwrap()]);
    route.auth = if principal.is_some() { Auth::Required } else { Auth::None };
    route.tier_limits = false;
    route.limits = limits;
    let policy = Policy { routes: RouteTable::build(vec![route]).unwrap(), ..Policy::default() };
    let route = policy.routes.find("", "GET", "/x").unwrap();
    decide(&policy, route, principal.map(Arc::new), 0).unwrap()
}

/// Somebody with a key, perhaps of a tenant.
fn person(account: u128, tenant: Option<u128>, key: u128) -> Principal {
    Principal {
        account: AccountId::new(Uuid::from_u128(account)),
        role: "user".into(),
        tier: "free".into(),
        tenant: tenant.map(|tenant| TenantId::new(Uuid::from_u128(tenant))),
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Key(KeyId::new(Uuid::from_u128(key))),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    }
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(n).into()
}

fn redis_url() -> String {
    std::env::var("PORTCULLIS_TEST_REDIS").expect("a Redis to test with: run through `make test`")
}

/// What keys begin with that nobody else has.
fn new_prefix() -> String {
    format!("limiter:{:016x}", fastrand::u64(..))
}

/// One that counts by a Redis with keys of its own; and how often that was too slow for it.
async fn sharing() -> (Arc<Limiter>, LeaseMetrics) {
    sharing_by(&redis_url(), &new_prefix(), Outage::Refuse).await
}

/// One that reaches Redis by this address.
async fn sharing_by(url: &str, prefix: &str, outage: Outage) -> (Arc<Limiter>, LeaseMetrics) {
    // Memories that have been there for ever: limits are lent at once.
    let mut marks = ::redis::cmd("MSET");
    for tag in 0..255 {
        marks.arg(format!("{prefix}:{{{tag}}}:mark")).arg("1:1");
    }
    let mut line = ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    marks.query_async::<()>(&mut line).await.unwrap();
    let redis = Some(SharedRedis { servers: RedisServers::One(url.to_owned()), authorities: None });
    let shared = Shared { redis, prefix: prefix.to_owned(), outage, nodes: Some(1) };
    let metrics = Metrics::new().unwrap().leases;
    let leases = Leases::new(&shared, Duration::from_hours(24), &Arc::default(), &metrics).unwrap();
    while leases.is_away() {
        leases.connect().await;
    }
    let limiter = Limiter::new(1000, &IntCounter::new("overflow", "overflow").unwrap());
    (Arc::new(limiter.sharing(Some(leases))), metrics)
}

/// As the door does.
async fn spend(limiter: &Limiter, permit: &Permit, client: IpAddr) -> Result<Receipt, Exceeded> {
    match limiter.spend(permit, client, None) {
        Ok(receipt) => Ok(receipt),
        Err(Stopped::Exceeded(exceeded)) => Err(exceeded),
        Err(Stopped::Short(short)) => limiter.spend_later(permit, client, None, short).await,
    }
}

/// Runs each on a limiter that counts in memory, and on one that counts by Redis.
macro_rules! on_memory_and_redis {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::limiter(1000)).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                loop {
                    let ((limiter, metrics), began) = (super::sharing().await, super::Instant::now());
                    let Err(failed) = tokio::spawn(super::$name(limiter)).await else { break };
                    // On a busy machine Redis may take longer than anybody waits for it, or a lease end before it is used.
                    if metrics.failed.get() == 0 && began.elapsed() < super::Duration::from_millis(500) {
                        std::panic::resume_unwind(failed.into_panic());
                    }
                }
            })+
        }
    };
}

on_memory_and_redis!(
    a_quota_is_spent_by_each_address_on_its_own,
    a_request_that_one_limit_refuses_spends_nothing_of_the_others,
);

async fn a_quota_is_spent_by_each_address_on_its_own(limiter: Arc<Limiter>) {
    let permit = permit(&[(Per::Ip, Kind::Requests(quota("2/hour")))]);
    for _ in 0..2 {
        assert!(spend(&limiter, &permit, HOME).await.is_ok());
    }
    let exceeded = spend(&limiter, &permit, HOME).await.err().expect("let in");
    assert!(matches!(exceeded.refusal, Refusal::RateLimited { .. }));
    assert_eq!(exceeded.standing.unwrap().remaining, 0);
    assert!(spend(&limiter, &permit, address(7)).await.is_ok());
}

async fn a_request_that_one_limit_refuses_spends_nothing_of_the_others(limiter: Arc<Limiter>) {
    let both = permit(&[(Per::Ip, Kind::Requests(quota("5/hour"))), (Per::Ip, Kind::Requests(quota("1/day")))]);
    assert!(spend(&limiter, &both, HOME).await.is_ok());
    for _ in 0..10 {
        assert!(spend(&limiter, &both, HOME).await.is_err());
    }
    let hourly = permit(&[(Per::Ip, Kind::Requests(quota("5/hour")))]);
    for _ in 0..4 {
        assert!(spend(&limiter, &hourly, HOME).await.is_ok(), "only the admitted request counts");
    }
    assert!(spend(&limiter, &hourly, HOME).await.is_err());
}

#[tokio::test]
async fn a_slot_comes_back_when_its_request_ends() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Concurrent(2))]));
    let first = limiter.spend(&permit, HOME, None).ok().unwrap();
    let second = limiter.spend(&permit, HOME, None).ok().unwrap();
    assert!(limiter.spend(&permit, HOME, None).is_err());
    drop(first);
    let third = limiter.spend(&permit, HOME, None).ok().unwrap();
    drop((second, third));
    limiter.sweep().await;
    assert_eq!(limiter.len(), 0, "nothing is kept of who has nothing in flight");
}

#[test]
fn addresses_of_one_ipv6_customer_share_a_counter() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Requests(quota("1/hour")))]));
    assert!(limiter.spend(&permit, "2001:db8:1:2::1".parse().unwrap(), None).is_ok());
    for home in ["2001:db8:1:2:ffff::9", "2001:db8:1::1", "2001:db8:1:ff::1"] {
        assert!(limiter.spend(&permit, home.parse().unwrap(), None).is_err(), "{home}");
    }
    assert!(limiter.spend(&permit, "2001:db8:1:100::1".parse().unwrap(), None).is_ok());
    assert!(limiter.spend(&permit, "::ffff:1.2.3.4".parse().unwrap(), None).is_ok());
    assert!(limiter.spend(&permit, "1.2.3.4".parse().unwrap(), None).is_err(), "one address in two spellings");
}

#[test]
fn a_full_table_admits_nobody_beyond_a_quota_and_does_not_grow() {
    let overflow = IntCounter::new("overflow", "overflow").unwrap();
    let limiter = Arc::new(Limiter::new(SHARDS * 4, &overflow));
    let permit = permit(&[(Per::Ip, Kind::Requests(quota("3/hour")))]);
    for round in 0..3 {
        for n in 0..2000 {
            let admitted = limiter.spend(&permit, address(n), None).is_ok();
            assert!(admitted || round > 0 || overflow.get() > 0, "refused without need");
        }
    }
    assert!(limiter.len() <= SHARDS * 5, "{}", limiter.len());
    assert!(overflow.get() > 0);
    for n in 0..2000 {
        // Three rounds have been offered to each; nobody has a fourth.
        assert!(limiter.spend(&permit, address(n), None).is_err());
    }
}

#[tokio::test]
async fn a_concurrency_limit_holds_in_a_full_table_too() {
    let limiter = limiter(1);
    let permit = permit(&[(Per::Ip, Kind::Concurrent(1))]);
    let receipts: Vec<_> = (0..1000).map(|n| limiter.spend(&permit, address(n), None)).collect();
    let held = receipts.iter().filter(|receipt| receipt.is_ok()).count();
    assert!(held <= SHARDS * 2, "{held}");
    drop(receipts);
    limiter.sweep().await;
    assert_eq!(limiter.len(), 0);
}

#[test]
fn many_threads_on_one_quota_never_exceed_it() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Requests(quota("100/hour")))]));
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..200).filter(|_| limiter.spend(&permit, HOME, None).is_ok()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 100);
}

#[test]
fn the_budget_of_refusals_is_asked_without_being_spent() {
    let (limiter, quota) = (limiter(1000), quota("2/hour"));
    for _ in 0..2 {
        assert_eq!(limiter.address_exhausted(1, &quota, HOME), None);
        limiter.spend_address(1, &quota, HOME);
    }
    assert!(limiter.address_exhausted(1, &quota, HOME).is_some());
    assert_eq!(limiter.address_exhausted(1, &quota, address(7)), None);
}

#[test]
fn each_limit_counts_those_whom_it_names() {
    let once = |per| [(per, Kind::Requests(quota("1/hour")))];
    let (here, there) = (HOME, address(7));
    // Who has spent the one request, who comes next and from where, and whether one is left for them.
    for (per, first, (next, from), admitted) in [
        (Per::User, person(1, None, 11), (person(1, None, 12), there), false),
        (Per::User, person(1, None, 11), (person(2, None, 11), here), true),
        (Per::Key, person(1, None, 11), (person(1, None, 12), here), true),
        (Per::Key, person(1, None, 11), (person(1, None, 11), there), false),
        (Per::Tenant, person(1, Some(5), 11), (person(2, Some(5), 12), there), false),
        (Per::Tenant, person(1, Some(5), 11), (person(1, Some(6), 11), here), true),
        (Per::Tenant, person(1, None, 11), (person(2, None, 12), here), true),
        (Per::Ip, person(1, None, 11), (person(2, None, 12), here), false),
        (Per::Ip, person(1, None, 11), (person(1, None, 11), there), true),
    ] {
        let limiter = limiter(1000);
        assert!(limiter.spend(&permit_of(Some(first.clone()), &once(per)), here, None).is_ok());
        let outcome = limiter.spend(&permit_of(Some(next.clone()), &once(per)), from, None);
        assert_eq!(outcome.is_ok(), admitted, "{per:?}: {first:?}, then {next:?} from {from}");
    }
}

#[test]
fn the_tightest_limit_is_the_one_that_is_told() {
    let (hourly, daily) = ((Per::Ip, Kind::Requests(quota("5/hour"))), (Per::Ip, Kind::Requests(quota("2/day"))));
    for limits in [[hourly, daily], [daily, hourly]] {
        let receipt = limiter(1000).spend(&permit(&limits), HOME, None).ok().unwrap();
        assert_eq!(receipt.tightest.unwrap().remaining, 1);
    }
}

#[test]
fn a_crowd_of_addresses_leaves_people_their_room() {
    let overflow = IntCounter::new("overflow", "overflow").unwrap();
    let limiter = Limiter::new(1, &overflow);
    let strangers = permit(&[(Per::Ip, Kind::Requests(quota("1/hour")))]);
    for n in 0..2000 {
        drop(limiter.spend(&strangers, address(n), None));
    }
    let (crowded, ada) =
        (overflow.get(), permit_of(Some(person(1, None, 11)), &[(Per::User, Kind::Requests(quota("1/hour")))]));
    assert!(crowded > 0 && limiter.spend(&ada, HOME, None).is_ok());
    assert_eq!(overflow.get(), crowded, "she has meters of her own");
}

#[test]
fn meters_that_are_shared_are_not_kept_at_hand() {
    let (limiter, one) = (limiter(1), [(Per::User, Kind::Requests(quota("9/hour")))]);
    let mut kept = 0;
    for n in 1..2000 {
        let own = Own::default();
        drop(limiter.spend(&permit_of(Some(person(n, None, n)), &one), HOME, Some(&own)));
        kept += usize::from(own.meters().is_some());
    }
    assert_eq!(kept, limiter.len(), "only what is one's own");
}

#[tokio::test]
async fn meters_that_were_forgotten_are_not_spent_from_any_more() {
    let (limiter, own) = (limiter(1000), Own::default());
    let ada = permit_of(Some(person(1, None, 11)), &[(Per::User, Kind::Requests(quota("1/hour")))]);
    assert!(limiter.spend(&ada, HOME, Some(&own)).is_ok());
    limiter.people.sweep(Duration::from_hours(3)).await;
    assert!(limiter.spend(&ada, HOME, Some(&own)).is_ok(), "the hour is long over");
    assert!(limiter.spend(&ada, HOME, None).is_err(), "her other credential spends from the same meters");
}

#[test]
fn an_address_that_shares_its_meters_is_exhausted_with_them() {
    let (limiter, quota) = (limiter(1), quota("1/hour"));
    for n in 0..2000 {
        limiter.spend_address(1, &quota, address(n));
    }
    assert!((0..2000).all(|n| limiter.address_exhausted(1, &quota, address(n)).is_some()));
}
