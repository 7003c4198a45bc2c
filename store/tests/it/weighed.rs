//! What was weighed against the role that somebody has is done to them, and by them, only while they have it; nor is what they have joined
//! meanwhile forgotten.

use identity::{AccountId, Email, KeyId, LockRules, OneTimePurpose, SecretDigest, SessionId, TenantRole};
use sqlx::Connection as _;
use store::{Account, AccountChange, Aim, Belonging, NewAccount, Store, StoreError};
use uuid::Uuid;

use crate::{
    changed_hands::{one_time, token},
    engines::{
        Database, FEED_LOCK, at, heard, newcomer, notice, on_both_engines, person, session, wait_for_lock_waiters,
    },
    factors::armed,
    keys::key,
};

on_both_engines!(
    what_was_weighed_against_another_role_is_not_done,
    what_was_weighed_against_the_role_that_they_have_is_done,
    nobody_who_is_gone_is_held,
    nobody_deletes_an_organisation_who_owns_it_no_more,
);

/// Somebody of whom there is everything that an administrator may take away.
struct Target {
    ada: Account,
    /// Somebody who has been invited and has not come.
    invited: AccountId,
    key: KeyId,
    session: SessionId,
    aim: Aim,
}

const INVITED: &str = "invited@example.com";
/// How many wait for others.
const WAITING: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

// === impl Target ===

impl Target {
    async fn of(store: &Store) -> Self {
        let (ada, _) = armed(store, "ada@example.com").await;
        let (email, purpose) = (Email::parse(INVITED).unwrap(), OneTimePurpose::Invite);
        let new = newcomer(&email);
        let invited = new.id;
        store.invite(new, &one_time(&token(), purpose, invited, INVITED), None, None).await.unwrap();
        let key = store.create_key(key(&ada, "key").0).await.unwrap().id;
        let (session, _) = session(store, &ada).await;
        let aim = Aim::anywhere(SecretDigest::of(b"ada"));
        let rules = LockRules {
            attempts: 5,
            duration: std::time::Duration::from_mins(30),
            longest: std::time::Duration::from_hours(24),
            forget_after: std::time::Duration::from_hours(24),
        };
        let network = Aim::anywhere(SecretDigest::of(b"network"));
        store.count_failure([(aim, rules), (network, rules)], |_| notice(), at(1)).await.unwrap();
        Self { ada, invited, key, session, aim }
    }

    fn everybody(&self) -> [AccountId; 2] {
        [self.ada.id, self.invited]
    }

    /// Everything that is done to somebody of this role: what it was, and what came of it.
    async fn done(&self, store: &Store, number: usize, of_role: &str) -> Result<(), StoreError> {
        let ada = self.ada.id;
        match number {
            0 => store.remove_factors(ada, of_role, &notice(), at(7)).await.map(drop),
            1 => store.unlock_account(ada, of_role, &[self.aim.subject]).await.map(drop),
            2 => store.end_any_key(self.key, (ada, of_role), at(7)).await,
            3 => store.end_any_session(self.session, (ada, of_role), at(7)).await,
            _ => {
                let token = token();
                let token = one_time(&token, OneTimePurpose::Invite, self.invited, INVITED);
                store.invite_again(self.invited, of_role, &token, Some(&notice()), at(7)).await
            }
        }
    }

    /// What is left of it all.
    async fn left(&self, database: &Database, store: &Store) -> (usize, usize, bool, i64) {
        let factors = store.factors(self.ada.id).await.unwrap().len();
        let keys = store.list_keys(self.ada.id).await.unwrap().len();
        let ended = store.session_grant(self.session).await.unwrap().unwrap().ended_at;
        (factors, keys, ended.is_none(), database.mails_waiting().await)
    }
}

/// How many things are done to somebody.
const DEEDS: usize = 5;

async fn what_was_weighed_against_another_role_is_not_done(database: &Database) {
    let store = database.open().await;
    let target = Target::of(&store).await;
    for id in target.everybody() {
        let promoted = AccountChange { role: Some("admin".to_owned()), ..AccountChange::default() };
        store.change_account(id, promoted, at(2)).await.unwrap();
    }
    let before = (target.left(database, &store).await, heard(&store).await);
    for number in 0..DEEDS {
        let done = target.done(&store, number, "user").await;
        let refused = "the account was changed at the same moment; try again";
        assert!(matches!(done, Err(StoreError::Conflict(why)) if why == refused), "{number}: {done:?}");
    }
    assert_eq!((target.left(database, &store).await, heard(&store).await), before);
    assert!(store.unlock(&target.aim.subject).await.unwrap(), "what was counted is forgotten");
}

async fn what_was_weighed_against_the_role_that_they_have_is_done(database: &Database) {
    let store = database.open().await;
    let target = Target::of(&store).await;
    let (.., waiting) = target.left(database, &store).await;
    // The second time there is nothing left to do it to; of factors and failures that is no fault.
    for number in (0..DEEDS).rev() {
        target.done(&store, number, "user").await.unwrap();
    }
    assert_eq!(target.left(database, &store).await, (0, 0, false, waiting + 2));
    assert!(!store.unlock(&target.aim.subject).await.unwrap());
    for number in [2, 3] {
        assert!(matches!(target.done(&store, number, "user").await, Err(StoreError::NotFound)), "{number}");
    }
    // Nor is somebody else's theirs.
    let bob = person(&store, "bob@example.com").await;
    let his = store.create_key(key(&bob, "his").0).await.unwrap().id;
    let (there, _) = session(&store, &bob).await;
    let whose = (target.ada.id, "user");
    assert!(matches!(store.end_any_key(his, whose, at(8)).await, Err(StoreError::NotFound)));
    assert!(matches!(store.end_any_session(there, whose, at(8)).await, Err(StoreError::NotFound)));
}

async fn nobody_who_is_gone_is_held(database: &Database) {
    let store = database.open().await;
    let target = Target::of(&store).await;
    for id in target.everybody() {
        store.delete_account(id, None, at(2)).await.unwrap();
    }
    let gone = Target { ada: Account { id: AccountId::new(Uuid::now_v7()), ..target.ada.clone() }, ..target };
    for number in 0..DEEDS {
        let done = gone.done(&store, number, "user").await;
        assert!(matches!(done, Err(StoreError::NotFound)), "{number}: {done:?}");
    }
}

/// Neither sees what the other has written before it commits; so one has to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_nothing_is_done_to_who_becomes_an_administrator_meanwhile() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let target = std::sync::Arc::new(Target::of(&store).await);
    let before = target.left(&database, &store).await;
    let (mut other, mut watcher) = (database.beside().await, database.beside().await);
    for number in 0..DEEDS {
        let mut tx = other.begin().await.unwrap();
        sqlx::Executor::execute(&mut *tx, "UPDATE accounts SET role = 'admin'").await.unwrap();
        let doing = tokio::spawn({
            let (store, target) = (store.clone(), std::sync::Arc::clone(&target));
            async move { target.done(&store, number, "user").await }
        });
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() == 0 {
            assert!(!doing.is_finished(), "{number} did not wait");
        }
        tx.commit().await.unwrap();
        let done = doing.await.unwrap();
        assert!(matches!(done, Err(StoreError::Conflict(_))), "{number}: {done:?}");
        database.run_beside("UPDATE accounts SET role = 'user'").await;
    }
    assert_eq!(target.left(&database, &store).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_an_account_leaves_nothing_behind_that_it_founds_while_it_goes() {
    const LEFT: &str = "SELECT COUNT(*) FROM tenants";
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await.id;
    let (mut feed, mut watcher) = (database.beside().await, database.beside().await);
    let mut held = feed.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(&mut *held).await.unwrap();
    // Who founds it holds the account, and waits for the feed; who deletes the account has seen no organisation, and waits for it.
    let founding = tokio::spawn({
        let store = store.clone();
        async move { store.create_tenant("Home", ada, 9, at(1)).await }
    });
    wait_for_lock_waiters(&database, 1).await;
    let going = tokio::spawn({
        let store = store.clone();
        async move { store.delete_account(ada, None, at(2)).await }
    });
    while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() < 2 {
        assert!(!going.is_finished(), "it did not wait");
    }
    held.rollback().await.unwrap();
    founding.await.unwrap().unwrap();
    let gone = going.await.unwrap();
    assert!(matches!(gone, Err(StoreError::Conflict(_))), "{gone:?}");
    store.delete_account(ada, None, at(3)).await.unwrap();
    assert_eq!(database.rows::<(i64,)>(LEFT, LEFT).await, [(0,)]);
}

async fn nobody_deletes_an_organisation_who_owns_it_no_more(database: &Database) {
    let store = database.open().await;
    let (ada, eve) = (person(&store, "ada@example.com").await, person(&store, "eve@example.com").await);
    let tenant = store.create_tenant("Acme", ada.id, 9, at(0)).await.unwrap().id;
    let email = Email::parse("bob@example.com").unwrap();
    let bob = NewAccount { tenant: Belonging::Joins(tenant), ..newcomer(&email) };
    let bob = store.create_account(bob).await.unwrap();
    store.change_member(tenant, bob.id, TenantRole::Owner, Some(ada.id), at(1)).await.unwrap();
    store.change_member(tenant, ada.id, TenantRole::Admin, Some(bob.id), at(2)).await.unwrap();
    for by in [ada.id, eve.id] {
        let refused = store.delete_tenant(tenant, Some(by), at(3)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    assert!(store.tenant(tenant).await.unwrap().is_some());
    store.delete_tenant(tenant, Some(bob.id), at(4)).await.unwrap();
    assert!(store.tenant(tenant).await.unwrap().is_none());
}
