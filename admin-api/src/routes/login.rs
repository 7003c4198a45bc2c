//! `POST /auth/login`: a password buys a session.
//!
//! Nobody learns here whether an account exists: an unknown address, a wrong password and a disabled account with a wrong
//! password get the same words after the same work (one look-up, one password check). Only who knows the password is told
//! that the account is disabled.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{Email, Password, SecretText, Verdict};
use serde::Deserialize;
use store::{Account, Status};
use utoipa::ToSchema;

use crate::{body::Body, error::ApiError, form::Form, issue::TokenPair, office::Office};

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    #[schema(format = Email, example = "user@example.com")]
    email: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: SecretText,
}

/// Logs in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = Login,
    responses(
        (status = 200, description = "A session", body = TokenPair),
        (status = 401, description = "`invalid_credentials`: unknown account or wrong password"),
        (status = 403, description = "`account_disabled`: the password is right, the account is disabled"),
        (status = 503, description = "`busy`: too many passwords are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn login(
    State(office): State<Arc<Office>>,
    Body(request): Body<Login>,
) -> Result<Json<TokenPair>, ApiError> {
    let (email, password) = request.parse()?;
    let (account, hash) = office.store.login_by_email(&email).await?.unzip();
    let verdict = office.hashing.verify(&password, hash).await?;
    let Some(account) = account.filter(|_| verdict != Verdict::Mismatch) else {
        office.metrics.login("refused");
        return Err(ApiError::InvalidCredentials);
    };
    if account.status == Status::Disabled {
        office.metrics.login("disabled");
        return Err(ApiError::AccountDisabled);
    }
    if verdict == Verdict::MatchNeedsRehash {
        rehash(&office, &account, password).await;
    }
    let pair = office.open_session(account, office.now()).await?;
    office.metrics.login("ok");
    Ok(Json(pair))
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
