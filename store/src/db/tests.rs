//! What can only be provoked from inside: a disk without room.

use std::time::Duration;

use identity::{AccountId, Email, PasswordHash};
use uuid::Uuid;

use super::*;
use crate::{Account, NewAccount};

/// One connection, so that what is set on it counts.
fn settings() -> PoolSettings {
    PoolSettings {
        max_connections: 1,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
    }
}

/// The room that SQLite may take, in pages. It says of a page too many what it says of a full disk (`SQLITE_FULL`).
async fn set_room(store: &Store, pages: &'static str) {
    let Db::Lite { pool, .. } = &store.db else { panic!("this is not SQLite") };
    sqlx::query(pages).execute(pool).await.unwrap();
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
        tenant_name: Some("a tenant that is made in the same transaction"),
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
    set_room(&store, "PRAGMA max_page_count = 60").await;
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for n in 0..200 {
        match register(&store, n).await {
            Ok(account) => acknowledged.push(account),
            Err(StoreError::Unavailable(why)) if why.contains("full") => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(!acknowledged.is_empty() && refused > 0, "{} of 200 found room", acknowledged.len());
    assert_eq!(store.account(acknowledged[0].id).await.unwrap().as_ref(), acknowledged.first(), "reading goes on");

    // Somebody makes room: nothing has to be restarted, and what was refused left nothing behind.
    set_room(&store, "PRAGMA max_page_count = 100000").await;
    acknowledged.push(register(&store, 200).await.unwrap());
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
