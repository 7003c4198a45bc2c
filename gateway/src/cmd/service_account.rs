//! `portcullis service-account create`: an account for a machine, with a key that is shown once.

use anyhow::Context;
use chrono::Utc;
use identity::{AccountId, ApiKey, Email, KeyId, PasswordHash, TenantId};
use store::{AccountKind, Belonging, NewAccount, NewKey};
use uuid::Uuid;

use super::{block_on, open, rng, say};
use crate::cli::{CreateServiceAccount, Failure};

/// Below this name there is no mail (RFC 6761 §6.4): a machine has no address, and accounts are told apart by theirs.
const NOWHERE: &str = "service.invalid";

pub(crate) fn create(create: &CreateServiceAccount) -> Result<(), Failure> {
    let name = create.name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Failure::Data("a service account's name has 1 to 100 characters and no control characters".into()));
    }
    block_on(1, async {
        let (config, foundation) = open(&create.place).await?;
        let (roles, tiers) = (&config.policy.roles, &config.policy.tiers);
        if !roles.contains(&create.role) {
            return Err(Failure::Data(format!("roles.toml has no role `{}`", create.role)));
        }
        if let Some(tier) = create.tier.as_deref().filter(|tier| !tiers.contains(tier)) {
            return Err(Failure::Data(format!("tiers.toml has no tier `{tier}`")));
        }
        let tenant = match create.tenant {
            Some(id) => Some(known_tenant(&foundation.store, TenantId::new(id)).await?),
            None => None,
        };
        let (id, now) = (AccountId::new(Uuid::now_v7()), Utc::now());
        let email = Email::parse(&format!("{}@{NOWHERE}", id.uuid().simple())).context("the account's own name")?;
        let account = NewAccount {
            id,
            email: &email,
            // Text that is no hash matches no password.
            password_hash: PasswordHash::from(String::new()),
            name: Some(name.to_owned()),
            role: &create.role,
            tier: create.tier.as_deref().unwrap_or("free"),
            has_own_tier: create.tier.is_some(),
            kind: AccountKind::Service,
            tenant: tenant.map_or(Belonging::Nowhere, Belonging::Joins),
            now,
        };
        foundation.store.create_account(account).await.context("the account cannot be made")?;
        let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rng()?);
        let new = NewKey {
            id: key.id(),
            account: id,
            tenant,
            name: name.to_owned(),
            prefix: key.prefix(),
            digest: key.digest(),
            scopes: None,
            expires_at: None,
            most: 1,
            now,
        };
        foundation.store.create_key(new).await.context("the account's key cannot be made")?;
        foundation.write_down("create_service_account", Some(id.uuid())).await?;
        say(&format!("created service account {name} ({id}) with the role {}", create.role));
        say(&format!("client_id: {id}"));
        say(&format!("client_secret: {}", key.expose()));
        say("The secret is shown this once. It is an API key (X-API-Key), and buys access tokens at POST /auth/token.");
        Ok(())
    })
}

async fn known_tenant(store: &store::Store, id: TenantId) -> Result<TenantId, Failure> {
    let tenant = store.tenant(id).await.context("the tenant cannot be looked up")?;
    tenant.map(|tenant| tenant.id).ok_or_else(|| Failure::Data(format!("there is no tenant {id}")))
}
