//! The table: all or nothing, bounded, and never generous.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::Ipv4Addr;

use policies::{Auth, Owner, PathPattern, Policy, Route, RouteTable, decide};

use super::{table::SHARDS, *};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn limiter(capacity: usize) -> Arc<Limiter> {
    Arc::new(Limiter::new(capacity, &IntCounter::new("overflow", "overflow").unwrap()))
}

fn quota(text: &str) -> Quota {
    Quota::parse(text).unwrap().unwrap()
}

/// A permit for a stranger on a route with these limits.
fn permit(limits: &[(Per, Kind)]) -> Permit {
    let mut route = Route::new("r", "u", vec![PathPattern::parse("/x").unwrap()]);
    route.auth = Auth::None;
    route.limits = limits.iter().map(|(per, kind)| Limit::new(Owner::Route("r"), *per, *kind)).collect();
    let policy = Policy { routes: RouteTable::build(vec![route]).unwrap(), ..Policy::default() };
    decide(&policy, policy.routes.find("", "GET", "/x").unwrap(), None).unwrap()
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(n).into()
}

#[test]
fn a_quota_is_spent_by_each_address_on_its_own() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Requests(quota("2/hour")))]));
    for _ in 0..2 {
        assert!(limiter.spend(&permit, HOME, None).is_ok());
    }
    let exceeded = limiter.spend(&permit, HOME, None).err().unwrap();
    assert!(matches!(exceeded.refusal, Refusal::RateLimited { .. }));
    assert_eq!(exceeded.standing.unwrap().remaining, 0);
    assert!(limiter.spend(&permit, address(7), None).is_ok());
}

#[test]
fn a_request_that_one_limit_refuses_spends_nothing_of_the_others() {
    let limiter = limiter(1000);
    let both = permit(&[(Per::Ip, Kind::Requests(quota("5/hour"))), (Per::Ip, Kind::Requests(quota("1/day")))]);
    assert!(limiter.spend(&both, HOME, None).is_ok());
    for _ in 0..10 {
        assert!(limiter.spend(&both, HOME, None).is_err());
    }
    let hourly = permit(&[(Per::Ip, Kind::Requests(quota("5/hour")))]);
    for _ in 0..4 {
        assert!(limiter.spend(&hourly, HOME, None).is_ok(), "only the admitted request counts");
    }
    assert!(limiter.spend(&hourly, HOME, None).is_err());
}

#[test]
fn a_slot_comes_back_when_its_request_ends() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Concurrent(2))]));
    let first = limiter.spend(&permit, HOME, None).ok().unwrap();
    let second = limiter.spend(&permit, HOME, None).ok().unwrap();
    assert!(limiter.spend(&permit, HOME, None).is_err());
    drop(first);
    let third = limiter.spend(&permit, HOME, None).ok().unwrap();
    drop((second, third));
    limiter.sweep();
    assert_eq!(limiter.len(), 0, "nothing is kept of who has nothing in flight");
}

#[test]
fn addresses_of_one_ipv6_customer_share_a_counter() {
    let (limiter, permit) = (limiter(1000), permit(&[(Per::Ip, Kind::Requests(quota("1/hour")))]));
    assert!(limiter.spend(&permit, "2001:db8:1:2::1".parse().unwrap(), None).is_ok());
    assert!(limiter.spend(&permit, "2001:db8:1:2:ffff::9".parse().unwrap(), None).is_err());
    assert!(limiter.spend(&permit, "2001:db8:1:3::1".parse().unwrap(), None).is_ok());
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

#[test]
fn a_concurrency_limit_holds_in_a_full_table_too() {
    let limiter = limiter(1);
    let permit = permit(&[(Per::Ip, Kind::Concurrent(1))]);
    let receipts: Vec<_> = (0..1000).map(|n| limiter.spend(&permit, address(n), None)).collect();
    let held = receipts.iter().filter(|receipt| receipt.is_ok()).count();
    assert!(held <= SHARDS * 2, "{held}");
    drop(receipts);
    limiter.sweep();
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
