//! `POST /quota/release`: a service gives back what it reserved, or what it was given; an administrator of the platform does it for one
//! that cannot any more.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use store::QuotaKeeper;

use crate::{
    body::Body,
    caller::{Allowed, ReserveQuota},
    error::ApiError,
    office::Office,
    quota::OfReservation,
    trail,
};

/// Gives back what was reserved or given. Again is as once. A service gives back what is its own, or was of one whose account is gone;
/// administrators of the platform anything (`reserve_quota` in the audit trail names it).
#[utoipa::path(
    post, path = "/quota/release", tag = "usage", request_body = OfReservation, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is given back"),
        (status = 403, description = "`forbidden`: the caller is no service that may reserve, and does not administer the platform"),
        (status = 404, description = "`not_found`: the service has no such reservation"),
    )
)]
pub(crate) async fn release_quota(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ReserveQuota>,
    Body(OfReservation { reservation_id }): Body<OfReservation>,
) -> Result<StatusCode, ApiError> {
    trail::about(reservation_id);
    let by = match &caller.0 {
        service if service.is_service => QuotaKeeper::Service(service.account, service.tenant),
        _ if caller.administers_platform() => QuotaKeeper::Platform,
        _ => return Err(ApiError::Forbidden("a service account".to_owned())),
    };
    office.store.release_quota(reservation_id, by).await?;
    Ok(StatusCode::NO_CONTENT)
}
