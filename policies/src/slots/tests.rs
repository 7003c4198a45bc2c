//! What shared slots promise, on a model: nodes that take, hold and give back, words that are lost, late and out of order, nodes that
//! die, and a memory that is lost.

use proptest::prelude::*;

use super::*;
use crate::dice::Dice;

const SECOND: u64 = 1_000_000;
/// How often a node that holds something says so.
const RENEW: u64 = 2 * SECOND;

/// One node. Its clock is as much ahead as its number says.
struct Node {
    hand: Hand,
    /// When each slot in use is given back.
    used: Vec<u64>,
    ask: Option<(u64, Ask)>,
    asked_at: u64,
    renewals: u64,
    is_dead: bool,
}

struct World {
    most: u32,
    now: u64,
    dice: Dice,
    ledger: Ledger,
    nodes: Vec<Node>,
    /// Words under way: when they come, whose they are, and whether anybody waits for the answer.
    words: Vec<(u64, usize, u64, Ask, bool)>,
    refused: u32,
}

fn clock(node: usize, now: u64) -> Duration {
    Duration::from_micros(now + node as u64 * 1000 * SECOND)
}

// === impl World ===

impl World {
    fn new(most: u32, nodes: usize, seed: u64) -> Self {
        let node =
            |_| Node { hand: Hand::default(), used: Vec::new(), ask: None, asked_at: 0, renewals: 0, is_dead: false };
        let ledger = Ledger::old();
        let nodes = (0..nodes).map(node).collect();
        Self { most, now: 60 * SECOND, dice: Dice(seed), ledger, nodes, words: Vec::new(), refused: 0 }
    }

    fn in_use(&self) -> usize {
        self.nodes.iter().filter(|node| !node.is_dead).map(|node| node.used.len()).sum()
    }

    /// Lets time pass until `until`, a millisecond at a time.
    fn pass(&mut self, until: u64) {
        while self.now < until {
            self.now += 1000;
            let now = self.now;
            for at in 0..self.nodes.len() {
                let node = &mut self.nodes[at];
                let before = node.used.len();
                node.used.retain(|end| *end > now);
                if node.used.len() < before {
                    node.hand.freed();
                }
                let used = node.used.len() as u32;
                let is_due = now >= node.asked_at + RENEW && !node.hand.is_idle(used, clock(at, now));
                if !node.is_dead && node.ask.is_none() && is_due {
                    self.nodes[at].renewals += 1;
                    self.send(at, 0, self.nodes[at].renewals % 3 == 1);
                }
            }
            self.deliver();
        }
    }

    fn send(&mut self, at: usize, waiting: u32, is_heard: bool) {
        let (most, now) = (self.most, self.now);
        let node = &mut self.nodes[at];
        let ask = node.hand.ask(most, node.used.len() as u32, waiting, clock(at, now));
        (node.ask, node.asked_at) = (Some((now, ask)), now);
        // Whoever is not heard in time gives up; the word may arrive all the same, and late.
        let delay = if is_heard { self.dice.below(15) * 1000 } else { 20_000 + self.dice.below(12 * SECOND) };
        self.words.push((now + delay, at, now, ask, is_heard));
    }

    fn deliver(&mut self) {
        let now = self.now;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if node.ask.is_some_and(|(sent, _)| now >= sent + 20_000)
                && !self.words.iter().any(|word| word.1 == at && word.4)
            {
                node.ask = None;
                node.hand.unanswered();
            }
        }
        let (come, rest) = std::mem::take(&mut self.words).into_iter().partition(|word| word.0 <= now);
        self.words = rest;
        let come: Vec<_> = come;
        for (_, at, sent, ask, is_heard) in come {
            let answer = self.ledger.answer(self.most, at as u64, now + 7 * SECOND, &ask);
            let node = &mut self.nodes[at];
            if is_heard && !node.is_dead {
                node.ask = None;
                node.hand.answered(clock(at, sent), clock(at, now), &answer);
            }
        }
    }

    /// A request that needs a slot for `long`.
    fn arrive(&mut self, at: usize, long: u64) -> bool {
        for _ in 0..2 {
            let now = self.now;
            let node = &mut self.nodes[at];
            if node.is_dead {
                return false;
            }
            match node.hand.take(node.used.len() as u32, clock(at, now)) {
                Take::Taken => {
                    node.used.push(now + long);
                    return true;
                }
                Take::Short if node.ask.is_none() => {
                    let is_heard = self.dice.below(5) > 0;
                    self.send(at, 1, is_heard);
                    self.pass(self.now + 21_000);
                }
                _ => break,
            }
        }
        self.refused += 1;
        false
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, u64)>> {
    proptest::collection::vec((0_u8..100, 0_usize..3, 1_u64..400), 50..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_more_slots_are_in_use_than_there_are_whatever_goes_wrong(most in 1_u32..30, seed: u64, steps in steps()) {
        let mut world = World::new(most, 3, seed);
        for (what, at, milliseconds) in steps {
            match what {
                0..80 => {
                    let long = if what < 8 { 20 * SECOND } else { milliseconds * 1000 };
                    if world.arrive(at, long) {
                        prop_assert!(world.in_use() <= most as usize, "{} of {most}", world.in_use());
                    }
                }
                80 => world.nodes[at].is_dead = true,
                81 => world.ledger = Ledger::default(),
                _ => world.pass(world.now + milliseconds * 1000),
            }
        }
    }
}

#[test]
fn slots_of_a_node_that_died_are_free_within_ten_seconds() {
    let mut world = World::new(4, 2, 1);
    while world.in_use() < 4 {
        world.arrive(0, 3600 * SECOND);
    }
    world.nodes[0].is_dead = true;
    assert!(!world.arrive(1, SECOND));
    world.pass(world.now + 10 * SECOND);
    let taken = (0..40).filter(|_| world.arrive(1, 3600 * SECOND)).count();
    assert_eq!(taken, 4);
}

#[test]
fn slots_in_use_are_kept_for_as_long_as_they_are_in_use() {
    let mut world = World::new(4, 2, 1);
    while world.in_use() < 4 {
        world.arrive(0, 60 * SECOND);
    }
    for _ in 0..50 {
        world.pass(world.now + SECOND);
        assert!(!world.arrive(1, SECOND));
    }
    world.pass(world.now + 20 * SECOND);
    assert!((0..5).any(|_| world.arrive(1, SECOND)));
}

#[test]
fn a_memory_that_was_lost_grants_nothing_until_everybody_has_been_heard() {
    let mut ledger = Ledger::default();
    let ask = |number, held, need| Ask { number, held, need, ..Ask::default() };
    let Answer { granted, absent } = ledger.answer(4, 1, 100, &ask(1, 0, 1));
    assert_eq!((granted, absent), (0, keep()));
    // What it has given before stands.
    assert_eq!(ledger.answer(4, 2, 100, &ask(1, 3, 0)).granted, 0);
    assert_eq!(ledger.answer(4, 1, 99 + keep(), &ask(2, 0, 4)), Answer { granted: 0, absent: 1 });
    assert_eq!(ledger.answer(4, 2, 99 + keep(), &ask(2, 3, 0)).granted, 0);
    assert_eq!(ledger.answer(4, 1, 100 + keep(), &ask(3, 0, 4)), Answer { granted: 1, absent: 0 });
}

#[test]
fn a_word_that_comes_after_a_later_one_counts_for_nothing() {
    let mut ledger = Ledger::old();
    let now = 2 * keep();
    let ask = |number, held, need| Ask { number, held, need, ..Ask::default() };
    assert_eq!(ledger.answer(4, 1, now, &ask(8, 1, 3)).granted, 3);
    assert_eq!(ledger.answer(4, 1, now, &ask(7, 1, 0)), Answer::default());
    assert_eq!(ledger.answer(4, 2, now, &ask(1, 0, 1)).granted, 0, "all are held");
}

#[test]
fn few_are_kept_unused_and_none_where_there_is_one() {
    let mut hand = Hand::default();
    let second = Duration::from_secs;
    assert_eq!(hand.take(0, second(1)), Take::Short);
    let ask = hand.ask(40, 0, 1, second(1));
    assert_eq!(ask, Ask { number: SECOND, held: 0, spare: 0, need: 1, more: 4 });
    hand.answered(second(1), second(1), &Answer { granted: 5, absent: 0 });
    assert!((0..5).all(|used| hand.take(used, second(2)) == Take::Taken));
    assert_eq!(hand.take(5, second(2)), Take::Short);
    assert!(!hand.is_loose(40, 1) && hand.is_loose(40, 0));
    // Nobody came since the last one asked: nothing is kept.
    assert_eq!(hand.ask(40, 0, 0, second(3)).held, 4);
    hand.unanswered();
    let ask = hand.ask(40, 0, 0, second(4));
    assert_eq!((ask.held, ask.more), (0, 0));
    assert_eq!((most_spare(1), most_spare(2), most_spare(40)), (0, 1, 4));
}

#[test]
fn who_is_told_that_all_are_in_use_asks_no_more_for_a_moment() {
    let (mut hand, at) = (Hand::default(), Duration::from_millis);
    hand.take(0, at(0));
    hand.ask(4, 0, 1, at(0));
    hand.answered(at(0), at(1), &Answer { granted: 0, absent: 0 });
    assert_eq!(hand.take(0, at(10)), Take::Full);
    assert_eq!(hand.take(0, at(11)), Take::Short);
    hand.ask(4, 0, 1, at(11));
    hand.answered(at(11), at(12), &Answer { granted: 0, absent: 0 });
    hand.freed();
    assert_eq!(hand.take(0, at(13)), Take::Short, "one of its own is free");
    hand.ask(4, 0, 1, at(13));
    hand.answered(at(13), at(14), &Answer { granted: 0, absent: 5_000_000 });
    assert_eq!((hand.take(0, at(5013)), hand.take(0, at(5014))), (Take::Absent, Take::Short));
}

#[test]
fn who_was_given_what_it_needs_may_ask_for_more_at_once_and_by_a_later_word() {
    let (mut hand, at) = (Hand::default(), Duration::from_millis);
    let first = hand.ask(4, 0, 1, at(1));
    hand.answered(at(1), at(1), &Answer { granted: 1, absent: 0 });
    assert_eq!((hand.take(0, at(1)), hand.take(1, at(1))), (Take::Taken, Take::Short));
    assert_eq!(hand.ask(4, 1, 1, at(1)).number, first.number + 1);
    assert!(!hand.is_idle(0, at(8001)), "an answer is awaited");
    hand.unanswered();
    assert!(hand.is_idle(0, at(8001)));
}

#[test]
fn what_a_node_holds_counts_for_as_long_as_the_ledger_keeps_it() {
    // Eight seconds, and by how much clocks may differ meanwhile.
    assert_eq!(keep(), 8_007_813);
    let (mut ledger, now) = (Ledger::old(), 2 * keep());
    let needs = |number, need| Ask { number, need, ..Ask::default() };
    assert_eq!(ledger.answer(4, 1, now, &needs(1, 4)).granted, 4);
    assert_eq!(ledger.answer(4, 2, now + keep() - 1, &needs(1, 4)).granted, 0);
    assert_eq!(ledger.answer(4, 2, now + keep(), &needs(2, 4)).granted, 4);
}

#[test]
fn a_node_that_was_not_heard_in_time_holds_what_it_uses_and_nothing_more() {
    let (mut hand, at) = (Hand::default(), Duration::from_secs);
    hand.take(0, at(1));
    hand.ask(40, 0, 1, at(1));
    hand.answered(at(1), at(4), &Answer { granted: 5, absent: 0 });
    // From before it was asked for.
    assert_eq!(hand.take(3, Duration::from_millis(8_999)), Take::Taken);
    assert_eq!(hand.take(3, at(9)), Take::Short);
    assert!(hand.is_idle(0, at(9)) && !hand.is_idle(0, at(8)));
    let ask = hand.ask(40, 3, 1, at(9));
    assert_eq!((ask.held, ask.spare, ask.need, ask.more), (3, 0, 1, 4));
}

#[test]
fn what_others_hold_unused_is_not_lent_twice() {
    let mut ledger = Ledger::old();
    let ask = |number, need, more| Ask { number, need, more, ..Ask::default() };
    assert_eq!(ledger.answer(40, 1, 2 * keep(), &ask(1, 1, 3)).granted, 4);
    assert_eq!(ledger.answer(40, 2, 2 * keep(), &ask(1, 1, 4)).granted, 2);
    assert_eq!(ledger.answer(40, 3, 2 * keep(), &ask(1, 1, 4)).granted, 1);
}
