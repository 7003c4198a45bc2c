//! Bills: one for each tenant and month whoever makes them, nothing on two of them, and what is heard of payments counts once.

use chrono::DateTime;
use identity::{AccountId, TenantId};
use store::{
    AccountChange, Belonging, BillingMonth, Charge, Heard, ImportedThing, NewTier, Paid, Payment, Statement, Store,
    StoreError, Subscription, TenantChange, Thing, UsageEvent, Used,
};
use uuid::Uuid;

use crate::{
    agents::account,
    engines::{Database, at, heard, on_both_engines, person, settings, tenant},
};

on_both_engines!(
    of_many_nodes_one_makes_the_statement_and_all_of_its_webhook,
    what_comes_late_is_on_the_next_statement_and_the_first_one_stays,
    a_tenant_is_billed_for_a_month_in_which_it_was_there_or_used_something,
    what_is_heard_of_payments_counts_once,
    only_what_pays_all_of_a_statement_in_its_currency_pays_it,
    of_what_is_said_of_a_tier_the_latest_counts,
    of_several_subscriptions_the_latest_that_is_paid_says_the_tier,
    a_subscription_that_changes_hands_is_over_for_whose_it_was,
    what_is_paid_is_not_voided_and_what_is_not_paid_in_time_is_overdue,
    a_webhook_is_one_nodes_until_it_is_due_again,
    who_deletes_a_tenant_deletes_nothing_that_it_owes,
    what_a_deleted_account_owes_is_not_kept_by_its_address,
    a_month_has_the_tiers_that_were_had_in_it,
    whatever_moves_a_tenant_s_tier_leaves_a_trace_of_the_one_before,
    a_tenant_is_billed_from_when_it_came_here,
    what_is_used_in_no_tenant_s_name_is_its_account_s_to_pay,
);

fn charge(tenant: TenantId, month: &str) -> Charge {
    Charge {
        tenant,
        name: Some("Acme".to_owned()),
        month: month.to_owned(),
        tier: "pro".to_owned(),
        currency: "USD".to_owned(),
        price: 99_000_000,
        due_at: at(1000),
        now: at(10),
    }
}

async fn used(store: &Store, tenant: TenantId, cost: i64) {
    used_by(store, Some(tenant), AccountId::new(Uuid::from_u128(1)), cost).await;
}

async fn used_by(store: &Store, tenant: Option<TenantId>, account: AccountId, cost: i64) {
    let used = Used {
        tenant,
        account,
        key: None,
        at: at(0),
        route: String::new(),
        service: "claude".to_owned(),
        model: String::new(),
        request_type: String::new(),
        requests: 1,
        tokens: 5,
        cost,
    };
    let event = UsageEvent { id: Uuid::now_v7(), used, is_claim: false };
    assert_eq!(store.count_usage(&[event], at(1)).await.unwrap().len(), 1);
}

async fn bill(store: &Store, charge: &Charge) -> Option<Statement> {
    store.bill(charge, |_| None).await.unwrap()
}

/// The month of `at(0)`, and those after it.
fn month(later: u32) -> String {
    let first = at(0).date_naive().checked_add_months(chrono::Months::new(later)).unwrap();
    first.format("%Y-%m").to_string()
}

/// A month between these seconds, by the name of that of `at(0)`.
fn between(begins: i64, ends: i64) -> BillingMonth {
    BillingMonth { name: month(0), begins: at(begins), ends: at(ends) }
}

async fn tiers(store: &Store, tenant: TenantId, begins: i64, ends: i64) -> Vec<String> {
    let mut tiers = store.tiers_within(tenant, &between(begins, ends)).await.unwrap();
    tiers.sort();
    tiers
}

async fn set_tier(store: &Store, tenant: TenantId, tier: Option<&str>, second: i64) {
    let change = TenantChange { tier: Some(tier.map(str::to_owned)), ..TenantChange::default() };
    store.change_tenant(tenant, change, at(second)).await.unwrap();
}

/// Who is billed for a month that ends at this second: those that are there, and those that are not.
async fn unbilled(store: &Store, begins: i64, ends: i64) -> Vec<(Uuid, Option<String>, bool)> {
    let month = between(begins, ends);
    let mut found = store.unbilled(&month, Uuid::nil(), 10).await.unwrap();
    found.extend(store.unbilled_gone(&month, Uuid::nil(), 10).await.unwrap());
    found.into_iter().map(|one| (one.tenant_id, one.name, one.was_there)).collect()
}

async fn of_many_nodes_one_makes_the_statement_and_all_of_its_webhook(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    used(&store, tenant, 250).await;
    let nodes: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move {
                let store = Store::connect(&url, settings()).await.unwrap();
                let made = store.bill(&charge(tenant, &month(0)), |made| Some(made.id.to_string())).await.unwrap();
                made.map(|statement| (statement.price, statement.usage, statement.requests, statement.tokens))
            })
        })
        .collect();
    let mut made = Vec::new();
    for node in nodes {
        made.extend(node.await.unwrap());
    }
    assert_eq!(made, [(99_000_000, 250, 1, 5)]);
    let page = store.list_statements(Some(tenant), None, 10).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].status.as_str()), (1, "open"));
    let told = store.claim_webhook(at(20), at(80)).await.unwrap().unwrap();
    assert_eq!(told.body, page.items[0].id.to_string());
    assert_eq!(store.claim_webhook(at(20), at(80)).await.unwrap(), None);
}

async fn what_comes_late_is_on_the_next_statement_and_the_first_one_stays(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    used(&store, tenant, 100).await;
    let first = bill(&store, &charge(tenant, &month(0))).await.unwrap();
    used(&store, tenant, 7).await;
    assert_eq!(bill(&store, &charge(tenant, &month(0))).await, None);
    assert_eq!(store.statement(first.id, Some(tenant)).await.unwrap(), Some(first.clone()));
    let second = bill(&store, &charge(tenant, &month(1))).await.unwrap();
    assert_eq!((first.usage, second.usage, second.requests), (100, 7, 0));
    let third = bill(&store, &Charge { price: 0, ..charge(tenant, &month(2)) }).await.unwrap();
    assert_eq!((third.usage, third.status.as_str(), third.paid_at), (0, "paid", Some(at(10))), "nothing is owed");
    let other = TenantId::new(Uuid::from_u128(7));
    assert_eq!(store.statement(first.id, Some(other)).await.unwrap(), None);
}

async fn a_tenant_is_billed_for_a_month_in_which_it_was_there_or_used_something(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let acme = Some("Acme".to_owned());
    // Made in the month, so there at its end; not there at its beginning.
    assert_eq!(unbilled(&store, -9, 1).await, [(tenant.uuid(), acme.clone(), true)]);
    assert_eq!(unbilled(&store, -9, -1).await, []);
    used(&store, tenant, 5).await;
    assert_eq!(unbilled(&store, -9, -1).await, [(tenant.uuid(), acme, false)]);
    assert_eq!(store.unbilled(&between(-9, 1), tenant.uuid(), 10).await.unwrap(), [], "it is passed by already");
    bill(&store, &charge(tenant, &month(0))).await.unwrap();
    assert_eq!(unbilled(&store, -9, 1).await, []);
}

/// A person who has named no organisation has one by the name of their address.
async fn what_a_deleted_account_owes_is_not_kept_by_its_address(database: &Database) {
    const NAMES: &str = "SELECT name FROM billing_left UNION ALL SELECT name FROM tenants";
    const LEFT: &str = "SELECT name FROM billing_left";
    let store = database.open().await;
    let (ada, adas) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (bob, bobs) = account(&store, "bob@example.com", Belonging::FoundsOwn).await;
    store.create_tenant("Acme @ Work", ada, 10, at(0)).await.unwrap();
    // Everybody in everything: one that others are left in goes on under its id, and what is named after others stays so.
    let all = "INSERT INTO tenant_members (tenant_id, account_id, role, created_at) \
               SELECT t.id, a.id, 'owner', a.created_at FROM tenants t, accounts a WHERE t.name LIKE '%@example.com' \
               ON CONFLICT DO NOTHING";
    database.execute(all, all).await;
    store.delete_account(ada, None, at(20)).await.unwrap();
    let mut names: Vec<(String,)> = database.rows(NAMES, NAMES).await;
    names.sort();
    let mut expected = [adas.to_string(), "Acme @ Work".to_owned(), "bob@example.com".to_owned()];
    expected.sort();
    assert_eq!(names.into_iter().map(|(name,)| name).collect::<Vec<_>>(), expected);
    store.delete_account(bob, None, at(30)).await.unwrap();
    let left: Vec<(String,)> = database.rows(LEFT, LEFT).await;
    assert!(left.contains(&(bobs.to_string(),)) && !left.iter().any(|(name,)| name.contains("@example")), "{left:?}");
}

async fn who_deletes_a_tenant_deletes_nothing_that_it_owes(database: &Database) {
    let store = database.open().await;
    let owner = person(&store, "owner@example.com").await;
    let made = async || store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id;
    let (deleted, left) = (made().await, made().await);
    set_tier(&store, deleted, Some("pro"), 1).await;
    let old = bill(&store, &charge(deleted, "2020-01")).await.unwrap();
    for tenant in [deleted, left] {
        used(&store, tenant, 250).await;
    }
    store.delete_tenant(deleted, None, at(10)).await.unwrap();
    // The other one goes with the account whose alone it is.
    store.delete_account(owner.id, None, at(20)).await.unwrap();
    assert_eq!(store.statement(old.id, None).await.unwrap(), Some(old.clone()));
    assert_eq!(store.list_statements(None, None, 10).await.unwrap().items, [old]);
    let acme = Some("Acme".to_owned());
    assert_eq!(
        unbilled(&store, 5, 30).await,
        [(deleted.uuid(), acme.clone(), true), (left.uuid(), acme.clone(), true)]
    );
    assert_eq!(tiers(&store, deleted, 5, 30).await, ["pro"]);
    assert_eq!(tiers(&store, left, 5, 30).await, ["free"]);
    // In a month in which it was there no longer it is billed for what it has used, and for nothing else.
    let gone = unbilled(&store, 15, 30).await;
    assert_eq!(gone, [(deleted.uuid(), acme.clone(), false), (left.uuid(), acme, true)]);
    let closing = bill(&store, &charge(deleted, &month(0))).await.unwrap();
    assert_eq!((closing.usage, closing.tenant_name.as_deref(), &*closing.status), (250, Some("Acme"), "open"));
    assert_eq!(unbilled(&store, 15, 30).await.len(), 1);
    // What a spool brings after that is billed as well, also when nothing else is remembered.
    used(&store, left, 1).await;
    assert_eq!(store.forget_billed(at(11)).await.unwrap(), 3);
    assert_eq!(store.forget_billed(at(21)).await.unwrap(), 2);
    assert_eq!(unbilled(&store, 5, 30).await, [(left.uuid(), None, false)]);
}

async fn a_month_has_the_tiers_that_were_had_in_it(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let none: [&str; 0] = [];
    assert_eq!(tiers(&store, tenant, 0, 100).await, ["free"]);
    set_tier(&store, tenant, Some("pro"), 100).await;
    set_tier(&store, tenant, Some("enterprise"), 250).await;
    set_tier(&store, tenant, None, 260).await;
    // Up to 100 free, to 250 pro, to 260 enterprise, then free again.
    for (begins, ends, had) in [
        (0, 100, &["free"][..]),
        (0, 101, &["free", "pro"]),
        (100, 200, &["pro"]),
        (200, 300, &["enterprise", "free", "pro"]),
        (255, 257, &["enterprise"]),
        (260, 300, &["free"]),
        (300, 400, &["free"]),
    ] {
        assert_eq!(tiers(&store, tenant, begins, ends).await, had, "from {begins} to {ends}");
    }
    assert_eq!(tiers(&store, TenantId::new(Uuid::from_u128(7)), 0, 100).await, none);
}

async fn whatever_moves_a_tenant_s_tier_leaves_a_trace_of_the_one_before(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (person(&store, "owner@example.com").await, person(&store, "other@example.com").await);
    let tenant = store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id;
    let own = async |account: AccountId, tier: &str, second: i64| {
        let change = AccountChange { tier: Some(NewTier::Own(tier.to_owned())), ..AccountChange::default() };
        store.change_account(account, change, at(second)).await.unwrap();
    };
    // An administrator, an owner's tier, a payment, an issuer.
    own(owner.id, "pro", 10).await;
    assert_eq!(tiers(&store, tenant, 0, 10).await, ["free"]);
    let subject = store::ExternalSubject { issuer: "https://acme.test", subject: "owner", claims_at: None };
    store.link_external(owner.id, None, subject, None, at(11)).await.unwrap();
    let id = identity::ExternalId::of(subject.issuer, subject.subject);
    let followed = store.follow_issuer(id, 1, (None, Some("team")), at(20)).await.unwrap();
    assert_eq!(followed, store::Followed::Changed);
    assert_eq!(tiers(&store, tenant, 10, 20).await, ["pro"]);
    store.hear_payment("evt_1", 1, &subscribed(tenant, "sub_1", 1, Some("enterprise")), at(30)).await.unwrap();
    assert_eq!(tiers(&store, tenant, 20, 30).await, ["team"]);
    set_tier(&store, tenant, None, 40).await;
    assert_eq!(tiers(&store, tenant, 30, 40).await, ["enterprise"]);
    // Somebody who belongs to it since longer ago begins to answer for it, and leaves.
    let by = format!(
        "INSERT INTO tenant_members (tenant_id, account_id, role, created_at) \
                      SELECT id, '{}', 'member', '2020-01-01T00:00:00+00:00' FROM tenants",
        other.id
    );
    let lite = by.replace(&format!("'{}'", other.id), &format!("X'{}'", other.id.uuid().simple()));
    database.execute(by.leak(), lite.leak()).await;
    own(other.id, "basic", 41).await;
    store.change_member(tenant, other.id, identity::TenantRole::Owner, None, at(50)).await.unwrap();
    assert_eq!(tiers(&store, tenant, 42, 50).await, ["team"]);
    store.remove_member(tenant, other.id, None, at(60)).await.unwrap();
    assert_eq!(tiers(&store, tenant, 50, 60).await, ["basic"]);
    assert_eq!(tiers(&store, tenant, 60, 70).await, ["team"]);
}

async fn a_tenant_is_billed_from_when_it_came_here(database: &Database) {
    let store = database.open().await;
    let seal = identity::SealKeys::new(identity::MasterKey::generate(&mut rand::rng()), Vec::new());
    let id = TenantId::new(Uuid::from_u128(9));
    let thing = Thing::Tenant { id, name: "Acme".to_owned(), tier: Some("pro".to_owned()), is_active: true };
    store.import_things(&seal, &[ImportedThing { thing, created_at: at(-1_000_000) }], at(100)).await.unwrap();
    assert_eq!(unbilled(&store, 0, 100).await, []);
    assert_eq!(unbilled(&store, 100, 200).await, [(id.uuid(), Some("Acme".to_owned()), true)]);
    store.delete_tenant(id, None, at(300)).await.unwrap();
    assert_eq!(unbilled(&store, 0, 100).await, [], "nor is it when it is gone");
    assert_eq!(unbilled(&store, 250, 400).await.len(), 1);
}

async fn what_is_used_in_no_tenant_s_name_is_its_account_s_to_pay(database: &Database) {
    let store = database.open().await;
    let [ada, bob, eve] = [1, 2, 3].map(|id| AccountId::new(Uuid::from_u128(id)));
    for (account, cost) in [(ada, 100), (bob, 7), (ada, 20), (eve, 0)] {
        used_by(&store, None, account, cost).await;
    }
    assert_eq!(unbilled(&store, 0, 10).await, []);
    for _ in 0..2 {
        store.charge_accounts().await.unwrap();
        let found = unbilled(&store, 0, 10).await;
        assert_eq!(found, [(ada.uuid(), None, false), (bob.uuid(), None, false)]);
    }
    let charge = Charge { name: None, price: 0, ..charge(TenantId::new(ada.uuid()), &month(0)) };
    let statement = bill(&store, &charge).await.unwrap();
    assert_eq!((statement.usage, statement.requests, statement.tokens), (120, 2, 10));
    used_by(&store, None, ada, 5).await;
    store.charge_accounts().await.unwrap();
    let next = bill(&store, &Charge { month: month(1), ..charge }).await.unwrap();
    assert_eq!(next.usage, 5, "once");
}

async fn what_is_heard_of_payments_counts_once(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    heard(&store).await;
    let pro = subscribed(tenant, "sub_1", 1, Some("pro"));
    assert_eq!(store.hear_payment("evt_1", 5, &pro, at(20)).await.unwrap(), Heard::Done);
    assert_eq!(store.tenant(tenant).await.unwrap().unwrap().tier.as_deref(), Some("pro"));
    assert!(heard(&store).await.contains(&store::Subject::Tenant(tenant)), "the door hears of it");
    let none = subscribed(tenant, "sub_1", 1, None);
    assert_eq!(store.hear_payment("evt_2", 6, &none, at(21)).await.unwrap(), Heard::Done);
    // An old one that is brought again changes nothing any more.
    assert_eq!(store.hear_payment("evt_1", 5, &pro, at(22)).await.unwrap(), Heard::Again);
    assert_eq!(store.tenant(tenant).await.unwrap().unwrap().tier, None);
    let statement = bill(&store, &charge(tenant, &month(0))).await.unwrap();
    assert_eq!(store.hear_payment("evt_3", 7, &paid(statement.id, 99_000_000), at(23)).await.unwrap(), Heard::Done);
    let statement = store.statement(statement.id, None).await.unwrap().unwrap();
    assert_eq!((statement.status.as_str(), statement.paid_at), ("paid", Some(at(23))));
    let nobody = subscribed(TenantId::new(Uuid::from_u128(7)), "sub_1", 1, None);
    for (event, payment) in
        [("evt_4", nobody), ("evt_5", Payment::Nothing), ("evt_6", paid(Uuid::from_u128(7), i64::MAX))]
    {
        assert_eq!(store.hear_payment(event, 8, &payment, at(24)).await.unwrap(), Heard::Nothing);
        assert_eq!(store.hear_payment(event, 8, &payment, at(24)).await.unwrap(), Heard::Again);
    }
}

fn paid(statement: Uuid, covers: i64) -> Payment {
    Payment::Paid(Paid { statement, currency: "usd".to_owned(), covers })
}

async fn only_what_pays_all_of_a_statement_in_its_currency_pays_it(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    used(&store, tenant, 250).await;
    let statement = bill(&store, &charge(tenant, &month(0))).await.unwrap();
    assert_eq!((statement.price, statement.usage), (99_000_000, 250));
    let say = async |event: &str, payment: Payment| {
        let heard = store.hear_payment(event, 7, &payment, at(2_000)).await.unwrap();
        (heard, store.statement(statement.id, None).await.unwrap().unwrap().status)
    };
    let short = (Heard::Short, "open".to_owned());
    assert_eq!(say("evt_1", paid(statement.id, 99_000_249)).await, short);
    assert_eq!(say("evt_2", paid(statement.id, 0)).await, short);
    let euros = Paid { statement: statement.id, currency: "EUR".to_owned(), covers: i64::MAX };
    assert_eq!(say("evt_3", Payment::Paid(euros)).await, short);
    assert_eq!(say("evt_1", paid(statement.id, i64::MAX)).await.0, Heard::Again);
    // What is late is paid as well.
    assert_eq!(store.note_overdue(at(1_001)).await.unwrap(), [statement.id]);
    assert_eq!(say("evt_4", paid(statement.id, 99_000_249)).await, (Heard::Short, "overdue".to_owned()));
    assert_eq!(say("evt_5", paid(statement.id, 99_000_250)).await, (Heard::Done, "paid".to_owned()));
    // Nothing is missing where nothing is waited for.
    assert_eq!(say("evt_6", paid(statement.id, 1)).await, (Heard::Nothing, "paid".to_owned()));
}

fn subscribed(tenant: TenantId, id: &str, began_at: i64, tier: Option<&str>) -> Payment {
    Payment::Subscribed(Subscription { tenant, id: id.to_owned(), tier: tier.map(str::to_owned), began_at })
}

async fn of_several_subscriptions_the_latest_that_is_paid_says_the_tier(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let event = std::cell::Cell::new(0);
    let say = async |id: &str, began_at: i64, said_at: i64, tier: Option<&str>| {
        event.set(event.get() + 1);
        let payment = subscribed(tenant, id, began_at, tier);
        let heard = store.hear_payment(&format!("evt_{}", event.get()), said_at, &payment, at(20)).await.unwrap();
        (heard, store.tenant(tenant).await.unwrap().unwrap().tier)
    };
    let [pro, team] = ["pro", "team"].map(|tier| Some(tier.to_owned()));
    assert_eq!(say("old", 10, 10, Some("pro")).await, (Heard::Done, pro.clone()));
    assert_eq!(say("new", 50, 50, Some("team")).await, (Heard::Done, team.clone()));
    // The older one is renewed, and ends.
    assert_eq!(say("old", 10, 60, Some("pro")).await, (Heard::Nothing, team.clone()));
    assert_eq!(say("old", 10, 70, None).await, (Heard::Nothing, team.clone()));
    // It is paid again, and now the later one ends: what is still paid counts, also if that was said before.
    assert_eq!(say("old", 10, 80, Some("pro")).await, (Heard::Nothing, team.clone()));
    assert_eq!(say("new", 50, 90, None).await, (Heard::Done, pro.clone()));
    assert_eq!(say("late", 40, 85, Some("team")).await, (Heard::Done, team.clone()), "it comes late, and is paid");
    assert_eq!(say("late", 40, 95, None).await, (Heard::Done, pro));
    assert_eq!(say("old", 10, 96, None).await, (Heard::Done, None));
    assert_eq!(say("new", 50, 50, Some("team")).await, (Heard::Nothing, None), "it has ended since");
    // What an administrator gives is not taken by the end of what was not in force.
    assert_eq!(say("old", 10, 100, Some("pro")).await.0, Heard::Done);
    assert_eq!(say("new", 50, 101, Some("pro")).await.0, Heard::Done);
    set_tier(&store, tenant, Some("team"), 50).await;
    let later = at(60).timestamp();
    assert_eq!(say("old", 10, later, None).await, (Heard::Nothing, team.clone()));
    assert_eq!(say("new", 50, at(40).timestamp(), None).await, (Heard::Nothing, team), "said before");
    assert_eq!(say("newest", 70, later, Some("pro")).await, (Heard::Done, Some("pro".to_owned())));
    // Those that are over are forgotten.
    assert_eq!(store.forget_payments(at(61)).await.unwrap(), event.get() + 3);
}

async fn a_subscription_that_changes_hands_is_over_for_whose_it_was(database: &Database) {
    let store = database.open().await;
    let owner = person(&store, "owner@example.com").await;
    let first = store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id;
    let second = store.create_tenant("Engines", owner.id, 10, at(0)).await.unwrap().id;
    let tier = async |tenant: TenantId| store.tenant(tenant).await.unwrap().unwrap().tier;
    let say = async |tenant: TenantId, id: &str, said_at: i64, paid: Option<&str>| {
        let payment = subscribed(tenant, id, if id == "old" { 1 } else { 2 }, paid);
        let heard = store.hear_payment(&Uuid::now_v7().to_string(), said_at, &payment, at(20)).await.unwrap();
        (heard, tier(first).await, tier(second).await)
    };
    let [pro, team] = ["pro", "team"].map(|tier| Some(tier.to_owned()));
    assert_eq!(say(first, "old", 5, Some("team")).await, (Heard::Done, team.clone(), None));
    assert_eq!(say(first, "new", 10, Some("pro")).await, (Heard::Done, pro.clone(), None));
    assert_eq!(say(second, "new", 9, Some("pro")).await, (Heard::Nothing, pro.clone(), None), "it was said before");
    let told = heard(&store).await.len();
    assert_eq!(say(second, "new", 20, Some("pro")).await, (Heard::Done, team.clone(), pro.clone()));
    let told = heard(&store).await.split_off(told);
    assert!([first, second].iter().all(|tenant| told.contains(&store::Subject::Tenant(*tenant))), "{told:?}");
    assert_eq!(say(first, "new", 15, Some("pro")).await, (Heard::Nothing, team.clone(), pro), "it was said before");
    assert_eq!(say(second, "new", 30, None).await, (Heard::Done, team.clone(), None));
    // Whoever pays keeps it when a tenant is named that there is not.
    let told = heard(&store).await.len();
    let nobody = TenantId::new(Uuid::from_u128(7));
    for paid in [Some("pro"), None] {
        assert_eq!(say(nobody, "old", 40, paid).await, (Heard::Nothing, team.clone(), None));
    }
    assert_eq!(heard(&store).await.len(), told);
    assert_eq!(say(first, "old", 39, Some("pro")).await.0, Heard::Done, "nothing is known of what was said of nobody");
    assert_eq!(say(first, "old", 41, None).await, (Heard::Done, None, None));
}

async fn of_what_is_said_of_a_tier_the_latest_counts(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let say = async |event: &str, said_at: i64, tier: Option<&str>| {
        let payment = subscribed(tenant, "sub_1", 1, tier);
        let heard = store.hear_payment(event, said_at, &payment, at(20)).await.unwrap();
        (heard, store.tenant(tenant).await.unwrap().unwrap().tier)
    };
    let pro = Some("pro".to_owned());
    assert_eq!(say("evt_1", 100, Some("pro")).await, (Heard::Done, pro.clone()));
    assert_eq!(say("evt_2", 99, None).await, (Heard::Nothing, pro.clone()), "it was said before");
    assert_eq!(say("evt_3", 100, Some("team")).await, (Heard::Done, Some("team".to_owned())));
    assert_eq!(say("evt_4", 101, None).await, (Heard::Done, None));
    // When an event's name is forgotten, what it said is old all the same.
    assert_eq!(store.forget_payments(DateTime::UNIX_EPOCH).await.unwrap(), 0);
    database.execute("DELETE FROM portcullis.billing_events", "DELETE FROM billing_events").await;
    assert_eq!(say("evt_1", 100, Some("pro")).await, (Heard::Nothing, None));
    // What an administrator decides is said as well.
    set_tier(&store, tenant, pro.as_deref(), 50).await;
    assert_eq!(say("evt_5", at(49).timestamp(), None).await, (Heard::Nothing, pro));
    assert_eq!(say("evt_6", at(51).timestamp(), None).await, (Heard::Done, None));
}

async fn what_is_paid_is_not_voided_and_what_is_not_paid_in_time_is_overdue(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let [paid, void, late] = [month(0), month(1), month(2)].map(|month| charge(tenant, &month));
    let (paid, void) = (bill(&store, &paid).await.unwrap().id, bill(&store, &void).await.unwrap().id);
    let late = bill(&store, &late).await.unwrap().id;
    for _ in 0..2 {
        assert_eq!(store.settle(paid, "paid", at(50)).await.unwrap().paid_at, Some(at(50)));
        assert_eq!(store.settle(void, "void", at(50)).await.unwrap().paid_at, None);
    }
    assert!(matches!(store.settle(paid, "void", at(51)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.settle(void, "paid", at(51)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.settle(Uuid::from_u128(7), "paid", at(51)).await, Err(StoreError::NotFound)));
    assert!(store.note_overdue(at(1000)).await.unwrap().is_empty());
    assert_eq!(store.note_overdue(at(1001)).await.unwrap(), [late]);
    assert_eq!(store.statement(late, None).await.unwrap().unwrap().status, "overdue");
    assert_eq!(store.settle(late, "paid", at(1002)).await.unwrap().status, "paid");
}

async fn a_webhook_is_one_nodes_until_it_is_due_again(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    store.bill(&charge(tenant, &month(0)), |_| Some("told".to_owned())).await.unwrap();
    let claim = async |second: i64| store.claim_webhook(at(second), at(second + 60)).await.unwrap();
    let first = claim(20).await.unwrap();
    assert_eq!((first.attempts, claim(79).await), (1, None));
    let again = claim(80).await.unwrap();
    assert_eq!((again.id, again.attempts), (first.id, 2), "who claimed it has died");
    store.retry_webhook(first.id, at(90)).await.unwrap();
    assert_eq!(claim(90).await.unwrap().attempts, 3);
    store.end_webhook(first.id, "sent", at(91)).await.unwrap();
    assert_eq!(claim(10_000).await, None);
    assert_eq!(store.forget_mails(at(100)).await.unwrap(), 1);
}
