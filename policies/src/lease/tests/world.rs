//! Nodes with clocks of their own, a ledger behind a network that delays and loses, and everything that can go wrong in between.

mod promises;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::{Spend, Window, dice::Dice};

/// Microseconds that a request waits, as in the gateway.
const PATIENCE: u64 = 20_000;

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
    /// By how many units all nodes together may overshoot the quota, so that nobody waits.
    overshoot: u32,
    trouble: Trouble,
    delay: u64,
    dice: Dice,
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
            overshoot: 0,
            trouble,
            delay: 0,
            dice: Dice(seed),
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
        world.delay = [200, 1000, 2000][world.dice.below(3) as usize];
        world.ledger_ahead = world.dice.below(1000 * SECOND) + 10 * SECOND;
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
            ahead: self.dice.below(1000 * SECOND),
            drift: self.drift(),
            deaths,
            waiting: Vec::new(),
            asked: None,
            asks: Vec::new(),
            answers: Vec::new(),
            last_word: [0; 2],
        }
    }

    fn happens(&mut self, in_a_thousand: u64) -> bool {
        in_a_thousand > 0 && self.dice.below(1000) < in_a_thousand
    }

    fn drift(&mut self) -> i64 {
        let most = self.trouble.drift;
        self.dice.below(most.unsigned_abs() * 2 + 1).cast_signed() - most
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
            self.frozen_until = self.now + self.dice.below(3 * SECOND);
        }
        if self.happens(self.trouble.step) {
            self.ledger_ahead = self.ledger_ahead.saturating_sub(self.dice.below(5 * SECOND));
        }
    }

    fn request(&mut self, node: usize, waiter: u64, is_new: bool) {
        let (now, quota, terms, part) = (self.node_clock(node), self.quota, self.terms, self.part());
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
            Draw::Short if hand.draw_ahead(terms, part, now) => {
                if matches!(window.spend(quota, now, 1), Spend::Admitted { .. }) {
                    hand.owe(now);
                    self.admitted.push(self.now);
                } else {
                    self.refused += 1;
                }
                if !self.nodes[node].hand.is_asking() {
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
            Draw::Absent { .. } => self.nobody_to_ask(node),
        }
    }

    /// What each node may let through ahead of its leases.
    fn part(&self) -> u32 {
        part_of(self.overshoot, Some(self.nodes.len() as u32))
    }

    /// How often a node died, and forgot what it had let through ahead.
    fn deaths(&self) -> u32 {
        self.nodes.iter().map(|node| node.deaths as u32).sum()
    }

    fn nobody_to_ask(&mut self, node: usize) {
        let share = Quota { units: share_of(self.quota.units, self.nodes.len() as u32), ..self.quota };
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
        let when = (self.now + self.dice.below(longest)).max(self.nodes[node].last_word[way]);
        self.nodes[node].last_word[way] = when;
        Some(when)
    }

    fn ask_comes(&mut self, node: usize, life: u64, sent: u64) {
        if self.now < self.frozen_until {
            return self.at(self.frozen_until, Event::AskComes { node, life, sent });
        }
        let Some(at) = self.nodes[node].asks.iter().position(|(number, _)| *number == sent) else { return };
        let (_, ask) = self.nodes[node].asks.remove(at);
        let (fresh, now) = (self.dice.below(u64::MAX), Self::clock(self.now, self.ledger_ahead, self.ledger_drift));
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
