//! `POST /quota/commit`: a service has given away what it reserved, which counts from now on until it is released.

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

/// Gives what was reserved. Again is as once. For service accounts alone.
#[utoipa::path(
    post, path = "/quota/commit", tag = "usage", request_body = OfReservation, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 204, description = "It is given"),
        (status = 403, description = "`forbidden`: the caller is no service that may reserve"),
        (status = 404, description = "`not_found`: the service has no such reservation"),
        (status = 409, description = "`conflict`: it has expired, or was released"),
    )
)]
pub(crate) async fn commit_quota(
    State(office): State<Arc<Office>>,
    Service { caller, .. }: Service<ReserveQuota>,
    Body(OfReservation { reservation_id }): Body<OfReservation>,
) -> Result<StatusCode, ApiError> {
    trail::about(reservation_id);
    let by = QuotaKeeper::Service(caller.0.account, caller.0.tenant);
    office.store.commit_quota(reservation_id, by, office.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
