//! Who is seen together too often: many accounts from one network, many accounts with one password.
//!
//! A table of bounded size, in memory: what is counted is a sign for people to look at, and nobody is refused by it. So it may forget.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};

/// When several are a crowd.
#[derive(Clone, Copy, Debug)]
pub struct CrowdRules {
    /// So many of them …
    pub members: usize,
    /// … within this time, counted from the first.
    pub window: Duration,
    /// Of how many crowds is kept count; of more, the oldest are forgotten.
    pub capacity: usize,
}

/// Who has been seen together lately.
#[derive(Debug)]
pub struct Crowds {
    rules: CrowdRules,
    seen: HashMap<u64, Seen>,
    /// By when they began. What is in it may have begun anew since.
    order: VecDeque<(DateTime<Utc>, u64)>,
}

#[derive(Debug)]
struct Seen {
    began: DateTime<Utc>,
    /// No more than make a crowd.
    members: Vec<u32>,
}

// === impl Crowds ===

impl Crowds {
    /// None so far.
    #[must_use]
    pub fn new(rules: CrowdRules) -> Self {
        Self { rules, seen: HashMap::new(), order: VecDeque::new() }
    }

    /// Another member of the crowd `of`; is it a crowd now?
    pub fn add(&mut self, of: u64, member: u32, now: DateTime<Utc>) -> bool {
        let window = self.rules.window;
        let is_over = |began: DateTime<Utc>| began + window <= now;
        if self.seen.get(&of).is_none_or(|seen| is_over(seen.began)) {
            self.make_room(now);
            self.seen.insert(of, Seen { began: now, members: Vec::new() });
            self.order.push_back((now, of));
        }
        let Some(seen) = self.seen.get_mut(&of) else { return false };
        if seen.members.len() < self.rules.members && !seen.members.contains(&member) {
            seen.members.push(member);
        }
        seen.members.len() >= self.rules.members
    }

    /// Forgets what is over, and what is oldest when there are too many.
    fn make_room(&mut self, now: DateTime<Utc>) {
        while let Some((began, of)) = self.order.front().copied() {
            if began + self.rules.window > now && self.order.len() < self.rules.capacity {
                return;
            }
            self.order.pop_front();
            if self.seen.get(&of).is_some_and(|seen| seen.began == began) {
                self.seen.remove(&of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: CrowdRules = CrowdRules { members: 3, window: Duration::from_mins(1), capacity: 4 };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap_or_default()
    }

    #[test]
    fn so_many_different_ones_within_the_time_are_a_crowd_and_the_same_one_again_is_none() {
        let mut crowds = Crowds::new(RULES);
        for _ in 0..9 {
            assert!(!crowds.add(1, 7, at(0)), "one person who has forgotten a password");
        }
        assert!(!crowds.add(1, 8, at(1)));
        assert!(!crowds.add(2, 9, at(1)), "somewhere else");
        assert!(crowds.add(1, 9, at(59)));
        assert!(crowds.add(1, 7, at(59)), "from then on whoever comes is of it");
        assert!(!crowds.add(1, 9, at(60)), "time is over, and all begins anew");
    }

    #[test]
    fn it_keeps_count_of_so_many_and_forgets_the_oldest_first() {
        let mut crowds = Crowds::new(RULES);
        for of in 0..1000 {
            crowds.add(of, 1, at(0));
            assert!(crowds.seen.len() <= RULES.capacity && crowds.order.len() <= RULES.capacity);
        }
        let mut crowds = Crowds::new(RULES);
        for of in [1, 2, 3, 4] {
            crowds.add(of, 1, at(0));
            crowds.add(of, 2, at(0));
        }
        assert!(!crowds.add(5, 1, at(1)));
        assert!(crowds.add(2, 3, at(1)), "the second is still known");
        assert!(!crowds.add(1, 3, at(1)), "the first is not");
    }

    #[test]
    fn one_that_begins_anew_is_not_forgotten_for_having_begun_before() {
        let mut crowds = Crowds::new(RULES);
        crowds.add(1, 1, at(0));
        crowds.add(1, 1, at(60));
        crowds.add(1, 2, at(61));
        crowds.add(2, 1, at(61));
        assert!(crowds.add(1, 3, at(62)));
    }
}
