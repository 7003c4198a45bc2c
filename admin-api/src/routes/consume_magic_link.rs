//! `POST /auth/magic-link/consume`: the token from the mail buys a session, once, in the browser that asked for it.
//!
//! A link that somebody else was made to open logs nobody in, and a link that is shown in the wrong browser is not used up. To be locked
//! out for wrong passwords is no reason to refuse it: it proves what a password does not.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use identity::{OneTimePurpose, OneTimeToken, SecretText};
use serde::Deserialize;
use store::{LinkLogin, SessionSeed, ShownOneTime};
use utoipa::ToSchema;

use super::verify_email::shown;
use crate::{
    body::Body,
    error::ApiError,
    issue::{Begun, Fresh, SessionKind},
    office::Office,
    second_factor::First,
    trail,
    visitor::{Device, Visitor},
};

/// The token from the mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsumeLink {
    #[schema(value_type = String, format = Password)]
    token: SecretText,
    /// `cookie`: the answer gives the browser a cookie, and no tokens.
    #[serde(default)]
    session: SessionKind,
}

/// Logs in with a link. Needs the cookie of the answer to `POST /auth/magic-link`.
#[utoipa::path(
    post, path = "/auth/magic-link/consume", tag = "auth", request_body = ConsumeLink,
    responses(
        (status = 200, description = "A session", body = Begun),
        (status = 400, description = "`invalid_link`: the token is unknown, used, expired, for something else, or another browser's"),
        (status = 403, description = "`mfa_required`: the link is used up, and the problem's `mfa_token` buys the session with a code of one of its `methods`"),
    )
)]
pub(crate) async fn consume_magic_link(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<ConsumeLink>,
) -> Result<(HeaderMap, Json<Begun>), ApiError> {
    let (cookies, begun) = log_in(&office, &visitor, request.token.expose(), request.session).await?;
    Ok((cookies, Json(begun)))
}

/// Logs in with a link, for programs and for the page alike.
pub(crate) async fn log_in(
    office: &Office,
    visitor: &Visitor,
    token: &str,
    kind: SessionKind,
) -> Result<(HeaderMap, Begun), ApiError> {
    let device = visitor.known_device();
    let begun = open(office, visitor, &device, token, kind).await;
    office.metrics.login(if begun.is_ok() { "link" } else { "link_refused" });
    let (cookies, begun) = begun?;
    office.leave_behind(visitor).await;
    Ok((device.beside(cookies), begun))
}

async fn open(
    office: &Office,
    visitor: &Visitor,
    device: &Device,
    token: &str,
    kind: SessionKind,
) -> Result<(HeaderMap, Begun), ApiError> {
    let token = OneTimeToken::parse(token).map_err(|_| ApiError::LinkRefused)?;
    // A browser that is not known has asked for nothing.
    let binding = visitor.device().ok_or(ApiError::LinkRefused)?;
    let shown = ShownOneTime { binding: Some(binding), ..shown(&token, OneTimePurpose::MagicLink) };
    let (now, fresh) = (office.now(), Fresh::new(kind));
    let origin = visitor.origin_of(device, First::MagicLink);
    let seed = SessionSeed { id: fresh.id, proof: fresh.proof(office, now), origin };
    let challenge = office.fresh_challenge(First::MagicLink, now);
    match office.store.log_in_by(&shown, office.confirmed(), seed, &challenge.seed, now).await? {
        Some(LinkLogin::Opened(account, groups)) => Ok(office.begun(account, groups, fresh, now)),
        Some(LinkLogin::Challenged(account)) => {
            trail::about(account.id.uuid());
            Err(challenge.said(&office.store.factors(account.id).await?))
        }
        None => Err(ApiError::LinkRefused),
    }
}
