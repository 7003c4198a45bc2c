//! What is believed of things and groups, until when, and what it costs to ask for what is not there.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use identity::{Email, PasswordHash};
use store::{AccountKind, Belonging, NewAccount, NewAgent, NewInstance, NewTeam, Subject, TeamChange};

use super::*;
use crate::directory::tests::House;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn demand() -> OwnerDemand {
    OwnerDemand { kind: ResourceKind::AgentInstance, parameter: "id".into(), place: 1, admins: false }
}

/// Somebody with a tenant of their own.
async fn founder(house: &House, email: &str) -> (AccountId, TenantId) {
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &Email::parse(email).unwrap(),
        password_hash: PasswordHash::from("a hash".to_owned()),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::FoundsOwn,
        now: now(),
    };
    let account = house.store.create_account(new).await.unwrap();
    (account.id, account.tenant.unwrap().tenant)
}

async fn instance(house: &House, account: AccountId, tenant: TenantId) -> Uuid {
    let (name, description) = ("A".to_owned(), String::new());
    let new = NewAgent { tenant, developer: account, name: name.clone(), description, most: None, now: now() };
    let agent = house.store.create_agent(new).await.unwrap().id;
    let id = Uuid::now_v7();
    let new = NewInstance { id, tenant, agent, account, name, sealed: vec![1], most: None, now: now() };
    house.store.create_instance(new).await.unwrap().id
}

async fn asked(house: &House, id: Uuid, caller: AccountId) -> Result<Option<AccountId>, &'static str> {
    let path = format!("/instances/{id}/chat");
    let sought = house.directory.possession(&demand(), &path, HOME).await.map_err(|refusal| refusal.code())?;
    let owner = sought.whose.map(|whose| whose.account);
    // As the door does when it answers that there is nothing.
    if owner != Some(caller) && sought.was_asked_for() {
        house.directory.count_refusal(HOME);
    }
    Ok(owner)
}

#[tokio::test]
async fn whose_a_thing_is_is_believed_until_that_changes() {
    let house = House::open().await;
    let (ada, tenant) = founder(&house, "ada@example.com").await;
    let id = instance(&house, ada, tenant).await;
    assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)));
    house.store.delete_instance(tenant, id, None, now()).await.unwrap();
    assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)), "nobody has told it yet");
    house.directory.hear([Subject::Resource(id)]);
    assert_eq!(asked(&house, id, ada).await, Ok(None));
    // The end of its owner or tenant is heard too, and so is that it is there after all.
    let id = instance(&house, ada, tenant).await;
    for heard in [Subject::Account(ada), Subject::Tenant(tenant)] {
        assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)));
        let misses = house.directory.things.0.get(&(ResourceKind::AgentInstance, id)).await.unwrap().1;
        house.directory.hear([heard]);
        assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)));
        let again = house.directory.things.0.get(&(ResourceKind::AgentInstance, id)).await.unwrap().1;
        assert!(again > misses, "it was believed although {heard:?} had changed");
    }
}

#[tokio::test]
async fn what_is_known_is_served_without_a_database_and_what_is_not_is_a_503() {
    let house = House::open().await;
    let (ada, tenant) = founder(&house, "ada@example.com").await;
    let (known, unknown) = (instance(&house, ada, tenant).await, instance(&house, ada, tenant).await);
    assert_eq!(asked(&house, known, ada).await, Ok(Some(ada)));
    // Without the tables of step 13 every question about instances fails.
    for _ in 12..house.store.migrations_status().await.unwrap().len() {
        house.store.revert_last().await.unwrap();
    }
    assert_eq!(asked(&house, known, ada).await, Ok(Some(ada)));
    assert_eq!(asked(&house, unknown, ada).await, Err("directory_unavailable"));
    house.directory.too_stale.store(true, Ordering::Release);
    assert_eq!(asked(&house, known, ada).await, Err("directory_unavailable"), "it is too old to be believed");
}

#[tokio::test]
async fn who_looks_for_what_is_not_theirs_is_soon_heard_no_more() {
    let house = House::open().await;
    let (ada, tenant) = founder(&house, "ada@example.com").await;
    let (eve, _) = founder(&house, "eve@example.com").await;
    let id = instance(&house, ada, tenant).await;
    assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)));
    // The house bears three.
    for _ in 0..3 {
        assert_eq!(asked(&house, Uuid::now_v7(), eve).await, Ok(None));
    }
    assert_eq!(asked(&house, Uuid::now_v7(), eve).await, Err("too_many_refusals"));
    assert_eq!(asked(&house, id, ada).await, Ok(Some(ada)), "what is known costs nothing");
    // No id at all is looked for nowhere.
    let nonsense = house.directory.possession(&demand(), "/instances/7/chat", HOME).await;
    assert!(matches!(nonsense, Ok(Sought { whose: None, turn: None })));
}

#[tokio::test]
async fn a_crowd_that_looks_for_what_is_not_theirs_asks_no_oftener_than_one_after_the_other() {
    let house = House::open().await;
    let (eve, _) = founder(&house, "eve@example.com").await;
    let said = join_all((0..100).map(|_| asked(&house, Uuid::now_v7(), eve))).await;
    let asked = said.iter().filter(|said| **said == Ok(None)).count();
    assert_eq!(said.iter().filter(|said| **said == Err("too_many_refusals")).count(), 100 - asked);
    // The house bears three, and its database has one connection, so that none more was under way by then.
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn a_load_that_a_change_overtakes_is_done_again() {
    let house = House::open().await;
    let (guarded, id, loads) = (Guarded::new(10), Uuid::from_u128(7), AtomicU32::new(0));
    let load = || async {
        let number = loads.fetch_add(1, Ordering::SeqCst);
        if number == 0 {
            house.directory.hear([Subject::Resource(id)]);
        }
        Ok(number)
    };
    let loaded = guarded.load(&house.directory, id, |_: &u32| [id; 3], load).await;
    assert_eq!((loaded.unwrap(), loads.load(Ordering::SeqCst)), (1, 2));
    assert_eq!(guarded.held(&house.directory, &id, |_: &u32| [id; 3]).await, Some(1));
}

#[tokio::test]
async fn groups_are_told_until_they_change_and_only_those_in_use() {
    let house = House::open().await;
    let (ada, tenant) = founder(&house, "ada@example.com").await;
    let mut principal = Principal {
        account: ada,
        role: "user".into(),
        tier: "free".into(),
        tenant: Some(tenant),
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: identity::Grant::Session(identity::SessionId::new(Uuid::nil())),
        scopes: None,
        networks: None,
        authentication: None,
        generation: 0,
    };
    let teams = async |principal: &Principal| {
        let groups = house.directory.groups(principal).await.unwrap();
        groups.map(|groups| groups.teams.to_string())
    };
    for (name, is_active) in [("R&D, Berlin", true), ("Old", false)] {
        let new = NewTeam { name: name.to_owned(), external_ref: None, is_active };
        let team = house.store.create_team(tenant, new, now()).await.unwrap().id;
        house.store.add_team_member(tenant, team, ada, "member", now()).await.unwrap();
    }
    assert_eq!(teams(&principal).await.as_deref(), Some("R&D%2C Berlin"));
    let new = NewTeam { name: "New".to_owned(), external_ref: None, is_active: true };
    let team = house.store.create_team(tenant, new, now()).await.unwrap().id;
    house.store.add_team_member(tenant, team, ada, "member", now()).await.unwrap();
    assert_eq!(teams(&principal).await.as_deref(), Some("R&D%2C Berlin"), "nobody has told it yet");
    house.directory.hear([Subject::Account(ada)]);
    assert_eq!(teams(&principal).await.as_deref(), Some("R&D%2C Berlin,New"));
    // What changes about a team voids nobody's identity.
    let change = TeamChange { name: Some("Newer".to_owned()), ..TeamChange::default() };
    house.store.change_team(tenant, team, change, now()).await.unwrap();
    let learnt = house.directory.moment();
    assert_eq!(teams(&principal).await.as_deref(), Some("R&D%2C Berlin,New"), "nobody has told it yet");
    house.directory.hear([Subject::Groups(tenant)]);
    assert_eq!(teams(&principal).await.as_deref(), Some("R&D%2C Berlin,Newer"));
    assert!(house.directory.is_unchanged(&principal, learnt));
    principal.tenant = None;
    assert_eq!(teams(&principal).await, None);
}

#[test]
fn no_name_is_taken_for_two_and_none_ends_the_header() {
    let names = ["General", "R&D, Berlin", "50 %", "Straße", "a\r\nX-User-Role: admin", "\"q\""];
    assert_eq!(
        &*joined(names.into_iter()),
        "General,R&D%2C Berlin,50 %25,Stra%C3%9Fe,a%0D%0AX-User-Role: admin,%22q%22"
    );
    assert_eq!(&*joined([].into_iter()), "");
}

#[test]
fn a_list_that_is_too_long_ends_with_a_whole_name() {
    let name = "n".repeat(100);
    let text = joined(std::iter::repeat_n(name.as_str(), 100));
    assert!(text.len() <= LONGEST && text.split(',').all(|one| one == name), "{}", text.len());
    assert_eq!(text.split(',').count(), 81);
}
