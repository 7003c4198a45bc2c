//! Links to others that an owner takes away: when that may be, and that an issuer is refused by it.

use identity::{AccountId, Email, ExternalId, OneTimePurpose, SessionId};
use sqlx::{Connection as _, Executor as _};
use store::{Believed, ExternalSubject, NewIdentity, RefusedIssuer, Store, StoreError, Subject, Unlinked};

use crate::{
    changed_hands::{one_time, shown, token},
    engines::{Database, at, hash, heard, notice, on_both_engines, person, session},
};

on_both_engines!(
    an_issuer_whose_link_is_taken_away_is_refused_until_its_owner_thinks_better_of_it,
    a_link_is_taken_away_by_its_owner_alone_and_an_old_systems_by_nobody,
    of_who_has_no_password_the_last_way_in_stays,
    an_issuers_word_links_nothing_that_its_owner_has_refused_or_that_is_not_its_owners
);

const LOGIN: &str = "https://login.test";
const TOKENS: &str = "https://tokens.test";
/// Where people log in, and whose tokens are believed as well.
const BOTH: &str = "https://both.test";
const BELIEVED: Believed<'_> = Believed { providers: &[LOGIN, BOTH], issuers: &[TOKENS, BOTH] };

async fn link(store: &Store, account: AccountId, issuer: &str) -> ExternalId {
    let subject = ExternalSubject { issuer, subject: "ada", claims_at: None };
    store.link_external(account, None, subject, None, at(0)).await.unwrap();
    ExternalId::of(issuer, "ada")
}

async fn unlink(store: &Store, whose: (AccountId, SessionId), id: ExternalId) -> Result<Unlinked, StoreError> {
    store.unlink_identity(whose, id, BELIEVED, &notice(), at(5)).await
}

async fn refuses(store: &Store, account: AccountId, issuer: &str) -> bool {
    store.refused_issuers(account).await.unwrap().iter().any(|refused| refused.issuer == issuer)
}

/// Somebody with or without a password, in a session.
async fn somebody(store: &Store, email: &str, has_password: bool) -> (AccountId, SessionId) {
    let account = person(store, email).await;
    if has_password {
        let kept = hash("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA");
        store.set_password(account.id, &hash("a hash"), kept, None, &notice(), at(0)).await.unwrap();
    } else {
        let none = identity::Hasher::new(identity::Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 });
        let none = none.unwrap().decoy().clone();
        store.set_password(account.id, &hash("a hash"), none, None, &notice(), at(0)).await.unwrap();
    }
    let account = store.account(account.id).await.unwrap().unwrap();
    (account.id, session(store, &account).await.0)
}

async fn an_issuer_whose_link_is_taken_away_is_refused_until_its_owner_thinks_better_of_it(database: &Database) {
    let store = database.open().await;
    let ada = somebody(&store, "ada@example.com", true).await;
    let bob = somebody(&store, "bob@example.com", true).await;
    for issuer in [TOKENS, BOTH] {
        let id = link(&store, ada.0, issuer).await;
        assert!(!refuses(&store, ada.0, issuer).await);
        let before = heard(&store).await.len();
        assert_eq!(unlink(&store, ada, id).await.unwrap(), Unlinked::Done);
        assert_eq!(heard(&store).await[before..], [Subject::External(id), Subject::Account(ada.0)]);
        assert!(refuses(&store, ada.0, issuer).await);
        assert!(!refuses(&store, bob.0, issuer).await);
        let refused = store.refused_issuers(ada.0).await.unwrap();
        let it: &RefusedIssuer = refused.iter().find(|refused| refused.issuer == issuer).unwrap();
        assert_eq!((it.id(), it.refused_at), (id, at(5)));
    }
    // Nobody else takes it back, and it is taken back once; the door hears of it.
    let (tokens, both) = (ExternalId::of(TOKENS, "ada"), ExternalId::of(BOTH, "ada"));
    assert!(matches!(store.allow_issuer(bob.0, tokens, at(6)).await, Err(StoreError::NotFound)));
    let before = heard(&store).await.len();
    store.allow_issuer(ada.0, tokens, at(6)).await.unwrap();
    assert_eq!(heard(&store).await[before..], [Subject::External(tokens)]);
    assert!(matches!(store.allow_issuer(ada.0, tokens, at(6)).await, Err(StoreError::NotFound)));
    assert!(!refuses(&store, ada.0, TOKENS).await);
    // To agree to a link takes it back too.
    let (token, purpose) = (token(), OneTimePurpose::LinkIdentity);
    store.keep_one_time(&one_time(&token, purpose, ada.0, "ada@example.com")).await.unwrap();
    let identity = NewIdentity { issuer: BOTH, subject: "ada", email: "ada@example.com" };
    assert!(store.link_identity(&shown(&token, purpose), ada, identity, &notice(), at(7)).await.unwrap());
    assert_eq!(store.refused_issuers(ada.0).await.unwrap(), []);
    // Where people only log in there is nothing to refuse.
    let login = link(&store, ada.0, LOGIN).await;
    assert_eq!(unlink(&store, ada, login).await.unwrap(), Unlinked::Done);
    assert_eq!(store.refused_issuers(ada.0).await.unwrap(), []);
    // With an account its refusals go.
    assert_eq!(unlink(&store, ada, both).await.unwrap(), Unlinked::Done);
    store.delete_account(ada.0, None, at(8)).await.unwrap();
    assert!(!refuses(&store, ada.0, BOTH).await);
}

async fn a_link_is_taken_away_by_its_owner_alone_and_an_old_systems_by_nobody(database: &Database) {
    let store = database.open().await;
    let ada = somebody(&store, "ada@example.com", true).await;
    let bob = somebody(&store, "bob@example.com", true).await;
    let (id, old) = (link(&store, ada.0, TOKENS).await, link(&store, ada.0, "old-system").await);
    for (whose, id) in [(bob, id), (ada, old), (ada, ExternalId::of(TOKENS, "eve"))] {
        assert!(matches!(unlink(&store, whose, id).await, Err(StoreError::NotFound)));
    }
    assert_eq!(store.identities(ada.0).await.unwrap().len(), 2);
    assert_eq!(store.refused_issuers(ada.0).await.unwrap(), []);
}

async fn of_who_has_no_password_the_last_way_in_stays(database: &Database) {
    let store = database.open().await;
    let ada = somebody(&store, "ada@example.com", false).await;
    let tokens = link(&store, ada.0, TOKENS).await;
    assert_eq!(unlink(&store, ada, tokens).await.unwrap(), Unlinked::LastWayIn);
    // An old system's tokens are no way in that lasts.
    link(&store, ada.0, "old-system").await;
    assert_eq!(unlink(&store, ada, tokens).await.unwrap(), Unlinked::LastWayIn);
    assert_eq!(store.refused_issuers(ada.0).await.unwrap(), []);
    // The pages are opened by who logs in, not by who brings a token.
    let login = link(&store, ada.0, LOGIN).await;
    assert_eq!(unlink(&store, ada, login).await.unwrap(), Unlinked::LastWayIn);
    assert_eq!(unlink(&store, ada, tokens).await.unwrap(), Unlinked::Done);
    let both = link(&store, ada.0, BOTH).await;
    assert_eq!(unlink(&store, ada, login).await.unwrap(), Unlinked::Done);
    assert_eq!(unlink(&store, ada, both).await.unwrap(), Unlinked::LastWayIn);
}

/// What an issuer may do that is believed for addresses.
async fn link_by_word(store: &Store, account: AccountId, address: &str, issuer: &str) -> bool {
    let subject = ExternalSubject { issuer, subject: "ada", claims_at: None };
    let address = Email::parse(address).unwrap();
    store.link_external(account, Some(&address), subject, None, at(9)).await.unwrap()
}

async fn an_issuers_word_links_nothing_that_its_owner_has_refused_or_that_is_not_its_owners(database: &Database) {
    const ADA: &str = "ada@example.com";
    let store = database.open().await;
    let ada = somebody(&store, ADA, true).await;
    assert!(!link_by_word(&store, ada.0, ADA, TOKENS).await, "nobody has confirmed the address");
    database.confirm(ADA).await;
    assert!(!link_by_word(&store, ada.0, "ada@before.example", TOKENS).await, "it is another's by now");
    let other = link(&store, ada.0, BOTH).await;
    assert!(!link_by_word(&store, ada.0, ADA, TOKENS).await, "another was let in by its word alone");
    assert_eq!(unlink(&store, ada, other).await.unwrap(), Unlinked::Done);
    assert!(!link_by_word(&store, ada.0, ADA, BOTH).await, "its owner has refused it");
    // One to whom its owner has agreed is no other's word.
    let (token, purpose) = (token(), OneTimePurpose::LinkIdentity);
    store.keep_one_time(&one_time(&token, purpose, ada.0, ADA)).await.unwrap();
    let agreed = NewIdentity { issuer: BOTH, subject: "ada", email: ADA };
    assert!(store.link_identity(&shown(&token, purpose), ada, agreed, &notice(), at(7)).await.unwrap());
    assert!(link_by_word(&store, ada.0, ADA, TOKENS).await);
    let linked = store.identities(ada.0).await.unwrap();
    assert_eq!(linked.iter().map(|one| &*one.issuer).collect::<Vec<_>>(), [BOTH, TOKENS]);
}

/// The owner refuses it between the moment at which that is asked and the one at which it is linked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_no_issuer_slips_through_while_its_owner_refuses_it() {
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let database = Database::postgres().await;
    let store = database.open().await;
    let (ada, _) = somebody(&store, "ada@example.com", true).await;
    database.confirm("ada@example.com").await;
    let mut other = database.beside().await;
    let mut tx = other.begin().await.unwrap();
    tx.execute("UPDATE accounts SET updated_at = updated_at + INTERVAL '1 second'").await.unwrap();
    let refuse = "INSERT INTO refused_issuers (account_id, issuer, identity, refused_at) \
                  SELECT id, 'https://tokens.test', id, updated_at FROM accounts";
    tx.execute(refuse).await.unwrap();
    let linking = tokio::spawn({
        let store = store.clone();
        async move { link_by_word(&store, ada, "ada@example.com", TOKENS).await }
    });
    let mut watcher = database.beside().await;
    while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() == 0 {
        assert!(!linking.is_finished(), "it did not wait");
    }
    tx.commit().await.unwrap();
    assert!(!linking.await.unwrap());
    assert_eq!(store.identities(ada).await.unwrap(), []);
}
