//! `GET /billing/statements/{id}`: one statement.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use identity::TenantId;
use uuid::Uuid;

use crate::{
    caller::{Allowed, ReadBilling},
    error::ApiError,
    office::Office,
    reach::Reach,
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
    let tenant = match Reach::of(&caller, &office.hooks.policy()) {
        Reach::Platform(_) => None,
        Reach::Tenant(tenant) => Some(tenant),
        // Who acts in no tenant owes what they use themselves.
        Reach::Own(account, None) => Some(TenantId::new(account.uuid())),
        Reach::Own(_, Some(_)) => return Err(ApiError::NotFound("statement")),
    };
    let statement = office.store.statement(id, tenant).await?;
    statement.map(|statement| Json(statement.into())).ok_or(ApiError::NotFound("statement"))
}
