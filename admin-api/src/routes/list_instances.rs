//! `GET /agent-instances`: the caller's instances of agents, without what they are configured with.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    agent::{Instance, ManageInstances, oversees, tenant_asked},
    caller::Allowed,
    error::ApiError,
    office::Office,
    paging::Paging,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Instances {
    items: Vec<Instance>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// The caller's instances in the organisation in which it acts, in the order of their making.
#[utoipa::path(
    get, path = "/agent-instances", tag = "agents", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Items on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
        ("all" = Option<bool>, Query, description = "`true`: those of everybody in the organisation, for its administrators"),
        ("tenant_id" = Option<String>, Query, description = "Of this organisation, for administrators of the platform; by default of the one in which the caller acts"),
    ),
    responses(
        (status = 200, description = "A page", body = Instances),
        (status = 403, description = "`forbidden`: the caller may not have instances, or not see those of others"),
        (status = 404, description = "`not_found`: another organisation, and the caller does not administer the platform"),
    )
)]
pub(crate) async fn list_instances(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageInstances>,
    uri: Uri,
) -> Result<Json<Instances>, ApiError> {
    let (Paging { after, limit }, parameters) = Paging::read_with(&uri, &["all", "tenant_id"])?;
    let (of_all, asked) = (parameters.flag("all")?, parameters.id("tenant_id")?);
    if of_all && !oversees(&caller) {
        return Err(ApiError::Forbidden("tenant admin".to_owned()));
    }
    // Who acts in no organisation has none.
    let Some(tenant) = tenant_asked(&caller, asked)? else {
        return Ok(Json(Instances { items: Vec::new(), next_cursor: None }));
    };
    let account = (!of_all).then_some(caller.0.account);
    let page = office.store.list_instances(tenant, account, after, limit).await?;
    Ok(Json(Instances {
        items: page.items.into_iter().map(Instance::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
