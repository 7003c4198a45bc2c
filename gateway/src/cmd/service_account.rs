//! `portcullis service-account create` and `key`: an account for a machine, and its key, which is shown once.

use anyhow::Context;
use identity::{AccountId, ApiKey, Email, KeyId, Networks, NetworksError, PasswordHash, TenantId, readable_name};
use store::{AccountKind, Belonging, NewAccount, NewKey};
use uuid::Uuid;

use super::{block_on, must_know, open_existing, rng, say};
use crate::{
    cli::{AllowedNetworks, CreateServiceAccount, Failure, Place},
    office::DEFAULT_TIER,
};

/// Below this name there is no mail (RFC 6761 §6.4): a machine has no address, and accounts are told apart by theirs.
const NOWHERE: &str = identity::NOWHERE_OF_SERVICES;

pub(crate) fn create(create: &CreateServiceAccount) -> Result<(), Failure> {
    // As everybody's: it is read on pages and in logs beside those of people.
    let name = readable_name(&create.name);
    let name = name.map_err(|fault| Failure::Data(format!("a service account's name {fault}")))?;
    let networks = create.from.read()?;
    block_on(1, async {
        let (config, foundation) = open_existing(&create.place).await?;
        let tier = create.tier.as_deref().unwrap_or(DEFAULT_TIER);
        must_know(&config.policy, &create.role, tier)?;
        let tenant = match create.tenant {
            Some(id) => Some(known_tenant(&foundation.store, TenantId::new(id)).await?),
            None => None,
        };
        let (id, now) = (AccountId::new(Uuid::now_v7()), store::clock::now());
        let email = Email::parse(&format!("{}@{NOWHERE}", id.uuid().simple())).context("the account's own name")?;
        let account = NewAccount {
            id,
            email: &email,
            // Text that is no hash matches no password.
            password_hash: PasswordHash::from(String::new()),
            name: Some(name.to_owned()),
            role: &create.role,
            tier,
            has_own_tier: create.tier.is_some(),
            is_verified: false,
            kind: AccountKind::Service,
            tenant: tenant.map_or(Belonging::Nowhere, Belonging::Joins),
            now,
        };
        let (key, secret) = fresh_key(id, tenant, name.to_owned(), networks)?;
        foundation.store.create_account_with_key(account, &key).await.context("the account cannot be made")?;
        foundation.write_down("create_service_account", Some(id.uuid())).await?;
        say(&format!("created service account {name} ({id}) with the role {}", create.role));
        show(&key, &secret);
        Ok(())
    })
}

/// A secret that has leaked or is lost makes no new account necessary: what the service has reserved is still its own.
pub(crate) fn replace_key(id: Uuid, from: &AllowedNetworks, place: &Place) -> Result<(), Failure> {
    let networks = from.read()?;
    block_on(1, async {
        let (_, foundation) = open_existing(place).await?;
        let account = foundation.store.account(AccountId::new(id)).await.context("the account cannot be looked up")?;
        let account = account.filter(|account| account.kind == AccountKind::Service);
        let account = account.ok_or_else(|| Failure::Data(format!("there is no service account {id}")))?;
        let name = account.name.clone().unwrap_or_else(|| "service".to_owned());
        let tenant = account.tenant.map(|membership| membership.tenant);
        let left = foundation.store.tenants_left(account.id).await.context("its tenants cannot be looked up")?;
        // By a key for none it would act in the name of all of them.
        if tenant.is_none() && !left.is_empty() {
            return Err(Failure::Data(format!("{name} ({id}) was made for a tenant that is gone; create another one")));
        }
        let (new, secret) = fresh_key(account.id, tenant, name.clone(), networks)?;
        foundation.store.replace_keys(new.clone()).await.context("the account's key cannot be made")?;
        foundation.write_down("replace_service_key", Some(id)).await?;
        let place = tenant.map_or_else(|| "in no tenant".to_owned(), |tenant| format!("in tenant {tenant}"));
        say(&format!("{name} ({id}) acts {place} by a new secret, and no more by those it had"));
        show(&new, &secret);
        Ok(())
    })
}

/// A key that acts where its account does.
fn fresh_key(
    account: AccountId,
    tenant: Option<TenantId>,
    name: String,
    networks: Option<Networks>,
) -> Result<(NewKey, ApiKey), Failure> {
    let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rng()?);
    let new = NewKey {
        id: key.id(),
        account,
        by: None,
        tenant,
        name,
        prefix: key.prefix(),
        digest: key.digest(),
        scopes: None,
        networks,
        expires_at: None,
        most: 1,
        now: store::clock::now(),
    };
    Ok((new, key))
}

fn show(key: &NewKey, secret: &ApiKey) {
    say(&format!("client_id: {}", key.account));
    say(&format!("client_secret: {}", secret.expose()));
    match &key.networks {
        None => say(
            "The secret is shown this once. It is an API key (X-API-Key), and buys access tokens at POST /auth/token.",
        ),
        Some(networks) => say(&format!(
            "The secret is shown this once. It is an API key (X-API-Key) for {} alone, and buys no access tokens.",
            networks.texts().join(", ")
        )),
    }
}

// === impl AllowedNetworks ===

impl AllowedNetworks {
    fn read(&self) -> Result<Option<Networks>, Failure> {
        if self.allowed_networks.is_empty() {
            return Ok(None);
        }
        let networks = Networks::parse(&self.allowed_networks);
        networks.map(Some).map_err(|fault| {
            Failure::Data(match fault {
                NetworksError::Count => format!("--allowed-network {fault}"),
                NetworksError::Unknown(nth) => format!(
                    "--allowed-network \"{}\" is neither a network such as 192.0.2.0/24 or 2001:db8::/32 nor an address",
                    self.allowed_networks[nth]
                ),
            })
        })
    }
}

async fn known_tenant(store: &store::Store, id: TenantId) -> Result<TenantId, Failure> {
    let tenant = store.tenant(id).await.context("the tenant cannot be looked up")?;
    tenant.map(|tenant| tenant.id).ok_or_else(|| Failure::Data(format!("there is no tenant {id}")))
}
