//! Quotas of tenants: never more than there is, however many ask at once; what is not committed in time is free again.

use identity::{AccountId, TenantId};
use store::{CountedHere, NewReservation, QuotaKeeper, QuotaUse, Reserved, Store, StoreError};
use uuid::Uuid;

use crate::engines::{Database, at, on_both_engines, person, settings, tenant};

on_both_engines!(
    of_many_who_reserve_at_once_none_gets_more_than_there_is,
    what_is_reserved_is_given_once_and_given_back_once,
    what_is_not_committed_in_time_is_free_again,
    a_reservation_is_its_services_alone,
    what_a_service_held_that_is_gone_is_given_back_by_another_or_by_the_platform,
    what_is_counted_where_it_is_made_is_told,
    a_tenant_has_its_own_tier_or_its_first_owners,
);

fn wanted(tenant: TenantId, amount: i64, limit: Option<i64>) -> NewReservation {
    NewReservation {
        id: Uuid::now_v7(),
        tenant,
        resource: "workbenches".to_owned(),
        amount,
        limit,
        service: AccountId::new(Uuid::from_u128(1)),
        expires_at: at(100),
        now: at(10),
    }
}

/// A service of the platform.
fn held_by(service: AccountId) -> QuotaKeeper {
    QuotaKeeper::Service(service, None)
}

async fn spoken_for(store: &Store, tenant: TenantId, second: i64) -> (i64, i64) {
    let uses = store.quota_use(tenant, at(second)).await.unwrap();
    uses.first().map_or((0, 0), |one| (one.used, one.reserved))
}

async fn of_many_who_reserve_at_once_none_gets_more_than_there_is(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let askers: Vec<_> = (0..8)
        .map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move {
                let store = Store::connect(&url, settings()).await.unwrap();
                let mut got = 0;
                for n in 0..10 {
                    let new = wanted(tenant, 3, Some(100));
                    if store.reserve_quota(&new).await.unwrap() == Reserved::Yes {
                        got += 3;
                        // Half of them are given at once, in the middle of the others' asking.
                        if n % 2 == 0 {
                            store.commit_quota(new.id, held_by(new.service), at(11)).await.unwrap();
                        }
                    }
                }
                got
            })
        })
        .collect();
    let mut got = 0;
    for asker in askers {
        got += asker.await.unwrap();
    }
    assert_eq!(got, 99, "as much as fits, and no more");
    let (used, reserved) = spoken_for(&store, tenant, 50).await;
    assert_eq!(used + reserved, 99);
}

async fn what_is_reserved_is_given_once_and_given_back_once(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let new = wanted(tenant, 4, Some(4));
    assert_eq!(store.reserve_quota(&new).await.unwrap(), Reserved::Yes);
    let held = QuotaUse { resource: "workbenches".to_owned(), used: 0, reserved: 4 };
    assert_eq!(store.reserve_quota(&wanted(tenant, 1, Some(4))).await.unwrap(), Reserved::Exceeds(held));
    for _ in 0..2 {
        store.commit_quota(new.id, held_by(new.service), at(20)).await.unwrap();
        assert_eq!(spoken_for(&store, tenant, 20).await, (4, 0));
    }
    assert_eq!(spoken_for(&store, tenant, 1000).await, (4, 0), "what is given does not expire");
    for _ in 0..2 {
        store.release_quota(new.id, held_by(new.service)).await.unwrap();
        assert_eq!(spoken_for(&store, tenant, 30).await, (0, 0));
    }
    assert!(matches!(store.commit_quota(new.id, held_by(new.service), at(31)).await, Err(StoreError::Conflict(_))));
    let endless = [0; 3].map(|_| wanted(tenant, i64::MAX, None));
    for new in &endless {
        assert_eq!(store.reserve_quota(new).await.unwrap(), Reserved::Yes, "without end");
    }
    assert_eq!(spoken_for(&store, tenant, 40).await, (0, i64::MAX));
    for new in &endless {
        store.commit_quota(new.id, held_by(new.service), at(40)).await.unwrap();
    }
    assert_eq!(spoken_for(&store, tenant, 40).await, (i64::MAX, 0));
}

async fn what_is_not_committed_in_time_is_free_again(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let new = wanted(tenant, 4, Some(4));
    assert_eq!(store.reserve_quota(&new).await.unwrap(), Reserved::Yes);
    let late = NewReservation { now: at(100), expires_at: at(200), ..wanted(tenant, 4, Some(4)) };
    assert_eq!(store.reserve_quota(&late).await.unwrap(), Reserved::Yes);
    assert!(matches!(store.commit_quota(new.id, held_by(new.service), at(100)).await, Err(StoreError::Conflict(_))));
    assert_eq!(spoken_for(&store, tenant, 101).await, (0, 4));
    store.commit_quota(late.id, held_by(late.service), at(101)).await.unwrap();
    assert_eq!(store.forget_quotas(at(1000)).await.unwrap(), 1, "the one that came to nothing");
    assert!(matches!(store.release_quota(new.id, held_by(new.service)).await, Err(StoreError::NotFound)));
    store.release_quota(late.id, held_by(late.service)).await.unwrap();
}

async fn a_reservation_is_its_services_alone(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let service = person(&store, "machine@example.com").await.id;
    let new = NewReservation { service, ..wanted(tenant, 1, None) };
    store.reserve_quota(&new).await.unwrap();
    let other = AccountId::new(Uuid::from_u128(2));
    assert!(matches!(store.commit_quota(new.id, held_by(other), at(20)).await, Err(StoreError::NotFound)));
    assert!(matches!(store.release_quota(new.id, held_by(other)).await, Err(StoreError::NotFound)));
    assert!(matches!(
        store.reserve_quota(&wanted(TenantId::new(Uuid::from_u128(7)), 1, None)).await,
        Err(StoreError::NotFound)
    ));
}

async fn what_a_service_held_that_is_gone_is_given_back_by_another_or_by_the_platform(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    let (other, elsewhere) = (AccountId::new(Uuid::from_u128(2)), TenantId::new(Uuid::from_u128(7)));
    let bound = |tenant| QuotaKeeper::Service(other, Some(tenant));
    let mut last = None;
    for keeper in [held_by(other), bound(tenant), QuotaKeeper::Platform] {
        let service = person(&store, &format!("{}@example.com", Uuid::now_v7().simple())).await.id;
        let new = NewReservation { service, ..wanted(tenant, 2, None) };
        store.reserve_quota(&new).await.unwrap();
        store.commit_quota(new.id, held_by(service), at(20)).await.unwrap();
        assert!(matches!(store.release_quota(new.id, held_by(other)).await, Err(StoreError::NotFound)));
        store.delete_account(service, None, at(22)).await.unwrap();
        let foreign = store.release_quota(new.id, bound(elsewhere)).await;
        assert!(matches!(foreign, Err(StoreError::NotFound)), "a machine of another tenant's: {foreign:?}");
        assert_eq!(spoken_for(&store, tenant, 23).await, (2, 0));
        store.release_quota(new.id, keeper).await.unwrap();
        assert_eq!(spoken_for(&store, tenant, 24).await, (0, 0), "{keeper:?}");
        last = Some(new.id);
    }
    store.release_quota(last.unwrap(), QuotaKeeper::Platform).await.unwrap();
    assert_eq!(spoken_for(&store, tenant, 25).await, (0, 0), "again is as once");
    // The platform does it for a service that is there, too.
    let service = person(&store, "there@example.com").await.id;
    let new = NewReservation { service, ..wanted(tenant, 1, None) };
    store.reserve_quota(&new).await.unwrap();
    store.release_quota(new.id, QuotaKeeper::Platform).await.unwrap();
    assert_eq!(spoken_for(&store, tenant, 26).await, (0, 0));
}

async fn what_is_counted_where_it_is_made_is_told(database: &Database) {
    let store = database.open().await;
    let owner = person(&store, "owner@example.com").await;
    let tenant = store.create_tenant("Acme", owner.id, 10, at(0)).await.unwrap().id;
    assert_eq!(store.counted_here(tenant, owner.id).await.unwrap(), CountedHere::default());
    let new = || store::NewAgent {
        tenant,
        developer: owner.id,
        name: "One".to_owned(),
        description: String::new(),
        most: None,
        now: at(1),
    };
    let agent = store.create_agent(new()).await.unwrap();
    store.create_agent(new()).await.unwrap();
    let instance = store::NewInstance {
        id: Uuid::now_v7(),
        tenant,
        agent: agent.id,
        account: owner.id,
        name: "Mine".to_owned(),
        sealed: Vec::new(),
        most: None,
        now: at(1),
    };
    store.create_instance(instance).await.unwrap();
    let there = CountedHere { agents: 2, instances: 1, ..CountedHere::default() };
    assert_eq!(store.counted_here(tenant, owner.id).await.unwrap(), there);
    let other = store.create_tenant("Other", owner.id, 10, at(0)).await.unwrap().id;
    assert_eq!(store.counted_here(other, owner.id).await.unwrap(), CountedHere::default());
}

async fn a_tenant_has_its_own_tier_or_its_first_owners(database: &Database) {
    let store = database.open().await;
    let tenant = tenant(&store).await;
    assert_eq!(store.tier_of_tenant(tenant).await.unwrap(), Some(Some("free".to_owned())));
    let change = store::TenantChange { tier: Some(Some("pro".to_owned())), ..Default::default() };
    store.change_tenant(tenant, change, at(1)).await.unwrap();
    assert_eq!(store.tier_of_tenant(tenant).await.unwrap(), Some(Some("pro".to_owned())));
    assert_eq!(store.tier_of_tenant(TenantId::new(Uuid::nil())).await.unwrap(), None);
}
