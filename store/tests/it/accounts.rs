//! Accounts: made once per address, changed whole or not at all, paged.

use chrono::TimeDelta;
use identity::{AccountId, Email};
use store::{AccountChange, Cursor, NewAccount, ProfileChange, Standing, Status, StoreError, Subject};
use uuid::Uuid;

use crate::engines::{Database, at, hash, heard, notice, on_both_engines, person, session, try_person};

on_both_engines!(
    an_account_is_read_back_as_it_was_made,
    an_address_has_one_account_however_it_is_spelt,
    of_twenty_who_register_an_address_at_once_one_gets_it,
    a_profile_changes_only_in_what_is_named,
    an_administrators_change_is_heard_of,
    to_change_an_account_that_is_not_there_changes_nothing,
    a_new_password_ends_every_other_session,
    of_two_new_passwords_at_once_one_is_refused,
    thousands_of_sessions_end_in_one_transaction,
    a_password_hashed_anew_is_no_change_and_undoes_none,
    sessions_of_a_disabled_account_do_not_come_back_with_it,
    pages_hold_every_account_once_in_order,
    a_role_is_held_by_active_accounts_alone,
    of_administrators_who_send_each_other_away_at_once_one_stays,
    the_last_administrator_stays_one_whatever_else_changes,
    who_was_weighed_in_another_role_is_neither_changed_nor_deleted,
);

fn disable() -> AccountChange {
    AccountChange { status: Some(Status::Disabled), ..AccountChange::default() }
}

async fn an_account_is_read_back_as_it_was_made(database: &Database) {
    let store = database.open().await;
    let email = Email::parse("  Ada@Example.COM ").unwrap();
    let now = at(0) + TimeDelta::nanoseconds(123_456_789);
    let made = store
        .create_account(NewAccount {
            id: AccountId::new(Uuid::now_v7()),
            email: &email,
            password_hash: hash("a hash"),
            name: Some("Ada Lovelace".to_owned()),
            role: "user",
            tier: "free",
            has_own_tier: false,
            is_verified: false,
            kind: store::AccountKind::Person,
            tenant: store::Belonging::Founds("Analytical Engines"),
            now,
        })
        .await
        .unwrap();
    assert_eq!((made.email.as_str(), made.name.as_deref()), ("Ada@Example.COM", Some("Ada Lovelace")));
    assert_eq!((made.role.as_str(), made.tier.as_str(), made.status), ("user", "free", Status::Active));
    assert_eq!(made.created_at, at(0) + TimeDelta::microseconds(123_456), "to the microsecond on both engines");
    assert!(made.tenant.is_some_and(|tenant| tenant.role == identity::TenantRole::Owner) && !made.is_verified);
    assert_eq!(store.account(made.id).await.unwrap().unwrap(), made);
    let (found, password) = store.login_by_email(&Email::parse("ADA@example.com").unwrap()).await.unwrap().unwrap();
    assert_eq!((found, password.as_str()), (made.clone(), "a hash"));
    let names: Vec<(String,)> = database.rows("SELECT name FROM tenants", "SELECT name FROM tenants").await;
    assert_eq!(names, [("Analytical Engines".to_owned(),)]);
    assert_eq!(store.account(AccountId::new(Uuid::now_v7())).await.unwrap(), None);
    assert!(store.login_by_email(&Email::parse("eve@example.com").unwrap()).await.unwrap().is_none());
}

async fn an_address_has_one_account_however_it_is_spelt(database: &Database) {
    let store = database.open().await;
    person(&store, "Ada@example.com").await;
    for spelling in ["ada@example.com", "ADA@EXAMPLE.COM", "ａｄａ@example.com"] {
        assert!(matches!(try_person(&store, spelling).await, Err(StoreError::EmailTaken)), "{spelling}");
    }
    person(&store, "adam@example.com").await;
}

async fn of_twenty_who_register_an_address_at_once_one_gets_it(database: &Database) {
    let store = database.open().await;
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { try_person(&store, "ada@example.com").await })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, StoreError::EmailTaken), "{error:?}"),
        }
    }
    assert_eq!(won, 1);
}

async fn a_profile_changes_only_in_what_is_named(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let both = ProfileChange {
        name: Some(Some("Ada".to_owned())),
        avatar_url: Some(Some("https://example.com/a".to_owned())),
    };
    let changed = store.update_profile(ada.id, both, at(1)).await.unwrap();
    assert_eq!((changed.name.as_deref(), changed.avatar_url.as_deref()), (Some("Ada"), Some("https://example.com/a")));
    assert_eq!((changed.created_at, changed.updated_at), (at(0), at(0)));
    let picture = ProfileChange { avatar_url: Some(None), ..ProfileChange::default() };
    let changed = store.update_profile(ada.id, picture, at(2)).await.unwrap();
    assert_eq!((changed.name.as_deref(), changed.avatar_url.as_deref()), (Some("Ada"), None));
    let nameless = ProfileChange { name: Some(None), ..ProfileChange::default() };
    assert_eq!(store.update_profile(ada.id, nameless, at(3)).await.unwrap().name, None);
    assert_eq!(heard(&store).await, [Subject::Account(ada.id); 3]);
}

async fn an_administrators_change_is_heard_of(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let change = becomes("developer");
    let changed = store.change_account(ada.id, change, at(1)).await.unwrap();
    assert_eq!((changed.role.as_str(), changed.tier.as_str(), changed.status), ("developer", "free", Status::Active));
    assert_eq!(store.account(ada.id).await.unwrap().unwrap(), changed);
    assert_eq!(heard(&store).await, [Subject::Account(ada.id)]);
}

async fn to_change_an_account_that_is_not_there_changes_nothing(database: &Database) {
    let store = database.open().await;
    let nobody = AccountId::new(Uuid::now_v7());
    let profile = store.update_profile(nobody, ProfileChange::default(), at(1)).await;
    let account = store.change_account(nobody, disable(), at(1)).await;
    let password = store.set_password(nobody, &hash("a hash"), hash("new"), None, &notice(), at(1)).await;
    assert!(matches!(profile, Err(StoreError::NotFound)), "{profile:?}");
    assert!(matches!(account, Err(StoreError::NotFound)), "{account:?}");
    assert!(matches!(password, Err(StoreError::NotFound)), "{password:?}");
    assert_eq!(heard(&store).await, []);
}

async fn a_new_password_ends_every_other_session(database: &Database) {
    let store = database.open().await;
    let (ada, bob) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let (kept, _) = session(&store, &ada).await;
    let (other, _) = session(&store, &ada).await;
    let (bobs, _) = session(&store, &bob).await;
    store.set_password(ada.id, &hash("a hash"), hash("new"), Some(kept), &notice(), at(1)).await.unwrap();
    assert_eq!(store.password_hash(ada.id).await.unwrap().unwrap().as_str(), "new");
    assert_eq!(heard(&store).await, [Subject::Account(ada.id), Subject::Session(other)]);
    for (id, ended) in [(kept, None), (other, Some(at(1))), (bobs, None)] {
        assert_eq!(store.session_grant(id).await.unwrap().unwrap().ended_at, ended);
    }
    store.set_password(ada.id, &hash("new"), hash("newer"), None, &notice(), at(2)).await.unwrap();
    assert_eq!(store.session_grant(kept).await.unwrap().unwrap().ended_at, Some(at(2)));
    assert_eq!(store.session_grant(other).await.unwrap().unwrap().ended_at, Some(at(1)), "it ends once");
}

async fn of_two_new_passwords_at_once_one_is_refused(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let changing = ["one", "two"].map(|new| {
        let (store, id) = (store.clone(), ada.id);
        tokio::spawn(async move { store.set_password(id, &hash("a hash"), hash(new), None, &notice(), at(1)).await })
    });
    let mut refused = 0;
    for outcome in changing {
        if let Err(error) = outcome.await.unwrap() {
            assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(heard(&store).await, [Subject::Account(ada.id)]);
}

/// More than one statement can name: SQLite takes 32,766 parameters, Postgres 65,535.
async fn thousands_of_sessions_end_in_one_transaction(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    database
        .execute(
            "INSERT INTO sessions (id, account_id, created_at) SELECT gen_random_uuid(), id, created_at FROM accounts, generate_series(1, 22000)",
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 22000) \
             INSERT INTO sessions (id, account_id, created_at) SELECT randomblob(16), id, created_at FROM accounts, n",
        )
        .await;
    store.set_password(ada.id, &hash("a hash"), hash("new"), None, &notice(), at(1)).await.unwrap();
    assert_eq!(store.changes_since(0, 50_000).await.unwrap().len(), 22_001);
    assert_eq!(heard(&store).await[0], Subject::Account(ada.id));
}

async fn a_password_hashed_anew_is_no_change_and_undoes_none(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    store.rehash_password(&ada, hash("anew")).await.unwrap();
    assert_eq!(store.password_hash(ada.id).await.unwrap().unwrap().as_str(), "anew");
    assert_eq!(store.account(ada.id).await.unwrap().unwrap(), ada);
    assert_eq!(heard(&store).await, []);
    // The old one was checked, the new one came, and only now is the old one stored anew.
    store.set_password(ada.id, &hash("anew"), hash("new"), None, &notice(), at(1)).await.unwrap();
    store.rehash_password(&ada, hash("the old one anew")).await.unwrap();
    assert_eq!(store.password_hash(ada.id).await.unwrap().unwrap().as_str(), "new");
}

async fn sessions_of_a_disabled_account_do_not_come_back_with_it(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;
    store.change_account(ada.id, disable(), at(1)).await.unwrap();
    assert_eq!(heard(&store).await, [Subject::Account(ada.id), Subject::Session(id)]);
    assert_eq!(store.session_grant(id).await.unwrap().unwrap().standing(at(1)), Standing::AccountDisabled);
    let enable = AccountChange { status: Some(Status::Active), ..AccountChange::default() };
    store.change_account(ada.id, enable, at(2)).await.unwrap();
    assert_eq!(store.session_grant(id).await.unwrap().unwrap().standing(at(2)), Standing::Ended);
}

async fn pages_hold_every_account_once_in_order(database: &Database) {
    let store = database.open().await;
    let mut made = Vec::new();
    for n in 0..25 {
        made.push(person(&store, &format!("person{n}@example.com")).await.id);
    }
    let (mut seen, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.list_accounts(after, 10).await.unwrap();
        sizes.push(page.items.len());
        seen.extend(page.items.iter().map(|account| account.id));
        // As it comes back from whoever pages.
        after = page.next.map(|cursor| cursor.to_string().parse::<Cursor>().unwrap());
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, sizes), (made, vec![10, 10, 5]));
    assert_eq!(store.list_accounts(None, 25).await.unwrap().next, None, "the last page says that it is the last");
    assert!("neither a cursor nor an id".parse::<Cursor>().is_err());
}

async fn a_role_is_held_by_active_accounts_alone(database: &Database) {
    let store = database.open().await;
    let root = person(&store, "root@example.com").await;
    assert!(!store.has_account_with_role("developer").await.unwrap());
    let promote = AccountChange { role: Some("developer".to_owned()), ..AccountChange::default() };
    store.change_account(root.id, promote, at(1)).await.unwrap();
    assert!(store.has_account_with_role("developer").await.unwrap());
    store.change_account(root.id, disable(), at(2)).await.unwrap();
    assert!(!store.has_account_with_role("developer").await.unwrap());
}

fn becomes(role: &str) -> AccountChange {
    AccountChange { role: Some(role.to_owned()), ..AccountChange::default() }
}

async fn of_administrators_who_send_each_other_away_at_once_one_stays(database: &Database) {
    const MANY: usize = 6;
    let store = database.open().await;
    let mut all = Vec::new();
    for number in 0..MANY {
        let one = person(&store, &format!("root{number}@example.com")).await;
        all.push(store.change_account(one.id, becomes("admin"), at(1)).await.unwrap().id);
    }
    let going = all.iter().enumerate().map(|(number, id)| {
        let (store, id) = (store.clone(), *id);
        tokio::spawn(async move {
            match number % 3 {
                0 => store.change_account(id, becomes("user"), at(2)).await.map(drop),
                1 => store.change_account(id, disable(), at(2)).await.map(drop),
                _ => store.delete_account(id, None, at(2)).await,
            }
        })
    });
    let going: Vec<_> = going.collect();
    let mut refused = 0;
    for gone in going {
        if let Err(error) = gone.await.unwrap() {
            assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    assert!(store.has_account_with_role("admin").await.unwrap());
}

async fn the_last_administrator_stays_one_whatever_else_changes(database: &Database) {
    let store = database.open().await;
    let (root, ada) = (person(&store, "root@example.com").await.id, person(&store, "ada@example.com").await.id);
    store.change_account(root, becomes("admin"), at(1)).await.unwrap();
    for change in [becomes("user"), disable()] {
        assert!(matches!(store.change_account(root, change, at(2)).await, Err(StoreError::Conflict(_))));
    }
    assert!(matches!(store.delete_account(root, None, at(2)).await, Err(StoreError::Conflict(_))));
    store.change_account(root, becomes("admin"), at(3)).await.unwrap();
    // Whoever cannot be used administers nothing.
    store
        .change_account(ada, AccountChange { status: Some(Status::Disabled), ..becomes("admin") }, at(3))
        .await
        .unwrap();
    assert!(matches!(store.delete_account(root, None, at(4)).await, Err(StoreError::Conflict(_))));
    store
        .change_account(ada, AccountChange { status: Some(Status::Active), ..AccountChange::default() }, at(5))
        .await
        .unwrap();
    store.delete_account(root, None, at(6)).await.unwrap();
}

async fn who_was_weighed_in_another_role_is_neither_changed_nor_deleted(database: &Database) {
    let store = database.open().await;
    let (root, ada) = (person(&store, "root@example.com").await.id, person(&store, "ada@example.com").await.id);
    for id in [root, ada] {
        store.change_account(id, becomes("admin"), at(1)).await.unwrap();
    }
    let of_role = |role: &str| AccountChange { of_role: Some(role.to_owned()), ..disable() };
    let before = (store.account(ada).await.unwrap(), heard(&store).await);
    let refused = "the account was changed at the same moment; try again";
    let changed = store.change_account(ada, of_role("user"), at(2)).await;
    assert!(matches!(changed, Err(StoreError::Conflict(why)) if why == refused), "{changed:?}");
    let deleted = store.delete_account(ada, Some("user".into()), at(2)).await;
    assert!(matches!(deleted, Err(StoreError::Conflict(why)) if why == refused), "{deleted:?}");
    assert_eq!((store.account(ada).await.unwrap(), heard(&store).await), before);
    store.change_account(ada, of_role("admin"), at(3)).await.unwrap();
    store.delete_account(ada, Some("admin".into()), at(4)).await.unwrap();
    let gone = store.change_account(ada, of_role("admin"), at(5)).await;
    assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
    assert!(matches!(store.delete_account(ada, Some("admin".into()), at(5)).await, Err(StoreError::NotFound)));
}
