//! `GET /auth/oauth/{provider}/callback`: a browser comes back from a login at somebody else's.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};

use crate::{
    error::ApiError,
    oauth::{self, Answer, OauthFault, ProviderFault},
    office::Office,
    pages,
    visitor::Visitor,
};

/// Ends a login at a provider: the browser is given the cookie of a session and sent on, or sent to where the owner of an account agrees.
#[utoipa::path(
    get, path = "/auth/oauth/{provider}/callback", tag = "auth",
    params(
        ("provider" = String, Path, description = "The provider's id in `[[login_providers]]`"),
        ("state" = Option<String>, Query, description = "As it was sent; it serves once, in the browser that began"),
        ("code" = Option<String>, Query, description = "The provider's"),
        ("error" = Option<String>, Query, description = "Why there is no code"),
        ("iss" = Option<String>, Query, description = "Who answers (RFC 9207)"),
    ),
    responses(
        (status = 303, description = "Logged in, or on to `/account/link`"),
        (status = 400, description = "`invalid_state`, `code_refused` or `wrong_issuer`; `malformed`: no code, or something twice"),
        (status = 403, description = "`provider_denied`, `provider_login_too_old`, `provider_email_unverified`, `sign_up_closed`, `account_disabled` or `email_unverified`; `mfa_required` as at `POST /auth/login`"),
        (status = 404, description = "`not_found`: there is no such provider"),
        (status = 502, description = "`provider_broken`, `provider_refused` or `invalid_id_token`"),
        (status = 503, description = "`provider_unavailable`; see `Retry-After`"),
    )
)]
pub(crate) async fn oauth_callback(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Path(provider): Path<String>,
    answer: Result<Query<Answer>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (back, came) = match answer {
        Ok(Query(answer)) => oauth::come_back(&office, &visitor, &provider, answer).await,
        // Something is given twice, or is no text.
        Err(_) => (None, Err(ApiError::BodyBroken)),
    };
    match came {
        Err(error) if pages::takes_html(&headers) && is_too_old(&error) => {
            pages::too_long_ago(&office, &provider, back.as_ref(), &error)
        }
        came => pages::onward(&office, &headers, back.as_ref(), came),
    }
}

const fn is_too_old(error: &ApiError) -> bool {
    matches!(error, ApiError::Oauth(OauthFault::Provider(ProviderFault::TooLongAgo)))
}
