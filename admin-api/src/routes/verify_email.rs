//! `POST /auth/verify-email`: whoever shows the token from the mail has confirmed the address that it was sent to.
//!
//! The token is of an account whose address is to be confirmed, or of one that was registered and is made now. It logs nobody in:
//! mail is read by scanners too.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{AccountId, Email, OneTimePurpose, OneTimeToken, PasswordHash, SecretText};
use serde::{Deserialize, Serialize};
use store::{Account, AccountKind, Belonging, NewAccount, OneTime, ShownOneTime, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{body::Body, error::ApiError, mail::Registration, office::Office, trail, user::User};

/// The token from the mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyEmail {
    #[schema(value_type = String, format = Password)]
    token: SecretText,
}

/// Whose address is confirmed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verified {
    user: User,
}

/// Confirms an address. Serves once.
#[utoipa::path(
    post, path = "/auth/verify-email", tag = "auth", request_body = VerifyEmail,
    responses(
        (status = 200, description = "The address is confirmed; log in", body = Verified),
        (status = 400, description = "`invalid_link`: the token is unknown, used, expired, or for something else"),
    )
)]
pub(crate) async fn verify_email(
    State(office): State<Arc<Office>>,
    Body(request): Body<VerifyEmail>,
) -> Result<Json<Verified>, ApiError> {
    let account = confirm(&office, request.token.expose()).await?;
    Ok(Json(Verified { user: office.user_in_session(account).await }))
}

/// Confirms, for programs and for the page alike.
pub(crate) async fn confirm(office: &Office, token: &str) -> Result<Account, ApiError> {
    let confirmed = try_confirm(office, token).await;
    office.metrics.verification(if confirmed.is_ok() { "ok" } else { "refused" });
    if let Ok(account) = &confirmed {
        trail::by(account.id.uuid());
        trail::about(account.id.uuid());
    }
    confirmed
}

async fn try_confirm(office: &Office, token: &str) -> Result<Account, ApiError> {
    let token = OneTimeToken::parse(token).map_err(|_| ApiError::LinkRefused)?;
    let of_account = shown(&token, OneTimePurpose::VerifyEmail);
    if let Some(account) = office.store.confirm_email(&of_account, office.confirmed(), office.now()).await? {
        return Ok(account);
    }
    make_account(office, &token).await?.ok_or(ApiError::LinkRefused)
}

/// The account that was asked for when the token was made.
async fn make_account(office: &Office, token: &OneTimeToken) -> Result<Option<Account>, ApiError> {
    let shown = shown(token, OneTimePurpose::Register);
    let Some(found) = office.store.look_at(&shown, office.now()).await? else { return Ok(None) };
    take_in(office, &shown, registered(office, token, found)?).await
}

/// What was asked for when a token was made.
pub(super) fn registered(office: &Office, token: &OneTimeToken, found: OneTime) -> Result<Registration, ApiError> {
    let registration = found.sealed.and_then(|sealed| office.open_registration(token.id(), &sealed));
    registration.ok_or_else(unreadable)
}

fn unreadable() -> ApiError {
    ApiError::Internal("a registration cannot be read".to_owned())
}

/// Makes an account for whoever shows a token that was sent to its address; `None` if the token is no good any more, or there is one meanwhile.
pub(super) async fn take_in(
    office: &Office,
    shown: &ShownOneTime,
    registration: Registration,
) -> Result<Option<Account>, ApiError> {
    let email = Email::parse(&registration.email).map_err(|_| unreadable())?;
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &email,
        password_hash: PasswordHash::from(registration.password_hash),
        name: registration.name,
        role: &office.settings.default_role,
        tier: &office.settings.default_tier,
        has_own_tier: false,
        is_verified: true,
        kind: AccountKind::Person,
        tenant: registration.tenant_name.as_deref().map_or(Belonging::FoundsOwn, Belonging::Founds),
        now: office.now(),
    };
    match office.store.confirm_registration(shown, new).await {
        // Somebody has confirmed another registration of this address meanwhile.
        Err(StoreError::EmailTaken) => Ok(None),
        made => {
            office.metrics.registration("ok");
            Ok(made?)
        }
    }
}

/// A token as it is shown for something.
pub(crate) fn shown(token: &OneTimeToken, purpose: OneTimePurpose) -> ShownOneTime {
    ShownOneTime { id: token.id(), purpose, digest: token.digest_for(purpose), binding: None }
}
