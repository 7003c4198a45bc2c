//! `POST /auth/refresh`: a refresh token buys the next pair, once (RFC 9700 §4.14.2).
//!
//! A token shown a second time has been stolen, either now or before: its session ends, for the thief and for the owner,
//! who logs in again. Two uses within a few seconds are a race between two tabs and both succeed. `store` decides which.

use std::sync::Arc;

use axum::{Json, extract::State};
use identity::{RefreshToken, SecretText};
use serde::Deserialize;
use store::{RefreshOutcome, RefreshRefusal};
use utoipa::ToSchema;

use crate::{
    body::Body,
    error::ApiError,
    issue::{Of, TokenPair, fresh_refresh_token},
    office::Office,
    trail,
};

/// A token to be exchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    #[schema(value_type = String, format = Password)]
    refresh_token: SecretText,
}

/// Exchanges a refresh token for the next pair.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = Refresh,
    responses(
        (status = 200, description = "The next pair; the token that bought it is used up", body = TokenPair),
        (status = 401, description = "`invalid_token`, `expired`, `revoked`, or `token_reused`: the session has been ended"),
    )
)]
pub(crate) async fn refresh(
    State(office): State<Arc<Office>>,
    Body(request): Body<Refresh>,
) -> Result<Json<TokenPair>, ApiError> {
    let outcome = exchange(&office, request.refresh_token.expose()).await;
    office.metrics.refresh(match &outcome {
        Ok(_) => "ok",
        Err(ApiError::RefreshReused) => "reused",
        Err(_) => "refused",
    });
    outcome.map(Json)
}

async fn exchange(office: &Office, shown: &str) -> Result<TokenPair, ApiError> {
    let used = RefreshToken::parse(shown).map_err(|_| ApiError::RefreshRefused)?;
    let (next, now) = (fresh_refresh_token(), office.now());
    let outcome = office
        .store
        .rotate_refresh(used.id(), &used.digest(), (next.id(), next.digest()), now, office.settings.refresh_terms)
        .await?;
    match outcome {
        RefreshOutcome::Rotated { session, account, generation } => {
            trail::by(account.id.uuid());
            trail::about(session.uuid());
            let access = office.access_token(&account, Of(session, generation), now);
            Ok(office.pair(access, &next, office.user_in_session(account).await))
        }
        // Who shows it is not known, only whose it is.
        RefreshOutcome::Refused { account, session, why } => {
            trail::about(account.uuid());
            trail::detail("session", session.to_string());
            Err(match why {
                RefreshRefusal::Reused => ApiError::RefreshReused,
                RefreshRefusal::Forged => {
                    trail::detail("forged", true);
                    ApiError::RefreshRefused
                }
                RefreshRefusal::Expired => ApiError::RefreshExpired,
                RefreshRefusal::Ended => ApiError::SessionEnded,
            })
        }
        RefreshOutcome::Unknown => Err(ApiError::RefreshRefused),
    }
}
