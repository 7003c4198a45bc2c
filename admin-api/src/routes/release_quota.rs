//! `POST /quota/release`: a service gives back what it reserved, or what it was given.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    body::Body,
    caller::{ReserveQuota, Service},
    error::ApiError,
    office::Office,
    quota::OfReservation,
    trail,
};

/// Gives back what was reserved or given. Again is as once. For service accounts alone.
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
    office.store.release_quota(reservation_id, caller.0.account, office.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
