//! `POST /admin/quota/release`: an administrator gives back what a service has reserved and gives back itself no more.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use store::QuotaKeeper;

use crate::{
    body::Body,
    caller::{Allowed, GovernTenants},
    error::ApiError,
    office::Office,
    quota::OfReservation,
    trail,
};

/// Gives back what any service has reserved or given (`reserve_quota` in the audit trail names it). Again is as once. For administrators.
#[utoipa::path(
    post, path = "/admin/quota/release", tag = "administration", request_body = OfReservation,
    security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is given back"),
        (status = 403, description = "`forbidden`: the caller may not govern organisations"),
        (status = 404, description = "`not_found`: there is no such reservation"),
    )
)]
pub(crate) async fn release_any_quota(
    State(office): State<Arc<Office>>,
    _: Allowed<GovernTenants>,
    Body(OfReservation { reservation_id }): Body<OfReservation>,
) -> Result<StatusCode, ApiError> {
    trail::about(reservation_id);
    office.store.release_quota(reservation_id, QuotaKeeper::Platform).await?;
    Ok(StatusCode::NO_CONTENT)
}
