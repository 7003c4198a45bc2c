//! API keys: issued, listed, revoked, rotated; what the door is told of them.

use std::time::Duration;

use chrono::TimeDelta;
use identity::{AccountId, ApiKey, Email, Grant, KeyId, Networks, SessionId};
use store::{
    Account, AccountChange, Belonging, NewAccount, NewKey, NewSession, Origin, ProfileChange, Proof, Standing, Status,
    Store, StoreError, Subject,
};
use uuid::Uuid;

use crate::engines::{Database, at, heard, newcomer, on_both_engines, person, session, token};

on_both_engines!(
    a_key_is_listed_and_found_as_it_was_issued,
    a_revoked_key_is_neither_listed_nor_live,
    a_key_is_revoked_by_its_owner_alone,
    a_rotated_key_serves_for_the_grace,
    what_a_key_has_bought_ends_with_its_grace,
    rotating_makes_no_key_live_longer,
    a_rotation_that_fails_changes_nothing,
    only_a_live_key_is_rotated,
    a_key_is_rotated_once,
    a_key_needs_an_account,
    a_key_that_is_asked_for_in_a_session_is_made_while_that_goes_on,
    an_account_is_made_with_its_key_or_not_at_all,
    keys_of_a_disabled_account_come_back_with_it,
    the_last_use_counts_whatever_the_order,
    a_grace_without_end_is_no_panic,
    a_key_that_is_rotated_without_grace_is_revoked,
    of_many_who_issue_keys_at_once_none_gets_one_too_many,
    a_key_is_worth_nothing_where_its_account_does_not_belong,
    a_key_that_was_made_in_no_tenant_acts_in_none_for_ever,
    a_key_keeps_its_networks_and_is_nobodys_while_they_cannot_be_read,
);

pub(crate) fn key(account: &Account, name: &str) -> (NewKey, ApiKey) {
    let id = KeyId::new(Uuid::now_v7());
    let secret = ApiKey::generate(id, &mut rand::rng());
    let new = NewKey {
        tenant: None,
        id,
        account: account.id,
        by: None,
        name: name.to_owned(),
        prefix: secret.prefix(),
        digest: secret.digest(),
        scopes: None,
        networks: None,
        expires_at: None,
        most: 100,
        now: at(0),
    };
    (new, secret)
}

/// What a machine buys with a key, good until that second.
async fn buy(store: &Store, account: &Account, key: KeyId, until: i64) -> Result<SessionId, StoreError> {
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), token());
    let proof = Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(until) };
    let origin = Origin { method: Some(store::MACHINE), ..Origin::default() };
    store.open_bought_session(NewSession { id, account, proof, now: at(0), origin }, key).await.map(|()| id)
}

async fn a_key_is_listed_and_found_as_it_was_issued(database: &Database) {
    let store = database.open().await;
    let (ada, bob) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let (new, secret) = key(&ada, "first");
    let scopes = ["agents:read", "ünï\"code"];
    let held = Some(scopes.map(str::to_owned).to_vec());
    let new = NewKey { scopes: held.clone(), expires_at: Some(at(60) + TimeDelta::nanoseconds(1)), ..new };
    let record = store.create_key(new).await.unwrap();
    assert_eq!((record.name.as_str(), &record.prefix, &record.scopes), ("first", &secret.prefix(), &held));
    assert_eq!((record.created_at, record.expires_at, record.last_used_at), (at(0), Some(at(60)), None));
    let second = store.create_key(key(&ada, "second").0).await.unwrap();
    assert_eq!(store.list_keys(ada.id).await.unwrap(), [record, second.clone()]);
    assert_eq!(store.list_keys(bob.id).await.unwrap(), []);
    assert_eq!(heard(&store).await, [Subject::Key(secret.id()), Subject::Key(second.id)]);

    let facts = store.key_grant(secret.id()).await.unwrap().unwrap();
    assert_eq!((&facts.account, facts.digest, &facts.scopes), (&ada, Some(secret.digest()), &held));
    assert_eq!((facts.standing(at(59)), facts.standing(at(60))), (Standing::Live, Standing::Expired));
    let principal = facts.principal(Grant::Key(secret.id()));
    assert_eq!(principal.scopes.unwrap().iter().map(|scope| &**scope).collect::<Vec<_>>(), scopes);
    assert!(store.key_grant(KeyId::new(Uuid::now_v7())).await.unwrap().is_none());
}

async fn a_revoked_key_is_neither_listed_nor_live(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = store.create_key(key(&ada, "key").0).await.unwrap().id;
    store.revoke_key(ada.id, id, None, at(1)).await.unwrap();
    assert_eq!(store.list_keys(ada.id).await.unwrap(), []);
    assert_eq!(store.key_grant(id).await.unwrap().unwrap().standing(at(1)), Standing::Ended);
    assert!(matches!(store.revoke_key(ada.id, id, None, at(2)).await, Err(StoreError::NotFound)));
    assert_eq!(heard(&store).await, [Subject::Key(id); 2], "issued and revoked");
}

async fn a_key_is_revoked_by_its_owner_alone(database: &Database) {
    let store = database.open().await;
    let (ada, eve) = (person(&store, "ada@example.com").await, person(&store, "eve@example.com").await);
    let id = store.create_key(key(&ada, "key").0).await.unwrap().id;
    assert!(matches!(store.revoke_key(eve.id, id, None, at(1)).await, Err(StoreError::NotFound)));
    let rotated = store.rotate_key(eve.id, id, key(&eve, "mine").0, Duration::ZERO, at(1)).await;
    assert!(matches!(rotated, Err(StoreError::NotFound)), "{rotated:?}");
    assert_eq!(store.key_grant(id).await.unwrap().unwrap().standing(at(1)), Standing::Live);
    assert_eq!(store.list_keys(eve.id).await.unwrap(), []);
}

/// A second rotation would measure the successor's life by what the first one has left of the key's.
async fn a_key_is_rotated_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "key").0).await.unwrap().id;
    let rotate = async |grace| store.rotate_key(ada.id, old, key(&ada, "key").0, grace, at(10)).await;
    let new = rotate(Duration::from_mins(1)).await.unwrap().id;
    for grace in [Duration::from_mins(1), Duration::ZERO] {
        assert!(matches!(rotate(grace).await, Err(StoreError::Conflict(_))));
    }
    assert_eq!(store.list_keys(ada.id).await.unwrap().len(), 2);
    let next = store.rotate_key(ada.id, new, key(&ada, "key").0, Duration::ZERO, at(10)).await;
    assert!(next.is_ok(), "its successor is another key");
}

async fn a_rotated_key_serves_for_the_grace(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "key").0).await.unwrap().id;
    let new = store.rotate_key(ada.id, old, key(&ada, "key").0, Duration::from_mins(1), at(10)).await.unwrap().id;
    let facts = store.key_grant(old).await.unwrap().unwrap();
    assert_eq!((facts.standing(at(69)), facts.standing(at(70))), (Standing::Live, Standing::Expired));
    assert_eq!(store.key_grant(new).await.unwrap().unwrap().standing(at(70)), Standing::Live);
    assert_eq!(heard(&store).await, [old, old, new].map(Subject::Key));
}

async fn what_a_key_has_bought_ends_with_its_grace(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "key").0).await.unwrap().id;
    let buy = async |until| buy(&store, &ada, old, until).await;
    let (long, short) = (buy(1000).await.unwrap(), buy(30).await.unwrap());
    let (login, _) = session(&store, &ada).await;
    let new = store.rotate_key(ada.id, old, key(&ada, "key").0, Duration::from_mins(1), at(10)).await.unwrap().id;
    let facts = async |id| store.session_grant(id).await.unwrap().unwrap();
    let (bought, end) = (facts(long).await, facts(short).await.expires_at);
    assert_eq!((bought.standing(at(69)), bought.standing(at(70))), (Standing::Live, Standing::Expired));
    assert_eq!(
        (end, facts(login).await.expires_at),
        (Some(at(30)), None),
        "what ends before, and what no key has bought"
    );
    let told = [Subject::Key(old), Subject::Session(long), Subject::Key(old), Subject::Key(new)];
    assert_eq!(heard(&store).await, told);
    // Whoever has looked at the key before it was rotated comes too late.
    assert!(matches!(buy(71).await, Err(StoreError::NotFound)));
    assert!(buy(70).await.is_ok());
}

async fn rotating_makes_no_key_live_longer(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (new, _) = key(&ada, "key");
    let old = store.create_key(NewKey { expires_at: Some(at(20)), ..new }).await.unwrap().id;
    store.rotate_key(ada.id, old, key(&ada, "key").0, Duration::from_mins(1), at(10)).await.unwrap();
    assert_eq!(store.key_grant(old).await.unwrap().unwrap().expires_at, Some(at(20)));
}

async fn a_rotation_that_fails_changes_nothing(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "old").0).await.unwrap().id;
    let taken = store.create_key(key(&ada, "taken").0).await.unwrap().id;
    let again = NewKey { id: taken, ..key(&ada, "again").0 };
    let rotated = store.rotate_key(ada.id, old, again, Duration::ZERO, at(1)).await;
    assert!(matches!(rotated, Err(StoreError::Conflict(_))), "{rotated:?}");
    assert_eq!(store.key_grant(old).await.unwrap().unwrap().expires_at, None);
    assert_eq!(heard(&store).await, [old, taken].map(Subject::Key), "issued, and nothing more");
}

async fn only_a_live_key_is_rotated(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "key").0).await.unwrap().id;
    store.revoke_key(ada.id, old, None, at(1)).await.unwrap();
    let rotated = store.rotate_key(ada.id, old, key(&ada, "key").0, Duration::from_mins(1), at(2)).await;
    assert!(matches!(rotated, Err(StoreError::NotFound)), "{rotated:?}");
    assert_eq!(store.list_keys(ada.id).await.unwrap(), [], "no key was issued in its place");
}

async fn a_key_needs_an_account(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let nobodys = NewKey { account: AccountId::new(Uuid::now_v7()), ..key(&ada, "key").0 };
    let made = store.create_key(nobodys).await;
    assert!(matches!(made, Err(StoreError::NotFound)), "{made:?}");
    assert_eq!(heard(&store).await, []);
}

async fn a_key_that_is_asked_for_in_a_session_is_made_while_that_goes_on(database: &Database) {
    let store = database.open().await;
    let (ada, eve) = (person(&store, "ada@example.com").await, person(&store, "eve@example.com").await);
    let ((own, _), (theirs, _)) = (session(&store, &ada).await, session(&store, &eve).await);
    let asked = |session| NewKey { by: Some(Grant::Session(session)), ..key(&ada, "key").0 };
    let old = store.create_key(asked(own)).await.unwrap().id;
    store.end_session(own, at(1)).await.unwrap();
    for session in [own, theirs] {
        let made = store.create_key(asked(session)).await;
        assert!(matches!(made, Err(StoreError::Conflict(_))), "{made:?}");
        let rotated = store.rotate_key(ada.id, old, asked(session), Duration::ZERO, at(2)).await;
        assert!(matches!(rotated, Err(StoreError::Conflict(_))), "{rotated:?}");
    }
    assert_eq!(store.list_keys(ada.id).await.unwrap().iter().map(|key| key.id).collect::<Vec<_>>(), [old]);
}

async fn an_account_is_made_with_its_key_or_not_at_all(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let email = Email::parse("machine@example.com").unwrap();
    let with_key = async |most: u32| {
        let account = newcomer(&email);
        let key = NewKey { account: account.id, most, ..key(&ada, "machine").0 };
        store.create_account_with_key(account, &key).await.map(|()| key.id)
    };
    let refused = with_key(0).await;
    assert!(matches!(refused, Err(StoreError::TooManyKeys(0))), "{refused:?}");
    assert_eq!((store.account_by_email(&email).await.unwrap(), heard(&store).await), (None, vec![]));
    let id = with_key(1).await.unwrap();
    let account = store.account_by_email(&email).await.unwrap().unwrap();
    assert_eq!(store.list_keys(account.id).await.unwrap().iter().map(|key| key.id).collect::<Vec<_>>(), [id]);
    assert_eq!(heard(&store).await, [Subject::Key(id)]);
}

async fn keys_of_a_disabled_account_come_back_with_it(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = store.create_key(key(&ada, "key").0).await.unwrap().id;
    for (status, standing) in [(Status::Disabled, Standing::AccountDisabled), (Status::Active, Standing::Live)] {
        let change = AccountChange { status: Some(status), ..AccountChange::default() };
        store.change_account(ada.id, change, at(1)).await.unwrap();
        assert_eq!(store.key_grant(id).await.unwrap().unwrap().standing(at(2)), standing);
    }
}

async fn the_last_use_counts_whatever_the_order(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let first = store.create_key(key(&ada, "first").0).await.unwrap().id;
    let second = store.create_key(key(&ada, "second").0).await.unwrap().id;
    // Half a second and a whole one: as text, too, the later must be the greater.
    let half = at(5) + TimeDelta::milliseconds(500);
    store.touch_keys(&[(second, at(7)), (first, half), (first, at(5))]).await.unwrap();
    store.touch_keys(&[(second, at(6)), (KeyId::new(Uuid::now_v7()), at(6))]).await.unwrap();
    let used: Vec<_> = store.list_keys(ada.id).await.unwrap().into_iter().map(|key| key.last_used_at).collect();
    assert_eq!(used, [Some(half), Some(at(7))]);
}

async fn a_grace_without_end_is_no_panic(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(key(&ada, "key").0).await.unwrap().id;
    store.rotate_key(ada.id, old, key(&ada, "key").0, Duration::MAX, at(1)).await.unwrap();
    assert_eq!(
        store.key_grant(old).await.unwrap().unwrap().expires_at.unwrap().to_rfc3339(),
        "9999-12-31T23:59:59+00:00"
    );
    store.update_profile(ada.id, ProfileChange::default(), at(2)).await.unwrap();
}

async fn a_key_that_is_rotated_without_grace_is_revoked(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let old = store.create_key(NewKey { most: 1, ..key(&ada, "key").0 }).await.unwrap().id;
    let next = || NewKey { most: 1, ..key(&ada, "key").0 };
    let kept = store.rotate_key(ada.id, old, next(), Duration::from_mins(1), at(1)).await;
    assert!(matches!(kept, Err(StoreError::TooManyKeys(1))), "both would be there for a while: {kept:?}");
    assert_eq!(store.key_grant(old).await.unwrap().unwrap().expires_at, None, "nothing has changed");
    let new = store.rotate_key(ada.id, old, next(), Duration::ZERO, at(1)).await.unwrap();
    assert_eq!(store.list_keys(ada.id).await.unwrap(), [new]);
    assert_eq!(store.key_grant(old).await.unwrap().unwrap().standing(at(1)), Standing::Ended);
}

async fn of_many_who_issue_keys_at_once_none_gets_one_too_many(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let issuing: Vec<_> = (0..8)
        .map(|_| {
            let (store, new) = (store.clone(), NewKey { most: 3, ..key(&ada, "key").0 });
            tokio::spawn(async move { store.create_key(new).await })
        })
        .collect();
    let mut issued = 0;
    for outcome in issuing {
        match outcome.await.unwrap() {
            Ok(_) => issued += 1,
            Err(error) => assert!(matches!(error, StoreError::TooManyKeys(3)), "{error:?}"),
        }
    }
    assert_eq!((issued, store.list_keys(ada.id).await.unwrap().len()), (3, 3));
}

/// Whatever has taken the membership away, and whether or not it has revoked the key.
async fn a_key_is_worth_nothing_where_its_account_does_not_belong(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let tenant = store.create_tenant("Hers", ada.id, 10, at(0)).await.unwrap();
    let new = NewKey { tenant: Some(tenant.id), ..key(&ada, "key").0 };
    let id = store.create_key(new).await.unwrap().id;
    let standing = async || store.key_grant(id).await.unwrap().unwrap().standing(at(1));
    assert_eq!(standing().await, Standing::Live);
    database.execute("DELETE FROM tenant_members", "DELETE FROM tenant_members").await;
    assert_eq!(standing().await, Standing::Ended);
}

/// So does what it buys, whatever its owner founds, goes to or leaves.
async fn a_key_that_was_made_in_no_tenant_acts_in_none_for_ever(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let id = store.create_key(key(&ada, "key").0).await.unwrap().id;
    let bought = buy(&store, &ada, id, 1000).await.unwrap();
    let (login, _) = session(&store, &ada).await;
    let own = store.create_tenant("Own", ada.id, 9, at(0)).await.unwrap().id;
    let other = store.create_tenant("Other", ada.id, 9, at(0)).await.unwrap().id;
    let acting = async || {
        let of_key = store.key_grant(id).await.unwrap().unwrap();
        let [bought, login] = [bought, login].map(|session| store.session_grant(session));
        let facts = [of_key, bought.await.unwrap().unwrap(), login.await.unwrap().unwrap()];
        facts.map(|facts| (facts.account.tenant.map(|membership| membership.tenant), facts.standing(at(3))))
    };
    let nowhere = (None, Standing::Live);
    assert_eq!(acting().await, [nowhere, nowhere, (Some(own), Standing::Live)]);
    store.switch_tenant(login, ada.id, other, at(1)).await.unwrap();
    assert_eq!(acting().await, [nowhere, nowhere, (Some(other), Standing::Live)]);
    store.delete_tenant(other, None, at(2)).await.unwrap();
    assert_eq!(acting().await, [nowhere, nowhere, (None, Standing::Ended)]);

    let email = Email::parse("bob@example.com").unwrap();
    let joins = NewAccount { tenant: Belonging::Joins(own), ..newcomer(&email) };
    let bob = store.create_account(joins).await.unwrap();
    let his = store.create_key(key(&bob, "key").0).await.unwrap().id;
    store.remove_member(own, bob.id, None, at(1)).await.unwrap();
    assert_eq!(store.key_grant(his).await.unwrap().unwrap().standing(at(2)), Standing::Live, "it was not of that one");
}

async fn a_key_keeps_its_networks_and_is_nobodys_while_they_cannot_be_read(database: &Database) {
    const SPOILT: &str = r#"UPDATE api_keys SET allowed_networks = '["office"]' WHERE name = 'next'"#;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let free = store.create_key(key(&ada, "free").0).await.unwrap();
    let networks = Some(Networks::parse(&["192.0.2.0/24", "2001:db8::/32"]).unwrap());
    let bound = store.create_key(NewKey { networks: networks.clone(), ..key(&ada, "bound").0 }).await.unwrap();
    assert_eq!((&free.networks, &bound.networks), (&None, &networks));
    assert_eq!(store.list_keys(ada.id).await.unwrap(), [free.clone(), bound.clone()]);
    let facts = async |id| store.key_grant(id).await.map(Option::unwrap);
    let principal = facts(bound.id).await.unwrap().principal(Grant::Key(bound.id));
    assert_eq!((principal.networks.as_deref(), facts(free.id).await.unwrap().networks), (networks.as_ref(), None));
    let next = NewKey { networks: networks.clone(), ..key(&ada, "next").0 };
    let next = store.rotate_key(ada.id, bound.id, next, Duration::ZERO, at(1)).await.unwrap();
    assert_eq!(facts(next.id).await.unwrap().networks, networks);
    // Somebody's hand: better no key than one that opens from everywhere.
    database.execute(SPOILT, SPOILT).await;
    assert!(facts(next.id).await.is_err());
}
