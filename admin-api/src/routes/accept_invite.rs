//! `POST /auth/accept-invite`: whoever shows the token from the letter takes over the account that was made for them, and chooses its
//! password. Nobody is logged in by it. A password that is refused does not use the token up.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{OneTimePurpose, OneTimeToken, SecretText};
use serde::{Deserialize, Serialize};
use store::Account;
use utoipa::ToSchema;

use super::verify_email::shown;
use crate::{body::Body, error::ApiError, form::Form, office::Office, trail, user::User};

/// The token from the letter, and the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptInvite {
    #[schema(value_type = String, format = Password)]
    pub(crate) token: SecretText,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub(crate) password: SecretText,
    /// The person's name, 100 characters at most; left out, it stays as the administrator has written it.
    #[schema(max_length = 100)]
    pub(crate) name: Option<String>,
}

/// Who has come.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    user: User,
}

/// Takes over the account that an administrator has made. Serves once.
#[utoipa::path(
    post, path = "/auth/accept-invite", tag = "auth", request_body = AcceptInvite,
    responses(
        (status = 200, description = "The account can be used and its address is confirmed; log in", body = Accepted),
        (status = 400, description = "`invalid_link`: the token is unknown, used, expired, or for something else, or nobody is expected any more"),
        (status = 503, description = "`busy`: too many passwords are being hashed; see `Retry-After`"),
    )
)]
pub(crate) async fn accept_invite(
    State(office): State<Arc<Office>>,
    Body(request): Body<AcceptInvite>,
) -> Result<Json<Accepted>, ApiError> {
    let account = accept(&office, &request).await?;
    Ok(Json(Accepted { user: office.user_in_session(account).await }))
}

/// Accepts, for programs and for the page alike.
pub(crate) async fn accept(office: &Office, request: &AcceptInvite) -> Result<Account, ApiError> {
    let token = OneTimeToken::parse(request.token.expose()).map_err(|_| ApiError::LinkRefused)?;
    let shown = shown(&token, OneTimePurpose::Invite);
    // Before anything is computed: strangers without a token cost no hash.
    let found = office.store.look_at(&shown, office.now()).await?.ok_or(ApiError::LinkRefused)?;
    let id = found.account().ok_or(ApiError::LinkRefused)?;
    let account = office.store.account(id).await?.ok_or(ApiError::LinkRefused)?;
    let mut form = Form::default();
    let name = request.name.as_deref().and_then(|name| form.name("name", name));
    let about = [account.email.as_str(), name.as_deref().or(account.name.as_deref()).unwrap_or_default()];
    let password = form.new_password("password", &request.password, &office.settings.password_rules, &about);
    let password = form.finish(password)?;
    let hash = office.hash_new("password", password, &about).await?;
    let accepted = office.store.accept_invitation(&shown, hash, name.as_deref(), office.now()).await?;
    let account = accepted.ok_or(ApiError::LinkRefused)?;
    trail::by(account.id.uuid());
    trail::about(account.id.uuid());
    office.metrics.registration("ok");
    Ok(account)
}
