//! The spool: what was written is read, what was cut off is dropped, and nobody takes what somebody else writes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, time::Duration};

use store::{PoolSettings, Store, UsageAsked, UsageBy, UsageEvent, Used};
use uuid::Uuid;

use super::{
    carrier::Carrier,
    spool::{Finished, Spool, segments},
    sums::{Kind, Sum, Sums},
};
use crate::metrics::Metrics;

fn kind(account: u128) -> Kind {
    Kind {
        account: Uuid::from_u128(account),
        key: None,
        tenant: Some(Uuid::from_u128(1)),
        route: "demo".into(),
        day: 20_833,
        service: Some("claude".into()),
        model: None,
        request_type: None,
    }
}

/// What callers have used: of each how many requests.
fn sums(of: &[(u128, i64)]) -> Sums {
    of.iter()
        .map(|(account, requests)| (kind(*account), Sum { requests: *requests, tokens: 7, cost: 12_500 }))
        .collect()
}

/// What is read of it: account by account the requests and tokens.
fn read(used: &[Used]) -> Vec<(u128, i64, i64)> {
    let mut read: Vec<_> =
        used.iter().map(|used| (used.account.uuid().as_u128(), used.requests, used.tokens)).collect();
    read.sort_unstable();
    read
}

fn spool(folder: &std::path::Path) -> Spool {
    Spool::open(folder, &Metrics::new().unwrap().usage).unwrap()
}

#[test]
fn what_is_written_is_read_once_it_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = spool(folder.path());
    drop(spool.add(&sums(&[(2, 1), (3, 1)]), &[]).unwrap());
    drop(spool.add(&sums(&[(3, 4), (4, 1)]), &[]).unwrap());
    let [path] = &segments(folder.path()).unwrap()[..] else { panic!("one segment") };
    assert!(Finished::open(path.clone()).unwrap().is_none(), "it is still written");
    spool.close_if_due(Duration::from_hours(1));
    assert!(Finished::open(path.clone()).unwrap().is_none(), "it is neither old nor long");
    spool.close();
    let finished = Finished::open(path.clone()).unwrap().unwrap();
    assert_eq!((read(&finished.used), finished.is_torn), (vec![(2, 1, 7), (3, 5, 14), (4, 1, 7)], false));
    let of_three = finished.used.iter().find(|used| used.requests == 5).unwrap();
    let (at, cost) = (of_three.at.to_rfc3339(), of_three.cost);
    assert_eq!(
        (&*at, &*of_three.route, &*of_three.service, cost),
        ("2027-01-15T00:00:00+00:00", "demo", "claude", 25_000)
    );
    let batches = [0, 1].map(|number| finished.batch(number));
    assert_ne!(batches[0], batches[1]);
    assert!(Finished::open(path.clone()).unwrap().is_none(), "somebody carries it");
    drop(finished);
    let again = Finished::open(path.clone()).unwrap().unwrap();
    assert_eq!([0, 1].map(|number| again.batch(number)), batches, "the same, whoever carries it");
    drop(spool.add(&sums(&[(2, 1)]), &[]).unwrap());
    assert_eq!(segments(folder.path()).unwrap().len(), 2, "another one follows");
}

#[test]
fn whatever_the_moment_of_its_death_a_process_leaves_whole_records_and_a_tail_that_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = spool(folder.path());
    let mut whole_ones = vec![vec![]];
    for (account, requests) in [(3, 1), (4, 2), (5, 3)] {
        drop(spool.add(&sums(&[(2, requests), (account, 1)]), &[]).unwrap());
        let [path] = &segments(folder.path()).unwrap()[..] else { panic!("one segment") };
        let copy = folder.path().join("copy");
        fs::copy(path, &copy).unwrap();
        whole_ones.push(read(&Finished::open(copy).unwrap().unwrap().used));
    }
    spool.close();
    let path = segments(folder.path()).unwrap().remove(0);
    let whole = fs::read(&path).unwrap();
    let mut last = 0;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let finished = Finished::open(path.clone()).unwrap().unwrap();
        let found = whole_ones.iter().position(|sums| *sums == read(&finished.used));
        assert!(found >= Some(last), "cut off at {length}: {:?}", read(&finished.used));
        last = found.unwrap();
        assert!(!finished.is_torn || length < whole.len(), "{length}");
    }
    assert_eq!(last, 3);
    // Nor is anything believed of which one bit is wrong.
    for position in 8..whole.len() {
        let mut wrong = whole.clone();
        wrong[position] ^= 1;
        fs::write(&path, &wrong).unwrap();
        let finished = Finished::open(path.clone()).unwrap().unwrap();
        let found = whole_ones.iter().position(|sums| *sums == read(&finished.used));
        assert!(finished.is_torn && found < Some(3), "wrong at {position}");
    }
}

/// As the version before has written it, which may have died with it.
#[test]
fn a_report_is_written_in_the_same_words_as_ever_and_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"id":"00000000-0000-0000-0000-000000000009","is_claim":true,"tenant":null,"account":"00000000-0000-0000-0000-000000000002","key":"00000000-0000-0000-0000-000000000003","at":"2027-01-15T08:30:00.000001Z","route":"","service":"claude","model":"opus","request_type":"","requests":1,"tokens":7,"cost":12500}"#;
    let event: store::UsageEvent = serde_json::from_str(text).unwrap();
    assert_eq!((event.used.key.map(|key| key.uuid().as_u128()), event.used.tenant), (Some(3), None));
    let mut spool = spool(folder.path());
    drop(spool.add(&Sums::new(), std::slice::from_ref(&event)).unwrap());
    spool.close();
    let path = segments(folder.path()).unwrap().remove(0);
    let written = fs::read(&path).unwrap();
    let (_, written) = written.split_at(8 + 4 + 4 + 1);
    let same = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(same(written), same(text.as_bytes()));
    assert_eq!(Finished::open(path).unwrap().unwrap().events, [event]);
}

/// A report of somebody's use in a tenant's name.
fn event(tenant: u128, tokens: i64) -> UsageEvent {
    let used = Used {
        tenant: Some(Uuid::from_u128(tenant).into()),
        account: Uuid::from_u128(2).into(),
        key: None,
        at: Kind::at(20_833),
        route: String::new(),
        service: "claude".to_owned(),
        model: String::new(),
        request_type: String::new(),
        requests: 1,
        tokens,
        cost: 0,
    };
    UsageEvent { id: Uuid::now_v7(), used, is_claim: false }
}

#[tokio::test]
async fn what_the_database_refuses_of_one_tenant_is_set_aside_and_what_others_used_is_counted_once() {
    /// Nobody's use is below zero; and to this nothing that is can be added: either engine refuses it.
    const LEAST: i64 = i64::MIN;
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_secs(30);
    let pool = PoolSettings { max_connections: 1, acquire_timeout: patience, statement_timeout: patience };
    let store = Store::connect("sqlite::memory:", pool).await.unwrap();
    store.migrate().await.unwrap();
    let (mut spool, metrics) = (spool(folder.path()), Metrics::new().unwrap().usage);
    let carrier =
        Carrier::new(folder.path().to_owned(), store.clone(), Duration::ZERO, spool.backlog(), metrics.clone());
    let names = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let counted = async || {
        let asked = UsageAsked {
            tenant: Some(Uuid::from_u128(1).into()),
            account: None,
            days: ("0000".to_owned(), "9999".to_owned()),
            by: vec![UsageBy::Service],
            after: None,
            limit: 9,
            most_rows: 9,
        };
        let totals = store.usage(&asked).await.unwrap().totals;
        totals.iter().map(|total| (total.requests, total.tokens)).collect::<Vec<_>>()
    };
    let refused = || metrics.failures.with_label_values(&["refused"]).get();
    for reports in [vec![], vec![event(1, 7), event(9, LEAST)]] {
        let of_nine =
            (Kind { tenant: Some(Uuid::from_u128(9)), ..kind(3) }, Sum { requests: 1, tokens: LEAST, cost: 0 });
        let sums: Sums = sums(&[(2, 1)]).into_iter().chain([of_nine]).collect();
        drop(spool.add(&sums, &reports).unwrap());
        spool.close();
        carrier.carry_once().await;
    }
    let [segment] = &names()[..] else { panic!("one segment") };
    assert!(segment.contains(".apart"), "{segment}");
    assert_eq!((counted().await, refused()), (vec![(1, 7)], 0), "as a whole it is refused");
    let aside = format!("{segment}.refused");
    for times in 1..=2 {
        carrier.carry_once().await;
        assert_eq!((counted().await, refused(), names()), (vec![(3, 21)], times, vec![aside.clone()]));
        // Whoever has mended what is wrong with it brings it again.
        fs::rename(folder.path().join(&aside), folder.path().join(segment)).unwrap();
    }
}

#[test]
fn the_more_callers_a_segment_names_the_longer_it_is_open_and_it_does_not_name_any_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = spool(folder.path());
    for (callers, is_open) in [(1_000, true), (100_000, false)] {
        let many: Vec<_> = (0..callers).map(|account| (account, 1)).collect();
        drop(spool.add(&sums(&many), &[]).unwrap());
        spool.close_if_due(Duration::ZERO);
        let path = segments(folder.path()).unwrap().remove(0);
        assert_eq!(Finished::open(path).unwrap().is_none(), is_open, "{callers}");
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
