//! Agents and people's instances of them, as answers show them; who may see what of them; and what seals a configuration.
//!
//! What is published is seen within the organisation that made it, or by people of every organisation: its developer chooses.

use std::{marker::PhantomData, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId};
use policies::{Amount, Tier};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::InstancePlace;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::{
    caller::{Allowed, Caller, Need},
    error::ApiError,
    form::Form,
    office::Office,
    quota::tier_of,
    routes,
};

/// Bytes of a configuration.
const MAX_CONFIG: usize = 16 * 1024;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 2000;

/// To see agents.
pub(crate) enum ReadAgents {}
/// To make agents, and change one's own.
pub(crate) enum CreateAgents {}
/// To let others of the organisation see one's own.
pub(crate) enum PublishAgents {}
/// To let people of every organisation see one's own. No part of `agents:`, so that nobody has it who was given all of that for one's
/// organisation.
pub(crate) enum PublishToPlatform {}
/// To have instances of agents.
pub(crate) enum ManageInstances {}

/// A caller who may do what `N` says to their own agents, or administers the tenant: what others have left there is theirs to look
/// after, whatever their role of the platform is.
pub(crate) struct Keeper<N> {
    pub(crate) caller: Caller,
    need: PhantomData<N>,
}

impl Need for ReadAgents {
    const PERMISSION: &'static str = "agents:read";
    const OF_EVERYBODY: bool = false;
}

impl Need for CreateAgents {
    const PERMISSION: &'static str = "agents:create";
    const OF_EVERYBODY: bool = false;
}

impl Need for PublishAgents {
    const PERMISSION: &'static str = "agents:publish";
    const OF_EVERYBODY: bool = false;
}

impl Need for PublishToPlatform {
    const PERMISSION: &'static str = "platform:publish";
    const OF_EVERYBODY: bool = false;
}

impl Need for ManageInstances {
    const PERMISSION: &'static str = "instances:manage";
    const OF_EVERYBODY: bool = false;
}

// === impl Keeper ===

impl<N: Need> FromRequestParts<Arc<Office>> for Keeper<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, office).await?;
        if oversees(&caller) && caller.0.actor.is_none() {
            return Ok(Self { caller, need: PhantomData });
        }
        let Allowed { caller, .. } = Allowed::<N>::from_request_parts(parts, office).await?;
        Ok(Self { caller, need: PhantomData })
    }
}

/// For whom an agent is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    /// Whoever belongs to its organisation.
    #[default]
    Tenant,
    /// People of every organisation.
    Platform,
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agent {
    id: Uuid,
    name: String,
    description: String,
    /// The account that has made it; `null`: it is gone.
    developer_id: Option<Uuid>,
    /// Do others see it?
    is_published: bool,
    /// Which others; `null`: none.
    audience: Option<Audience>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Somebody's instance of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Instance {
    id: Uuid,
    agent_id: Uuid,
    /// The account whose it is.
    account_id: Uuid,
    name: String,
    /// What it is configured with, to the letter as it was given. Left out in lists, and for everybody but its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    config: Option<Box<RawValue>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Every endpoint about agents and instances.
pub(crate) fn endpoints() -> OpenApiRouter<Arc<Office>> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_agents::list_agents))
        .routes(routes!(routes::create_agent::create_agent))
        .routes(routes!(routes::read_agent::read_agent))
        .routes(routes!(routes::change_agent::change_agent))
        .routes(routes!(routes::delete_agent::delete_agent))
        .routes(routes!(routes::publish_agent::publish_agent))
        .routes(routes!(routes::unpublish_agent::unpublish_agent))
        .routes(routes!(routes::list_instances::list_instances))
        .routes(routes!(routes::create_instance::create_instance))
        .routes(routes!(routes::read_instance::read_instance))
        .routes(routes!(routes::change_instance::change_instance))
        .routes(routes!(routes::delete_instance::delete_instance))
}

/// Whose agents or instances the caller may change or end: its own (`Some`), or any of its tenant.
pub(crate) fn within_reach(caller: &Caller) -> Option<AccountId> {
    (!oversees(caller)).then_some(caller.0.account)
}

/// Does the caller administer the tenant, or the platform? A key with scopes of its own never stands for that.
pub(crate) fn oversees(caller: &Caller) -> bool {
    caller.demand_tenant_admin().is_ok() && caller.demand_scopes(None).is_ok()
}

/// Does the caller administer the platform? Then it sees and ends what there is in any tenant.
fn oversees_all(caller: &Caller) -> bool {
    caller.administers_platform() && caller.demand_scopes(None).is_ok()
}

/// The tenant that a list is asked about: the one in which the caller acts, or any for whoever administers the platform.
pub(crate) fn tenant_asked(caller: &Caller, asked: Option<TenantId>) -> Result<Option<TenantId>, ApiError> {
    match asked {
        None => Ok(caller.0.tenant),
        Some(_) if asked == caller.0.tenant || oversees_all(caller) => Ok(asked),
        Some(_) => Err(ApiError::NotFound("tenant")),
    }
}

/// How many of these the tier of a tenant has room for; `None`: any number, also where the tier says nothing of them.
pub(crate) async fn quota(office: &Office, tenant: TenantId, what: &str) -> Result<Option<u64>, ApiError> {
    let (_, tier) = tier_of(office, tenant).await?;
    Ok(room(tier.as_deref(), what))
}

fn room(tier: Option<&Tier>, what: &str) -> Option<u64> {
    // What a tier includes that is not configured is unknown, and unknown is not unlimited.
    let Some(tier) = tier else { return Some(0) };
    match tier.quotas.get(what)? {
        Amount::Finite(most) => Some(*most),
        Amount::Unlimited => None,
    }
}

// === impl Office ===

impl Office {
    /// In which tenant an agent is looked for that a path names: the caller's, or, for who administers the platform, wherever it is.
    pub(crate) async fn tenant_of_agent(&self, caller: &Caller, id: Uuid) -> Result<TenantId, ApiError> {
        const NONE: ApiError = ApiError::NotFound("agent");
        if oversees_all(caller) {
            return self.store.owner_of_agent(id).await?.map(|(_, tenant)| tenant).ok_or(NONE);
        }
        caller.0.tenant.ok_or(NONE)
    }

    /// The same of an instance.
    pub(crate) async fn tenant_of_instance(&self, caller: &Caller, id: Uuid) -> Result<TenantId, ApiError> {
        const NONE: ApiError = ApiError::NotFound("instance");
        if oversees_all(caller) {
            return self.store.owner_of_instance(id).await?.map(|(_, tenant)| tenant).ok_or(NONE);
        }
        caller.0.tenant.ok_or(NONE)
    }

    /// Seals a configuration for one instance of one owner.
    pub(crate) fn seal_config(&self, place: InstancePlace, config: &RawValue) -> Vec<u8> {
        self.seal_at(&place.record(), config.get().as_bytes())
    }

    /// An instance as its owner sees it.
    pub(crate) fn own_instance(&self, tenant: Uuid, instance: store::Instance) -> Result<Instance, ApiError> {
        let place = InstancePlace { id: instance.id, tenant, agent: instance.agent_id, account: instance.account_id };
        let opened = self.open_at(&place.record(), &instance.sealed);
        let config = opened.and_then(|plain| serde_json::from_slice(&plain).ok());
        let Some(config) = config else {
            tracing::error!(instance = %instance.id, "the configuration of an instance does not open");
            return Err(ApiError::Unreadable);
        };
        Ok(Instance { config: Some(config), ..instance.into() })
    }
}

impl From<store::Agent> for Agent {
    fn from(agent: store::Agent) -> Self {
        let store::Agent { id, developer_id, name, description, is_published, on_platform, created_at, updated_at } =
            agent;
        let audience = is_published.then_some(if on_platform { Audience::Platform } else { Audience::Tenant });
        Self { id, name, description, developer_id, is_published, audience, created_at, updated_at }
    }
}

/// Without its configuration.
impl From<store::Instance> for Instance {
    fn from(instance: store::Instance) -> Self {
        let store::Instance { id, agent_id, account_id, name, sealed: _, created_at, updated_at } = instance;
        Self { id, agent_id, account_id, name, config: None, created_at, updated_at }
    }
}

// === impl Form ===

impl Form {
    /// What an agent is for: text of several lines.
    pub(crate) fn description(&mut self, text: &str) -> Option<String> {
        let is_text = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
        if text.chars().count() <= MAX_DESCRIPTION && text.chars().all(is_text) {
            return Some(text.to_owned());
        }
        self.fault(
            "description",
            format!("must have {MAX_DESCRIPTION} characters at most, none of them a control character"),
        );
        None
    }

    /// What an instance is configured with: it is not understood here, and comes back as it was given, numbers of twenty digits too.
    pub(crate) fn config(&mut self, config: Box<RawValue>) -> Option<Box<RawValue>> {
        if !config.get().starts_with('{') {
            self.fault("config", "must be an object");
            return None;
        }
        if config.get().len() > MAX_CONFIG {
            self.fault("config", format!("must have {MAX_CONFIG} bytes at most"));
            return None;
        }
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_nobody_knows_has_room_for_nothing() {
        let quotas = [("agents".into(), Amount::Finite(5)), ("instances".into(), Amount::Unlimited)].into();
        let free = Tier { name: "free".into(), quotas, ..Tier::default() };
        assert_eq!(room(Some(&free), "agents"), Some(5));
        assert_eq!(room(Some(&free), "instances"), None);
        assert_eq!(room(Some(&free), "others"), None, "what a tier is silent about is no bound");
        assert_eq!(room(None, "agents"), Some(0));
    }
}
