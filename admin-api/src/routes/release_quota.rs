//! `POST /quota/release`: a service gives back what it reserved, or what it was given.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use store::QuotaKeeper;

use crate::{
    body::Body,
    caller::{ReserveQuota, Service},
    error::ApiError,
    office::Office,
    quota::OfReservation,
    trail,
};

/// Gives back what was reserved or given: the service's own, or that of one whose account is gone. Again is as once. For service accounts
/// alone.
#[utoipa::path(
    post, path = "/quota/release", tag = "usage", request_body = OfReservation, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is given back"),
        (status = 403, description = "`forbidden`: the caller is no service that may reserve"),
        (status = 404, description = "`not_found`: the service has no such reservation"),
    )
)]
pub(crate) async fn release_quota(
    State(office): State<Arc<Office>>,
    Service { caller, .. }: Service<ReserveQuota>,
    Body(OfReservation { reservation_id }): Body<OfReservation>,
) -> Result<StatusCode, ApiError> {
    trail::about(reservation_id);
    let by = QuotaKeeper::Service(caller.0.account, caller.0.tenant);
    office.store.release_quota(reservation_id, by).await?;
    Ok(StatusCode::NO_CONTENT)
}
