//! Agents and instances: who sees what, how many there may be, and what is in use.

use identity::{AccountId, Email, TenantId};
use store::{
    AgentChange, AgentsWanted, Audience, Belonging, InstanceChange, NewAccount, NewAgent, NewInstance, Status, Store,
    StoreError, Subject, TenantChange,
};
use uuid::Uuid;

use crate::engines::{Database, at, hash, heard, on_both_engines};

on_both_engines!(
    others_see_what_is_published_and_nothing_of_another_tenant,
    an_instance_is_its_owners,
    an_agent_in_use_stays_and_outlives_its_developer,
    what_is_published_to_the_platform_is_seen_by_every_tenant_and_changed_by_its_own,
    an_instance_outlives_another_tenants_agent,
    instances_stay_when_the_platforms_agents_come_and_go,
    there_are_never_more_than_there_may_be,
);

pub(crate) async fn account(store: &Store, email: &str, tenant: Belonging<'_>) -> (AccountId, TenantId) {
    let email = Email::parse(email).unwrap();
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &email,
        password_hash: hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: store::AccountKind::Person,
        tenant,
        now: at(0),
    };
    let made = store.create_account(new).await.unwrap();
    (made.id, made.tenant.unwrap().tenant)
}

pub(crate) fn agent(tenant: TenantId, developer: AccountId, most: Option<u64>) -> NewAgent {
    NewAgent { tenant, developer, name: "A".to_owned(), description: "of mine".to_owned(), most, now: at(1) }
}

fn instance(tenant: TenantId, agent: Uuid, account: AccountId, most: Option<u64>) -> NewInstance {
    let (id, name, sealed) = (Uuid::now_v7(), "I".to_owned(), vec![1, 2, 3]);
    NewInstance { id, tenant, agent, account, name, sealed, most, now: at(1) }
}

const PUBLISHED: AgentChange = to(Audience::Tenant);

const fn to(audience: Audience) -> AgentChange {
    AgentChange { name: None, description: None, audience: Some(audience) }
}

async fn others_see_what_is_published_and_nothing_of_another_tenant(database: &Database) {
    let store = database.open().await;
    let (ada, first) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (bob, _) = account(&store, "bob@example.com", Belonging::Joins(first)).await;
    let (eve, second) = account(&store, "eve@example.com", Belonging::FoundsOwn).await;
    let made: Vec<Uuid> = {
        let mut ids = Vec::new();
        for developer in [ada, bob, ada, bob] {
            ids.push(store.create_agent(agent(first, developer, None)).await.unwrap().id);
        }
        ids
    };
    store.change_agent(first, made[0], Some(ada), PUBLISHED, at(2)).await.unwrap();
    store.change_agent(first, made[3], Some(bob), PUBLISHED, at(2)).await.unwrap();
    let list = async |tenant, wanted| -> Vec<usize> {
        let page = store.list_agents(tenant, wanted, true, None, 10).await.unwrap();
        page.items.iter().map(|agent| made.iter().position(|id| *id == agent.id).unwrap()).collect()
    };
    assert_eq!(list(first, AgentsWanted::SeenBy(ada)).await, [0, 2, 3]);
    assert_eq!(list(first, AgentsWanted::SeenBy(bob)).await, [0, 1, 3]);
    assert_eq!(list(first, AgentsWanted::Of(bob)).await, [1, 3]);
    assert_eq!(list(first, AgentsWanted::All).await, [0, 1, 2, 3]);
    for wanted in [AgentsWanted::SeenBy(eve), AgentsWanted::All, AgentsWanted::Of(ada)] {
        assert_eq!(list(second, wanted).await, [0; 0]);
    }
    let page = store.list_agents(first, AgentsWanted::SeenBy(ada), true, None, 2).await.unwrap();
    let rest = store.list_agents(first, AgentsWanted::SeenBy(ada), true, page.next, 2).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len(), rest.items[0].id, rest.next), (2, 1, made[3], None));

    assert_eq!(store.agent(second, made[0]).await.unwrap(), None);
    for (tenant, developer) in [(first, Some(bob)), (second, Some(ada)), (second, None)] {
        let changed = store.change_agent(tenant, made[0], developer, PUBLISHED, at(2)).await;
        assert!(matches!(changed, Err(StoreError::NotFound)), "{changed:?}");
        let deleted = store.delete_agent(tenant, made[0], developer, at(2)).await;
        assert!(matches!(deleted, Err(StoreError::NotFound)), "{deleted:?}");
    }
    let foreign = store.create_instance(instance(second, made[0], eve, None)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    assert_eq!(store.owner_of_agent(made[0]).await.unwrap(), Some((ada, first)));
}

async fn an_instance_is_its_owners(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (bob, _) = account(&store, "bob@example.com", Belonging::Joins(tenant)).await;
    let made = store.create_agent(agent(tenant, ada, None)).await.unwrap().id;
    // A draft is its developer's to try, and nobody else's.
    let own = store.create_instance(instance(tenant, made, ada, None)).await.unwrap();
    let draft = store.create_instance(instance(tenant, made, bob, None)).await;
    assert!(matches!(draft, Err(StoreError::NotFound)), "{draft:?}");
    store.change_agent(tenant, made, Some(ada), PUBLISHED, at(2)).await.unwrap();
    let bobs = store.create_instance(instance(tenant, made, bob, None)).await.unwrap();
    assert_eq!(store.owner_of_instance(bobs.id).await.unwrap(), Some((bob, tenant)));
    assert_eq!(store.list_instances(tenant, Some(ada), None, 10).await.unwrap().items, std::slice::from_ref(&own));
    assert_eq!(store.list_instances(tenant, None, None, 10).await.unwrap().items.len(), 2);
    let rename = || InstanceChange { name: Some("B".to_owned()), sealed: None };
    let foreign = store.change_instance(tenant, own.id, bob, rename(), at(2)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    let changed = store.change_instance(tenant, own.id, ada, rename(), at(2)).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.sealed), ("B", vec![1, 2, 3]));
    let foreign = store.delete_instance(tenant, own.id, Some(bob), at(2)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    store.delete_instance(tenant, own.id, Some(ada), at(2)).await.unwrap();
    assert_eq!(heard(&store).await.last(), Some(&Subject::Resource(own.id)));
    assert_eq!(store.owner_of_instance(own.id).await.unwrap(), None);
}

async fn an_agent_in_use_stays_and_outlives_its_developer(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (bob, _) = account(&store, "bob@example.com", Belonging::Joins(tenant)).await;
    let made = store.create_agent(agent(tenant, bob, None)).await.unwrap().id;
    store.change_agent(tenant, made, Some(bob), PUBLISHED, at(2)).await.unwrap();
    let used = store.create_instance(instance(tenant, made, ada, None)).await.unwrap().id;
    let kept = store.delete_agent(tenant, made, Some(bob), at(2)).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");
    store.delete_account(bob, None, at(3)).await.unwrap();
    assert_eq!(store.agent(tenant, made).await.unwrap().unwrap().developer_id, None);
    store.delete_instance(tenant, used, Some(ada), at(4)).await.unwrap();
    // It is nobody's now, so it takes who may change all of them.
    let foreign = store.delete_agent(tenant, made, Some(ada), at(4)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    store.delete_agent(tenant, made, None, at(4)).await.unwrap();
    // A tenant takes all of it along.
    let made = store.create_agent(agent(tenant, ada, None)).await.unwrap().id;
    let left = store.create_instance(instance(tenant, made, ada, None)).await.unwrap().id;
    store.delete_tenant(tenant, None, at(5)).await.unwrap();
    assert_eq!((store.owner_of_agent(made).await.unwrap(), store.owner_of_instance(left).await.unwrap()), (None, None));
}

async fn what_is_published_to_the_platform_is_seen_by_every_tenant_and_changed_by_its_own(database: &Database) {
    let store = database.open().await;
    let (ada, first) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (eve, second) = account(&store, "eve@example.com", Belonging::FoundsOwn).await;
    let (all, few, own) = (
        store.create_agent(agent(first, ada, None)).await.unwrap().id,
        store.create_agent(agent(first, ada, None)).await.unwrap().id,
        store.create_agent(agent(second, eve, None)).await.unwrap().id,
    );
    store.change_agent(first, few, Some(ada), PUBLISHED, at(2)).await.unwrap();
    let shown = store.change_agent(first, all, Some(ada), to(Audience::Platform), at(2)).await.unwrap();
    assert_eq!((shown.is_published, shown.on_platform), (true, true));
    let list = async |wanted, with_platform| -> Vec<Uuid> {
        let page = store.list_agents(second, wanted, with_platform, None, 10).await.unwrap();
        page.items.iter().map(|agent| agent.id).collect()
    };
    for wanted in [AgentsWanted::SeenBy(eve), AgentsWanted::All] {
        assert_eq!(list(wanted, true).await, [all, own], "{wanted:?}");
        assert_eq!(list(wanted, false).await, [own], "{wanted:?}");
        let page = store.list_agents(second, wanted, true, None, 1).await.unwrap();
        let rest = store.list_agents(second, wanted, true, page.next, 1).await.unwrap();
        assert_eq!((page.items[0].id, rest.items[0].id, rest.next), (all, own, None));
    }
    assert!(list(AgentsWanted::Of(ada), true).await.is_empty(), "nobody's own is there");
    let hers = store.list_agents(first, AgentsWanted::SeenBy(ada), true, None, 10).await.unwrap();
    assert_eq!(hers.items.iter().map(|agent| agent.id).collect::<Vec<_>>(), [all, few], "and each of them once");
    assert_eq!(store.agent(second, all).await.unwrap(), Some(shown));
    assert_eq!(store.agent(second, few).await.unwrap(), None);
    for (agent, developer) in [(all, None), (all, Some(eve)), (all, Some(ada)), (few, None)] {
        let changed = store.change_agent(second, agent, developer, to(Audience::Nobody), at(3)).await;
        assert!(matches!(changed, Err(StoreError::NotFound)), "{changed:?}");
        let deleted = store.delete_agent(second, agent, developer, at(3)).await;
        assert!(matches!(deleted, Err(StoreError::NotFound)), "{deleted:?}");
    }
    // A tenant that may not be used offers nothing.
    let status = |status| TenantChange { status: Some(status), ..TenantChange::default() };
    store.change_tenant(first, status(Status::Disabled), at(4)).await.unwrap();
    assert_eq!((list(AgentsWanted::All, true).await, store.agent(second, all).await.unwrap()), (vec![own], None));
    let refused = store.create_instance(instance(second, all, eve, None)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    store.change_tenant(first, status(Status::Active), at(5)).await.unwrap();
    // What is said last counts.
    for audience in [Audience::Tenant, Audience::Nobody] {
        store.change_agent(first, all, Some(ada), to(Audience::Platform), at(6)).await.unwrap();
        assert_eq!(list(AgentsWanted::SeenBy(eve), true).await, [all, own]);
        store.change_agent(first, all, Some(ada), to(audience), at(7)).await.unwrap();
        assert_eq!(list(AgentsWanted::SeenBy(eve), true).await, [own], "{audience:?}");
    }
}

async fn an_instance_outlives_another_tenants_agent(database: &Database) {
    let store = database.open().await;
    let (ada, first) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (eve, second) = account(&store, "eve@example.com", Belonging::FoundsOwn).await;
    let made = store.create_agent(agent(first, ada, Some(1))).await.unwrap().id;
    let draft = store.create_instance(instance(second, made, eve, None)).await;
    assert!(matches!(draft, Err(StoreError::NotFound)), "{draft:?}");
    store.change_agent(first, made, Some(ada), to(Audience::Platform), at(2)).await.unwrap();
    // It counts where its owner is.
    store.create_instance(instance(first, made, ada, Some(1))).await.unwrap();
    let hers = store.create_instance(instance(second, made, eve, Some(1))).await.unwrap();
    let more = store.create_instance(instance(second, made, eve, Some(1))).await;
    assert!(matches!(more, Err(StoreError::QuotaReached("instances"))), "{more:?}");
    assert_eq!(store.owner_of_instance(hers.id).await.unwrap(), Some((eve, second)));
    assert_eq!(store.instance(first, hers.id).await.unwrap(), None, "it is nothing of the developer's tenant's");
    assert_eq!(store.list_instances(first, None, None, 10).await.unwrap().items.len(), 1);

    store.change_agent(first, made, Some(ada), to(Audience::Nobody), at(3)).await.unwrap();
    let closed = store.create_instance(instance(second, made, eve, None)).await;
    assert!(matches!(closed, Err(StoreError::NotFound)), "{closed:?}");
    for own in store.list_instances(first, None, None, 10).await.unwrap().items {
        store.delete_instance(first, own.id, None, at(4)).await.unwrap();
    }
    let kept = store.delete_agent(first, made, Some(ada), at(4)).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "somebody elsewhere has an instance: {kept:?}");
    // Nobody is kept from going by what others have, and takes nothing of theirs along.
    store.delete_tenant(first, None, at(5)).await.unwrap();
    assert_eq!(store.owner_of_agent(made).await.unwrap(), None);
    assert_eq!(store.instance(second, hers.id).await.unwrap(), Some(hers.clone()));
    let renamed = InstanceChange { name: Some("B".to_owned()), sealed: None };
    store.change_instance(second, hers.id, eve, renamed, at(6)).await.unwrap();
    store.delete_instance(second, hers.id, Some(eve), at(7)).await.unwrap();

    let made = store.create_agent(agent(second, eve, None)).await.unwrap().id;
    store.change_agent(second, made, None, to(Audience::Platform), at(8)).await.unwrap();
    let (bob, third) = account(&store, "bob@example.com", Belonging::FoundsOwn).await;
    let his = store.create_instance(instance(third, made, bob, None)).await.unwrap().id;
    store.delete_instance(third, his, Some(bob), at(9)).await.unwrap();
    store.delete_agent(second, made, Some(eve), at(9)).await.unwrap();
}

/// The step before it knows no instance of another tenant's agent.
async fn instances_stay_when_the_platforms_agents_come_and_go(database: &Database) {
    let store = database.open().await;
    let (ada, first) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let (eve, second) = account(&store, "eve@example.com", Belonging::FoundsOwn).await;
    let made = store.create_agent(agent(first, ada, None)).await.unwrap().id;
    store.change_agent(first, made, Some(ada), to(Audience::Platform), at(2)).await.unwrap();
    let own = store.create_instance(instance(first, made, ada, None)).await.unwrap();
    let foreign = store.create_instance(instance(second, made, eve, None)).await.unwrap().id;
    let last = async || {
        let steps = store.migrations_status().await.unwrap();
        steps.iter().filter(|step| step.applied_at.is_some()).map(|step| step.version).max()
    };
    while last().await > Some(44) {
        store.revert_last().await.unwrap();
    }
    store.migrate().await.unwrap();
    assert_eq!(store.instance(first, own.id).await.unwrap(), Some(own.clone()));
    assert_eq!(store.owner_of_instance(foreign).await.unwrap(), None);
    let agent = store.agent(first, made).await.unwrap().unwrap();
    assert_eq!((agent.is_published, agent.on_platform), (true, false));
    let kept = store.delete_agent(first, made, None, at(3)).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");
}

async fn there_are_never_more_than_there_may_be(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = account(&store, "ada@example.com", Belonging::FoundsOwn).await;
    let at_once: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.create_agent(agent(tenant, ada, Some(2))).await })
        })
        .collect();
    let mut made = Vec::new();
    for done in at_once {
        match done.await.unwrap() {
            Ok(agent) => made.push(agent.id),
            Err(StoreError::QuotaReached("agents")) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made.len(), 2);
    store.create_instance(instance(tenant, made[0], ada, Some(1))).await.unwrap();
    let more = store.create_instance(instance(tenant, made[0], ada, Some(1))).await;
    assert!(matches!(more, Err(StoreError::QuotaReached("instances"))), "{more:?}");
    store.create_instance(instance(tenant, made[0], ada, None)).await.unwrap();
}
