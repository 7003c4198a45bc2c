//! Every way in which the office says no: one enum, matched exhaustively to status and stable code, and to words.
//!
//! Three audiences, three texts (STYLE): the caller reads the face, the operator reads the log with the cause, a test
//! reads the variant. A cause never reaches the caller. [`crate::answer`] renders it.

mod missing;

use std::{borrow::Cow, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use policies::problem::FieldError;
use store::StoreError;

pub(crate) use self::missing::OrMissing;
use crate::{
    json::{JsonFault, MAX_DEPTH},
    oauth::OauthFault,
    second_factor::Challenge,
};

/// Seconds after which a caller whom we could not serve now may come again.
const COME_AGAIN: u64 = 2;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the content type is not JSON")]
    ContentType,
    #[error("the content type is not that of a form")]
    NotAForm,
    #[error("the body is too large")]
    BodyTooLarge(usize),
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body broke off")]
    BodyBroken,
    #[error("the body is not read: {0:?}")]
    Json(JsonFault),
    #[error("a form of a page that is not ours, or without its token")]
    ForeignForm,
    #[error("fields are wrong: {0:?}")]
    Fields(Vec<FieldError>),
    #[error("query parameters are wrong: {0:?}")]
    Query(Vec<FieldError>),
    #[error("no assertion of who is calling")]
    NoAssertion,
    /// The cause never holds the assertion.
    #[error("the assertion is refused: {0}")]
    BadAssertion(String),
    #[error("forbidden: {0} is missing")]
    Forbidden(String),
    #[error("unknown account or wrong password")]
    InvalidCredentials,
    #[error("the old password is wrong")]
    WrongPassword,
    #[error("the account is disabled")]
    AccountDisabled,
    #[error("the address is not confirmed")]
    EmailUnverified,
    #[error("the caller's address is not confirmed")]
    AddressUnconfirmed,
    /// Seconds until somebody is listened to again.
    #[error("too many failed logins; locked for {0} s")]
    Locked(u64),
    #[error("a second factor is required")]
    MfaRequired(Box<Challenge>),
    #[error("the token for the second factor is no good")]
    MfaTokenRefused,
    #[error("the code is wrong, or was used before")]
    InvalidCode,
    /// Why is in the trail.
    #[error("the passkey is refused")]
    PasskeyRefused,
    #[error("what should show that it is the owner is wrong")]
    WrongProof,
    /// Seconds within which the session would have to have begun.
    #[error("the session is older than {0} s, and nothing was shown")]
    NotFresh(u64),
    #[error("the caller has no session to do it in")]
    SessionNeeded,
    #[error("the token or link is no good")]
    LinkRefused,
    #[error(transparent)]
    Oauth(#[from] OauthFault),
    #[error("the address has an account")]
    EmailTaken,
    #[error("the refresh token is refused")]
    RefreshRefused,
    #[error("the refresh token was used before; its session was ended")]
    RefreshReused,
    #[error("the refresh token has expired")]
    RefreshExpired,
    #[error("the session has ended")]
    SessionEnded,
    #[error("the caller's account is gone")]
    CallerGone,
    #[error("the caller's credential has been revoked")]
    Revoked,
    #[error("the caller's credential has expired")]
    Expired,
    #[error("the caller has no session")]
    NoSession,
    #[error("administrators do not change their own account")]
    OwnAccount,
    #[error("the account has {0} keys already")]
    TooManyKeys(u32),
    #[error("the tenant is disabled")]
    TenantDisabled,
    #[error("an administrator acts as the caller")]
    Impersonated,
    #[error("the caller acts in no tenant")]
    NoTenant,
    #[error("the caller answers for too many tenants")]
    TooManyTenants,
    #[error("the tenant's tier has no room for more {0}")]
    QuotaReached(&'static str),
    #[error("what is sealed does not open")]
    Unreadable,
    #[error("nobody else answers for the tenant")]
    LastOwner,
    #[error("the owner has {0} integrations already")]
    TooManyIntegrations(u32),
    #[error("the quota of {resource} has {left} left")]
    QuotaExceeded { resource: String, left: i64 },
    #[error("a webhook's signature is refused")]
    SignatureRefused,
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("conflict: {0}")]
    Conflict(&'static str),
    #[error("no such path")]
    NoSuchPath,
    #[error("no such method")]
    MethodNotAllowed,
    #[error("the configuration is refused: {0:?}")]
    ConfigRefused(Vec<String>),
    #[error("too many passwords are waiting")]
    Busy,
    #[error("the database is away: {0}")]
    StoreAway(String),
    #[error("a defect of ours: {0}")]
    Internal(String),
}

/// What the caller is shown.
pub(crate) struct Face {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
}

// === impl ApiError ===

impl ApiError {
    /// One field is wrong.
    pub(crate) fn one_field(field: &str, message: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// Status, stable code, and a few words: the same for a code wherever it is said, at the door too.
    pub(crate) fn face(&self) -> Face {
        let (status, code, title) = match self {
            Self::ContentType | Self::NotAForm => (415, "unsupported_media_type", "Unsupported media type"),
            Self::BodyTooLarge(_) => (413, "body_too_large", "Body too large"),
            Self::BodyTimeout => (408, "body_timeout", "Body too slow"),
            Self::BodyBroken => (400, "malformed", "Malformed request"),
            Self::Json(_) => (400, "malformed_json", "Malformed JSON"),
            Self::ForeignForm => (403, "csrf", "Cross-site request refused"),
            Self::Fields(_) => (422, "invalid_fields", "Invalid fields"),
            Self::Query(_) => (400, "invalid_query", "Invalid query"),
            Self::NoAssertion => (401, "missing_credential", "Credential required"),
            Self::BadAssertion(_) => (401, "invalid_assertion", "Not vouched for"),
            Self::Forbidden(_) => (403, "forbidden", "Forbidden"),
            Self::InvalidCredentials => (401, "invalid_credentials", "Invalid credentials"),
            Self::WrongPassword => (403, "wrong_password", "Wrong password"),
            Self::AccountDisabled => (403, "account_disabled", "Account disabled"),
            Self::EmailUnverified | Self::AddressUnconfirmed => (403, "email_unverified", "Address not confirmed"),
            Self::Locked(_) => (429, "login_locked", "Too many failed logins"),
            Self::MfaRequired(_) => (403, "mfa_required", "Second factor required"),
            Self::MfaTokenRefused => (401, "invalid_mfa_token", "Invalid token"),
            Self::InvalidCode => (401, "invalid_code", "Invalid code"),
            Self::PasskeyRefused => (401, "invalid_passkey", "Passkey refused"),
            Self::WrongProof => (403, "wrong_proof", "Wrong password or code"),
            Self::NotFresh(_) => (401, "insufficient_user_authentication", "Stronger authentication required"),
            Self::SessionNeeded => (403, "session_required", "Session required"),
            Self::LinkRefused => (400, "invalid_link", "Invalid link"),
            Self::Oauth(fault) => fault.face(),
            Self::EmailTaken => (409, "email_taken", "Address taken"),
            Self::RefreshRefused => (401, "invalid_token", "Invalid credential"),
            Self::RefreshReused => (401, "token_reused", "Refresh token reused"),
            Self::RefreshExpired | Self::Expired => (401, "expired", "Expired credential"),
            Self::SessionEnded | Self::CallerGone | Self::Revoked => (401, "revoked", "Revoked credential"),
            Self::NoSession => (409, "no_session", "No session"),
            Self::OwnAccount => (403, "own_account", "Own account"),
            Self::TooManyKeys(_) => (409, "too_many_keys", "Too many API keys"),
            Self::TenantDisabled => (403, "tenant_disabled", "Tenant disabled"),
            Self::Impersonated => (403, "impersonated", "Acting as somebody else"),
            Self::QuotaExceeded { .. } | Self::QuotaReached(_) => (409, "quota_exceeded", "Quota exceeded"),
            Self::SignatureRefused => (400, "invalid_signature", "Invalid signature"),
            Self::NoTenant => (409, "no_tenant", "No organisation"),
            Self::TooManyTenants => (409, "too_many_tenants", "Too many organisations"),
            Self::Unreadable => (503, "unreadable", "Unreadable"),
            Self::LastOwner => (409, "last_owner", "Last owner"),
            Self::TooManyIntegrations(_) => (409, "too_many_integrations", "Too many integrations"),
            Self::NotFound(_) => (404, "not_found", "Not found"),
            Self::Conflict(_) => (409, "conflict", "Conflict"),
            Self::NoSuchPath => (404, "no_route", "Not found"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Method not allowed"),
            Self::ConfigRefused(_) => (422, "config_refused", "Configuration refused"),
            Self::Busy => (503, "busy", "Busy"),
            Self::StoreAway(_) => (503, "directory_unavailable", "Accounts unavailable"),
            Self::Internal(_) => (500, "internal", "Internal error"),
        };
        Face { status: StatusCode::from_u16(status).expect("each is a status code in the match above"), code, title }
    }

    /// A sentence that helps the caller. Never a cause of ours.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        let words = match self {
            Self::ContentType => "Send the body as `Content-Type: application/json`.",
            Self::NotAForm => "Send the body as `Content-Type: application/x-www-form-urlencoded`.",
            Self::BodyTooLarge(most) => return format!("A body may have {most} bytes at most.").into(),
            Self::BodyTimeout => "The body did not arrive in time.",
            Self::BodyBroken => "The body ended before it was complete.",
            Self::Json(fault) => return words_for(fault),
            Self::ForeignForm => {
                "The form was not sent by a page of this host, or the page was too old; open it again."
            }
            Self::Fields(_) => "Some fields cannot be used; `errors` names each.",
            Self::Query(_) => "Some query parameters cannot be used; `errors` names each.",
            Self::NoAssertion => "Show an access token or an API key.",
            Self::BadAssertion(_) => "The assertion of who is calling cannot be believed.",
            Self::Forbidden(missing) => {
                return format!("This needs `{missing}`, which the caller does not have.").into();
            }
            Self::InvalidCredentials => "Unknown account or wrong password.",
            Self::WrongPassword => "`old_password` is not the account's password.",
            Self::AccountDisabled => "This account has been disabled; ask an administrator.",
            Self::EmailUnverified => "Confirm the address first: a mail says how, and can be sent again.",
            Self::AddressUnconfirmed => "Confirm the address by our mail; the word of another issuer does not count.",
            Self::Locked(_) => {
                "Too many wrong passwords or codes; try again later. A lock of passwords holds for no link and no new password by mail."
            }
            Self::MfaRequired(_) => {
                "Show `mfa_token` to POST /auth/mfa/verify with a code of the authenticator or a recovery code."
            }
            Self::MfaTokenRefused => "This is not, or no longer, good for this; log in again.",
            Self::InvalidCode => "The code is wrong, or was used before; wait for the next one.",
            Self::PasskeyRefused => "The passkey was not accepted; begin again.",
            Self::WrongProof => "The password or code is wrong, or the code was used before.",
            Self::NotFresh(_) => "Show a password or code with this, or at POST /auth/reauthenticate first.",
            Self::SessionNeeded => "Only somebody who is logged in can do this; an API key cannot.",
            Self::LinkRefused => "This is not, or no longer, good for this; ask for a new one.",
            Self::Oauth(fault) => fault.detail(),
            Self::EmailTaken => "There is an account with this address already.",
            Self::RefreshRefused => "This is not a refresh token in use; log in again.",
            Self::RefreshReused => "It was used before, so somebody has a copy: its session has ended. Log in again.",
            Self::RefreshExpired | Self::Expired => "The session or key has expired; log in again or use another key.",
            Self::SessionEnded => "The session has been ended; log in again.",
            Self::Revoked => "The credential was revoked; log in again or use another key.",
            Self::CallerGone => "The account behind this credential does not exist any more.",
            Self::NoSession => "An API key has no session to end; delete the key instead.",
            Self::OwnAccount => "Role, tier, status and second factors are never set here by whose they are.",
            Self::TooManyKeys(limit) => {
                return format!("An account may have {limit} keys, expired ones included; delete one first.").into();
            }
            Self::TenantDisabled => "This organisation has been disabled; ask an administrator.",
            Self::Impersonated => "Whoever acts as somebody else changes nothing of what is theirs alone.",
            Self::NoTenant => "This belongs to an organisation, and the caller acts in none; make or join one first.",
            Self::TooManyTenants => {
                "Nobody can answer for more organisations; delete one, or make somebody else its owner."
            }
            Self::QuotaReached(what) => {
                return format!("The tier has no room for more {what} in this organisation; delete some first.").into();
            }
            Self::Unreadable => {
                "What is kept of this cannot be opened: it was altered, or its master key is missing; ask an administrator."
            }
            Self::LastOwner => "Nobody else answers for the organisation; make somebody else an owner first.",
            Self::TooManyIntegrations(limit) => {
                return format!("There may be {limit} integrations; delete one first.").into();
            }
            Self::SignatureRefused => "The signature is missing, wrong, or more than five minutes old.",
            Self::QuotaExceeded { resource, left } => {
                return format!("The tenant's tier has {left} of `{resource}` left.").into();
            }
            Self::NotFound(what) => return format!("There is no such {what}.").into(),
            Self::Conflict(what) => return sentence(what).into(),
            Self::NoSuchPath => "There is nothing at this path.",
            Self::MethodNotAllowed => "This path does not take this method; `Allow` names those it takes.",
            Self::ConfigRefused(_) => "The configuration has errors; the old one stays in force.",
            Self::Busy => "Too many passwords are being checked; try again shortly.",
            Self::StoreAway(_) => "Accounts cannot be reached at the moment; try again shortly.",
            Self::Internal(_) => "Something went wrong here; the request id helps to find out what.",
        };
        words.into()
    }

    /// Which fields are wrong, where that is what is wrong.
    pub(crate) fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Fields(errors) | Self::Query(errors) => errors.clone(),
            Self::Json(JsonFault::Duplicate(name)) => {
                vec![FieldError { field: name.clone(), message: "is given twice".to_owned() }]
            }
            Self::ConfigRefused(errors) => {
                errors.iter().map(|error| FieldError { field: "config".to_owned(), message: error.clone() }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the problem says beyond what every problem says.
    pub(crate) fn challenge(&self) -> Option<&Challenge> {
        if let Self::MfaRequired(challenge) = self { Some(challenge) } else { None }
    }

    /// RFC 9110 §15.5.2 wants a challenge with every 401.
    pub(crate) fn www_authenticate(&self) -> Option<Cow<'static, str>> {
        match self {
            // RFC 9470 §3.
            Self::NotFresh(seconds) => {
                Some(format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{seconds}\"").into())
            }
            other => (other.face().status == StatusCode::UNAUTHORIZED).then_some("Bearer".into()),
        }
    }

    /// Seconds after which the same request may succeed.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Locked(seconds) => Some(*seconds),
            // Nobody knows when.
            Self::Unreadable => None,
            other => (other.face().status == StatusCode::SERVICE_UNAVAILABLE).then_some(COME_AGAIN),
        }
    }
}

/// The answer is rendered where the request's id is known.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.face().status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::EmailTaken => Self::EmailTaken,
            StoreError::NotFound => Self::NotFound("record"),
            StoreError::TooManyKeys(most) => Self::TooManyKeys(most),
            StoreError::TooManyTenants => Self::TooManyTenants,
            StoreError::LastOwner => Self::LastOwner,
            StoreError::OwnersOnly => Self::Forbidden("tenant owner".to_owned()),
            StoreError::QuotaReached(what) => Self::QuotaReached(what),
            StoreError::Conflict(what) => Self::Conflict(what),
            StoreError::Unfit(cause) => {
                tracing::info!(cause, "a text that the database cannot hold was refused");
                Self::one_field("", "a text holds characters that cannot be kept".to_owned())
            }
            StoreError::Corrupt(what) => Self::Internal(what),
            StoreError::Unavailable(cause) | StoreError::Forbidden(cause) => Self::StoreAway(cause),
        }
    }
}

impl From<JsonFault> for ApiError {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

/// A clause of the store's or of ours as callers read it.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if clause.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn words_for(fault: &JsonFault) -> Cow<'static, str> {
    match fault {
        JsonFault::Syntax { line, column } => format!("The body is not JSON (line {line}, column {column}).").into(),
        JsonFault::TooDeep => format!("The body is nested deeper than {MAX_DEPTH}.").into(),
        JsonFault::Duplicate(_) => "The body names a member twice.".into(),
    }
}

#[cfg(test)]
mod tests;
