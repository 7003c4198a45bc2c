//! What can only be provoked from inside: a disk without room.

use std::time::Duration;

use identity::{AccountId, Email, PasswordHash};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::*;
use crate::{Account, AgentChange, Audience, NewAccount, NewAgent, NewInstance};

/// One connection, so that what is set on it counts.
fn settings() -> PoolSettings {
    PoolSettings {
        max_connections: 1,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn it_is_told_how_many_connections_there_are_and_how_long_one_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let asked = PoolSettings { max_connections: 16, ..settings() };
    for (url, most) in [(&*url, 4), ("sqlite::memory:", 1)] {
        let store = Store::connect(url, asked.clone()).await.unwrap();
        assert_eq!(store.connections(), (most, asked.acquire_timeout), "{url}");
    }
}

/// Leaves room for two more pages. Of a page too many SQLite says what it says of a full disk (`SQLITE_FULL`).
async fn leave_little_room(store: &Store) {
    let Db::Lite { pool, .. } = &store.db else { panic!("this is not SQLite") };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(pool).await.unwrap();
    let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
    sqlx::query(limit).execute(pool).await.unwrap();
}

async fn lift_the_limit(store: &Store) {
    let Db::Lite { pool, .. } = &store.db else { panic!("this is not SQLite") };
    sqlx::query("PRAGMA max_page_count = 1000000").execute(pool).await.unwrap();
}

async fn register(store: &Store, n: usize) -> Result<Account, StoreError> {
    let email = Email::parse(&format!("person{n}@example.com")).unwrap();
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &email,
        password_hash: PasswordHash::from("x".repeat(500)),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: crate::AccountKind::Person,
        tenant: crate::Belonging::Founds("a tenant that is made in the same transaction"),
        now: Utc::now(),
    };
    store.create_account(new).await
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_none_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = Store::connect(&url, settings()).await.unwrap();
    store.migrate().await.unwrap();
    let mut acknowledged = Vec::new();
    // Again and again, since SQLite may undo the statement alone or the whole transaction.
    for round in 0..20 {
        leave_little_room(&store).await;
        let refused = loop {
            match register(&store, acknowledged.len()).await {
                Ok(account) => acknowledged.push(account),
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("full")), "round {round}: {refused:?}");
        lift_the_limit(&store).await;
        acknowledged.push(register(&store, acknowledged.len()).await.unwrap());
    }
    drop(store);
    let store = Store::connect(&url, settings()).await.unwrap();
    assert_eq!(store.list_accounts(None, 1000).await.unwrap().items, acknowledged);
    let Db::Lite { pool, .. } = &store.db else { panic!("this is not SQLite") };
    let tenants: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tenants").fetch_one(pool).await.unwrap();
    assert_eq!(usize::try_from(tenants).unwrap(), acknowledged.len());
}

#[test]
fn what_lasts_for_ever_lasts_as_long_as_can_be_written() {
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    assert_eq!(later(now, Duration::from_secs(5)), DateTime::from_timestamp(1_790_000_005, 0).unwrap());
    for endless in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(400_000_000_000)] {
        assert_eq!(later(now, endless).to_rfc3339(), "9999-12-31T23:59:59+00:00");
    }
}

/// A store whose role is no superuser, since those see everything; it owns the tables, which holds it to row-level security as well.
async fn held() -> Store {
    use sqlx::{ConnectOptions, Executor};
    let server = std::env::var("PORTCULLIS_TEST_POSTGRES").expect("run through `make test`");
    let name = format!("rls_{}", Uuid::new_v4().simple());
    let options = sqlx::postgres::PgConnectOptions::from_str(&server).unwrap();
    let mut server_side = options.connect().await.unwrap();
    server_side.execute(AssertSqlSafe(format!("CREATE ROLE {name} LOGIN"))).await.unwrap();
    server_side.execute(AssertSqlSafe(format!("CREATE DATABASE {name} OWNER {name}"))).await.unwrap();
    let (head, _) = server.rsplit_once('/').unwrap();
    let url = format!("{}/{name}", head.replace("tester@", &format!("{name}@")));
    let store = Store::connect(&url, settings()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
async fn on_behalf_of_a_tenant_nothing_of_another_one_is_there_whatever_a_query_forgets_to_say() {
    let store = held().await;
    let (one, other) = (register(&store, 1).await.unwrap(), register(&store, 2).await.unwrap());
    let members = async |store: &Store| -> i64 {
        let Db::Pg(pg) = &store.db else { panic!("this is not Postgres") };
        sqlx::query_scalar("SELECT COUNT(*) FROM tenant_members").fetch_one(pg).await.unwrap()
    };
    assert_eq!(members(&store).await, 2);
    let scoped = store.of_tenant(one.tenant.unwrap().tenant);
    assert_eq!(members(&scoped).await, 1);
    let mut tx = scoped.begin().await.unwrap();
    let gone = on_tx!(&mut tx, |c| sqlx::query("DELETE FROM tenant_members").execute(c).await.unwrap().rows_affected());
    assert_eq!(gone, 1, "nor can it be changed");
    drop(tx);
    // The connection, of which there is one, remembers nothing of it.
    assert_eq!(members(&store).await, 2);
    assert_eq!(store.role_in(other.tenant.unwrap().tenant, other.id).await.unwrap(), Some(identity::TenantRole::Owner));
}

#[tokio::test]
async fn an_agent_that_everybody_sees_is_read_on_behalf_of_a_tenant_and_written_by_its_own_alone() {
    let store = held().await;
    let (ada, eve) = (register(&store, 1).await.unwrap(), register(&store, 2).await.unwrap());
    let [first, second] = [&ada, &eve].map(|account| account.tenant.unwrap().tenant);
    let mut made = Vec::new();
    for (name, audience) in
        [("draft", Audience::Nobody), ("within", Audience::Tenant), ("everywhere", Audience::Platform)]
    {
        let (name, description, now) = (name.to_owned(), String::new(), Utc::now());
        let new = NewAgent { tenant: first, developer: ada.id, name, description, most: None, now };
        let agent = store.create_agent(new).await.unwrap().id;
        let change = AgentChange { audience: Some(audience), ..AgentChange::default() };
        store.change_agent(first, agent, Some(ada.id), change, now).await.unwrap();
        made.push(agent);
    }
    let scoped = store.of_tenant(second);
    let Db::Pg(pg) = &scoped.db else { panic!("this is not Postgres") };
    let seen: Vec<String> = sqlx::query_scalar("SELECT name FROM agents").fetch_all(pg).await.unwrap();
    assert_eq!(seen, ["everywhere"]);
    for statement in
        ["UPDATE agents SET name = 'eve''s'", "UPDATE agents SET on_platform = FALSE", "DELETE FROM agents"]
    {
        let mut tx = scoped.begin().await.unwrap();
        let done = on_tx!(&mut tx, |c| sqlx::query(statement).execute(c).await.map(|done| done.rows_affected()));
        assert_eq!(done.unwrap(), 0, "{statement}");
    }
    let mut tx = scoped.begin().await.unwrap();
    let taken = "INSERT INTO agents SELECT gen_random_uuid(), tenant_id, NULL, 'eve''s', '', TRUE, now(), now(), TRUE FROM agents";
    let taken = on_tx!(&mut tx, |c| sqlx::query(taken).execute(c).await.map(drop));
    assert!(matches!(taken.map_err(StoreError::from), Err(StoreError::Forbidden(_))), "nor made in another's name");
    drop(tx);
    // The instance is hers, and refers to what only the reference's own check may look up.
    let new = |id, agent| NewInstance {
        id,
        tenant: second,
        agent,
        account: eve.id,
        name: "Mine".to_owned(),
        sealed: vec![1],
        most: None,
        now: Utc::now(),
    };
    for hidden in &made[..2] {
        let refused = store.create_instance(new(Uuid::now_v7(), *hidden)).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    }
    let instance = Uuid::now_v7();
    store.create_instance(new(instance, made[2])).await.unwrap();
    let used = store.delete_agent(first, made[2], Some(ada.id), Utc::now()).await;
    assert!(matches!(used, Err(StoreError::Conflict(_))), "{used:?}");
    let back = AgentChange { audience: Some(Audience::Nobody), ..AgentChange::default() };
    store.change_agent(first, made[2], Some(ada.id), back, Utc::now()).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM agents").fetch_one(pg).await.unwrap();
    assert_eq!(seen, 0);
    store.delete_tenant(first, None, Utc::now()).await.unwrap();
    assert!(store.instance(second, instance).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_that_is_made_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = Store::connect(&url, settings()).await.unwrap();
    store.migrate().await.unwrap();
    register(&store, 1).await.unwrap();
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
