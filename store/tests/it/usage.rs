//! Usage: counted once, whoever brings it and however often; added up as it is asked for; walled off between tenants.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use identity::{AccountId, ApiKey, Email, KeyId, TenantId};
use store::{
    Account, AccountKind, Belonging, Misplaced, NewAccount, NewKey, Store, UsageAsked, UsageBy, UsageEvent, UsageTotal,
    Used,
};
use uuid::Uuid;

use crate::engines::{Database, at, hash, on_both_engines, person, session};

on_both_engines!(
    what_several_nodes_bring_again_and_again_is_counted_once,
    totals_are_of_what_is_asked_and_come_a_page_at_a_time,
    every_question_is_answered_the_same_in_pages_of_any_length,
    forgotten_events_stay_in_the_totals,
    a_batch_is_counted_once_and_as_a_whole,
    a_part_of_a_batch_is_counted_unless_it_or_the_whole_was,
    sums_end_at_the_largest_number_and_cost_nobody_else_theirs,
    what_a_gateway_of_the_version_before_counts_is_in_the_totals,
    totals_of_days_go_when_they_are_old_and_those_of_months_stay,
    what_was_used_is_its_tenants_whatever_has_become_of_key_member_and_account,
    the_tenants_that_somebody_has_left_are_known,
);

pub(crate) fn event(tenant: u128, account: u128, model: &str) -> UsageEvent {
    UsageEvent { id: Uuid::now_v7(), used: used(tenant, account, model), is_claim: false }
}

fn used(tenant: u128, account: u128, model: &str) -> Used {
    Used {
        tenant: Some(TenantId::new(Uuid::from_u128(tenant))),
        account: AccountId::new(Uuid::from_u128(account)),
        key: None,
        at: at(0),
        route: "demo".to_owned(),
        service: "claude".to_owned(),
        model: model.to_owned(),
        request_type: String::new(),
        requests: 1,
        tokens: 10,
        cost: 3,
    }
}

fn asked(tenant: u128, by: &[UsageBy]) -> UsageAsked {
    UsageAsked {
        tenant: Some(TenantId::new(Uuid::from_u128(tenant))),
        account: None,
        days: ("0000".to_owned(), "9999".to_owned()),
        by: by.to_vec(),
        after: None,
        limit: 100,
        most_rows: 10_000,
    }
}

async fn totals(store: &Store, asked: &UsageAsked) -> Vec<(String, i64, i64, i64)> {
    let page = store.usage(asked).await.unwrap();
    assert!(!page.has_more);
    page.totals
        .into_iter()
        .map(|UsageTotal { of, requests, tokens, cost }| (of.join(" "), requests, tokens, cost))
        .collect()
}

async fn what_several_nodes_bring_again_and_again_is_counted_once(database: &Database) {
    let store = database.open().await;
    let events: Vec<_> = (0..600).map(|n| event(1, 2 + n % 3, &format!("m{}", n % 7))).collect();
    let nodes: Vec<_> = (0..4)
        .map(|node| {
            let (url, mut events) = (database.url.clone(), events.clone());
            tokio::spawn(async move {
                let store = Store::connect(&url, crate::engines::settings()).await.unwrap();
                // Each in another order, and one of them twice within one batch.
                events.rotate_left(node * 150);
                events.push(events[0].clone());
                store.count_usage(&events, at(1)).await.unwrap().len()
            })
        })
        .collect();
    let mut fresh = 0;
    for node in nodes {
        fresh += node.await.unwrap();
    }
    assert_eq!(fresh, 600);
    assert_eq!(store.count_usage(&events, at(2)).await.unwrap(), BTreeSet::new());
    let days = totals(&store, &asked(1, &[UsageBy::Service])).await;
    assert_eq!(days, [("claude".to_owned(), 600, 6000, 1800)]);
    let months: Vec<(i64,)> =
        database.rows("SELECT cost FROM portcullis.usage_months", "SELECT cost FROM usage_months").await;
    assert_eq!(months, [(1800,)]);
}

async fn totals_are_of_what_is_asked_and_come_a_page_at_a_time(database: &Database) {
    let store = database.open().await;
    let mut events: Vec<_> = (0..5).map(|n| event(1, 2, &format!("m{n}"))).collect();
    events.push(event(9, 2, "theirs"));
    let later = Used { at: at(0) + TimeDelta::days(1), ..used(1, 3, "m0") };
    events.push(UsageEvent { used: later, ..event(0, 0, "") });
    store.count_usage(&events, at(1)).await.unwrap();
    let by_account = totals(&store, &asked(1, &[UsageBy::Account])).await;
    let id = |n| Uuid::from_u128(n).to_string();
    assert_eq!(by_account, [(id(2), 5, 50, 15), (id(3), 1, 10, 3)]);
    let one =
        UsageAsked { account: Some(AccountId::new(Uuid::from_u128(3))), ..asked(1, &[UsageBy::Model, UsageBy::Key]) };
    assert_eq!(totals(&store, &one).await, [("m0 ".to_owned(), 1, 10, 3)]);
    let first_day = at(0).format("%Y-%m-%d").to_string();
    let day = UsageAsked { days: (first_day.clone(), first_day), ..asked(1, &[UsageBy::Day]) };
    assert_eq!(totals(&store, &day).await.len(), 1);
    let models: Vec<_> = paged(&store, &asked(1, &[UsageBy::Account, UsageBy::Model]), 2, 10_000).await;
    let models: Vec<_> = models.into_iter().map(|mut total| total.of.remove(1)).collect();
    assert_eq!(models, ["m0", "m1", "m2", "m3", "m4", "m0"]);
}

/// All lines, asked for a page of so many lines and rows at a time.
async fn paged(store: &Store, asked: &UsageAsked, limit: u32, most_rows: u32) -> Vec<UsageTotal> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = store.usage(&UsageAsked { after, limit, most_rows, ..asked.clone() }).await.unwrap();
        assert!(page.totals.len() <= limit as usize && !(page.has_more && page.totals.is_empty()), "{page:?}");
        after = page.totals.last().map(|total| total.of.clone());
        all.extend(page.totals);
        if !page.has_more {
            return all;
        }
    }
}

/// However it is asked and wherever its pages end an answer is what is added up by hand.
async fn every_question_is_answered_the_same_in_pages_of_any_length(database: &Database) {
    let store = database.open().await;
    let mut events = Vec::new();
    for n in 0..48_u128 {
        // Each key is one account's, who goes without it as well.
        let key = (n % 3 > 0 && n % 2 == 0).then(|| KeyId::new(Uuid::from_u128(900 + n % 8)));
        let at = at(0) + TimeDelta::days((n % 3) as i64 * 17);
        let used = Used { key, at, tokens: n as i64, ..used(1, 2 + n % 8, &format!("m{}", n % 5)) };
        events.push(UsageEvent { used, ..event(0, 0, "") });
    }
    store.count_usage(&events, at(1)).await.unwrap();
    let of = |event: &UsageEvent, by: UsageBy| match by {
        UsageBy::Day => event.used.at.format("%Y-%m-%d").to_string(),
        UsageBy::Account => event.used.account.to_string(),
        UsageBy::Key => event.used.key.map(|key| key.to_string()).unwrap_or_default(),
        UsageBy::Route => event.used.route.clone(),
        UsageBy::Service => event.used.service.clone(),
        UsageBy::Model => event.used.model.clone(),
        UsageBy::RequestType => event.used.request_type.clone(),
    };
    let questions = [
        vec![UsageBy::Day],
        vec![UsageBy::Key],
        vec![UsageBy::Account],
        vec![UsageBy::Model],
        vec![UsageBy::Day, UsageBy::Key],
        vec![UsageBy::Model, UsageBy::Key],
        vec![UsageBy::Key, UsageBy::Account],
        vec![UsageBy::Model, UsageBy::Day, UsageBy::Account],
        vec![UsageBy::RequestType, UsageBy::Day],
        UsageBy::ALL.to_vec(),
    ];
    for (by, account) in questions.iter().flat_map(|by| [(by, None), (by, Some(AccountId::new(Uuid::from_u128(4))))]) {
        let mut expected = std::collections::BTreeMap::<Vec<String>, (i64, i64)>::new();
        for event in events.iter().filter(|event| account.is_none_or(|account| event.used.account == account)) {
            let line = expected.entry(by.iter().map(|by| of(event, *by)).collect()).or_default();
            *line = (line.0 + 1, line.1 + event.used.tokens);
        }
        let question = UsageAsked { account, ..asked(1, by) };
        let whole = paged(&store, &question, 200, 10_000).await;
        let found = whole.iter().map(|total| (total.of.clone(), (total.requests, total.tokens))).collect();
        assert_eq!(expected, found, "{by:?} {account:?}");
        for (limit, most_rows) in [(3, 10_000), (200, 1), (2, 7)] {
            let pages = paged(&store, &question, limit, most_rows).await;
            assert_eq!(whole, pages, "{by:?} {account:?} {limit} {most_rows}");
        }
    }
    // Lines by key begin with what came by none.
    let by_key = totals(&store, &asked(1, &[UsageBy::Key])).await;
    assert_eq!(by_key[0].0, "");
}

async fn forgotten_events_stay_in_the_totals(database: &Database) {
    let store = database.open().await;
    let (old, young) = (event(1, 2, "old"), event(1, 2, "young"));
    store.count_usage(std::slice::from_ref(&old), at(0)).await.unwrap();
    store.count_usage(std::slice::from_ref(&young), at(100)).await.unwrap();
    assert_eq!(store.forget_usage(at(50)).await.unwrap(), 1);
    assert_eq!(totals(&store, &asked(1, &[UsageBy::Service])).await, [("claude".to_owned(), 2, 20, 6)]);
    assert!(store.count_usage(&[young], at(101)).await.unwrap().is_empty());
    // Nobody keeps it for so long: its id is forgotten.
    assert_eq!(store.count_usage(&[old], at(101)).await.unwrap().len(), 1);
}

async fn a_batch_is_counted_once_and_as_a_whole(database: &Database) {
    let store = database.open().await;
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    // More than a statement takes, some of them of one total.
    let many: Vec<_> = (0..1200).map(|n| used(1, n % 700, "m")).collect();
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let (url, many) = (database.url.clone(), many.clone());
            tokio::spawn(async move {
                let store = Store::connect(&url, crate::engines::settings()).await.unwrap();
                store.count_batch(first, &many, at(1)).await.unwrap()
            })
        })
        .collect();
    let mut new = 0;
    for node in nodes {
        new += usize::from(node.await.unwrap());
    }
    assert_eq!(new, 1);
    assert!(store.count_batch(second, &many[..3], at(1)).await.unwrap());
    assert!(!store.count_batch(first, &many, at(2)).await.unwrap());
    assert_eq!(totals(&store, &asked(1, &[UsageBy::Service])).await, [("claude".to_owned(), 1203, 12_030, 3609)]);
    assert_eq!(store.forget_usage(at(2)).await.unwrap(), 2);
    assert!(store.count_batch(first, &many, at(3)).await.unwrap(), "its id is forgotten");
}

async fn a_part_of_a_batch_is_counted_unless_it_or_the_whole_was(database: &Database) {
    let store = database.open().await;
    let [whole, first, second, other] = [1, 2, 3, 4].map(Uuid::from_u128);
    let used = [used(1, 2, "m")];
    for (part, whole, is_new) in [
        (first, whole, true),
        (first, whole, false),
        (second, whole, true),
        (other, other, true),
        (second, other, false),
    ] {
        assert_eq!(store.count_part(part, whole, &used, at(1)).await.unwrap(), is_new, "{part} {whole}");
    }
    assert!(store.count_batch(whole, &used, at(1)).await.unwrap());
    assert!(!store.count_part(Uuid::from_u128(5), whole, &used, at(1)).await.unwrap(), "the whole was counted");
    assert_eq!(totals(&store, &asked(1, &[UsageBy::Service])).await, [("claude".to_owned(), 4, 40, 12)]);
}

async fn sums_end_at_the_largest_number_and_cost_nobody_else_theirs(database: &Database) {
    const MOST: i64 = i64::MAX;
    let store = database.open().await;
    let (first_day, next_day) = (at(0), at(0) + TimeDelta::days(1));
    let key = KeyId::new(Uuid::from_u128(9));
    let huge = Used { tokens: MOST - 5, cost: MOST - 5, ..used(1, 2, "m") };
    let later = Used { at: next_day, ..huge.clone() };
    let by_key = Used { key: Some(key), ..later.clone() };
    let nobodys = [&huge, &later, &used(1, 3, "m")].map(|used| Used { tenant: None, ..used.clone() });
    let batch = [&[huge, later, by_key, used(7, 3, "m")][..], &nobodys[..]].concat();
    for id in 1..=2 {
        assert!(store.count_batch(Uuid::from_u128(id), &batch, at(1)).await.unwrap());
    }
    let full = |of: String, requests: i64| (of, requests, MOST, MOST);
    let day = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d").to_string();
    let account = Uuid::from_u128(2).to_string();
    for (by, lines) in [
        (UsageBy::Service, vec![full("claude".to_owned(), 6)]),
        (UsageBy::Day, vec![full(day(first_day), 2), full(day(next_day), 4)]),
        (UsageBy::Key, vec![full(String::new(), 4), full(key.to_string(), 2)]),
        (UsageBy::Account, vec![full(account, 6)]),
    ] {
        assert_eq!(totals(&store, &asked(1, &[by])).await, lines, "{by:?}");
    }
    assert_eq!(totals(&store, &asked(7, &[UsageBy::Service])).await, [("claude".to_owned(), 2, 20, 6)]);
    // What two accounts have used in nobody's name is theirs, as if each were a tenant.
    store.charge_accounts().await.unwrap();
    let months: Vec<(i64,)> = database
        .rows("SELECT cost FROM portcullis.usage_months ORDER BY cost", "SELECT cost FROM usage_months ORDER BY cost")
        .await;
    assert_eq!(months, [6, 6, MOST, MOST, MOST].map(|cost| (cost,)));
    // Below it nothing is rounded.
    let one = Used { tokens: MOST - 2, cost: (1_i64 << 53) + 1, ..used(5, 2, "m") };
    let other = Used { tokens: 1, cost: (1_i64 << 32) - 1, at: next_day, ..one.clone() };
    assert!(store.count_batch(Uuid::from_u128(3), &[one, other], at(1)).await.unwrap());
    let exact = ("claude".to_owned(), 2, MOST - 1, (1_i64 << 53) + (1_i64 << 32));
    assert_eq!(totals(&store, &asked(5, &[UsageBy::Service])).await, [exact]);
}

async fn what_a_gateway_of_the_version_before_counts_is_in_the_totals(database: &Database) {
    const POSTGRES: &str = "INSERT INTO portcullis.usage_days \
        SELECT tenant_id, day, account_id, key_id, route, service, 'other', request_type, 1, 1, 1 FROM portcullis.usage_days; \
        UPDATE portcullis.usage_months SET requests = requests + 1, tokens = tokens + 1, cost = cost + 1";
    const SQLITE: &str = "INSERT INTO usage_days \
        SELECT tenant_id, day, account_id, key_id, route, service, 'other', request_type, 1, 1, 1 FROM usage_days; \
        UPDATE usage_months SET requests = requests + 1, tokens = tokens + 1, cost = cost + 1";
    let store = database.open().await;
    store.count_usage(&[event(1, 2, "m")], at(1)).await.unwrap();
    let by_service = asked(1, &[UsageBy::Service]);
    let by_key = asked(1, &[UsageBy::Key]);
    assert_eq!(totals(&store, &by_service).await, [("claude".to_owned(), 1, 10, 3)]);
    assert_eq!(totals(&store, &by_key).await, [(String::new(), 1, 10, 3)]);
    database.execute(POSTGRES, SQLITE).await;
    assert_eq!(totals(&store, &by_service).await, [("claude".to_owned(), 2, 11, 4)]);
    assert_eq!(totals(&store, &by_key).await, [(String::new(), 2, 11, 4)]);
    // What is counted since by this version does not hide what is lacking.
    store.count_usage(&[event(1, 2, "m")], at(2)).await.unwrap();
    assert_eq!(totals(&store, &by_service).await, [("claude".to_owned(), 3, 21, 7)]);
    // To go through the step again puts it into the sums.
    while store.migrations_status().await.unwrap().iter().any(|step| step.version >= 27 && step.applied_at.is_some()) {
        store.revert_last().await.unwrap();
    }
    store.migrate().await.unwrap();
    assert_eq!(totals(&store, &by_service).await, [("claude".to_owned(), 3, 21, 7)]);
    assert_eq!(totals(&store, &by_key).await, [(String::new(), 3, 21, 7)]);
    database.execute("DELETE FROM portcullis.usage_days", "DELETE FROM usage_days").await;
    assert_eq!(totals(&store, &by_service).await, [("claude".to_owned(), 3, 21, 7)], "of the sums");
    assert_eq!(totals(&store, &by_key).await, [(String::new(), 3, 21, 7)], "of the sums");
}

async fn totals_of_days_go_when_they_are_old_and_those_of_months_stay(database: &Database) {
    let store = database.open().await;
    let next = at(0) + TimeDelta::days(1);
    let mut events: Vec<_> = (0..1001).map(|n| event(1, 2 + n, "old")).collect();
    let young = Used { at: next, ..used(1, 2, "young") };
    events.push(UsageEvent { used: young, ..event(0, 0, "") });
    store.count_usage(&events, at(1)).await.unwrap();
    assert_eq!(store.forget_usage_days(at(0)).await.unwrap(), 0, "a day is kept as long as anything of it is");
    assert_eq!(
        store.forget_usage_days(next).await.unwrap(),
        1001 + 2,
        "of each account, of all, and of all without keys"
    );
    let left = totals(&store, &asked(1, &[UsageBy::Model])).await;
    assert_eq!(left, [("young".to_owned(), 1, 10, 3)]);
    let months: Vec<(i64,)> =
        database.rows("SELECT cost FROM portcullis.usage_months", "SELECT cost FROM usage_months").await;
    assert_eq!(months, [(3006,)]);
}

/// Somebody who belongs to a tenant that is another one's.
async fn joined(store: &Store, email: &str, tenant: TenantId) -> Account {
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &Email::parse(email).unwrap(),
        password_hash: hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::Joins(tenant),
        now: at(0),
    };
    store.create_account(new).await.unwrap()
}

async fn key(store: &Store, account: &Account, tenant: Option<TenantId>) -> KeyId {
    let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng());
    let new = NewKey {
        id: key.id(),
        account: account.id,
        by: None,
        tenant,
        name: "a key".to_owned(),
        prefix: key.prefix(),
        digest: key.digest(),
        scopes: None,
        networks: None,
        expires_at: None,
        most: 9,
        now: at(0),
    };
    store.create_key(new).await.unwrap().id
}

async fn what_was_used_is_its_tenants_whatever_has_become_of_key_member_and_account(database: &Database) {
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    let other = store.create_tenant("Other", boss.id, 9, at(0)).await.unwrap().id;
    let ada = joined(&store, "ada@example.com", work).await;
    let [key, nowhere] = [key(&store, &ada, Some(work)).await, key(&store, &ada, None).await];
    let home = store.create_tenant("Home", ada.id, 9, at(0)).await.unwrap().id;
    let (login, _) = session(&store, &ada).await;
    store.switch_tenant(login, ada.id, home, at(0)).await.unwrap();
    let said = |account: AccountId, key, tenant| UsageEvent {
        used: Used { account, key, tenant, ..used(0, 0, "m") },
        is_claim: true,
        ..event(0, 0, "")
    };
    let place = async |account, key, tenant| store.place_usage(&said(account, key, tenant).used).await.unwrap();
    assert_eq!(place(ada.id, None, None).await, Ok(Some(home)));
    assert_eq!(place(ada.id, Some(key), None).await, Ok(Some(work)), "the key's, whatever her own is");
    assert_eq!(place(ada.id, Some(key), Some(home)).await, Err(Misplaced::Tenant));
    assert_eq!(place(ada.id, Some(nowhere), None).await, Ok(None), "it acts in none");
    assert_eq!(place(ada.id, None, Some(work)).await, Ok(Some(work)));
    assert_eq!(place(ada.id, None, Some(other)).await, Err(Misplaced::Tenant), "she never belonged to it");
    assert_eq!(place(boss.id, Some(key), None).await, Err(Misplaced::Key));
    let nobody = AccountId::new(Uuid::from_u128(99));
    assert_eq!(place(nobody, None, Some(work)).await, Err(Misplaced::Account));
    assert_eq!(place(nobody, None, None).await, Err(Misplaced::Account));

    // She leaves, and is charged all the same.
    store.count_usage(&[UsageEvent { is_claim: false, ..said(ada.id, None, Some(work)) }], at(1)).await.unwrap();
    store.remove_member(work, ada.id, None, at(2)).await.unwrap();
    assert_eq!(place(ada.id, Some(key), None).await, Ok(Some(work)), "its key is revoked now");
    assert_eq!(place(ada.id, None, Some(work)).await, Ok(Some(work)));
    // Her account goes, and her key with it: what is named counts.
    store.delete_account(ada.id, None, at(3)).await.unwrap();
    assert_eq!(place(ada.id, Some(key), Some(work)).await, Ok(Some(work)));
    assert_eq!(place(ada.id, None, Some(other)).await, Err(Misplaced::Account));
    let wrong = [said(nobody, None, None), said(ada.id, None, Some(work))];
    let fresh = store.count_usage(&wrong, at(4)).await.unwrap();
    assert_eq!(fresh, BTreeSet::from([wrong[1].id]), "what is not so is not counted, and holds up nothing");
}

async fn the_tenants_that_somebody_has_left_are_known(database: &Database) {
    const NOTED_SINCE: i64 = 42;
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    let gone = store.create_tenant("Gone", boss.id, 9, at(0)).await.unwrap().id;
    let ada = joined(&store, "ada@example.com", work).await;
    let bob = joined(&store, "bob@example.com", gone).await;
    let left = async |account| store.tenants_left(account).await.unwrap();
    for id in [ada.id, bob.id, boss.id] {
        assert_eq!(left(id).await, []);
    }
    store.remove_member(work, ada.id, None, at(1)).await.unwrap();
    store.delete_tenant(gone, None, at(1)).await.unwrap();
    assert_eq!((left(ada.id).await, left(bob.id).await, left(boss.id).await), (vec![work], vec![gone], vec![gone]));
    // Nobody of them has had a session or a key there.
    for (account, tenant, placed) in
        [(ada.id, work, Ok(Some(work))), (bob.id, gone, Ok(Some(gone))), (ada.id, gone, Err(Misplaced::Tenant))]
    {
        let used = Used { account, tenant: Some(tenant), ..used(0, 0, "m") };
        assert_eq!(store.place_usage(&used).await.unwrap(), placed);
    }
    // What was used by members is no reason, and what was used of no tenant's neither.
    for (account, tenant) in [(ada.id, Some(work)), (boss.id, Some(work)), (bob.id, None), (bob.id, Some(gone))] {
        let used = Used { account, tenant, ..used(0, 0, "m") };
        store.count_usage(&[UsageEvent { used, ..event(0, 0, "") }], at(2)).await.unwrap();
    }
    let steps = store.migrations_status().await.unwrap();
    for _ in steps.iter().filter(|step| step.version >= NOTED_SINCE) {
        store.revert_last().await.unwrap();
    }
    store.migrate().await.unwrap();
    assert_eq!((left(ada.id).await, left(bob.id).await, left(boss.id).await), (vec![work], vec![gone], vec![]));
    // And by hand, as migrations/README.md has it, of those who have left by a gateway that does not write it down.
    let (postgres, sqlite) = (
        include_str!("../../../migrations/postgres/0042_left_tenants.up.sql"),
        include_str!("../../../migrations/sqlite/0042_left_tenants.up.sql"),
    );
    let (_, insert) = if database.is_sqlite() { sqlite } else { postgres }.split_once("\nINSERT").unwrap();
    let (insert, _) = insert.split_once(';').unwrap();
    database.execute_text("DELETE FROM left_tenants").await;
    for _ in 0..2 {
        database.execute_text(&format!("INSERT{insert} ON CONFLICT (account_id, tenant_id) DO NOTHING")).await;
        assert_eq!((left(ada.id).await, left(bob.id).await, left(boss.id).await), (vec![work], vec![gone], vec![]));
    }
    store.delete_account(ada.id, None, at(3)).await.unwrap();
    assert_eq!(left(ada.id).await, []);
}
