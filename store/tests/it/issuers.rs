//! What issuers say of accounts: the last word counts, and another role by it ends what another role ends.

use identity::ExternalId;
use sqlx::Connection as _;
use store::{Account, ExternalSubject, Followed, Store, Subject};

use crate::{
    cookies::cookie,
    engines::{Database, at, heard, on_both_engines, person, session},
    lock_order::begin,
};

on_both_engines!(
    what_an_issuer_has_said_last_counts_also_if_it_changes_nothing,
    another_role_by_an_issuers_word_ends_what_it_ends_by_an_administrators_hand,
);

/// A subject that is an account's.
async fn subject_of(store: &Store, account: &Account) -> ExternalId {
    let subject = ExternalSubject { issuer: "them", subject: "ada", claims_at: None };
    store.link_external(account.id, None, subject, None, at(0)).await.unwrap();
    ExternalId::of(subject.issuer, subject.subject)
}

async fn what_an_issuer_has_said_last_counts_also_if_it_changes_nothing(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = subject_of(&store, &ada).await;
    let heard_at = async || store.external_account(id, None).await.unwrap().unwrap().1;
    let follow = async |said_at, role, tier, second| {
        store.follow_issuer(id, said_at, (Some(role), Some(tier)), at(second)).await.unwrap()
    };
    assert_eq!(heard_at().await, None);
    assert_eq!(follow(100, "admin", "pro", 1).await, Followed::Changed);
    let before = heard(&store).await;
    assert_eq!(follow(300, "admin", "pro", 2).await, Followed::Same);
    assert_eq!((heard_at().await, heard(&store).await), (Some(300), before));
    for stale in [200, 300] {
        assert_eq!(follow(stale, "user", "free", 3).await, Followed::Stale, "{stale}");
    }
    let (account, _) = store.external_account(id, None).await.unwrap().unwrap();
    assert_eq!((&*account.role, &*account.tier), ("admin", "pro"));
    assert_eq!(follow(301, "user", "free", 4).await, Followed::Changed);
    assert_eq!(store.account(ada.id).await.unwrap().unwrap().role, "user");
    let nobody = ExternalId::of("them", "bob");
    assert_eq!(store.follow_issuer(nobody, 400, (Some("admin"), None), at(5)).await.unwrap(), Followed::Stale);
}

async fn another_role_by_an_issuers_word_ends_what_it_ends_by_an_administrators_hand(database: &Database) {
    let store = database.open().await;
    let (ada, bob) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let id = subject_of(&store, &ada).await;
    let ((bearer, _), own) = (session(&store, &ada).await, cookie(&store, &ada).await.id());
    let as_bob = begin(&store, &bob, None, Some(&ada)).await.unwrap();
    let as_ada = begin(&store, &ada, None, Some(&bob)).await.unwrap();
    let ended = async || {
        let mut ended = Vec::new();
        for session in [own, as_bob, as_ada, bearer] {
            ended.push(store.session_grant(session).await.unwrap().unwrap().ended_at);
        }
        ended
    };
    for (said_at, tier) in [(100, None), (101, Some("pro"))] {
        store.follow_issuer(id, said_at, (Some("user"), tier), at(1)).await.unwrap();
    }
    assert_eq!(ended().await, [None; 4]);
    assert_eq!(store.follow_issuer(id, 102, (Some("developer"), None), at(2)).await.unwrap(), Followed::Changed);
    assert_eq!(ended().await, [Some(at(2)), Some(at(2)), Some(at(2)), None]);
    let heard = heard(&store).await;
    for session in [own, as_bob, as_ada] {
        assert!(heard.contains(&Subject::Session(session)), "{heard:?}");
    }
}

/// The later one says what is so when it is shown; the older one, which says otherwise, is being written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_later_of_two_words_at_once_counts() {
    const OLDER: &str = "UPDATE accounts SET role = 'admin'; UPDATE external_identities SET claims_at = 100";
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = subject_of(&store, &ada).await;
    let (mut other, mut watcher) = (database.beside().await, database.beside().await);
    let mut older = other.begin().await.unwrap();
    sqlx::Executor::execute(&mut *older, OLDER).await.unwrap();
    let later = tokio::spawn({
        let store = store.clone();
        async move { store.follow_issuer(id, 200, (Some("user"), None), at(1)).await }
    });
    while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() == 0 {
        assert!(!later.is_finished(), "it did not wait");
    }
    older.commit().await.unwrap();
    assert_eq!(later.await.unwrap().unwrap(), Followed::Changed);
    assert_eq!(store.account(ada.id).await.unwrap().unwrap().role, "user");
}
