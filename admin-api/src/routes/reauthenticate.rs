//! `POST /auth/reauthenticate`: whoever is logged in shows anew that it is they, for routes that demand it (`max_auth_age`, `acr`; RFC 9470).
//!
//! The session stays the same one. The answer's tokens are new ones, and those before them end: whoever has a copy of one is not to be
//! raised with its owner.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use identity::{Assurance, Grant};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Caller,
    error::{ApiError, OrMissing},
    issue::Of,
    office::Office,
    proof::Proof,
    visitor::Visitor,
};

/// A session whose owner has been seen.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reauthenticated {
    /// Show it as `Authorization: Bearer …`.
    /// Not where the session is a cookie: the browser is given another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Buys the next pair; those before it have ended. Not where the session had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Always `bearer`.
    token_type: &'static str,
    /// Show it as `X-CSRF-Token: …` from now on, where the session is a cookie: with the old cookie the old one has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    /// Seconds until the access token expires; the cookie, where the session is one.
    expires_in: u64,
    /// When its owner was seen: now.
    auth_time: DateTime<Utc>,
    /// What the session amounts to: `single`, `mfa` or `phr`.
    acr: &'static str,
}

/// Shows a password or a code anew. What has been shown in a session adds up: a code in one that began with a password makes it `mfa`.
#[utoipa::path(
    post, path = "/auth/reauthenticate", tag = "auth", request_body = Proof, security(("access_token" = [])),
    responses(
        (status = 200, description = "The same session, new tokens; the ones before them have ended", body = Reauthenticated),
        (status = 403, description = "`wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn reauthenticate(
    State(office): State<Arc<Office>>,
    caller: Caller,
    visitor: Visitor,
    Body(proof): Body<Proof>,
) -> Result<(HeaderMap, Json<Reauthenticated>), ApiError> {
    let (cookies, done) = anew(&office, &caller, &visitor, &proof).await?;
    Ok((cookies, Json(done)))
}

/// Shows anew, for programs and for the page alike.
pub(crate) async fn anew(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    proof: &Proof,
) -> Result<(HeaderMap, Reauthenticated), ApiError> {
    let is_token = matches!(caller.0.grant, Grant::Session(_));
    let proved = proof.anew(caller, visitor, office).await?;
    let now = office.now();
    // Whoever has a copy of a token or the cookie is not to be raised with its owner.
    let (next, cookie) = (Office::next_refresh(caller.0.grant), Office::next_cookie(caller.0.grant));
    let renewal = office.renewal(next.as_ref(), cookie.as_ref());
    let (of, session) = (proved.account.id, proved.session);
    let renewed = office.store.reauthenticate(of, session, &proved.amr, renewal, now).await;
    let renewed = renewed.or_missing(ApiError::SessionEnded)?;
    let cookies = cookie.as_ref().map(|cookie| office.give_cookie(cookie)).unwrap_or_default();
    let life = if is_token { office.settings.access_ttl } else { office.settings.pages.cookie_life };
    let done = Reauthenticated {
        access_token: is_token.then(|| office.access_token(&proved.account, Of(session, renewed.generation), now)),
        refresh_token: next.filter(|_| renewed.refreshes).map(|token| token.expose().to_owned()),
        token_type: "bearer",
        csrf_token: cookie.map(|cookie| cookie.csrf_token()),
        expires_in: life.as_secs(),
        auth_time: now,
        acr: Assurance::of_methods(&proved.amr).word(),
    };
    Ok((cookies, done))
}
