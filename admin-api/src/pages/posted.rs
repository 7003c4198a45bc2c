//! What a form has sent: from a page of this host, and of somebody who is signed in with the token of their cookie too.
//!
//! A stranger's page may not sign anybody in as somebody else (login CSRF), so forms of those who are not signed in are asked for where they
//! are from as well. The door has asked whoever has a cookie already; here the token in the form is asked for.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::Response,
};
use identity::{Grant, Principal, SessionCookie};
use policies::{Said, Sent};
use serde::de::DeserializeOwned;

use super::frame;
use crate::{
    body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    office::Office,
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Set by the door; nobody else can.
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// A form of whoever comes.
pub(super) struct Posted<T>(pub(super) T);

/// Somebody who is signed in by a cookie.
pub(super) struct SignedIn {
    pub(super) principal: Principal,
    cookie: SessionCookie,
}

/// A form of somebody who is signed in.
pub(super) struct Meant<T> {
    pub(super) who: SignedIn,
    pub(super) form: T,
}

// === impl Posted ===

impl<T: DeserializeOwned> FromRequest<Arc<Office>> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, office: &Arc<Office>) -> Result<Self, Response> {
        let read = async {
            if !is_from_here(request.headers()) {
                return Err(ApiError::ForeignForm);
            }
            form(&body::receive_form(request, office).await?)
        };
        read.await.map(Self).map_err(|error| frame::failed(office, &error))
    }
}

// === impl SignedIn ===

impl SignedIn {
    /// What the forms of a page show.
    pub(super) fn csrf(&self) -> String {
        self.cookie.csrf_token()
    }

    fn read(office: &Office, Caller(principal): Caller, headers: &HeaderMap) -> Result<Self, ApiError> {
        let cookie = office.cookie_in(headers).ok_or(ApiError::NoSession)?;
        // The door lets the cookie through with whom it is of; another credential than a cookie has no pages.
        if principal.grant != Grant::Cookie(cookie.id()) {
            return Err(ApiError::NoSession);
        }
        Ok(Self { principal, cookie })
    }
}

impl FromRequestParts<Arc<Office>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, office: &Arc<Office>) -> Result<Self, Response> {
        let read = match Allowed::<ManageAccount>::from_request_parts(parts, office).await {
            Ok(allowed) => Self::read(office, allowed.caller, &parts.headers),
            Err(error) => Err(error),
        };
        read.map_err(|error| frame::failed(office, &error))
    }
}

// === impl Meant ===

impl<T: DeserializeOwned> FromRequest<Arc<Office>> for Meant<T> {
    type Rejection = Response;

    async fn from_request(request: Request, office: &Arc<Office>) -> Result<Self, Response> {
        #[derive(serde::Deserialize)]
        struct Shown {
            csrf: String,
        }
        let (mut parts, body) = request.into_parts();
        let who = SignedIn::from_request_parts(&mut parts, office).await?;
        let request = Request::from_parts(parts, body);
        let read = async {
            if !is_from_here(request.headers()) {
                return Err(ApiError::ForeignForm);
            }
            let bytes = body::receive_form(request, office).await?;
            let shown: Shown = form(&bytes).map_err(|_| ApiError::ForeignForm)?;
            if !who.cookie.goes_with(shown.csrf.as_bytes()) {
                return Err(ApiError::ForeignForm);
            }
            form(&bytes)
        };
        match read.await {
            Ok(form) => Ok(Self { who, form }),
            Err(error) => Err(frame::failed(office, &error)),
        }
    }
}

/// A field that is missing, or given twice, is told by its name at most.
fn form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_urlencoded::from_bytes(bytes).map_err(|error| {
        let said = error.to_string();
        let named = |kind: &str| said.strip_prefix(kind).and_then(|rest| rest.split('`').next()).map(str::to_owned);
        match (named("missing field `"), named("duplicate field `")) {
            (Some(field), _) => ApiError::one_field(&field, "is missing"),
            (_, Some(field)) => ApiError::one_field(&field, "is given twice"),
            _ => ApiError::one_field("", "the form cannot be read"),
        }
    })
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let said = |name: HeaderName| Said::of(headers.get_all(name).iter().map(HeaderValue::as_bytes));
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent = Sent {
        site: said(SEC_FETCH_SITE),
        origin: said(header::ORIGIN),
        is_secure: text(FORWARDED_PROTO) == "https",
        host: text(FORWARDED_HOST),
    };
    sent.is_from_here()
}
