//! What a ledger and a hand do, one rule at a time; what they promise together is tried on a model.

mod asking;
mod greed;
mod world;

use super::*;

const SECOND: u64 = 1_000_000;
const TEN: Terms = Terms { units: 10, window: 60 * SECOND, life: SECOND };

/// A ledger that has existed for long, and a time at the end of one of its sub-windows.
fn old_ledger() -> (Ledger, u64) {
    let mut ledger = Ledger::default();
    let _ = ledger.answer(TEN, 9, 1, 0, &Ask::default());
    (ledger, 200 * TEN.slice() - 1)
}

fn needs(need: u32) -> Ask {
    Ask { need, ..Ask::default() }
}

#[test]
fn units_count_for_the_window_their_sub_window_and_the_life_of_a_lease() {
    let (mut ledger, now) = old_ledger();
    let begin = 200 * TEN.slice();
    assert_eq!(ledger.answer(TEN, 1, 0, begin, &needs(10)).granted, 10);
    let back = begin + TEN.slice() + TEN.window + TEN.window.div_ceil(1024) + SECOND;
    let answer = ledger.answer(TEN, 1, 0, back - 1, &needs(1));
    assert_eq!((answer.granted, answer.wait), (0, 1));
    assert_eq!(ledger.answer(TEN, 1, 0, back, &needs(1)).granted, 1);
    // At the end of a sub-window there is nothing to spare.
    let (mut ledger, _) = old_ledger();
    assert_eq!(ledger.answer(TEN, 1, 0, now, &needs(10)).granted, 10);
    assert_eq!(ledger.answer(TEN, 2, 0, now + TEN.window + SECOND, &needs(1)).granted, 0);
}

#[test]
fn what_is_given_back_leaves_its_own_sub_window_of_its_own_memory() {
    let (mut ledger, now) = old_ledger();
    let first = ledger.answer(TEN, 1, 0, now, &needs(6));
    let second = ledger.answer(TEN, 2, 0, now + 9 * SECOND, &needs(4));
    let back = |of: Answer, units| Ask { back: Some(Back { epoch: of.epoch, slice: of.slice, units }), ..needs(10) };
    let stranger = Answer { epoch: 77, ..first };
    assert_eq!(ledger.answer(TEN, 1, 0, now + 9 * SECOND, &back(stranger, 6)).granted, 0);
    // Five of six come back; the one that was spent is still counted when those of the second have gone.
    assert_eq!(ledger.answer(TEN, 1, 0, now + 9 * SECOND, &back(first, 5)).granted, 5);
    let later = now + 1 + TEN.keep();
    assert_eq!(ledger.answer(TEN, 1, 0, later - 1, &needs(10)).granted, 0);
    assert_eq!(ledger.answer(TEN, 1, 0, later, &needs(10)).granted, 1);
    // More than there is cannot come back: nine stand in that sub-window.
    assert_eq!(ledger.answer(TEN, 1, 0, later, &back(second, 99)).granted, 9);
}

#[test]
fn a_young_memory_grants_nothing_for_a_window_but_counts_what_it_is_told() {
    let mut ledger = Ledger::default();
    let told = ledger.answer(TEN, 1, 5, 1000, &Ask { debt: 3, ..needs(1) });
    assert_eq!((told.epoch, told.granted, told.left), (5, 0, 7));
    assert_eq!(told.absent, TEN.slice() + TEN.keep());
    let almost = 1000 + told.absent - 1;
    assert_eq!(ledger.answer(TEN, 1, 6, almost, &Ask { debt: 3, ..needs(1) }).granted, 0);
    assert_eq!(ledger.answer(TEN, 1, 6, almost + 1, &needs(10)).granted, 7);
}

#[test]
fn a_sixteenth_of_a_quota_is_lent_to_all_nodes_for_requests_that_have_not_come() {
    let (terms, now) = (Terms { units: 320, ..TEN }, 200 * TEN.slice());
    let mut ledger = Ledger::default();
    let _ = ledger.answer(terms, 9, 1, 0, &Ask::default());
    let mut granted = |node, now| ledger.answer(terms, node, 0, now, &Ask { ahead: 15, ..needs(1) }).granted;
    assert_eq!((granted(1, now), granted(2, now), granted(3, now + SECOND - 1)), (16, 5, 1));
    // Until what they hold has ended; that of the third has not.
    assert_eq!((granted(4, now + SECOND), granted(5, now + SECOND)), (16, 4));
}

#[test]
fn an_answer_says_what_is_left_and_when_there_is_room_again() {
    let (mut ledger, now) = old_ledger();
    assert_eq!(ledger.answer(TEN, 1, 0, now, &Ask { debt: 2, ..needs(2) }).left, 6);
    let later = now + 9 * SECOND;
    assert_eq!(ledger.answer(TEN, 1, 0, later, &needs(6)).left, 0);
    assert_eq!(ledger.answer(TEN, 1, 0, later, &Ask { debt: 4, ..Ask::default() }).over, 4);
    // When the first four have gone, the quota is still spent.
    let end = (later / TEN.slice() + 1) * TEN.slice() + TEN.keep();
    assert_eq!(ledger.answer(TEN, 1, 0, later, &needs(1)).wait, end - later);
}

#[test]
fn a_lease_ends_a_life_after_it_was_asked_for_however_late_the_answer() {
    let (mut ledger, now) = old_ledger();
    let (mut hand, sent) = (Hand::default(), Duration::from_secs(7));
    let ask = hand.ask(TEN, sent, 3);
    let answer = ledger.answer(TEN, 1, 0, now, &ask);
    hand.answered(TEN, sent, sent + Duration::from_millis(600), &answer);
    let end = sent + Duration::from_secs(1);
    assert_eq!(hand.draw(end.saturating_sub(Duration::from_nanos(1))), Draw::Drawn(end));
    assert_eq!(hand.draw(end), Draw::Short);
    assert_eq!((hand.give_back(end, end), hand.take_lost()), (None, 2));
}

#[test]
fn units_put_back_are_spent_again_and_units_given_back_are_not() {
    let (mut ledger, now) = old_ledger();
    let (mut hand, sent) = (Hand::default(), Duration::from_secs(7));
    let ask = hand.ask(TEN, sent, 2);
    hand.answered(TEN, sent, sent, &ledger.answer(TEN, 1, 0, now, &ask));
    let end = sent + TEN.life();
    assert_eq!(hand.draw(sent), Draw::Drawn(end));
    hand.put_back(end);
    assert_eq!(hand.units(), 2);
    assert_eq!(hand.give_back(end, sent).and_then(|ask| ask.back).map(|back| back.units), Some(2));
    assert_eq!(hand.draw(sent), Draw::Short);
    hand.put_back(end);
    assert_eq!((hand.units(), hand.take_lost()), (0, 1));
}

#[test]
fn what_was_let_through_alone_is_told_until_somebody_has_heard_it() {
    let (mut ledger, now) = old_ledger();
    let (mut hand, at) = (Hand::default(), Duration::from_secs(7));
    for _ in 0..3 {
        hand.owe(at);
    }
    assert_eq!(hand.ask(TEN, at, 1).debt, 3);
    hand.unanswered();
    assert!(!hand.is_idle(TEN, at));
    let ask = hand.ask(TEN, at, 10);
    hand.owe(at);
    let answer = ledger.answer(TEN, 1, 0, now, &ask);
    assert_eq!((ask.debt, answer.granted, answer.over), (3, 7, 0));
    hand.answered(TEN, at, at, &answer);
    assert_eq!(hand.ask(TEN, at, 8).debt, 1);
    assert_eq!(ledger.answer(TEN, 1, 0, now, &Ask { debt: 1, ..Ask::default() }).over, 1);
    // After a window nobody counts it.
    hand.unanswered();
    let after = at + Duration::from_micros(TEN.slice() + TEN.keep());
    assert!(hand.is_idle(TEN, after));
    assert_eq!(hand.ask(TEN, after, 1).debt, 0);
}

#[test]
fn what_is_owed_no_more_is_told_no_more_and_what_has_been_told_is_not_told_less() {
    let (mut hand, at) = (Hand::default(), Duration::from_secs(7));
    hand.owe(at);
    hand.owe(at);
    hand.disown();
    assert_eq!(hand.ask(TEN, at, 0).debt, 1);
    // While it is being told, and another one comes.
    hand.disown();
    hand.owe(at);
    hand.owe(at);
    hand.answered(TEN, at, at, &Answer::default());
    assert_eq!(hand.ask(TEN, at, 0).debt, 1);
    hand.answered(TEN, at, at, &Answer::default());
    hand.disown();
    assert_eq!(hand.ask(TEN, at, 0).debt, 0);
}
