//! `GET /billing/statements`: what a tenant owes and has paid, the oldest first, a page at a time.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use identity::TenantId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, Caller, ReadBilling},
    error::ApiError,
    office::Office,
    paging::Paging,
    reach::{READ_ANY, Reach, debtor},
    statement::Bill,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Bills {
    items: Vec<Bill>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Stands for everybody, those among them that are gone.
const ALL: &str = "all";

/// Whose are asked for.
#[derive(Clone, Copy)]
enum Whose {
    Tenant(TenantId),
    Everybody,
}

/// Lists the statements of a tenant, for those who administer it, or the platform. What somebody has used in no tenant's name they see themselves.
#[utoipa::path(
    get, path = "/billing/statements", tag = "billing", security(("access_token" = []), ("api_key" = [])),
    params(
        ("tenant_id" = Option<String>, Query, description = "Of this tenant; by default the one in which the caller acts. The caller's own account's id: what they owe for what they have used in no tenant's name. `all`: of everybody, those among them that are gone, for administrators of the platform"),
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Statements on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = Bills),
        (status = 403, description = "`forbidden`: the caller does not administer the tenant"),
        (status = 404, description = "`not_found`: there is no such tenant, or the caller may not see it"),
        (status = 409, description = "`no_tenant`: the caller acts in no tenant"),
    )
)]
pub(crate) async fn list_statements(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadBilling>,
    uri: Uri,
) -> Result<Json<Bills>, ApiError> {
    let (Paging { after, limit }, parameters) = Paging::read_with(&uri, &["tenant_id"])?;
    let whose = parameters.get("tenant_id", Whose::read, "must be an id, or `all`")?;
    let tenant = match (Reach::of(&caller, &office.hooks.policy()), whose) {
        (Reach::Platform(_), Some(Whose::Everybody)) => None,
        (_, Some(Whose::Everybody)) => return Err(ApiError::Forbidden(READ_ANY.to_owned())),
        // Who acts in no tenant owes what they use themselves.
        (Reach::Own(account, None), None) => Some(TenantId::new(account.uuid())),
        (_, Some(Whose::Tenant(tenant))) if debtor(&caller) == Some(tenant) => Some(tenant),
        (reach, Some(Whose::Tenant(tenant))) => Some(narrowed(&caller, reach, Some(tenant))?),
        (reach, None) => Some(narrowed(&caller, reach, None)?),
    };
    let page = office.store.list_statements(tenant, after, limit).await?;
    Ok(Json(Bills {
        items: page.items.into_iter().map(Bill::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

fn narrowed(caller: &Caller, reach: Reach, wanted: Option<TenantId>) -> Result<TenantId, ApiError> {
    let (Some(tenant), None) = reach.narrow(wanted, None)? else {
        // Who sees only themselves sees nobody's money.
        caller.tenant()?;
        caller.demand_tenant_admin()?;
        return Err(ApiError::Forbidden(READ_ANY.to_owned()));
    };
    Ok(tenant)
}

// === impl Whose ===

impl Whose {
    fn read(text: &str) -> Option<Self> {
        if text == ALL { Some(Self::Everybody) } else { text.parse().ok().map(Self::Tenant) }
    }
}
