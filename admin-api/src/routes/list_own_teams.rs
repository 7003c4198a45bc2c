//! `GET /teams`: the teams to which the caller belongs.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};

use crate::{
    caller::{Allowed, Caller},
    error::ApiError,
    group::{ReadTeams, Team},
    office::Office,
    paging::{Linked, Paging, linked},
};

/// The caller's teams in the organisation in which it acts, in the order of their making.
#[utoipa::path(
    get, path = "/teams", tag = "teams", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended"),
        ("limit" = Option<u32>, Query, description = "Items on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "A page; `Link` with `rel=\"next\"` says where the next one is", body = Vec<Team>))
)]
pub(crate) async fn list_own_teams(
    State(office): State<Arc<Office>>,
    Allowed { caller: Caller(caller), .. }: Allowed<ReadTeams>,
    uri: Uri,
) -> Result<Linked<Team>, ApiError> {
    let Paging { after, limit } = Paging::read(&uri)?;
    // Who acts in no organisation has none.
    let Some(tenant) = caller.tenant else { return Ok((HeaderMap::new(), Json(Vec::new()))) };
    let page = office.store.teams_of(tenant, caller.account, after, limit).await?;
    Ok(linked(&uri, page))
}
