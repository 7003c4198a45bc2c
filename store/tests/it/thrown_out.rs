//! Who is thrown out at the moment at which they do something: those who come too late, on either engine, and those who wait, on Postgres, where
//! rows are locked one by one.

use std::time::Duration;

use identity::{Email, Grant, KeyId, SessionId, TenantId};
use store::{Account, Belonging, NewAccount, NewKey, Store, StoreError, WayIn};

use crate::{
    engines::{Database, at, hash, newcomer, notice, on_both_engines, person, session},
    factors::{armed, begin, challenge, confirm, is_missing, try_challenge},
    keys::key,
    lock_order::{Deed, both_are_done},
};

on_both_engines!(
    by_a_key_that_has_ended_none_is_made_rotated_or_revoked,
    by_a_key_in_its_grace_none_is_made_that_outlives_it,
    a_key_rotates_and_revokes_itself,
    whoever_has_been_sent_away_makes_no_key_there_from_where_they_are_now,
);

const SESSION: &str = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE";
const KEY: &str = "SELECT 1 FROM api_keys WHERE id = $1 FOR UPDATE";
/// What is said to whoever comes too late.
const LATE: &str = "the account was changed at the same moment; try again";

/// A key that is asked for by another one.
fn asked_by(account: &Account, by: KeyId) -> NewKey {
    NewKey { by: Some(Grant::Key(by)), ..key(account, "child").0 }
}

fn is_late<T>(done: &Result<T, StoreError>) -> bool {
    matches!(done, Err(StoreError::Conflict(why)) if *why == LATE)
}

async fn keys_of(store: &Store, account: &Account) -> Vec<KeyId> {
    store.list_keys(account.id).await.unwrap().into_iter().map(|key| key.id).collect()
}

/// Whoever has a service's secret that has leaked makes no other one of it once it is replaced.
async fn by_a_key_that_has_ended_none_is_made_rotated_or_revoked(database: &Database) {
    let store = database.open().await;
    let (robot, eve) = (person(&store, "robot@example.com").await, person(&store, "eve@example.com").await);
    let replaced = store.create_key(key(&robot, "leaked").0).await.unwrap().id;
    let new = store.replace_keys(key(&robot, "new").0).await.unwrap().id;
    let revoked = store.create_key(key(&robot, "revoked").0).await.unwrap().id;
    store.revoke_key(robot.id, revoked, None, at(1)).await.unwrap();
    let expired = store.create_key(NewKey { expires_at: Some(at(0)), ..key(&robot, "expired").0 }).await.unwrap().id;
    let others = store.create_key(key(&eve, "hers").0).await.unwrap().id;
    for by in [replaced, revoked, expired, others] {
        let next = || NewKey { expires_at: Some(at(0)), ..asked_by(&robot, by) };
        let made = store.create_key(next()).await;
        assert!(is_late(&made), "{made:?}");
        for grace in [Duration::ZERO, Duration::from_mins(1)] {
            let rotated = store.rotate_key(robot.id, new, next(), grace, at(2)).await;
            assert!(is_late(&rotated), "{rotated:?}");
        }
        let gone = store.revoke_key(robot.id, new, Some(Grant::Key(by)), at(2)).await;
        assert!(is_late(&gone), "{gone:?}");
    }
    assert_eq!(keys_of(&store, &robot).await, [new, expired]);
}

/// When its end was looked up it had none.
async fn by_a_key_in_its_grace_none_is_made_that_outlives_it(database: &Database) {
    let store = database.open().await;
    let robot = person(&store, "robot@example.com").await;
    let old = store.create_key(key(&robot, "old").0).await.unwrap().id;
    let new = store.rotate_key(robot.id, old, key(&robot, "new").0, Duration::from_mins(1), at(0)).await.unwrap().id;
    for expires_at in [None, Some(at(61))] {
        let asked = || NewKey { expires_at, ..asked_by(&robot, old) };
        let made = store.create_key(asked()).await;
        assert!(is_late(&made), "{made:?}");
        let rotated = store.rotate_key(robot.id, new, asked(), Duration::ZERO, at(1)).await;
        assert!(is_late(&rotated), "{rotated:?}");
    }
    let within = NewKey { expires_at: Some(at(60)), ..asked_by(&robot, old) };
    let within = store.create_key(within).await.unwrap().id;
    assert_eq!(keys_of(&store, &robot).await, [old, new, within]);
}

async fn a_key_rotates_and_revokes_itself(database: &Database) {
    let store = database.open().await;
    let robot = person(&store, "robot@example.com").await;
    let mut own = store.create_key(NewKey { expires_at: Some(at(99)), ..key(&robot, "key").0 }).await.unwrap().id;
    for grace in [Duration::from_mins(1), Duration::ZERO] {
        let next = NewKey { expires_at: Some(at(99)), ..asked_by(&robot, own) };
        own = store.rotate_key(robot.id, own, next, grace, at(1)).await.unwrap().id;
    }
    store.revoke_key(robot.id, own, Some(Grant::Key(own)), at(2)).await.unwrap();
    assert_eq!(keys_of(&store, &robot).await.len(), 1, "the one in its grace");
}

/// Somebody who belongs to an organisation, and their session, which acts in another one of theirs by now.
async fn member_elsewhere(store: &Store) -> (Account, TenantId, SessionId) {
    let boss = person(store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    let email = Email::parse("ada@example.com").unwrap();
    let joins = NewAccount { tenant: Belonging::Joins(work), ..newcomer(&email) };
    let ada = store.create_account(joins).await.unwrap();
    let home = store.create_tenant("Home", ada.id, 9, at(0)).await.unwrap().id;
    let (login, _) = session(store, &ada).await;
    store.switch_tenant(login, ada.id, home, at(0)).await.unwrap();
    (ada, work, login)
}

/// The session goes on, since it is elsewhere; the key would be good again if they were asked to come back.
async fn whoever_has_been_sent_away_makes_no_key_there_from_where_they_are_now(database: &Database) {
    let store = database.open().await;
    let (ada, work, login) = member_elsewhere(&store).await;
    let asked = |tenant| NewKey { tenant, by: Some(Grant::Session(login)), ..key(&ada, "key").0 };
    store.create_key(asked(Some(work))).await.unwrap();
    store.remove_member(work, ada.id, None, at(1)).await.unwrap();
    let made = store.create_key(asked(Some(work))).await;
    assert!(is_late(&made), "{made:?}");
    assert_eq!(keys_of(&store, &ada).await, []);
    let elsewhere = store.create_key(asked(None)).await.unwrap().id;
    let rotated = store.rotate_key(ada.id, elsewhere, asked(Some(work)), Duration::ZERO, at(2)).await;
    assert!(is_late(&rotated), "{rotated:?}");
    assert_eq!(keys_of(&store, &ada).await, [elsewhere]);
}

/// Ends a key, and makes another one by it, which waits for that.
async fn a_key_is_made_by_one_while_this_ends_it(end: fn(Store, Account, KeyId) -> Deed) {
    let database = Database::postgres().await;
    let store = database.open().await;
    let robot = person(&store, "robot@example.com").await;
    let leaked = store.create_key(key(&robot, "leaked").0).await.unwrap().id;
    let (making, new) = (store.clone(), asked_by(&robot, leaked));
    let deeds: [Deed; 2] = [
        end(store.clone(), robot.clone(), leaked),
        Box::pin(async move {
            let made = making.create_key(new).await;
            assert!(is_late(&made), "{made:?}");
            Ok(())
        }),
    ];
    both_are_done(&database, KEY, leaked.uuid(), deeds).await;
    let left = store.list_keys(robot.id).await.unwrap();
    assert!(left.iter().all(|key| key.name != "child"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_secret_that_is_being_replaced_makes_no_key() {
    a_key_is_made_by_one_while_this_ends_it(|store, robot, _| {
        Box::pin(async move { store.replace_keys(key(&robot, "new").0).await.map(drop) })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_key_that_is_being_revoked_makes_none() {
    a_key_is_made_by_one_while_this_ends_it(|store, robot, leaked| {
        Box::pin(async move { store.revoke_key(robot.id, leaked, None, at(1)).await })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_key_that_is_being_rotated_makes_none_that_outlives_it() {
    a_key_is_made_by_one_while_this_ends_it(|store, robot, leaked| {
        let grace = Duration::from_mins(1);
        Box::pin(async move { store.rotate_key(robot.id, leaked, key(&robot, "new").0, grace, at(1)).await.map(drop) })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_being_sent_away_makes_no_key_there_from_where_they_are_now() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let (ada, work, login) = member_elsewhere(&store).await;
    let new = NewKey { tenant: Some(work), by: Some(Grant::Session(login)), ..key(&ada, "work").0 };
    let (sending, making, id) = (store.clone(), store.clone(), ada.id);
    let deeds: [Deed; 2] = [
        Box::pin(async move { sending.remove_member(work, id, None, at(1)).await }),
        Box::pin(async move {
            let made = making.create_key(new).await;
            assert!(is_late(&made), "{made:?}");
            Ok(())
        }),
    ];
    let membership = "SELECT 1 FROM tenant_members WHERE account_id = $1 FOR UPDATE";
    both_are_done(&database, membership, id.uuid(), deeds).await;
    assert_eq!(keys_of(&store, &ada).await, []);
}

/// It would serve them for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_who_throws_them_out_makes_no_key() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (theirs, _) = session(&store, &ada).await;
    let (taking, making, id) = (store.clone(), store.clone(), ada.id);
    let new = NewKey { by: Some(Grant::Session(theirs)), ..key(&ada, "for ever").0 };
    let deeds: [Deed; 2] = [
        Box::pin(async move {
            let own = WayIn::Password(hash("own"));
            taking.take_over_unconfirmed(id, own, "user", at(1)).await.map(drop)
        }),
        Box::pin(async move {
            let made = making.create_key(new).await;
            assert!(matches!(made, Err(StoreError::Conflict(_))), "{made:?}");
            Ok(())
        }),
    ];
    both_are_done(&database, SESSION, theirs.uuid(), deeds).await;
    assert_eq!(store.list_keys(ada.id).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_shown_a_password_that_is_being_replaced_is_asked_for_no_second_factor() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let (ada, _) = armed(&store, "ada@example.com").await;
    let earlier = challenge(&store, &ada).await.id;
    let (changing, asking, id) = (store.clone(), store.clone(), ada.id);
    let deeds: [Deed; 2] = [
        Box::pin(
            async move { changing.set_password(id, &hash("a hash"), hash("another"), None, &notice(), at(6)).await },
        ),
        Box::pin(async move {
            let asked = try_challenge(&asking, &ada).await;
            assert!(matches!(asked, Err(StoreError::Conflict(_))), "{asked:?}");
            Ok(())
        }),
    ];
    both_are_done(&database, "SELECT 1 FROM one_time_tokens WHERE id = $1 FOR UPDATE", earlier, deeds).await;
}

/// Whoever ends the others finds the first one first. Whoever adds a factor has the last one before it ends the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_other_sessions_are_ended_while_a_factor_is_added_in_one_of_them() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (own, _) = session(&store, &ada).await;
    let (first, _) = session(&store, &ada).await;
    let (second, _) = session(&store, &ada).await;
    let (last, _) = session(&store, &ada).await;
    let factor = begin(&store, ada.id).await;
    let (ending, adding, id) = (store.clone(), store.clone(), ada.id);
    let deeds: [Deed; 2] = [
        Box::pin(async move { ending.end_sessions_but(id, Some(own), at(6)).await.map(drop) }),
        Box::pin(async move {
            let added = confirm(&adding, id, factor, last, &[]).await;
            assert!(is_missing(&added), "{added:?}");
            Ok(())
        }),
    ];
    both_are_done(&database, SESSION, second.uuid(), deeds).await;
    for (session, ended_at) in [(own, None), (first, Some(at(6))), (second, Some(at(6))), (last, Some(at(6)))] {
        assert_eq!(store.session_grant(session).await.unwrap().unwrap().ended_at, ended_at);
    }
}
