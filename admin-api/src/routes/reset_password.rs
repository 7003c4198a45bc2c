//! `POST /auth/reset-password`: the token from the mail buys a new password, once. Every session of the account ends, and so does what
//! else was sent to get into it; nobody is logged in by it (OWASP Forgot Password). API keys stay, they were never made
//! from the password.
//!
//! Where somebody has registered the address and nobody has confirmed it, the token makes the account: its password is that of whoever reads the
//! mail, whoever has registered it.
//!
//! A password that is refused does not use the token up.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{OneTimePurpose, OneTimeToken, PasswordHash, SecretText};
use serde::Deserialize;
use store::Account;
use utoipa::ToSchema;

use super::{
    logout::Done,
    verify_email::{registered, shown, take_in},
};
use crate::{
    attempt::subject_of,
    body::Body,
    error::ApiError,
    form::Form,
    mail::{Letter, Registration},
    office::Office,
    trail,
};

/// The token from the mail and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetPassword {
    #[schema(value_type = String, format = Password)]
    pub(crate) token: SecretText,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub(crate) new_password: SecretText,
}

/// Sets a new password and ends every session of the account.
#[utoipa::path(
    post, path = "/auth/reset-password", tag = "auth", request_body = ResetPassword,
    responses(
        (status = 200, description = "The password has changed; log in", body = Done),
        (status = 400, description = "`invalid_link`: the token is unknown, used, expired, or for something else"),
        (status = 503, description = "`busy`: too many passwords are being hashed; see `Retry-After`"),
    )
)]
pub(crate) async fn reset_password(
    State(office): State<Arc<Office>>,
    Body(request): Body<ResetPassword>,
) -> Result<Json<Done>, ApiError> {
    change(&office, &request).await.map(Json)
}

/// Sets the password, for programs and for the page alike.
pub(crate) async fn change(office: &Office, request: &ResetPassword) -> Result<Done, ApiError> {
    let done = reset(office, request).await;
    office.metrics.reset(if done.is_ok() { "ok" } else { "refused" });
    done
}

const DONE: &str = "password changed; all sessions have ended";

async fn reset(office: &Office, request: &ResetPassword) -> Result<Done, ApiError> {
    let token = OneTimeToken::parse(request.token.expose()).map_err(|_| ApiError::LinkRefused)?;
    let shown = shown(&token, OneTimePurpose::ResetPassword);
    // Before anything is computed: strangers without a token cost no hash.
    let found = office.store.look_at(&shown, office.now()).await?.ok_or(ApiError::LinkRefused)?;
    let address = found.address.clone();
    let Some(id) = found.account() else {
        let registration = registered(office, &token, found)?;
        let hash = hash(office, request, &[&registration.email]).await?;
        let registration = Registration { password_hash: hash.as_str().to_owned(), ..registration };
        let account = take_in(office, &shown, registration).await?.ok_or(ApiError::LinkRefused)?;
        return Ok(finish(office, &account, &address).await);
    };
    let account = office.store.account(id).await?.ok_or(ApiError::LinkRefused)?;
    let hash = hash(office, request, &[&account.email, account.name.as_deref().unwrap_or_default()]).await?;
    let notice = office.notice(Letter::PasswordChanged, &account, &address);
    let changed = office.store.reset_password(&shown, hash, office.confirmed(), &notice, office.now()).await?;
    changed.ok_or(ApiError::LinkRefused)?;
    office.has_posted();
    Ok(finish(office, &account, &address).await)
}

/// The hash of the new password. `about`: words that others know of whose it is.
async fn hash(office: &Office, request: &ResetPassword, about: &[&str]) -> Result<PasswordHash, ApiError> {
    let mut form = Form::default();
    let password = form.new_password("new_password", &request.new_password, &office.settings.password_rules, about);
    office.hash_new("new_password", form.finish(password)?, about).await
}

async fn finish(office: &Office, account: &Account, address: &str) -> Done {
    trail::by(account.id.uuid());
    trail::about(account.id.uuid());
    // Whoever reads the mail is no guesser at passwords. They may be one at codes, which are counted elsewhere.
    if let Err(error) = office.store.unlock(&subject_of(address)).await {
        tracing::warn!(%error, account = %account.id, "failed logins could not be forgiven");
    }
    Done { message: DONE }
}
