//! `POST /auth/token`: a machine buys an access token with its id and secret (RFC 6749 §4.4, `client_credentials`). The secret is an API key
//! of a service account. Answers and errors are those of the RFC, since machines that ask so read nothing else.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use identity::{AccountId, ApiKey, KeyId, RefreshToken, SecretText};
use serde::{Deserialize, Serialize};
use store::{AccountKind, GrantFacts, NewSession, Origin, Proof, Seen, Standing, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::receive_form,
    error::ApiError,
    issue::{Fresh, Of, SessionKind},
    office::Office,
    trail::{self, Refused},
    visitor::Visitor,
};

/// By what such a session has begun.
const METHOD: &str = store::MACHINE;

/// What a machine shows (RFC 6749 §4.4.2); id and secret may stand in `Authorization: Basic …` instead (§2.3.1).
#[derive(Deserialize, ToSchema)]
pub(crate) struct TokenRequest {
    /// `client_credentials`.
    grant_type: String,
    client_id: Option<String>,
    #[schema(value_type = Option<String>, format = Password)]
    client_secret: Option<SecretText>,
    /// Only empty: the token may do what the account may.
    scope: Option<String>,
}

/// RFC 6749 §5.1.
#[derive(Serialize, ToSchema)]
pub(crate) struct Issued {
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

/// RFC 6749 §5.2.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenError {
    /// `invalid_request`, `invalid_client`, `unsupported_grant_type` or `invalid_scope`.
    error: &'static str,
    error_description: &'static str,
}

/// Buys an access token for a service account.
#[utoipa::path(
    post, path = "/auth/token", tag = "auth",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = Issued),
        (status = 400, description = "`error` says what is wrong with the request", body = TokenError, content_type = "application/json"),
        (status = 401, description = "`invalid_client`", body = TokenError, content_type = "application/json"),
    )
)]
pub(crate) async fn issue_token(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let bytes = match receive_form(request, &office).await {
        Err(ApiError::NotAForm) => {
            return Ok(refuse("invalid_request", "send the parameters as application/x-www-form-urlencoded"));
        }
        received => received?,
    };
    let Ok(asked) = serde_urlencoded::from_bytes::<TokenRequest>(&bytes) else {
        return Ok(refuse("invalid_request", "a parameter is missing, or given twice"));
    };
    if asked.grant_type != "client_credentials" {
        return Ok(refuse("unsupported_grant_type", "only client_credentials is supported here"));
    }
    if asked.scope.as_deref().is_some_and(|scope| !scope.trim().is_empty()) {
        return Ok(refuse("invalid_scope", "a token may do what its account may; for less make a key with scopes"));
    }
    let (id, secret) = match shown(&headers, asked) {
        Ok(shown) => shown,
        Err(refused) => return Ok(*refused),
    };
    let Some((key, facts)) = client(&office, &id, &secret).await? else { return Ok(unknown_client()) };
    let now = office.now();
    // What is bought does not outlive what bought it.
    let until =
        facts.expires_at.map_or(now + office.settings.access_ttl, |end| end.min(now + office.settings.access_ttl));
    let session = Fresh::new(SessionKind::Tokens).id;
    // Nobody is given it: whoever has the secret buys another token.
    let refresh = RefreshToken::generate(Uuid::now_v7(), &mut rand::rng());
    let proof = Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: until };
    let device = visitor.known_device();
    let origin = Origin { seen: Seen::Unknown, ..visitor.origin(&device, METHOD, None) };
    let account = facts.account;
    trail::by(account.id.uuid());
    trail::about(account.id.uuid());
    let new = NewSession { id: session, account: &account, proof, now, origin };
    match office.store.open_bought_session(new, key).await {
        Err(StoreError::NotFound) => return Ok(unknown_client()),
        opened => opened?,
    }
    let issued = Issued {
        access_token: office.access_token_until(&account, Of(session, 0), now, until),
        token_type: "Bearer",
        expires_in: (until - now).num_seconds().unsigned_abs(),
    };
    Ok((StatusCode::OK, no_store(), Json(issued)).into_response())
}

/// Id and secret, in one of two places: the secret not in both. Whoever has named itself in one may do so again in the other (RFC 6749
/// §3.2.1), and what is empty is left out (§3.2).
fn shown(headers: &HeaderMap, asked: TokenRequest) -> Result<(String, SecretText), Box<Response>> {
    let basic = headers.get(header::AUTHORIZATION).map(|value| basic(value.as_bytes()));
    let id = asked.client_id.filter(|id| !id.is_empty());
    let secret = asked.client_secret.filter(|secret| !secret.expose().is_empty());
    match (basic, id, secret) {
        (None, Some(id), Some(secret)) => Ok((id, secret)),
        (Some(Some(basic)), id, None) if id.as_ref().is_none_or(|id| *id == basic.0) => Ok(basic),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(Box::new(refuse("invalid_request", "show one client's id, and its secret in one place")))
        }
        _ => Err(Box::new(unknown_client())),
    }
}

/// RFC 7617, each half encoded as in a form (RFC 6749 §2.3.1).
fn basic(value: &[u8]) -> Option<(String, SecretText)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |half: &str| serde_urlencoded::from_str::<Vec<(String, String)>>(&format!("v={half}")).ok()?.pop();
    let (id, secret) = (plain(id)?.1, plain(secret)?.1);
    scheme.eq_ignore_ascii_case(b"basic ").then(|| (id, SecretText::from(secret)))
}

/// The account behind an id and a secret, if it is a machine's and the secret is good. A key with scopes may do less than its account, and one
/// with networks may not everywhere: what they bought could do more than they, so they buy nothing.
async fn client(office: &Office, id: &str, secret: &SecretText) -> Result<Option<(KeyId, GrantFacts)>, ApiError> {
    let (Ok(id), Ok(key)) = (id.parse::<AccountId>(), ApiKey::parse(secret.expose())) else { return Ok(None) };
    let facts = office.store.key_grant(key.id()).await?;
    let facts = facts.filter(|facts| {
        facts.digest.as_ref() == Some(&key.digest())
            && facts.standing(office.now()) == Standing::Live
            && facts.account.kind == AccountKind::Service
            && facts.account.id == id
            && facts.scopes.is_none()
            && facts.networks.is_none()
    });
    Ok(facts.map(|facts| (key.id(), facts)))
}

fn unknown_client() -> Response {
    let error = TokenError { error: "invalid_client", error_description: "no service account has this id and secret" };
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"portcullis\""))];
    let mut response = (StatusCode::UNAUTHORIZED, no_store(), challenge, Json(error)).into_response();
    response.extensions_mut().insert(Refused::by(&ApiError::InvalidCredentials));
    response
}

fn refuse(error: &'static str, error_description: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, no_store(), Json(TokenError { error, error_description })).into_response()
}

/// RFC 6749 §5.1.
fn no_store() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}
