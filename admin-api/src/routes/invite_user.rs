//! `POST /admin/users/{id}/invite`: another letter to somebody who has been invited and has not come. Only its link is good then.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use identity::{AccountId, Email, OneTimePurpose, OneTimeToken};
use store::{NewMail, NewOneTime, Over};
use uuid::Uuid;

use super::logout::Done;
use crate::{
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    mail::Letter,
    office::Office,
    user::NO_ACCOUNT,
};

/// A token to take an account over, and the letter that holds it.
pub(super) struct Invitation<'a> {
    pub(super) letter: NewMail,
    token: OneTimeToken,
    account: AccountId,
    email: &'a Email,
    now: DateTime<Utc>,
    ttl: Duration,
}

/// Invites somebody again who has not taken over the account that was made for them. For administrators. Needs no body.
#[utoipa::path(
    post, path = "/admin/users/{id}/invite", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 202, description = "A mail is on its way; the link of the one before is good no more", body = Done),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: it does not wait to be taken over, or was changed at the same moment"),
    )
)]
pub(crate) async fn invite_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Done>), ApiError> {
    let account = caller.managed(&office, &id).await?;
    let email = account.address()?;
    let invitation = Invitation::fresh(&office, account.id, &email);
    let (token, letter) = (invitation.token(), Some(&invitation.letter));
    let by = caller.doer(&office);
    let over = Over { of_role: &account.role, by: by.as_ref() };
    let invited = office.store.invite_again(account.id, over, &token, letter, invitation.now).await;
    invited.or_missing(NO_ACCOUNT)?;
    office.has_posted();
    office.metrics.registration("invited");
    tracing::info!(by = %caller.0.account, account = %account.id, "somebody is invited again");
    Ok((StatusCode::ACCEPTED, Json(Done { message: "a mail is on its way" })))
}

// === impl Invitation ===

impl<'a> Invitation<'a> {
    pub(super) fn fresh(office: &Office, account: AccountId, email: &'a Email) -> Self {
        let (token, ttl) =
            (OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()), office.settings.accounts.invitation_ttl);
        let letter = office.letter_with(Letter::Invite, email, &token, ttl);
        Self { letter, token, account, email, now: office.now(), ttl }
    }

    /// What is kept of it.
    pub(super) fn token(&self) -> NewOneTime<'a> {
        NewOneTime {
            id: self.token.id(),
            purpose: OneTimePurpose::Invite,
            account: Some(self.account),
            address: self.email.normalised(),
            digest: self.token.digest_for(OneTimePurpose::Invite),
            binding: None,
            sealed: None,
            now: self.now,
            expires_at: self.now + self.ttl,
        }
    }
}
