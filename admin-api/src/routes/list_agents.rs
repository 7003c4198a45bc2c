//! `GET /agents`: the agents that the caller sees.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use store::AgentsWanted;
use utoipa::ToSchema;

use crate::{
    agent::{Agent, ReadAgents, oversees, tenant_asked},
    caller::Allowed,
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Agents {
    items: Vec<Agent>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Agents in the order of their making: those that are published in the organisation in which the caller acts, and the caller's own; for its
/// administrators all of it; and, unless one organisation's are asked for, those that others have published to the platform.
#[utoipa::path(
    get, path = "/agents", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Items on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
        ("mine" = Option<bool>, Query, description = "`true`: only those that the caller has made"),
        ("tenant_id" = Option<String>, Query, description = "Of this organisation alone: the one in which the caller acts, or any for administrators of the platform"),
    ),
    responses(
        (status = 200, description = "A page", body = Agents),
        (status = 403, description = "`forbidden`: the caller may not see agents"),
        (status = 404, description = "`not_found`: another organisation, and the caller does not administer the platform"),
    )
)]
pub(crate) async fn list_agents(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadAgents>,
    uri: Uri,
) -> Result<Json<Agents>, ApiError> {
    let (Paging { after, limit }, parameters) = Paging::read_with(&uri, &["mine", "tenant_id"])?;
    let (only_own, asked) = (parameters.flag("mine")?, parameters.id("tenant_id")?);
    // Who acts in no organisation sees none.
    let Some(tenant) = tenant_asked(&caller, asked)? else {
        return Ok(Json(Agents { items: Vec::new(), next_cursor: None }));
    };
    let account = caller.0.account;
    let which = match (only_own, oversees(&caller)) {
        (true, _) => AgentsWanted::Of(account),
        (false, true) => AgentsWanted::All,
        (false, false) => AgentsWanted::SeenBy(account),
    };
    let with_platform = asked.is_none() && !only_own;
    let page = office.store.list_agents(tenant, which, with_platform, after, limit).await?;
    Ok(Json(Agents {
        items: page.items.into_iter().map(Agent::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
