//! `PATCH /billing/statements/{id}`: whether a statement is paid. Nothing else of it ever changes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use store::StoreError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Allowed, ManageBilling},
    error::ApiError,
    office::Office,
    statement::Bill,
    trail,
};

/// What became of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settlement {
    payment_status: Settled,
}

/// A word for it.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Settled {
    Paid,
    Void,
}

/// Says that a statement is paid, or that nobody waits for it any more. For administrators of the platform.
#[utoipa::path(
    patch, path = "/billing/statements/{id}", tag = "billing", request_body = Settlement, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The statement's id")),
    responses(
        (status = 200, description = "The statement", body = Bill),
        (status = 403, description = "`forbidden`: the caller may not manage billing"),
        (status = 404, description = "`not_found`: there is no such statement"),
        (status = 409, description = "`conflict`: what is paid is not voided, and what is void is not paid"),
    )
)]
pub(crate) async fn settle_statement(
    State(office): State<Arc<Office>>,
    _: Allowed<ManageBilling>,
    Path(id): Path<String>,
    Body(settlement): Body<Settlement>,
) -> Result<Json<Bill>, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::NotFound("statement"))?;
    let status = match settlement.payment_status {
        Settled::Paid => "paid",
        Settled::Void => "void",
    };
    trail::about(id);
    trail::detail("payment_status", status);
    let settled = office.store.settle(id, status, office.now()).await;
    settled.map(|statement| Json(statement.into())).map_err(|error| match error {
        StoreError::NotFound => ApiError::NotFound("statement"),
        error => error.into(),
    })
}
