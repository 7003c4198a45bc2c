//! `GET /auth/me/export`: everything that is kept of the caller, in one document that programs can read (GDPR article 20).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use identity::{TenantId, TenantRole};
use serde::Serialize;
use store::{AuditEvent, AuditFilter, Tenant};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    invite_member::InvitationShape,
    list_audit::Entry,
    list_factors::Factor,
    list_identities::{LinkedIdentity, linked},
    list_sessions::Session,
    list_usage::UsageItem,
};
use crate::{
    agent::{Agent, Instance},
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    export::{Belonging, written},
    group::{Domain, Team},
    integration::Integration,
    key::Key,
    office::Office,
    tenant::TenantShape,
    user::User,
};

/// Events that are read at once, and so many pages of them at most: the latest 2,000.
const AT_ONCE: u32 = 200;
const PAGES: usize = 10;
/// More integrations than any account has, and the latest of whoever has more sessions or invitations.
const MOST: u32 = 10_000;

/// Everything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Export {
    account: User,
    /// Logins that can be gone on with.
    sessions: Vec<Session>,
    /// Without their secrets, which nobody has but whoever was given them; a key sees those of its own organisation alone.
    api_keys: Vec<Key>,
    /// Who at login providers is let in.
    identities: Vec<LinkedIdentity>,
    /// What is shown besides a password, or in its place; without what it is checked with.
    second_factors: Vec<Factor>,
    /// Keys at providers, without the keys.
    integrations: Vec<Integration>,
    /// What was done to the account, by whomever; the latest 2,000 events.
    events: Vec<Entry>,
    /// Into organisations, which the caller can accept.
    invitations: Vec<InvitationShape>,
    /// To which the caller belongs, with what is the caller's in each; a key sees its own alone.
    // This one and the next are the last, which are written by themselves.
    organisations: Vec<Belongings>,
    /// What was used, by day, in every organisation to which the caller belongs or has belonged and in none; a key sees its own organisation's
    /// alone.
    usage: Vec<UsageItem>,
}

/// An organisation, and what is the caller's in it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Belongings {
    #[serde(flatten)]
    organisation: TenantShape,
    teams: Vec<Team>,
    domains: Vec<Domain>,
    /// That the caller has made.
    // As above.
    agents: Vec<Agent>,
    /// With what they are configured with, if whoever asks may read that one by one.
    instances: Vec<Instance>,
}

/// Who else it was, and from where, is theirs.
fn seen_by(own: Uuid, event: AuditEvent) -> AuditEvent {
    if event.actor == Some(own) {
        return event;
    }
    AuditEvent { actor: None, address: None, request_id: None, ..event }
}

/// Everything that is kept of the caller.
#[utoipa::path(
    get, path = "/auth/me/export", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "All of it", body = Export))
)]
pub(crate) async fn export_me(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
) -> Result<Response, ApiError> {
    let id = caller.0.account;
    let account = office.own_account(&caller.0).await?;
    let sessions = office.store.list_sessions(id, office.now(), None, MOST).await?;
    let integrations = office.store.list_integrations(office.seal(), (id, None), None, MOST).await?;
    let filter = AuditFilter { subject: Some(id.uuid()), ..AuditFilter::default() };
    let (mut events, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = office.store.list_audit(&filter, after, AT_ONCE).await?;
        events.extend(page.items.into_iter().map(|event| Entry::from(seen_by(id.uuid(), event))));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut tenants = office.store.tenants_of(id).await?;
    let used_in: Vec<Option<TenantId>> = if caller.0.grant.is_for_one_tenant() {
        tenants.retain(|(tenant, _)| Some(tenant.id) == caller.0.tenant);
        vec![caller.0.tenant]
    } else {
        let left = office.store.tenants_left(id).await?;
        tenants.iter().map(|(tenant, _)| tenant.id).chain(left).map(Some).chain([None]).collect()
    };
    let invitations = office.store.invitations_for(id, office.now(), None, MOST).await?;
    let export = Export {
        account: office.user(account).await?,
        sessions: sessions.items.into_iter().map(|session| Session::of(session, &caller)).collect(),
        api_keys: office.keys_of(&caller).await?.into_iter().map(Key::from).collect(),
        identities: linked(&office, id).await?,
        second_factors: office.store.factors(id).await?.into_iter().map(Factor::from).collect(),
        integrations: integrations.items.into_iter().map(Integration::from).collect(),
        events,
        invitations: invitations.items.into_iter().map(InvitationShape::from).collect(),
        organisations: Vec::new(),
        usage: Vec::new(),
    };
    let body = Body::from_stream(written(Arc::clone(&office), &export, caller, Belonging { tenants, used_in })?);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

// === impl Office ===

impl Office {
    /// Without agents and instances.
    pub(crate) async fn belongings(
        &self,
        caller: &Caller,
        tenant: Tenant,
        role: TenantRole,
    ) -> Result<Belongings, ApiError> {
        let groups = self.store.groups_of(tenant.id, caller.0.account).await?;
        Ok(Belongings {
            teams: groups.teams.into_iter().map(Team::from).collect(),
            domains: groups.domains.into_iter().map(Domain::from).collect(),
            agents: Vec::new(),
            instances: Vec::new(),
            organisation: TenantShape::of(tenant, Some(role)),
        })
    }
}
