//! When a node asks, for how much, and what it makes of the answer.

use super::*;

const fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A hand that was granted so many units at the beginning, when so many were left.
fn granted(granted: u32, left: u32) -> Hand {
    let mut hand = Hand::default();
    hand.ask(TEN, at(0), 1);
    hand.answered(TEN, at(0), at(0), &Answer { granted, left, epoch: 1, ..Answer::default() });
    hand
}

fn draw(hand: &mut Hand, units: u32) {
    assert!((0..units).all(|_| matches!(hand.draw(at(0)), Draw::Drawn(_))));
}

#[test]
fn a_lease_lives_a_second_at_most_and_less_where_windows_are_short() {
    let life = |seconds| Terms::of(Quota { units: 1, window: Duration::from_secs(seconds) }).life;
    assert_eq!([1, 16, 32, 33, 3600].map(life), [31_250, 500_000, SECOND, SECOND, SECOND]);
}

#[test]
fn who_is_told_that_none_is_left_asks_again_when_one_is_back_or_a_life_has_passed() {
    let told = |wait, absent| {
        let mut hand = Hand::default();
        hand.ask(TEN, at(0), 1);
        hand.answered(TEN, at(0), at(10), &Answer { wait, absent, ..Answer::default() });
        hand
    };
    let mut soon = told(300_000, 0);
    assert_eq!(soon.draw(at(309)), Draw::Exhausted { retry_after: at(1) });
    assert_eq!(soon.draw(at(310)), Draw::Short);
    let mut late = told(5_000_000, 0);
    assert_eq!(late.draw(at(999)), Draw::Exhausted { retry_after: at(4011) });
    assert_eq!(late.draw(at(1000)), Draw::Short);
    let mut young = told(0, 5_000_000);
    assert_eq!((young.draw(at(999)), young.draw(at(1000))), (Draw::Absent { retry_after: at(4011) }, Draw::Short));
    assert_eq!(told(0, 100_000).draw(at(110)), Draw::Short);
}

#[test]
fn a_busy_hand_is_filled_before_it_is_empty_or_its_lease_at_its_end() {
    let mut hand = granted(16, 5);
    assert!(!hand.is_low(TEN, at(749)) && hand.is_low(TEN, at(750)));
    draw(&mut hand, 13);
    assert!(!hand.is_low(TEN, at(0)));
    draw(&mut hand, 1);
    assert!(hand.is_low(TEN, at(0)) && !hand.is_asking());
    hand.ask(TEN, at(0), 0);
    assert!(!hand.is_low(TEN, at(0)) && hand.is_asking());
    // Of little it is not worth while, nor where nothing is left.
    for (size, left, is_low) in [(8, 5, true), (7, 5, false), (8, 0, false)] {
        let mut hand = granted(size, left);
        draw(&mut hand, size);
        assert_eq!(hand.is_low(TEN, at(0)), is_low, "{size} {left}");
    }
}

#[test]
fn as_much_is_asked_for_as_three_quarters_of_a_life_will_need_at_the_present_pace() {
    let mut hand = granted(40, 0);
    draw(&mut hand, 40);
    assert_eq!(hand.ask(TEN, at(2000), 5), Ask { need: 5, ahead: 10, ..Ask::default() });
    assert_eq!(hand.ask(TEN, at(4000), 0), Ask::default(), "nothing was spent since");
    // A rush counts as an eighth of a life at least.
    let mut hand = granted(10, 0);
    draw(&mut hand, 4);
    assert_eq!(hand.ask(TEN, at(50), 7), Ask { need: 1, ahead: 23, held: 6, ..Ask::default() });
}

#[test]
fn what_ends_unspent_is_counted() {
    let mut hand = granted(2, 0);
    assert_eq!(hand.draw(at(1000)), Draw::Short);
    // An answer that comes when its lease ends.
    hand.answered(TEN, at(0), at(1000), &Answer { granted: 3, ..Answer::default() });
    assert_eq!((hand.units(), hand.take_lost(), hand.take_lost()), (0, 5, 0));
    hand.answered(TEN, at(1000), at(1000), &Answer { granted: 2, ..Answer::default() });
    hand.answered(TEN, at(0), at(1000), &Answer { granted: 3, ..Answer::default() });
    assert_eq!((hand.give_back(at(2000), at(2000)), hand.take_lost()), (None, 5));
}

#[test]
fn what_comes_too_late_goes_back_with_word_of_what_is_held() {
    let back = Back { epoch: 5, slice: 6, units: 7 };
    let late = Answer { epoch: 5, slice: 6, granted: 7, ..Answer::default() };
    assert_eq!(granted(2, 5).give_back_late(&late), Ask { held: 2, back: Some(back), ..Ask::default() });
}

#[test]
fn a_hand_is_idle_without_units_that_can_be_spent() {
    assert!(Hand::default().is_idle(TEN, at(0)));
    let mut hand = granted(1, 5);
    assert_eq!((hand.units(), hand.remaining()), (1, 6));
    assert!(!hand.is_idle(TEN, at(999)) && hand.is_idle(TEN, at(1000)));
    draw(&mut hand, 1);
    assert!(hand.is_idle(TEN, at(0)));
    assert_eq!(hand.draw(at(0)), Draw::Short);
}

#[test]
fn what_was_spent_ahead_counts_for_a_window_of_the_fastest_clock_and_is_not_forgotten_before() {
    let (mut hand, window) = (Hand::default(), Duration::from_micros(TEN.window + TEN.window.div_ceil(1024)));
    assert!(!hand.draw_ahead(TEN, 0, at(0)) && hand.is_idle(TEN, at(0)));
    assert_eq!([0; 3].map(|_| hand.draw_ahead(TEN, 2, at(0))), [true, true, false]);
    assert!(!hand.draw_ahead(TEN, 2, window) && !hand.is_idle(TEN, window));
    let over = window + window / 64 + at(1);
    assert!(hand.is_idle(TEN, over) && hand.draw_ahead(TEN, 2, over));
}
