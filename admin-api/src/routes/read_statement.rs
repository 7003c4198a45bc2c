//! `GET /billing/statements/{id}`: one statement.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadBilling},
    error::ApiError,
    office::Office,
    reach::{Reach, debtor},
    statement::Bill,
};

/// One statement, for those who administer its tenant, or the platform.
#[utoipa::path(
    get, path = "/billing/statements/{id}", tag = "billing", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The statement's id")),
    responses(
        (status = 200, description = "The statement", body = Bill),
        (status = 404, description = "`not_found`: there is no such statement, or the caller may not see it"),
    )
)]
pub(crate) async fn read_statement(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReadBilling>,
    Path(id): Path<String>,
) -> Result<Json<Bill>, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::NotFound("statement"))?;
    let (store, reach) = (&office.store, Reach::of(&caller, &office.hooks.policy()));
    let seen = match reach {
        Reach::Platform(_) => store.statement(id, None).await?,
        Reach::Tenant(tenant) => store.statement(id, Some(tenant)).await?,
        Reach::Own(..) => None,
    };
    // What somebody has used in no tenant's name they owe themselves.
    let statement = match (seen, debtor(&caller)) {
        (None, Some(own)) => store.statement(id, Some(own)).await?,
        (seen, _) => seen,
    };
    statement.map(|statement| Json(statement.into())).ok_or(ApiError::NotFound("statement"))
}
