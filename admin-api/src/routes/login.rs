//! `POST /auth/login`: a password buys a session.
//!
//! Nobody learns here whether an account exists: an unknown address, a wrong password and a disabled account with a wrong
//! password get the same words after the same work (one look-up, one password check, one count), and are locked alike. Only
//! who knows the password is told that the account is disabled, or its address not confirmed.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{Email, Password, SecretText, Verdict};
use serde::Deserialize;
use store::{Account, Status};
use utoipa::ToSchema;

use crate::{
    attempt::Attempt,
    body::Body,
    error::ApiError,
    form::Form,
    issue::{Begun, SessionKind},
    office::Office,
    second_factor::First,
    visitor::Visitor,
};

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    #[schema(format = Email, example = "user@example.com")]
    pub(crate) email: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub(crate) password: SecretText,
    /// `cookie`: the answer gives the browser a cookie, and no tokens.
    #[serde(default)]
    pub(crate) session: SessionKind,
}

/// Logs in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = Login,
    responses(
        (status = 200, description = "A session", body = Begun),
        (status = 401, description = "`invalid_credentials`: unknown account or wrong password"),
        (status = 403, description = "`mfa_required`: the password is right, and the problem's `mfa_token` buys the session with a code of one of its `methods`; `account_disabled` or `email_unverified`: it is right and does not serve"),
        (status = 429, description = "`login_locked`: too many failed logins; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn login(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<Login>,
) -> Result<(HeaderMap, Json<Begun>), ApiError> {
    let (cookies, begun) = log_in(&office, &visitor, &request).await?;
    Ok((cookies, Json(begun)))
}

/// Logs in, for programs and for the page alike.
pub(crate) async fn log_in(
    office: &Office,
    visitor: &Visitor,
    request: &Login,
) -> Result<(HeaderMap, Begun), ApiError> {
    let (email, password) = request.parse()?;
    let account = check(office, visitor, &email, password).await?;
    let device = visitor.known_device();
    let origin = visitor.origin_of(&device, First::Password);
    let (cookies, begun) = office.open_session(account, origin, request.session, office.now()).await?;
    office.leave_behind(visitor).await;
    office.metrics.login("ok");
    Ok((device.beside(cookies), begun))
}

/// Whose password is it? Whoever knows it may be told why it does not serve.
async fn check(office: &Office, visitor: &Visitor, email: &Email, password: Password) -> Result<Account, ApiError> {
    let attempt = Attempt::begin(office, visitor, email).await.inspect_err(|error| {
        if matches!(error, ApiError::Locked(_)) {
            office.metrics.login("locked");
        }
    })?;
    let (account, hash) = attempt.facts.as_ref().map(|facts| (facts.account.clone(), facts.hash.clone())).unzip();
    let verdict = office.hashing.check(&password, hash, attempt.dearest).await?;
    let Some(account) = account.filter(|_| verdict != Verdict::Mismatch) else {
        office.metrics.login("refused");
        office.stuffing.failed(visitor, email, &password, &office.metrics, office.now());
        attempt.failed(office).await?;
        return Err(ApiError::InvalidCredentials);
    };
    let has_factor = attempt.facts.as_ref().is_some_and(|facts| facts.has_factor);
    // It forgives no wrong codes: those are counted elsewhere.
    attempt.succeeded(office).await;
    if account.status == Status::Disabled {
        office.metrics.login("disabled");
        return Err(ApiError::AccountDisabled);
    }
    if !account.is_verified && !office.settings.accounts.unverified_may_log_in {
        office.metrics.login("unverified");
        return Err(ApiError::EmailUnverified);
    }
    if verdict == Verdict::MatchNeedsRehash {
        rehash(office, &account, password).await;
    }
    if has_factor {
        office.metrics.login("mfa_required");
        return Err(office.challenge(First::Password, &account, email.normalised()).await?);
    }
    Ok(account)
}

/// Replaces a hash of an older kind or cost. The login does not depend on it: the next one tries again.
async fn rehash(office: &Office, account: &Account, password: Password) {
    let rehashed = match office.hashing.hash(password).await {
        Ok(hash) => office.store.rehash_password(account, hash).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = rehashed {
        tracing::warn!(account = %account.id, %error, "an old password hash could not be replaced");
    }
}

// === impl Login ===

impl Login {
    fn parse(&self) -> Result<(Email, Password), ApiError> {
        let mut form = Form::default();
        let email = form.email(&self.email);
        let password = form.password("password", &self.password);
        form.finish(email.zip(password))
    }
}
