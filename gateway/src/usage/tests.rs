//! The spool: what was written is read, what was cut off is dropped, and nobody takes what somebody else writes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    fs::{self, OpenOptions},
    time::Duration,
};

use chrono::DateTime;
use store::UsageEvent;
use uuid::Uuid;

use super::spool::{Finished, Spool, segments};
use crate::metrics::Metrics;

fn event(requests: i64) -> UsageEvent {
    UsageEvent {
        id: Uuid::now_v7(),
        tenant: Some(Uuid::from_u128(1).into()),
        account: Uuid::from_u128(2).into(),
        key: None,
        at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        route: "demo".to_owned(),
        service: "claude".to_owned(),
        model: String::new(),
        request_type: String::new(),
        requests,
        tokens: 7,
        cost: 12_500,
        is_claim: false,
    }
}

fn spool(folder: &std::path::Path) -> Spool {
    Spool::open(folder, &Metrics::new().unwrap().usage).unwrap()
}

#[test]
fn what_is_written_is_read_once_it_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = spool(folder.path());
    let events: Vec<_> = (0..3).map(event).collect();
    drop(spool.add(&events[..2]).unwrap());
    drop(spool.add(&events[2..]).unwrap());
    let [path] = &segments(folder.path()).unwrap()[..] else { panic!("one segment") };
    assert!(Finished::open(path.clone()).unwrap().is_none(), "it is still written");
    spool.close_if_due(Duration::from_hours(1));
    assert!(Finished::open(path.clone()).unwrap().is_none(), "it is neither old nor long");
    spool.close();
    let finished = Finished::open(path.clone()).unwrap().unwrap();
    assert_eq!((&finished.events, finished.is_torn), (&events, false));
    assert!(Finished::open(path.clone()).unwrap().is_none(), "somebody carries it");
    drop(finished);
    drop(spool.add(&events).unwrap());
    assert_eq!(segments(folder.path()).unwrap().len(), 2, "another one follows");
}

#[test]
fn whatever_the_moment_of_its_death_a_process_leaves_whole_records_and_a_tail_that_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = spool(folder.path());
    let events: Vec<_> = (0..3).map(event).collect();
    drop(spool.add(&events).unwrap());
    spool.close();
    let path = segments(folder.path()).unwrap().remove(0);
    let whole = fs::read(&path).unwrap();
    let mut found = Vec::new();
    for length in 0..=whole.len() {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
        fs::write(&path, &whole[..length]).unwrap();
        let finished = Finished::open(path.clone()).unwrap().unwrap();
        assert_eq!(finished.events, events[..finished.events.len()], "cut off at {length}");
        found.push((finished.events.len(), finished.is_torn));
    }
    assert_eq!(
        found.iter().filter(|(_, is_torn)| !is_torn).count(),
        5,
        "nothing at all, the beginning, and each record's end"
    );
    assert_eq!(found.last(), Some(&(3, false)));
    // Nor is anything believed of which one bit is wrong.
    for position in 8..whole.len() {
        let mut wrong = whole.clone();
        wrong[position] ^= 1;
        fs::write(&path, &wrong).unwrap();
        let finished = Finished::open(path.clone()).unwrap().unwrap();
        assert!(finished.is_torn && finished.events == events[..finished.events.len()], "wrong at {position}");
    }
}

#[test]
fn drafts_of_dead_processes_are_removed_and_those_of_living_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, living) = (folder.path().join("a.new"), folder.path().join("b.new"));
    fs::write(&dead, "").unwrap();
    let held = fs::File::create(&living).unwrap();
    held.try_lock().unwrap();
    assert!(segments(folder.path()).unwrap().is_empty());
    assert!(!dead.exists() && living.exists());
}
