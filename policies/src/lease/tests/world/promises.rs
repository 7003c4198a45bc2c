//! What leases promise, whatever goes wrong.

use proptest::prelude::*;

use super::*;

fn quotas() -> impl Strategy<Value = Quota> {
    (prop_oneof![1..5u32, 5..120u32, 120..2000u32], prop_oneof![Just(1u64), 2..20u64, Just(60), Just(3600)])
        .prop_map(|(units, seconds)| Quota { units, window: Duration::from_secs(seconds) })
}

/// Requests at nodes: rushes at one or at all, steady streams below and above the quota, and pauses.
fn arrivals(quota: Quota, nodes: usize) -> impl Strategy<Value = Vec<(u64, usize)>> {
    let window = quota.window.as_micros() as u64;
    let steady = window / u64::from(quota.units);
    let part = (0..5u8, 1..quota.units as usize * 2, 0..nodes, any::<u64>());
    proptest::collection::vec(part, 1..12).prop_map(move |parts| {
        let (mut now, mut all) = (SECOND, Vec::new());
        for (kind, count, home, seed) in parts {
            for n in 0..count.min(1500) as u64 {
                let random = (seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
                let anywhere = random as usize % nodes;
                let (gap, node) = match kind {
                    0 => (random % 50, home),
                    1 => (random % 2000, anywhere),
                    2 => (steady + random % steady.max(1), anywhere),
                    3 => (steady / 3, anywhere),
                    _ => (steady, home),
                };
                now += gap;
                all.push((now, node));
            }
            now += seed % (window / 4 + 1);
        }
        all
    })
}

fn scenes() -> impl Strategy<Value = (Quota, usize, Vec<(u64, usize)>, u64)> {
    (quotas(), 1..5usize)
        .prop_flat_map(|(quota, nodes)| (Just(quota), Just(nodes), arrivals(quota, nodes), any::<u64>()))
}

fn troubles() -> impl Strategy<Value = Trouble> {
    let often = || prop_oneof![Just(0u64), 1..5u64, 5..200u64];
    let seldom = || prop_oneof![Just(0u64), 0..4u64];
    (often(), often(), seldom(), seldom(), seldom(), seldom(), 0..450i64).prop_map(
        |(lost, late, crash, forget, freeze, step, drift)| Trouble { lost, late, crash, forget, freeze, step, drift },
    )
}

/// A ledger whose memory is older than a window.
fn seasoned(world: &mut World) {
    let birth = world.dice.below(SECOND);
    let _ = world.ledger.answer(world.terms, u64::MAX, 7, birth, &Ask::default());
    world.ledger_ahead += world.terms.slice() + world.terms.keep() + 2 * SECOND;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_that_goes_wrong_lets_more_through_than_the_quota((quota, nodes, arrivals, seed) in scenes(), trouble in troubles(), is_seasoned in any::<bool>()) {
        let mut world = World::new(quota, nodes, Outage::Refuse, trouble, seed);
        if is_seasoned {
            seasoned(&mut world);
        }
        world.run(&arrivals);
        prop_assert!(world.most_in_any_window() <= quota.units, "{} of {quota}", world.most_in_any_window());
    }

    #[test]
    fn local_shares_let_through_the_quota_and_one_share_of_each_other_node_at_most((quota, nodes, arrivals, seed) in scenes(), trouble in troubles(), is_seasoned in any::<bool>()) {
        // A node that dies forgets what it let through by itself.
        let trouble = Trouble { crash: 0, drift: 0, ..trouble };
        let mut world = World::new(quota, nodes, Outage::Local, trouble, seed);
        if is_seasoned {
            seasoned(&mut world);
        }
        world.run(&arrivals);
        let most = quota.units + (nodes as u32 - 1) * (quota.units / nodes as u32).max(1);
        prop_assert!(world.most_in_any_window() <= most, "{} of {most}", world.most_in_any_window());
    }

    #[test]
    fn no_more_is_let_through_than_the_quota_and_the_overshoot_that_was_declared(
        (quota, nodes, arrivals, seed) in scenes(), trouble in troubles(), overshoot in 0..40u32, is_seasoned in any::<bool>(),
    ) {
        let mut world = World::new(quota, nodes, Outage::Refuse, trouble, seed);
        world.overshoot = overshoot;
        if is_seasoned {
            seasoned(&mut world);
        }
        world.run(&arrivals);
        // A node that dies forgets its part.
        let most = quota.units + overshoot + world.deaths() * world.part();
        prop_assert!(world.most_in_any_window() <= most, "{} of {quota} and {overshoot}", world.most_in_any_window());
    }

    #[test]
    fn who_keeps_to_nine_tenths_is_never_refused((quota, nodes, arrivals, seed) in scenes()) {
        let mut world = World::new(quota, nodes, Outage::Refuse, NONE, seed);
        seasoned(&mut world);
        let most = quota.units as usize * 9 / 10;
        let lasts = world.terms.slice() + world.terms.keep() + PATIENCE;
        let mut honest: Vec<(u64, usize)> = Vec::new();
        for (when, node) in arrivals {
            if honest.len() < most || most > 0 && honest[honest.len() - most].0 + lasts < when {
                honest.push((when, node));
            }
        }
        world.run(&honest);
        prop_assert_eq!((world.refused, world.admitted.len()), (0, honest.len()));
    }
}

#[test]
fn a_busy_caller_asks_seldom_and_a_quiet_one_takes_one_at_a_time() {
    let quota = Quota { units: 1_000_000, window: Duration::from_mins(1) };
    for (gap, most) in [(600, 1.0 / 200.0), (10_000, 1.0 / 50.0), (700_000, 1.0)] {
        let mut world = World::new(quota, 1, Outage::Refuse, NONE, 1);
        seasoned(&mut world);
        let arrivals: Vec<_> = (0..5000).map(|n| (SECOND + n * gap, 0)).collect();
        world.run(&arrivals);
        assert_eq!((world.refused, world.admitted.len()), (0, 5000));
        assert!(world.calls as f64 <= 5000.0 * most + 3.0, "{gap}: {}", world.calls);
    }
}

#[test]
fn a_declared_overshoot_is_spent_without_waiting_and_none_is_by_nodes_of_an_unknown_number() {
    let quota = Quota { units: 100, window: Duration::from_mins(1) };
    let mut world = World::new(quota, 3, Outage::Refuse, NONE, 1);
    seasoned(&mut world);
    world.overshoot = 30;
    // No answer is ever heard.
    world.trouble.lost = 1000;
    let arrivals: Vec<_> = (0..90).map(|n| (SECOND + n, n as usize % 3)).collect();
    world.run(&arrivals);
    assert_eq!((world.admitted.len(), world.refused), (30, 60));
    assert_eq!([None, Some(0), Some(3), Some(4), Some(31)].map(|nodes| part_of(30, nodes)), [0, 30, 10, 7, 0]);
}
