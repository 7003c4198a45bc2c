//! `POST /auth/change-email`: the owner of an account wants it to have another address. Nothing changes before the mail to that
//! address is answered (`POST /auth/confirm-email`); the present one is told.
//!
//! The answer is the same, after the same work, whatever the address: that it has an account already is told to its owner alone.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::{Email, SecretText};
use serde::Deserialize;
use utoipa::ToSchema;

use super::logout::Done;
use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    form::Form,
    mail::{EmailChange, Letter, Said},
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    visitor::Visitor,
};

/// The address that the account shall have, and what shows that it is the owner who asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeEmail {
    #[schema(format = Email, example = "user@example.com")]
    pub(crate) new_email: String,
    /// The account's password.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    pub(crate) password: Option<SecretText>,
    /// What the authenticator shows.
    #[schema(value_type = Option<String>, format = Password, example = "123456")]
    pub(crate) code: Option<SecretText>,
    /// One of the recovery codes; it serves once.
    #[schema(value_type = Option<String>, format = Password)]
    pub(crate) recovery_code: Option<SecretText>,
    /// What a passkey has answered to `POST /auth/reauthenticate/passkey`.
    pub(crate) passkey: Option<ShownPasskey>,
}

/// Asks for another address. Unless the session has begun within five minutes, something shows that it is the owner who asks.
#[utoipa::path(
    post, path = "/auth/change-email", tag = "auth", request_body = ChangeEmail, security(("access_token" = [])),
    responses(
        (status = 202, description = "A mail is on its way, whatever the address", body = Done),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn change_email(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    Body(request): Body<ChangeEmail>,
) -> Result<(StatusCode, Json<Done>), ApiError> {
    ask(&office, &caller, &visitor, request).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { message: "a mail is on its way; the new address has to be confirmed" })))
}

/// Asks, for programs and for the page alike.
pub(crate) async fn ask(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    request: ChangeEmail,
) -> Result<(), ApiError> {
    let ChangeEmail { new_email, password, code, recovery_code, passkey } = request;
    let mut form = Form::default();
    let email = form.parsed("new_email", Email::parse(&new_email));
    let email = form.finish(email)?;
    let proved = Proof { password, code, recovery_code, passkey }.by(caller, visitor, office).await?;
    let account = proved.account;
    let present = account.address()?;
    let change =
        EmailChange { account: account.id.uuid(), email: email.as_str().to_owned(), session: proved.session.uuid() };
    let wish = office.wish_later(Letter::ChangeEmail, email.normalised(), &Said::change(change), office.now());
    let notice = office.notice(Letter::EmailChangeAsked, &account, present.normalised());
    office.store.ask_for_email(account.id, &wish, &notice).await?;
    office.has_posted();
    office.metrics.email_change("asked");
    Ok(())
}
