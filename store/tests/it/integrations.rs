//! Keys at providers: kept for one owner and service, opened for these alone.

use identity::{AccountId, IntegrationId, MasterKey, ProviderKey, SealKeys, TenantId};
use store::{
    FoundIntegration, IntegrationChange, IntegrationOwner, IntegrationRecord, IntegrationStatus, MadeIntegration,
    NewIntegration, Store, StoreError, Subject,
};
use uuid::Uuid;

use crate::engines::{Database, at, heard, on_both_engines, person, rng};

on_both_engines!(
    an_integration_is_kept_and_shown_without_its_key,
    there_is_one_for_each_owner_and_service,
    an_owner_has_so_many_at_most_however_many_are_made_at_once,
    an_integration_is_changed_and_deleted_by_its_owner_alone,
    the_door_is_given_the_accounts_own_key_else_its_tenants,
    what_was_altered_or_moved_does_not_open,
    integrations_go_with_their_owner,
);

pub(crate) fn seal() -> SealKeys {
    SealKeys::new(MasterKey::generate(&mut rng()), Vec::new())
}

fn key(text: &str) -> ProviderKey {
    ProviderKey::parse(text).unwrap()
}

pub(crate) async fn make(
    store: &Store,
    seal: &SealKeys,
    owner: IntegrationOwner,
    service: &str,
    text: &str,
) -> MadeIntegration {
    let new = NewIntegration {
        id: IntegrationId::new(Uuid::now_v7()),
        owner,
        service,
        name: Some("mine"),
        key: &key(text),
        most: 3,
        now: at(0),
    };
    store.create_integration(seal, new).await.unwrap()
}

async fn made(store: &Store, seal: &SealKeys, owner: IntegrationOwner, service: &str, text: &str) -> IntegrationRecord {
    match make(store, seal, owner, service, text).await {
        MadeIntegration::Made(record) => record,
        other => panic!("{other:?}"),
    }
}

/// What the door would show.
async fn shown(store: &Store, seal: &SealKeys, owners: (AccountId, Option<TenantId>), service: &str) -> String {
    match store.provider_key(seal, owners, service).await.unwrap() {
        FoundIntegration::Key(key) => key.expose().to_owned(),
        FoundIntegration::Unreadable => "unreadable".to_owned(),
        FoundIntegration::Missing => "missing".to_owned(),
    }
}

/// Somebody in a tenant.
async fn member(store: &Store, email: &str, tenant: &str) -> (AccountId, TenantId) {
    let new = store::NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &identity::Email::parse(email).unwrap(),
        password_hash: crate::engines::hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: store::AccountKind::Person,
        tenant: store::Belonging::Founds(tenant),
        now: at(0),
    };
    let account = store.create_account(new).await.unwrap();
    (account.id, account.tenant.unwrap().tenant)
}

async fn an_integration_is_kept_and_shown_without_its_key(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let ada = person(&store, "ada@example.com").await;
    let owner = IntegrationOwner::Account(ada.id);
    let record = made(&store, &seal, owner, "claude", "sk-ant-0123456789").await;
    assert_eq!((record.last_four.as_str(), record.status), ("6789", IntegrationStatus::Active));
    let page = store.list_integrations(&seal, (ada.id, None), None, 10).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&record));
    assert_eq!(store.integration(&seal, (ada.id, None), record.id).await.unwrap(), Some(record));
    assert_eq!(heard(&store).await, [Subject::Integrations(ada.id.uuid())]);
    let kept: Vec<(Vec<u8>,)> =
        database.rows("SELECT sealed FROM integrations", "SELECT sealed FROM integrations").await;
    assert!(!kept[0].0.windows(6).any(|some| some == b"sk-ant"), "it is kept as it is");
}

async fn there_is_one_for_each_owner_and_service(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let (ada, tenant) = member(&store, "ada@example.com", "Acme").await;
    let (own, of_all) = (IntegrationOwner::Account(ada), IntegrationOwner::Tenant(tenant));
    made(&store, &seal, own, "claude", "sk-ant-own").await;
    made(&store, &seal, of_all, "claude", "sk-ant-all").await;
    made(&store, &seal, own, "openai", "sk-openai").await;
    for owner in [own, of_all] {
        assert_eq!(make(&store, &seal, owner, "claude", "sk-another").await, MadeIntegration::Taken);
    }
    assert_eq!(store.list_integrations(&seal, (ada, None), None, 10).await.unwrap().items.len(), 2);
    let first = store.list_integrations(&seal, (ada, Some(tenant)), None, 2).await.unwrap();
    let rest = store.list_integrations(&seal, (ada, Some(tenant)), first.next, 2).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
}

async fn an_owner_has_so_many_at_most_however_many_are_made_at_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let owner = IntegrationOwner::Account(ada.id);
    let makers = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { make(&store, &seal(), owner, &format!("service{n}"), "sk-0123456").await })
    });
    let mut kept = 0;
    for maker in makers.collect::<Vec<_>>() {
        match maker.await.unwrap() {
            MadeIntegration::Made(_) => kept += 1,
            other => assert_eq!(other, MadeIntegration::TooMany),
        }
    }
    assert_eq!(kept, 3);
}

async fn an_integration_is_changed_and_deleted_by_its_owner_alone(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let (ada, eve) = (person(&store, "ada@example.com").await, person(&store, "eve@example.com").await);
    let owner = IntegrationOwner::Account(ada.id);
    let id = made(&store, &seal, owner, "claude", "sk-ant-old").await.id;
    let change = IntegrationChange { key: Some(key("sk-claude-key-new1")), name: Some(None), is_active: Some(false) };
    let theirs = IntegrationOwner::Account(eve.id);
    let changed = store.change_integration(&seal, theirs, id, &change, at(1)).await;
    assert!(matches!(changed, Err(StoreError::NotFound)), "{changed:?}");
    assert!(matches!(store.delete_integration(theirs, id, at(1)).await, Err(StoreError::NotFound)));
    assert_eq!(store.integration(&seal, (eve.id, None), id).await.unwrap(), None);
    assert_eq!(shown(&store, &seal, (ada.id, None), "claude").await, "sk-ant-old");

    let changed = store.change_integration(&seal, owner, id, &change, at(1)).await.unwrap();
    assert_eq!((changed.last_four.as_str(), changed.name.as_deref()), ("new1", None));
    assert_eq!((changed.status, changed.updated_at), (IntegrationStatus::Disabled, at(1)));
    assert_eq!(shown(&store, &seal, (ada.id, None), "claude").await, "missing");
    let again = IntegrationChange { is_active: Some(true), ..IntegrationChange::default() };
    store.change_integration(&seal, owner, id, &again, at(2)).await.unwrap();
    assert_eq!(shown(&store, &seal, (ada.id, None), "claude").await, "sk-claude-key-new1");
    store.delete_integration(owner, id, at(3)).await.unwrap();
    assert_eq!(shown(&store, &seal, (ada.id, None), "claude").await, "missing");
    assert_eq!(heard(&store).await, [Subject::Integrations(ada.id.uuid()); 4]);
}

async fn the_door_is_given_the_accounts_own_key_else_its_tenants(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let (ada, tenant) = member(&store, "ada@example.com", "Acme").await;
    let (eve, elsewhere) = member(&store, "eve@example.com", "Other").await;
    made(&store, &seal, IntegrationOwner::Tenant(tenant), "claude", "sk-of-acme").await;
    assert_eq!(shown(&store, &seal, (ada, Some(tenant)), "claude").await, "sk-of-acme");
    assert_eq!(shown(&store, &seal, (ada, None), "claude").await, "missing");
    let own = made(&store, &seal, IntegrationOwner::Account(ada), "claude", "sk-of-ada").await;
    assert_eq!(shown(&store, &seal, (ada, Some(tenant)), "claude").await, "sk-of-ada");
    for (who, of) in [(eve, Some(elsewhere)), (eve, None)] {
        assert_eq!(shown(&store, &seal, (who, of), "claude").await, "missing");
    }
    let off = IntegrationChange { is_active: Some(false), ..IntegrationChange::default() };
    store.change_integration(&seal, own.owner, own.id, &off, at(1)).await.unwrap();
    assert_eq!(shown(&store, &seal, (ada, Some(tenant)), "claude").await, "sk-of-acme");
}

/// By somebody who has the database and not the master key.
async fn what_was_altered_or_moved_does_not_open(database: &Database) {
    let both = |attack: &'static str| (attack, attack);
    let attacks = [
        // Somebody else's key put into one's own row, the row given to another owner or service, the value altered.
        both(
            "UPDATE integrations SET sealed = (SELECT sealed FROM integrations WHERE last_four = 'mine') WHERE last_four = 'eves'",
        ),
        both(
            "UPDATE integrations SET account_id = (SELECT id FROM accounts WHERE email = 'eve@example.com') WHERE last_four = 'mine'",
        ),
        both(
            "UPDATE integrations SET account_id = NULL, tenant_id = (SELECT id FROM tenants WHERE name = 'Other') WHERE last_four = 'mine'",
        ),
        both("UPDATE integrations SET service = 'theirs' WHERE last_four = 'mine'"),
        (
            "UPDATE integrations SET sealed = substr(sealed, 1, 30) || '\\x00'::bytea WHERE last_four = 'mine'",
            "UPDATE integrations SET sealed = CAST(substr(sealed, 1, 30) || x'00' AS BLOB) WHERE last_four = 'mine'",
        ),
    ];
    for (attack, on_sqlite) in attacks {
        let database = if database.is_sqlite() { Database::sqlite() } else { Database::postgres().await };
        let (store, seal) = (database.open().await, seal());
        let (ada, _) = member(&store, "ada@example.com", "Acme").await;
        let (eve, of_eve) = member(&store, "eve@example.com", "Other").await;
        made(&store, &seal, IntegrationOwner::Account(ada), "claude", "sk-claude-of-mine").await;
        if attack.contains("'eves'") {
            made(&store, &seal, IntegrationOwner::Account(eve), "claude", "sk-claude-of-eves").await;
        }
        database.execute(attack, on_sqlite).await;
        let mut seen = store.list_integrations(&seal, (ada, None), None, 10).await.unwrap().items;
        seen.extend(store.list_integrations(&seal, (eve, Some(of_eve)), None, 10).await.unwrap().items);
        let unreadable = seen.iter().filter(|record| record.status == IntegrationStatus::Unreadable).count();
        assert_eq!(unreadable, 1, "{attack}");
        let (mut all, owners) = (Vec::new(), [(ada, None), (eve, Some(of_eve)), (eve, None)]);
        for owner in owners {
            for service in ["claude", "theirs"] {
                all.push(shown(&store, &seal, owner, service).await);
            }
        }
        assert!(all.contains(&"unreadable".to_owned()), "{attack}: {all:?}");
        assert!(all[2..].iter().all(|shown| shown != "sk-claude-of-mine"), "{attack}: {all:?}");
        let stranger = SealKeys::new(MasterKey::generate(&mut rng()), Vec::new());
        let seen = store.list_integrations(&stranger, (ada, None), None, 10).await.unwrap().items;
        assert!(seen.iter().all(|record| record.status == IntegrationStatus::Unreadable));
    }
}

async fn integrations_go_with_their_owner(database: &Database) {
    const GONE: &str = "DELETE FROM accounts";
    let (store, seal) = (database.open().await, seal());
    let ada = person(&store, "ada@example.com").await;
    made(&store, &seal, IntegrationOwner::Account(ada.id), "claude", "sk-claude-of-mine").await;
    database.execute(GONE, GONE).await;
    assert_eq!(shown(&store, &seal, (ada.id, None), "claude").await, "missing");
}
