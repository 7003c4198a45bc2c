//! Session cookies: what stands behind one, until when, and whose go when a role changes.

use identity::{Grant, SecretDigest, SessionCookie, SessionId};
use store::{Account, AccountChange, CookieTerms, NewSession, Origin, Proof, Standing, Store, StoreError, Subject};
use uuid::Uuid;

use crate::engines::{Database, at, heard, on_both_engines, person, session};

on_both_engines!(
    a_cookie_makes_its_accounts_principal_until_it_is_idle_or_ends,
    a_use_prolongs_and_never_shortens,
    another_cookie_takes_the_place_of_the_one_before,
    a_cookie_that_is_left_behind_ends_by_its_own_value_alone,
    another_role_ends_the_sessions_that_have_cookies,
    sessions_with_cookies_are_listed_and_forgotten_when_they_are_over,
);

pub(crate) async fn cookie(store: &Store, account: &Account) -> SessionCookie {
    let cookie = SessionCookie::generate(SessionId::new(Uuid::now_v7()), &mut rand::rng());
    let proof = Proof::Cookie(CookieTerms { digest: cookie.digest(), idle_until: at(100), ends_at: at(1000) });
    let new = NewSession { id: cookie.id(), account, proof, now: at(0), origin: Origin::default() };
    store.open_session(new).await.unwrap();
    cookie
}

async fn a_cookie_makes_its_accounts_principal_until_it_is_idle_or_ends(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let cookie = cookie(&store, &ada).await;
    let facts = store.cookie_grant(cookie.id()).await.unwrap().unwrap();
    assert_eq!(facts.digest, Some(cookie.digest()));
    assert_eq!(facts.principal(Grant::Cookie(cookie.id())).account, ada.id);
    assert_eq!((facts.standing(at(99)), facts.standing(at(100))), (Standing::Live, Standing::Expired));
    store.touch_cookies(&[(cookie.id(), at(5000))], at(99)).await.unwrap();
    let facts = store.cookie_grant(cookie.id()).await.unwrap().unwrap();
    assert_eq!((facts.standing(at(999)), facts.standing(at(1000))), (Standing::Live, Standing::Expired));
    let (bearer, _) = session(&store, &ada).await;
    assert!(store.cookie_grant(bearer).await.unwrap().is_none(), "a session with tokens has no cookie");
    store.end_session(cookie.id(), at(10)).await.unwrap();
    assert_eq!(store.cookie_grant(cookie.id()).await.unwrap().unwrap().standing(at(11)), Standing::Ended);
}

async fn a_use_prolongs_and_never_shortens(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = cookie(&store, &ada).await.id();
    let until = async || store.cookie_grant(id).await.unwrap().unwrap().idle_until;
    store.touch_cookies(&[(id, at(150))], at(50)).await.unwrap();
    assert_eq!(until().await, Some(at(150)));
    store.touch_cookies(&[(id, at(120))], at(20)).await.unwrap();
    assert_eq!(until().await, Some(at(150)));
    assert_eq!(heard(&store).await, [], "a use is no change");
}

async fn another_cookie_takes_the_place_of_the_one_before(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = cookie(&store, &ada).await.id();
    let other = SecretDigest::of(b"other");
    store.change_cookie(id, &other, at(5)).await.unwrap();
    let facts = store.cookie_grant(id).await.unwrap().unwrap();
    assert_eq!((facts.digest, facts.expires_at), (Some(other), Some(at(1000))), "it lives no longer for it");
    assert_eq!(heard(&store).await, [Subject::Session(id)], "whoever has cached the old one hears of it");
    let (bearer, _) = session(&store, &ada).await;
    store.end_session(id, at(6)).await.unwrap();
    for none in [id, bearer] {
        assert!(matches!(store.change_cookie(none, &other, at(7)).await, Err(StoreError::NotFound)));
    }
}

async fn a_cookie_that_is_left_behind_ends_by_its_own_value_alone(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let cookie = cookie(&store, &ada).await;
    store.leave_cookie(cookie.id(), &SecretDigest::of(b"guessed"), at(5)).await.unwrap();
    assert_eq!(heard(&store).await, []);
    for second in [6, 7] {
        store.leave_cookie(cookie.id(), &cookie.digest(), at(second)).await.unwrap();
    }
    assert_eq!(store.cookie_grant(cookie.id()).await.unwrap().unwrap().ended_at, Some(at(6)));
    assert_eq!(heard(&store).await, [Subject::Session(cookie.id())]);
}

async fn another_role_ends_the_sessions_that_have_cookies(database: &Database) {
    let store = database.open().await;
    let (ada, bob) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let (own, others) = (cookie(&store, &ada).await.id(), cookie(&store, &bob).await.id());
    let (bearer, _) = session(&store, &ada).await;
    let change = AccountChange { tier: Some(store::NewTier::Own("pro".to_owned())), ..AccountChange::default() };
    store.change_account(ada.id, change, at(1)).await.unwrap();
    assert_eq!(store.cookie_grant(own).await.unwrap().unwrap().ended_at, None);
    let change = AccountChange { role: Some("admin".to_owned()), ..AccountChange::default() };
    store.change_account(ada.id, change, at(2)).await.unwrap();
    assert_eq!(store.cookie_grant(own).await.unwrap().unwrap().ended_at, Some(at(2)));
    assert_eq!(store.cookie_grant(others).await.unwrap().unwrap().ended_at, None);
    assert_eq!(store.session_grant(bearer).await.unwrap().unwrap().ended_at, None);
    assert!(heard(&store).await.contains(&Subject::Session(own)));
}

async fn sessions_with_cookies_are_listed_and_forgotten_when_they_are_over(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = cookie(&store, &ada).await.id();
    let listed = async |now| store.list_sessions(ada.id, now, None, 200).await.unwrap().items.len();
    assert_eq!((listed(at(99)).await, listed(at(100)).await), (1, 0));
    store.touch_cookies(&[(id, at(5000))], at(60)).await.unwrap();
    assert_eq!((listed(at(999)).await, listed(at(1000)).await), (1, 0));
    assert_eq!(store.forget_sessions(at(1000)).await.unwrap(), 0, "it has not been over before then");
    assert_eq!(store.forget_sessions(at(1001)).await.unwrap(), 1);
}
