//! Who is thrown out at the moment at which they do something. On Postgres, where rows are locked one by one.

use store::{NewKey, StoreError, WayIn};

use crate::{
    engines::{Database, at, hash, notice, person, session},
    factors::{armed, begin, challenge, confirm, is_missing, try_challenge},
    keys::key,
    lock_order::{Deed, both_are_done},
};

const SESSION: &str = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE";

/// It would serve them for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_who_throws_them_out_makes_no_key() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (theirs, _) = session(&store, &ada).await;
    let (taking, making, id) = (store.clone(), store.clone(), ada.id);
    let new = NewKey { session: Some(theirs), ..key(&ada, "for ever").0 };
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
