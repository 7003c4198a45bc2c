//! `POST /auth/change-password`: a new password for who knows the old one. Every other session of the account ends
//! (OWASP ASVS 7.4.3); API keys stay, they were never made from the password. Its owner is told by mail: it may have been somebody else.
//!
//! A wrong old one is counted as at a login. Where the account has a second factor that is shown too.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{Password, SecretText};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    form::Form,
    mail::Letter,
    office::{Office, Settings},
    passkey::ShownPasskey,
    proof::{self, Proof, Shown},
    visitor::Visitor,
};

/// The old password and the new.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassword {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    old_password: SecretText,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    new_password: SecretText,
    /// Where the account has a second factor, and the session has not shown it within five minutes: what the authenticator shows, …
    #[schema(value_type = Option<String>, format = Password, example = "123456")]
    code: Option<SecretText>,
    /// … or a recovery code, …
    #[schema(value_type = Option<String>, format = Password)]
    recovery_code: Option<SecretText>,
    /// … or what a passkey has answered to `POST /auth/reauthenticate/passkey`.
    passkey: Option<ShownPasskey>,
}

/// It is done.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasswordChanged {
    message: &'static str,
    /// Show it as `X-CSRF-Token: …` from now on, where the session is a cookie: with the old cookie the old one has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// Changes the caller's password and ends the account's other sessions.
#[utoipa::path(
    post, path = "/auth/change-password", tag = "auth", request_body = ChangePassword,
    security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The password has changed", body = PasswordChanged),
        (status = 401, description = "`insufficient_user_authentication`: the account has a second factor, and it was not shown"),
        (status = 403, description = "`wrong_password`: the old password is wrong; `wrong_proof`: the code is; `session_required`: an API key cannot do this where there is a second factor"),
        (status = 429, description = "`login_locked`: too many wrong passwords; see `Retry-After`"),
        (status = 409, description = "`conflict`: the password was changed at the same moment"),
        (status = 503, description = "`busy`: too many passwords are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn change_password(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    Body(request): Body<ChangePassword>,
) -> Result<(HeaderMap, Json<PasswordChanged>), ApiError> {
    let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
    let about = [account.email.as_str(), account.name.as_deref().unwrap_or_default()];
    let new = request.parse(&office.settings, &about)?;
    let checked = office.store.password_hash(account.id).await?.ok_or(ApiError::CallerGone)?;
    // Counted as at a login: a stolen session must not be a place to guess at.
    match proof::check(&office, &visitor, &account, Shown::Password(&request.old_password)).await {
        Err(ApiError::WrongProof) => return Err(ApiError::WrongPassword),
        checked => drop(checked?),
    }
    // Before anything is used up: a new password may be refused.
    let hash = office.hash_new("new_password", new, &about).await?;
    // Whoever has the password alone is not to lock its owner out with it.
    if !office.store.factors(account.id).await?.is_empty() {
        request.second().checked(&caller, &visitor, &office).await?;
    }
    // Two hashes take their time, and so does a turn to show a code.
    caller.still(&office).await?;
    let keep = caller.0.grant.session();
    let email = account.address()?;
    let notice = office.notice(Letter::PasswordChanged, &account, email.normalised());
    office.store.set_password(account.id, &checked, hash, keep, &notice, office.now()).await?;
    office.has_posted();
    let cookies = office.another_cookie(caller.0.grant).await?;
    let csrf_token = office.csrf_given(&cookies);
    Ok((cookies, Json(PasswordChanged { message: "password changed; all other sessions have ended", csrf_token })))
}

// === impl ChangePassword ===

impl ChangePassword {
    fn second(self) -> Proof {
        Proof { password: None, code: self.code, recovery_code: self.recovery_code, passkey: self.passkey }
    }

    fn parse(&self, settings: &Settings, about: &[&str]) -> Result<Password, ApiError> {
        let mut form = Form::default();
        let old = form.password("old_password", &self.old_password);
        let new = form.new_password("new_password", &self.new_password, &settings.password_rules, about);
        form.finish(new.filter(|_| old.is_some()))
    }
}
