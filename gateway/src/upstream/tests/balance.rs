//! Which server: where least is in flight, and where a caller stays.

use identity::{AccountId, Grant, KeyId, Principal};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::config::Balance;

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
        generation: 0,
    };
    let route = Route { tier_limits: false, ..Route::new("r", "pool", vec![PathPattern::parse("/x").unwrap()]) };
    decide(&Policy::default(), &Arc::new(route), Some(Arc::new(principal)), 0).unwrap()
}

#[tokio::test]
async fn least_connections_goes_where_least_is_in_flight_and_ends_are_counted() {
    let pool = made(&UpstreamSettings { balance: Balance::LeastConnections, ..settings(3) }, None).await;
    let mut held: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(held.iter().map(name).collect::<BTreeSet<_>>().len(), 3, "each has one");
    let first = name(&held[0]);
    drop(held.remove(0));
    assert_eq!(name(&pick(&pool).unwrap()), first);
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
