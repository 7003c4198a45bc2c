//! `PATCH /auth/mfa/{id}`: a second factor is called something else.
//!
//! A name decides over nothing, so nobody has to show anew who they are. But it tells which factor to take away: no API key gives one.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::FactorId;
use serde::Deserialize;
use store::StoreError;
use utoipa::ToSchema;

use super::remove_factor::NO_FACTOR;
use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    form::Form,
    office::Office,
    proof::session_of,
};

/// What it shall be called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameFactor {
    /// 100 characters at most; `null`: nothing.
    #[schema(required = true, max_length = 100, example = "Old phone")]
    #[serde(deserialize_with = "Option::deserialize")]
    name: Option<String>,
}

/// Names an authenticator or a passkey.
#[utoipa::path(
    patch, path = "/auth/mfa/{id}", tag = "auth", request_body = RenameFactor, security(("access_token" = [])),
    params(("id" = String, Path, description = "The factor's id")),
    responses(
        (status = 204, description = "It is called so"),
        (status = 403, description = "`session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: the caller has no such factor"),
    )
)]
pub(crate) async fn rename_factor(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    Body(request): Body<RenameFactor>,
) -> Result<StatusCode, ApiError> {
    rename(&office, &caller, &id, request.name.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names it, for programs and for the page alike.
pub(crate) async fn rename(office: &Office, caller: &Caller, id: &str, name: Option<&str>) -> Result<(), ApiError> {
    session_of(caller)?;
    let mut form = Form::default();
    let name = name.and_then(|name| form.name("name", name));
    form.finish(Some(()))?;
    let id: FactorId = id.parse().map_err(|_| NO_FACTOR)?;
    office.store.rename_factor(caller.0.account, id, name.as_deref()).await.map_err(|error| match error {
        StoreError::NotFound => NO_FACTOR,
        error => error.into(),
    })
}
