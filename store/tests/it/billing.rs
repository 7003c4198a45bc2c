//! Bills: one for each tenant and month whoever makes them, nothing on two of them, and what is heard of payments counts once.

use identity::{AccountId, TenantId};
use store::{Charge, Heard, Payment, Statement, Store, StoreError, UsageEvent, Used};
use uuid::Uuid;

use crate::engines::{Database, at, heard, on_both_engines, person, settings};

on_both_engines!(
    of_many_nodes_one_makes_the_statement_and_all_of_its_webhook,
    what_comes_late_is_on_the_next_statement_and_the_first_one_stays,
    a_tenant_is_billed_for_a_month_in_which_it_was_there_or_used_something,
    what_is_heard_of_payments_counts_once,
    what_is_paid_is_not_voided_and_what_is_not_paid_in_time_is_overdue,
    a_webhook_is_one_nodes_until_it_is_due_again,
);

async fn tenant(store: &Store) -> TenantId {
    let owner = person(store, "owner@example.com").await;
    store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id
}

fn charge(tenant: TenantId, month: &str) -> Charge {
    Charge {
        tenant,
        month: month.to_owned(),
        tier: "pro".to_owned(),
        currency: "USD".to_owned(),
        price: 99_000_000,
        due_at: at(1000),
        now: at(10),
    }
}

async fn used(store: &Store, tenant: TenantId, cost: i64) {
    let used = Used {
        tenant: Some(tenant),
        account: AccountId::new(Uuid::from_u128(1)),
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
    let event = UsageEvent { id: Uuid::now_v7(), used };
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
    let page = store.list_statements(tenant, None, 10).await.unwrap();
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
    assert!(matches!(store.bill(&charge(other, &month(0)), |_| None).await, Err(StoreError::NotFound)));
}

async fn a_tenant_is_billed_for_a_month_in_which_it_was_there_or_used_something(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    // Made in the month, so there at its end; not there at its beginning.
    let unbilled = async |month: &str, end: i64| {
        let found = store.unbilled(month, at(end), 10).await.unwrap();
        found.into_iter().map(|one| (one.tenant_id, one.tier, one.was_there)).collect::<Vec<_>>()
    };
    let free = Some("free".to_owned());
    assert_eq!(unbilled(&month(0), 1).await, [(tenant.uuid(), free.clone(), true)]);
    assert_eq!(unbilled(&month(0), -1).await, []);
    used(&store, tenant, 5).await;
    assert_eq!(unbilled(&month(0), -1).await, [(tenant.uuid(), free, false)]);
    bill(&store, &charge(tenant, &month(0))).await.unwrap();
    assert_eq!(unbilled(&month(0), 1).await, []);
}

async fn what_is_heard_of_payments_counts_once(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    heard(&store).await;
    let pro = Payment::Tier(tenant, Some("pro".to_owned()));
    assert_eq!(store.hear_payment("evt_1", &pro, at(20)).await.unwrap(), Heard::Done);
    assert_eq!(store.tenant(tenant).await.unwrap().unwrap().tier.as_deref(), Some("pro"));
    assert!(heard(&store).await.contains(&store::Subject::Tenant(tenant)), "the door hears of it");
    assert_eq!(store.hear_payment("evt_2", &Payment::Tier(tenant, None), at(21)).await.unwrap(), Heard::Done);
    // An old one that is brought again changes nothing any more.
    assert_eq!(store.hear_payment("evt_1", &pro, at(22)).await.unwrap(), Heard::Again);
    assert_eq!(store.tenant(tenant).await.unwrap().unwrap().tier, None);
    let statement = bill(&store, &charge(tenant, &month(0))).await.unwrap();
    assert_eq!(store.hear_payment("evt_3", &Payment::Paid(statement.id), at(23)).await.unwrap(), Heard::Done);
    let paid = store.statement(statement.id, None).await.unwrap().unwrap();
    assert_eq!((paid.status.as_str(), paid.paid_at), ("paid", Some(at(23))));
    let nobody = Payment::Tier(TenantId::new(Uuid::from_u128(7)), None);
    for (event, payment) in
        [("evt_4", nobody), ("evt_5", Payment::Nothing), ("evt_6", Payment::Paid(Uuid::from_u128(7)))]
    {
        assert_eq!(store.hear_payment(event, &payment, at(24)).await.unwrap(), Heard::Nothing);
        assert_eq!(store.hear_payment(event, &payment, at(24)).await.unwrap(), Heard::Again);
    }
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
    assert_eq!(store.note_overdue(at(1000)).await.unwrap(), 0);
    assert_eq!(store.note_overdue(at(1001)).await.unwrap(), 1);
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
