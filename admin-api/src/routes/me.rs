//! `GET /auth/me`: the caller's own account, as it is now.

use std::sync::Arc;

use axum::{Json, extract::State};

use crate::{caller::Caller, error::ApiError, office::Office, user::User};

/// The caller's account.
#[utoipa::path(
    get, path = "/auth/me", tag = "auth", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "The caller's account", body = User))
)]
pub(crate) async fn me(State(office): State<Arc<Office>>, Caller(caller): Caller) -> Result<Json<User>, ApiError> {
    let account = office.own_account(&caller).await?;
    Ok(Json(office.user(account).await?))
}
