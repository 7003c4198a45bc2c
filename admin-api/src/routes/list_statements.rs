//! `GET /billing/statements`: what a tenant owes and has paid, the oldest first, a page at a time.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::Uri,
};
use identity::TenantId;
use serde::Serialize;
use store::Cursor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::{Allowed, Caller, ReadBilling},
    error::ApiError,
    office::Office,
    paging::{LIMIT, MAX_LIMIT, wrong},
    reach::{READ_ANY, Reach},
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

#[derive(Default)]
struct Wanted {
    whose: Option<Whose>,
    after: Option<Cursor>,
    limit: Option<u32>,
}

/// Lists the statements of a tenant, for those who administer it, or the platform. Who acts in no tenant sees their own.
#[utoipa::path(
    get, path = "/billing/statements", tag = "billing", security(("access_token" = []), ("api_key" = [])),
    params(
        ("tenant_id" = Option<String>, Query, description = "Of this tenant; by default the one in which the caller acts. `all`: of everybody, those among them that are gone, for administrators of the platform"),
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
    let wanted = Wanted::read(&uri)?;
    let tenant = match (Reach::of(&caller, &office.hooks.policy()), wanted.whose) {
        (Reach::Platform(_), Some(Whose::Everybody)) => None,
        (_, Some(Whose::Everybody)) => return Err(ApiError::Forbidden(READ_ANY.to_owned())),
        // Who acts in no tenant owes what they use themselves.
        (Reach::Own(account, None), None) => Some(TenantId::new(account.uuid())),
        (reach, Some(Whose::Tenant(tenant))) => Some(narrowed(&caller, reach, Some(tenant))?),
        (reach, None) => Some(narrowed(&caller, reach, None)?),
    };
    let page = office.store.list_statements(tenant, wanted.after, wanted.limit.unwrap_or(LIMIT)).await?;
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

// === impl Wanted ===

impl Wanted {
    /// A parameter that we do not know or that is given twice is refused: it may be a filter somebody counts on.
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
        let mut wanted = Self::default();
        for (name, value) in pairs {
            let given_before = match name.as_str() {
                "tenant_id" => {
                    let whose = match Uuid::try_parse(&value) {
                        Ok(id) => Whose::Tenant(id.into()),
                        Err(_) if value == ALL => Whose::Everybody,
                        Err(_) => return Err(wrong(&name, "must be an id, or `all`")),
                    };
                    wanted.whose.replace(whose).is_some()
                }
                "cursor" => {
                    let after = value.parse().map_err(|_| wrong(&name, "must be a `next_cursor` of ours"))?;
                    wanted.after.replace(after).is_some()
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let limit = limit.ok_or_else(|| wrong(&name, "must be a number between 1 and 200"))?;
                    wanted.limit.replace(limit).is_some()
                }
                _ => return Err(wrong(&name, "is not a parameter here; expected tenant_id, cursor or limit")),
            };
            if given_before {
                return Err(wrong(&name, "is given twice"));
            }
        }
        Ok(wanted)
    }
}
