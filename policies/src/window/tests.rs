//! What a quota promises, for random arrivals, beside a model that remembers every unit.

use proptest::prelude::*;

use super::*;

const MINUTE: Quota = Quota { units: 100, window: Duration::from_mins(1) };

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn is_admitted(spend: Spend) -> bool {
    matches!(spend, Spend::Admitted { .. })
}

/// Arrivals of 1 to 3 units, in bursts and with gaps up to a few windows, and now and then exactly on a sub-window's edge.
fn arrivals(quota: Quota) -> impl Strategy<Value = Vec<(Duration, u32)>> {
    let slice = quota.window.as_nanos() as u64 / SLICES;
    let window = quota.window.as_nanos() as u64;
    let gap = prop_oneof![
        4 => 0..slice,
        4 => 0..=window / u64::from(quota.units),
        1 => 0..window * 2,
        2 => (0..70u64).prop_map(move |slices| slices * slice),
    ];
    let steps = proptest::collection::vec((gap, 1..=3u32), 1..200);
    (0..window * 3, steps).prop_map(|(start, steps)| {
        let mut now = start;
        let arrive = |(gap, n)| {
            now += gap;
            (Duration::from_nanos(now), n)
        };
        steps.into_iter().map(arrive).collect()
    })
}

fn quota_and_arrivals() -> impl Strategy<Value = (Quota, Vec<(Duration, u32)>)> {
    let quota =
        (3..40u32, 1..200u64).prop_map(|(units, seconds)| Quota { units, window: Duration::from_secs(seconds) });
    quota.prop_flat_map(|quota| (Just(quota), arrivals(quota)))
}

/// The most units that any closed interval of length `window` holds. It is enough to look at those that begin with a unit.
fn most_in_any_interval(spent: &[(Duration, u32)], window: Duration) -> u32 {
    let within = |from: Duration| spent.iter().filter(move |(time, _)| *time >= from && *time <= from + window);
    spent.iter().map(|(from, _)| within(*from).map(|(_, n)| n).sum()).max().unwrap_or_default()
}

#[test]
fn a_hundred_a_minute_is_a_hundred_wherever_the_minute_begins() {
    let mut window = Window::default();
    for n in 0..100 {
        let reset = Duration::from_micros(60_937_500 - n * 1000);
        assert_eq!(window.spend(MINUTE, at(n), 1), Spend::Admitted { remaining: 99 - n as u32, reset });
    }
    // All of the first 100 ms were spent in the first sub-window of 937.5 ms, and count for a whole minute after it.
    for now in [100, 59_000, 60_000, 60_937] {
        let left = Duration::from_micros(60_937_500 - now * 1000);
        assert_eq!(window.spend(MINUTE, at(now), 1), Spend::Refused { remaining: 0, reset: left, retry_after: left });
    }
    assert!(is_admitted(window.spend(MINUTE, at(60_938), 100)));
}

#[test]
fn a_wish_beyond_the_quota_is_refused_and_spends_nothing() {
    let mut window = Window::default();
    let never =
        Spend::Refused { remaining: 100, reset: Duration::from_micros(60_937_500), retry_after: Duration::ZERO };
    assert_eq!(window.spend(MINUTE, at(0), 101), never);
    assert!(is_admitted(window.spend(MINUTE, at(0), 100)));
    assert!(!is_admitted(window.spend(MINUTE, at(1), u32::MAX)));
    assert_eq!(
        window.spend(MINUTE, at(0), 0),
        Spend::Admitted { remaining: 0, reset: Duration::from_micros(60_937_500) }
    );
    assert_eq!(Window::default().spend(MINUTE, at(0), 0), Spend::Admitted { remaining: 100, reset: Duration::ZERO });
}

#[test]
fn a_smaller_quota_after_a_reload_counts_what_was_spent_before() {
    let mut window = Window::default();
    assert!(is_admitted(window.spend(MINUTE, at(0), 80)));
    let smaller = Quota { units: 50, ..MINUTE };
    assert!(matches!(window.spend(smaller, at(1), 1), Spend::Refused { remaining: 0, .. }));
    assert!(is_admitted(window.spend(Quota { units: 200, ..MINUTE }, at(2), 120)));
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut window = Window::default();
    assert!(is_admitted(window.spend(MINUTE, at(600_000), 100)));
    for now in [0, 1, 599_999, 540_000] {
        assert!(!is_admitted(window.spend(MINUTE, at(now), 1)));
        assert!(!window.is_idle(MINUTE, at(now)));
    }
    assert!(is_admitted(window.spend(MINUTE, at(661_000), 1)));
}

#[test]
fn the_end_of_time_is_no_panic() {
    let shortest = Quota { units: 1, window: Duration::ZERO };
    for quota in [MINUTE, shortest, Quota { units: u32::MAX, window: Duration::MAX }] {
        let mut window = Window::default();
        for now in [Duration::MAX, Duration::ZERO, Duration::from_nanos(u64::MAX), at(5)] {
            let _ = (window.peek(quota, now, 1), window.spend(quota, now, u32::MAX), window.spend(quota, now, 1));
            window.refund(quota, now, 1);
            let _ = window.is_idle(quota, now);
        }
    }
}

#[test]
fn a_quiet_caller_costs_under_a_hundred_bytes() {
    let bytes = |window: &Window| size_of::<Window>() + window.slices.capacity() * size_of::<Slice>();
    let mut window = Window::default();
    let mut now = 0;
    for _ in 0..4 {
        // A busy minute, then a request now and then.
        for _ in 0..100 {
            now += 600;
            let _ = window.spend(MINUTE, at(now), 1);
        }
        assert!(bytes(&window) <= 1100, "busy: {}", bytes(&window));
        for _ in 0..5 {
            now += 40_000;
            let _ = window.spend(MINUTE, at(now), 1);
        }
        assert!(bytes(&window) < 100, "quiet: {}", bytes(&window));
    }
}

#[test]
fn a_window_is_idle_once_nothing_counts() {
    let mut window = Window::default();
    assert!(window.is_idle(MINUTE, at(0)));
    // Nothing spent is nothing to remember.
    let _ = window.spend(MINUTE, at(0), 0);
    assert!(window.is_idle(MINUTE, at(0)));
    let _ = window.spend(MINUTE, at(0), 1);
    assert!(!window.is_idle(MINUTE, at(60_937)));
    assert!(window.is_idle(MINUTE, at(60_938)));
    let _ = window.spend(MINUTE, at(70_000), 2);
    window.refund(MINUTE, at(70_000), 1);
    assert!(!window.is_idle(MINUTE, at(70_000)));
    window.refund(MINUTE, at(70_000), 9);
    assert!(window.is_idle(MINUTE, at(70_000)));
}

#[test]
fn units_come_back_one_sub_window_after_the_other() {
    let mut window = Window::default();
    for (now, n) in [(0, 40), (10_000, 30), (20_000, 30)] {
        assert!(is_admitted(window.spend(MINUTE, at(now), n)));
    }
    // Of fifty, forty come back with the first sub-window and ten with the second, the eleventh of the minute.
    let micros = Duration::from_micros;
    let later = Spend::Refused { remaining: 0, reset: micros(39_937_500), retry_after: micros(49_312_500) };
    assert_eq!(window.spend(MINUTE, at(21_000), 50), later);
    // A peek clears nothing away and still does not count what has come back.
    let forty = Spend::Admitted { remaining: 0, reset: micros(9_312_500) };
    assert_eq!(window.peek(MINUTE, at(61_000), 40), forty);
    assert_eq!(window.spend(MINUTE, at(61_000), 40), forty);
    assert!(!is_admitted(window.spend(MINUTE, at(61_000), 1)));
}

#[test]
fn a_whole_window_without_a_request_is_not_yet_long_enough() {
    let mut window = Window::default();
    assert!(is_admitted(window.spend(MINUTE, at(0), 100)));
    assert!(!is_admitted(window.spend(MINUTE, at(60_000), 1)));
    assert!(is_admitted(window.spend(MINUTE, at(121_000), 100)));
}

#[test]
fn a_refund_gives_back_what_it_says() {
    let mut window = Window::default();
    assert!(is_admitted(window.spend(MINUTE, at(0), 10)));
    window.refund(MINUTE, at(0), 1);
    let ninety = Spend::Admitted { remaining: 90, reset: Duration::from_micros(60_937_500) };
    assert_eq!(window.spend(MINUTE, at(0), 1), ninety);
}

#[test]
fn a_sub_window_is_remembered_once_however_often_it_is_spent_in() {
    let mut window = Window::default();
    for now in 0..100 {
        let _ = window.spend(MINUTE, at(now), 1);
    }
    assert_eq!(window.slices.len(), 1);
}

#[test]
fn memory_is_given_back_when_three_quarters_are_unused_and_not_before() {
    let slice = |index: u64| Duration::from_micros(937_500 * index);
    let mut window = Window::default();
    for index in 0..=SLICES {
        let _ = window.spend(MINUTE, slice(index), 1);
    }
    let full = window.slices.capacity();
    for index in SLICES + 1.. {
        let _ = window.spend(MINUTE, slice(index), 0);
        let left = window.slices.len();
        if left * 4 < full {
            // Room for as many again: who comes back does not pay for it at once.
            assert!((left * 2..full).contains(&window.slices.capacity()), "{}", window.slices.capacity());
            break;
        }
        assert_eq!(window.slices.capacity(), full, "with {left} left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_quota_never_admits_more_than_it_says_in_any_interval((quota, arrivals) in quota_and_arrivals()) {
        let mut window = Window::default();
        let spent: Vec<_> = arrivals.into_iter().filter(|(now, n)| is_admitted(window.spend(quota, *now, *n))).collect();
        prop_assert!(most_in_any_interval(&spent, quota.window) <= quota.units);
    }

    #[test]
    fn a_caller_within_its_quota_is_never_refused((quota, arrivals) in quota_and_arrivals()) {
        let mut window = Window::default();
        let interval = quota.window * 65 / 64;
        let mut spent: Vec<(Duration, u32)> = Vec::new();
        for (now, n) in arrivals {
            let lately: u32 = spent.iter().filter(|(time, _)| *time + interval > now).map(|(_, n)| n).sum();
            if lately + n <= quota.units {
                prop_assert!(is_admitted(window.spend(quota, now, n)), "{n} at {now:?} after {lately}");
                spent.push((now, n));
            }
        }
    }

    #[test]
    fn refunds_never_let_more_through((quota, arrivals) in quota_and_arrivals(), refunds in proptest::collection::vec(any::<(bool, u8)>(), 200)) {
        let mut window = Window::default();
        let mut spent: Vec<(Duration, u32)> = Vec::new();
        for ((now, n), (is_refunded, which)) in arrivals.into_iter().zip(refunds) {
            if is_admitted(window.spend(quota, now, n)) {
                spent.push((now, n));
            }
            if is_refunded && !spent.is_empty() {
                let (spent_at, n) = spent.remove(usize::from(which) % spent.len());
                window.refund(quota, spent_at, n);
            }
        }
        prop_assert!(most_in_any_interval(&spent, quota.window) <= quota.units);
    }

    #[test]
    fn retry_after_is_the_earliest_time_that_works((quota, arrivals) in quota_and_arrivals()) {
        let mut window = Window::default();
        for (now, n) in arrivals {
            let answer = window.spend(quota, now, n);
            if let Spend::Refused { retry_after, reset, remaining } = answer {
                prop_assert!(remaining < n && reset <= retry_after && retry_after <= quota.window * 65 / 64);
                prop_assert!(is_admitted(window.peek(quota, now + retry_after, n)));
                prop_assert!(!is_admitted(window.peek(quota, now + retry_after.saturating_sub(Duration::from_nanos(1)), n)));
            }
        }
    }

    #[test]
    fn a_peek_is_what_a_spend_would_answer((quota, arrivals) in quota_and_arrivals()) {
        let mut window = Window::default();
        for (now, n) in arrivals {
            let seen = window.peek(quota, now, n);
            prop_assert_eq!(seen, window.spend(quota, now, n));
        }
    }

    #[test]
    fn no_order_of_times_makes_it_panic(times in proptest::collection::vec((any::<u64>(), any::<u32>()), 1..60), seconds in 0..100u64) {
        let quota = Quota { units: 10, window: Duration::from_secs(seconds) };
        let mut window = Window::default();
        for (now, n) in times {
            let now = Duration::from_nanos(now >> (n % 64));
            let (Spend::Admitted { remaining, .. } | Spend::Refused { remaining, .. }) = window.spend(quota, now, n % 12);
            prop_assert!(remaining <= quota.units);
            window.refund(quota, now, n % 3);
        }
    }
}
