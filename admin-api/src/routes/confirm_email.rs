//! `POST /auth/confirm-email`: whoever shows the token reads the mail of the address that an account shall have, and so it has it.
//!
//! An address is a way in: links and new passwords go there. So, as after any change of what somebody logs in with (OWASP ASVS 5.0
//! 7.4.3), every other session ends, what was sent to the address before buys nothing any more, and the address before is told (6.3.7).
//! The session in which it was asked for goes on: its owner has shown who they are for it (7.5.1), and whoever logs in anew each time
//! they put something right learns to type passwords without looking. API keys stay; they were never made from the address.
//!
//! A change lives no longer than the session in which it was asked for. Else somebody who had got in could ask for one, be thrown
//! out by a new password, and come back by answering their mail.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{Email, OneTimePurpose, OneTimeToken, SecretText, SessionId};
use serde::{Deserialize, Serialize};
use store::{Account, StoreError};
use utoipa::ToSchema;

use super::verify_email::shown;
use crate::{body::Body, error::ApiError, mail::Letter, office::Office, trail, user::User};

/// The token from the mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmEmail {
    #[schema(value_type = String, format = Password)]
    token: SecretText,
}

/// Who has another address.
#[derive(Serialize, ToSchema)]
pub(crate) struct Moved {
    user: User,
}

/// Gives an account the address that the mail was sent to. Serves once.
#[utoipa::path(
    post, path = "/auth/confirm-email", tag = "auth", request_body = ConfirmEmail,
    responses(
        (status = 200, description = "The account has the address; its other sessions have ended", body = Moved),
        (status = 400, description = "`invalid_link`: the token is unknown, used, expired, or for something else; the session in which it was asked for has ended; or the address has an account meanwhile"),
    )
)]
pub(crate) async fn confirm_email(
    State(office): State<Arc<Office>>,
    Body(request): Body<ConfirmEmail>,
) -> Result<Json<Moved>, ApiError> {
    let account = confirm(&office, request.token.expose()).await?;
    Ok(Json(Moved { user: office.user_in_session(account).await }))
}

/// Confirms, for programs and for the page alike.
pub(crate) async fn confirm(office: &Office, token: &str) -> Result<Account, ApiError> {
    let changed = try_confirm(office, token).await;
    office.metrics.email_change(if changed.is_ok() { "ok" } else { "refused" });
    changed
}

async fn try_confirm(office: &Office, token: &str) -> Result<Account, ApiError> {
    let token = OneTimeToken::parse(token).map_err(|_| ApiError::LinkRefused)?;
    let (shown, now) = (shown(&token, OneTimePurpose::ChangeEmail), office.now());
    let found = office.store.look_at(&shown, now).await?.ok_or(ApiError::LinkRefused)?;
    let id = found.account().ok_or(ApiError::LinkRefused)?;
    let account = office.store.account(id).await?.ok_or(ApiError::LinkRefused)?;
    let change = found.sealed.and_then(|sealed| office.open_email_change(token.id(), &sealed));
    let change = change.ok_or_else(|| ApiError::Internal("a change of address cannot be read".to_owned()))?;
    let parsed = |text: &str| Email::parse(text).map_err(|error| ApiError::Internal(error.to_string()));
    let (email, before) = (parsed(&change.email)?, parsed(&account.email)?);
    let notice = office.notice(Letter::EmailChanged, &account, before.normalised());
    let session = SessionId::new(change.session);
    let changed = office.store.change_email(&shown, &email, session, office.confirmed(), &notice, now).await;
    let account = match changed {
        // Somebody has registered it meanwhile; that it is taken is nobody's business.
        Err(StoreError::EmailTaken) => None,
        other => other?,
    };
    let (account, renamed) = account.ok_or(ApiError::LinkRefused)?;
    trail::by(account.id.uuid());
    trail::about(account.id.uuid());
    if !renamed.is_empty() {
        // Others may belong to them.
        trail::detail("renamed", renamed.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    office.has_posted();
    Ok(account)
}
