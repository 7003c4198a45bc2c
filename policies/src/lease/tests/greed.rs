//! What leases promise, whatever nodes do.

use proptest::prelude::*;

use super::*;

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
