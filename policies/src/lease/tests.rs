//! What leases promise, on a model: nodes with clocks of their own, a ledger behind a network that delays and loses, and everything
//! that can go wrong in between.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;
use crate::{Spend, Window};

/// Microseconds that a request waits, as in the gateway.
const PATIENCE: u64 = 20_000;
const SECOND: u64 = 1_000_000;

/// What can go wrong, each so often in a thousand events of its kind.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// Words are lost.
    lost: u64,
    /// Words take up to three seconds.
    late: u64,
    /// A node dies at a request.
    crash: u64,
    /// The ledger's memory is lost at a request.
    forget: u64,
    /// The ledger freezes for up to three seconds at a request.
    freeze: u64,
    /// The ledger's clock steps back at a request.
    step: u64,
    /// Clocks differ in speed by so many millionths at most, either way.
    drift: i64,
}

const NONE: Trouble = Trouble { lost: 0, late: 0, crash: 0, forget: 0, freeze: 0, step: 0, drift: 0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Refuse,
    Local,
}

/// What is to happen, and at whom. Deaths are counted, so that nothing reaches who was meant before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    Deadline { node: usize, life: u64, waiter: u64 },
    AskComes { node: usize, life: u64, sent: u64 },
    AnswerComes { node: usize, life: u64, sent: u64 },
    GiveUp { node: usize, life: u64, sent: u64 },
    Ends { node: usize, life: u64, end: Duration },
}

struct Node {
    hand: Hand,
    window: Window,
    /// Microseconds ahead of the truth, and how fast.
    ahead: u64,
    drift: i64,
    deaths: u64,
    waiting: Vec<u64>,
    asked: Option<u64>,
    /// On its way; words of one connection do not overtake each other.
    asks: Vec<(u64, Ask)>,
    answers: Vec<(u64, Answer)>,
    last_word: [u64; 2],
}

struct World {
    quota: Quota,
    terms: Terms,
    outage: Outage,
    trouble: Trouble,
    delay: u64,
    random: u64,
    now: u64,
    number: u64,
    ledger: Ledger,
    ledger_ahead: u64,
    ledger_drift: i64,
    frozen_until: u64,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    admitted: Vec<u64>,
    refused: u64,
    calls: u64,
}

// === impl World ===

impl World {
    fn new(quota: Quota, nodes: usize, outage: Outage, trouble: Trouble, seed: u64) -> Self {
        let mut world = Self {
            quota,
            terms: Terms::of(quota),
            outage,
            trouble,
            delay: 0,
            random: seed,
            now: 0,
            number: 0,
            ledger: Ledger::default(),
            ledger_ahead: 0,
            ledger_drift: 0,
            frozen_until: 0,
            nodes: Vec::new(),
            events: BinaryHeap::new(),
            admitted: Vec::new(),
            refused: 0,
            calls: 0,
        };
        world.delay = [200, 1000, 2000][world.below(3) as usize];
        world.ledger_ahead = world.below(1000 * SECOND) + 10 * SECOND;
        world.ledger_drift = world.drift();
        for _ in 0..nodes {
            let node = world.node(0);
            world.nodes.push(node);
        }
        world
    }

    fn node(&mut self, deaths: u64) -> Node {
        Node {
            hand: Hand::default(),
            window: Window::default(),
            ahead: self.below(1000 * SECOND),
            drift: self.drift(),
            deaths,
            waiting: Vec::new(),
            asked: None,
            asks: Vec::new(),
            answers: Vec::new(),
            last_word: [0; 2],
        }
    }

    /// A number below `most`, by `SplitMix64`.
    fn below(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most.max(1)
    }

    fn happens(&mut self, in_a_thousand: u64) -> bool {
        in_a_thousand > 0 && self.below(1000) < in_a_thousand
    }

    fn drift(&mut self) -> i64 {
        let most = self.trouble.drift;
        self.below(most.unsigned_abs() * 2 + 1).cast_signed() - most
    }

    fn clock(now: u64, ahead: u64, drift: i64) -> u64 {
        (now + ahead).saturating_add_signed(now.cast_signed() * drift / 1_000_000)
    }

    fn node_clock(&self, node: usize) -> Duration {
        let Node { ahead, drift, .. } = self.nodes[node];
        Duration::from_micros(Self::clock(self.now, ahead, drift))
    }

    fn at(&mut self, when: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((when, self.number, event)));
    }

    fn run(&mut self, arrivals: &[(u64, usize)]) {
        for (when, node) in arrivals {
            self.at(*when, Event::Arrive(*node));
        }
        while let Some(Reverse((when, _, event))) = self.events.pop() {
            self.now = when;
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        let is_meant = |world: &Self, node: usize, life| world.nodes[node].deaths == life;
        match event {
            Event::Arrive(node) => {
                self.cause_trouble(node);
                self.number += 1;
                let waiter = self.number;
                self.request(node, waiter, true);
            }
            Event::Deadline { node, life, waiter } if is_meant(self, node, life) => {
                let waiting = &mut self.nodes[node].waiting;
                if let Some(at) = waiting.iter().position(|other| *other == waiter) {
                    waiting.swap_remove(at);
                    self.nobody_to_ask(node);
                }
            }
            Event::AskComes { node, life, sent } => self.ask_comes(node, life, sent),
            Event::AnswerComes { node, life, sent } if is_meant(self, node, life) => self.answer_comes(node, sent),
            Event::GiveUp { node, life, sent }
                if is_meant(self, node, life) && self.nodes[node].asked == Some(sent) =>
            {
                self.nodes[node].asked = None;
                self.nodes[node].hand.unanswered();
            }
            Event::Ends { node, life, end } if is_meant(self, node, life) => {
                let now = self.node_clock(node);
                if let Some(ask) = self.nodes[node].hand.give_back(end, now) {
                    self.send(node, ask);
                }
            }
            _ => {}
        }
    }

    fn cause_trouble(&mut self, node: usize) {
        if self.happens(self.trouble.crash) {
            let deaths = self.nodes[node].deaths + 1;
            self.nodes[node] = self.node(deaths);
            // Its clock begins anew with it.
        }
        if self.happens(self.trouble.forget) {
            self.ledger = Ledger::default();
        }
        if self.happens(self.trouble.freeze) {
            self.frozen_until = self.now + self.below(3 * SECOND);
        }
        if self.happens(self.trouble.step) {
            self.ledger_ahead = self.ledger_ahead.saturating_sub(self.below(5 * SECOND));
        }
    }

    fn request(&mut self, node: usize, waiter: u64, is_new: bool) {
        let (now, quota, terms) = (self.node_clock(node), self.quota, self.terms);
        let Node { hand, window, waiting, deaths, .. } = &mut self.nodes[node];
        match hand.draw(now) {
            Draw::Drawn(end) => {
                if matches!(window.spend(quota, now, 1), Spend::Admitted { .. }) {
                    self.admitted.push(self.now);
                } else {
                    hand.put_back(end);
                    self.refused += 1;
                }
                if self.nodes[node].hand.is_low(terms, now) {
                    self.ask(node);
                }
            }
            Draw::Short => {
                waiting.push(waiter);
                let life = *deaths;
                if is_new {
                    self.at(self.now + PATIENCE, Event::Deadline { node, life, waiter });
                }
                if !self.nodes[node].hand.is_asking() {
                    self.ask(node);
                }
            }
            Draw::Exhausted { .. } => self.refused += 1,
            Draw::Absent => self.nobody_to_ask(node),
        }
    }

    fn nobody_to_ask(&mut self, node: usize) {
        let share = Quota { units: self.quota.units / self.nodes.len() as u32, ..self.quota };
        let now = self.node_clock(node);
        let Node { hand, window, .. } = &mut self.nodes[node];
        if self.outage == Outage::Local && matches!(window.spend(share, now, 1), Spend::Admitted { .. }) {
            hand.owe(now);
            self.admitted.push(self.now);
        } else {
            self.refused += 1;
        }
    }

    fn ask(&mut self, node: usize) {
        let (now, waiting) = (self.node_clock(node), self.nodes[node].waiting.len() as u32);
        let ask = self.nodes[node].hand.ask(self.terms, now, waiting);
        let (sent, life) = (self.send(node, ask), self.nodes[node].deaths);
        self.nodes[node].asked = Some(sent);
        self.at(self.now + PATIENCE, Event::GiveUp { node, life, sent });
    }

    fn send(&mut self, node: usize, ask: Ask) -> u64 {
        self.calls += 1;
        self.number += 1;
        let (sent, life) = (self.number, self.nodes[node].deaths);
        self.nodes[node].asks.push((sent, ask));
        if let Some(when) = self.travel(node, 0) {
            self.at(when, Event::AskComes { node, life, sent });
        }
        self.sent_at(node, sent);
        sent
    }

    /// Remembers when it was sent, on the node's clock.
    fn sent_at(&mut self, node: usize, sent: u64) {
        let now = self.node_clock(node).as_micros() as u64;
        self.nodes[node].answers.push((sent, Answer { wait: now, ..Answer::default() }));
    }

    /// When a word that leaves now arrives, if it does.
    fn travel(&mut self, node: usize, way: usize) -> Option<u64> {
        if self.happens(self.trouble.lost) {
            return None;
        }
        let longest = if self.happens(self.trouble.late) { 3 * SECOND } else { self.delay };
        let when = (self.now + self.below(longest)).max(self.nodes[node].last_word[way]);
        self.nodes[node].last_word[way] = when;
        Some(when)
    }

    fn ask_comes(&mut self, node: usize, life: u64, sent: u64) {
        if self.now < self.frozen_until {
            return self.at(self.frozen_until, Event::AskComes { node, life, sent });
        }
        let Some(at) = self.nodes[node].asks.iter().position(|(number, _)| *number == sent) else { return };
        let (_, ask) = self.nodes[node].asks.remove(at);
        let (fresh, now) = (self.below(u64::MAX), Self::clock(self.now, self.ledger_ahead, self.ledger_drift));
        let answer = self.ledger.answer(self.terms, ((node as u64) << 32) | life, fresh, now, &ask);
        if ask.back.is_none()
            && let Some(when) = self.travel(node, 1)
        {
            self.nodes[node].answers.push((sent, answer));
            self.at(when, Event::AnswerComes { node, life, sent });
        }
    }

    fn answer_comes(&mut self, node: usize, sent: u64) {
        let (now, terms) = (self.node_clock(node), self.terms);
        let words: Vec<_> = self.nodes[node].answers.extract_if(.., |(number, _)| *number == sent).collect();
        let [(_, Answer { wait: sent_at, .. }), (_, answer)] = words[..] else { return };
        let sent_at = Duration::from_micros(sent_at);
        if self.nodes[node].asked != Some(sent) {
            if answer.granted > 0 && now < sent_at + terms.life() {
                let ask = self.nodes[node].hand.give_back_late(&answer);
                self.send(node, ask);
            }
            return;
        }
        self.nodes[node].asked = None;
        self.nodes[node].hand.answered(terms, sent_at, now, &answer);
        let (end, life) = (sent_at + terms.life(), self.nodes[node].deaths);
        let left = end.saturating_sub(terms.life() / 8).saturating_sub(now).as_micros() as u64;
        self.at(self.now + left, Event::Ends { node, life, end });
        // Who has not had its turn yet still counts as waiting when the next one asks.
        for waiter in self.nodes[node].waiting.clone() {
            self.nodes[node].waiting.retain(|other| *other != waiter);
            self.request(node, waiter, false);
        }
    }

    /// The most that any closed interval of the quota's window holds.
    fn most_in_any_window(&self) -> u32 {
        let (mut most, mut from) = (0, 0);
        for (at, when) in self.admitted.iter().enumerate() {
            while self.admitted[from] + self.terms.window < *when {
                from += 1;
            }
            most = most.max(at - from + 1);
        }
        most as u32
    }
}

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
    let birth = world.below(SECOND);
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
    fn a_local_share_lets_through_less_than_twice_the_quota((quota, nodes, arrivals, seed) in scenes(), trouble in troubles(), is_seasoned in any::<bool>()) {
        // A node that dies forgets what it let through by itself.
        let trouble = Trouble { crash: 0, drift: 0, ..trouble };
        let mut world = World::new(quota, nodes, Outage::Local, trouble, seed);
        if is_seasoned {
            seasoned(&mut world);
        }
        world.run(&arrivals);
        let most = quota.units + (nodes as u32 - 1) * (quota.units / nodes as u32);
        prop_assert!(world.most_in_any_window() <= most, "{} of {most}", world.most_in_any_window());
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

/// Nodes that ask for all there is, spend at the last moment and hoard in between, whatever a decent one would do. Clocks run as
/// differently as they may, and to the worse side: that of the ledger fast, theirs slow.
struct Greed {
    terms: Terms,
    now: u64,
    ledger: Ledger,
    hands: Vec<Hand>,
    /// Answers, and when they were asked for; words that give units back.
    answers: Vec<(usize, Duration, Answer)>,
    backs: Vec<(usize, Ask)>,
    ends: Vec<(usize, Duration)>,
    /// When units come back, by the ledger's clock.
    back_at: u64,
    memories: u64,
    spent: Vec<u64>,
}

// === impl Greed ===

impl Greed {
    const FAST: u64 = 450;

    fn ledger_clock(now: u64) -> u64 {
        now + now * Self::FAST / 1_000_000
    }

    fn node_clock(now: u64) -> Duration {
        Duration::from_micros(now - now * Self::FAST / 1_000_000)
    }

    fn act(&mut self, action: u8, node: usize) {
        let (now, terms) = (Self::node_clock(self.now), self.terms);
        match action {
            0..=2 if !self.hands[node].is_asking() => {
                let ask = Ask { need: terms.units, ..self.hands[node].ask(terms, now, 1) };
                let answer = self.answer(node, &ask);
                self.back_at = self.now + answer.wait.max(answer.absent);
                self.answers.push((node, now, answer));
            }
            3..=5 => {
                for (node, sent, answer) in self.answers.extract_if(.., |(whose, ..)| *whose == node) {
                    self.hands[node].answered(terms, sent, now, &answer);
                    self.ends.push((node, sent + terms.life()));
                }
            }
            6..=8 => while self.spend(node) {},
            9 => drop(self.spend(node)),
            10 => {
                if let Some((node, end)) = self.ends.iter().rfind(|(whose, _)| *whose == node)
                    && let Some(ask) = self.hands[*node].give_back(*end, now)
                {
                    self.backs.push((*node, ask));
                }
            }
            11..=12 => {
                for (node, ask) in std::mem::take(&mut self.backs) {
                    let _ = self.answer(node, &ask);
                }
            }
            13 if node == 0 => self.ledger = Ledger::default(),
            _ => {}
        }
    }

    fn answer(&mut self, node: usize, ask: &Ask) -> Answer {
        self.memories += 1;
        self.ledger.answer(self.terms, node as u64, self.memories, Self::ledger_clock(self.now), ask)
    }

    fn spend(&mut self, node: usize) -> bool {
        let drawn = matches!(self.hands[node].draw(Self::node_clock(self.now)), Draw::Drawn(_));
        self.spent.extend(drawn.then_some(self.now));
        drawn
    }

    /// Lets time pass: a moment, until a lease has just not ended, until a unit has come back, or anything.
    fn pass(&mut self, kind: u8, random: u64) {
        let terms = self.terms;
        self.now = match kind {
            0..=2 => self.now + random % 5,
            3..=5 => {
                let end = self.ends.iter().map(|(_, end)| end.as_micros() as u64).find(|end| *end > self.now + 2);
                // The nodes' clocks are slow.
                end.map_or(self.now, |end| (end + end * Self::FAST / 1_000_000).saturating_sub(2).max(self.now))
            }
            // The ledger's clock is fast, so this is a little late; then a little early.
            6 => self.now.max(self.back_at),
            7..=8 => self.now.max(self.back_at - (self.back_at - self.now.min(self.back_at)) * Self::FAST / 1_000_000),
            9 => self.now + random % terms.slice(),
            10 => self.now / terms.slice() * terms.slice() + terms.slice() - 1,
            _ => self.now + random % (terms.window / 8),
        };
    }
}

fn most_within(spent: &[u64], window: u64) -> u32 {
    let (mut most, mut from) = (0, 0);
    for (at, when) in spent.iter().enumerate() {
        while spent[from] + window < *when {
            from += 1;
        }
        most = most.max(at - from + 1);
    }
    most as u32
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_greed_gets_more_than_the_quota(
        units in 1..20u32,
        seconds in prop_oneof![Just(1u64), Just(10), Just(60)],
        steps in proptest::collection::vec((0..16u8, 0..3usize, 0..12u8, any::<u64>()), 1..250),
    ) {
        let terms = Terms::of(Quota { units, window: Duration::from_secs(seconds) });
        let mut greed = Greed {
            terms, now: terms.window * 3, ledger: Ledger::default(), hands: (0..3).map(|_| Hand::default()).collect(),
            answers: Vec::new(), backs: Vec::new(), ends: Vec::new(), back_at: 0, memories: 0, spent: Vec::new(),
        };
        // A memory that is old enough.
        let _ = greed.ledger.answer(terms, 9, 0, 0, &Ask::default());
        for (action, node, kind, random) in steps {
            greed.act(action, node);
            greed.pass(kind, random);
        }
        let most = most_within(&greed.spent, terms.window);
        prop_assert!(most <= units, "{most} of {units}");
    }
}

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
