//! Every way in which the door says no, and what the caller is told.
//!
//! A variant holds small data and never a credential, a header's value or a path: what it says may be logged and sent. Turning
//! one into a body is `problem`'s.

mod parts;

use std::sync::Arc;
use std::time::Duration;

use crate::{Auth, Methods, StepUp};

pub use parts::{CorsPart, CsrfPart};

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not a request that has one meaning; the reason is a clause of ours.
    Malformed(&'static str),
    /// Path and query are too long.
    UriTooLong,
    /// The header block is too large.
    HeadersTooLarge,
    /// The body is longer than the route allows.
    BodyTooLarge {
        /// Bytes.
        limit: u64,
    },
    /// The request did not come whole in time.
    RequestTimeout,
    /// The request expects what nobody here knows.
    ExpectationFailed,
    /// Host and path belong to no route.
    NoRoute,
    /// There is no such thing, or it is somebody else's: nobody is told which.
    NotFound,
    /// The path's route does not take the method.
    MethodNotAllowed {
        /// What it takes.
        allow: Methods,
    },
    /// A foreign page may not do this.
    CorsRefused(CorsPart),
    /// A browser's cookie or certificate came along, and nothing shows that its user meant it.
    Csrf(CsrfPart),
    /// The route may not be turned into a WebSocket.
    UpgradeNotAllowed,
    /// A WebSocket of another version than 13.
    WebSocketVersion,
    /// More than one credential.
    AmbiguousCredentials,
    /// The route demands a caller, in this way, and nothing was shown that counts there.
    MissingCredential(Auth),
    /// An `Authorization` of a scheme that is not ours.
    UnsupportedCredential,
    /// A credential that is not, or no longer, good.
    InvalidToken,
    /// A good credential whose time is over.
    Expired,
    /// A good credential that was taken back.
    Revoked,
    /// A good credential, whose owner must show anew who they are.
    InsufficientAuthentication(StepUp),
    /// The account behind the credential is disabled.
    AccountDisabled,
    /// The tenant in which the caller acts is disabled.
    TenantDisabled,
    /// The credential is good where it comes from, and belongs to no account here.
    UnknownAccount,
    /// This address showed too many bad credentials lately.
    TooManyRefusals {
        /// Until it may try again.
        retry_after: Duration,
    },
    /// The caller is unknown here and the store cannot be asked.
    DirectoryUnavailable,
    /// The issuer of the credential cannot be asked for its keys.
    IssuerUnavailable,
    /// The caller is known and may not.
    Forbidden {
        /// What it would need, such as `role admin or developer`.
        missing: String,
    },
    /// The caller has no key at the provider that the route shows one to.
    IntegrationMissing {
        /// The provider.
        service: Arc<str>,
    },
    /// The caller's key at the provider does not open.
    IntegrationUnreadable {
        /// The provider.
        service: Arc<str>,
    },
    /// A quota is spent.
    RateLimited {
        /// The limit's name.
        limit: Arc<str>,
        /// Until the request would be admitted.
        retry_after: Duration,
    },
    /// Too many requests in flight.
    TooManyConcurrent {
        /// The limit's name.
        limit: Arc<str>,
    },
    /// The limits cannot be counted, and the operator chose to refuse then.
    LimiterUnavailable {
        /// Until they will be counted again, if that is known.
        retry_after: Option<Duration>,
    },
    /// No server of the upstream could be reached.
    UpstreamConnect,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream closed the connection before its answer was complete.
    UpstreamClosed,
    /// The upstream's answer was not HTTP.
    UpstreamInvalid,
    /// Every server of the upstream fails its health check.
    UpstreamUnavailable,
    /// The upstream failed so often in a row that it is left alone for a moment.
    UpstreamCircuitOpen {
        /// Until it is tried again.
        retry_after: Duration,
    },
    /// The gateway has as many requests under way as it may, or is short of memory, and sheds what it can.
    Overloaded,
    /// The gateway is going down and takes nothing new.
    ShuttingDown,
    /// A fault of ours.
    Internal,
}

/// What callers are told to wait when nobody knows how long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(5);
/// Slots come free whenever a request ends.
const BUSY: Duration = Duration::from_secs(1);
/// Health checks look again every few seconds.
const SICK: Duration = Duration::from_secs(2);

// === impl Refusal ===

impl Refusal {
    /// Every code.
    pub const CODES: [&'static str; 41] = [
        "malformed",
        "uri_too_long",
        "headers_too_large",
        "body_too_large",
        "request_timeout",
        "expectation_failed",
        "no_route",
        "not_found",
        "method_not_allowed",
        "cors_refused",
        "csrf",
        "upgrade_not_allowed",
        "websocket_version",
        "ambiguous_credentials",
        "missing_credential",
        "unsupported_credential",
        "invalid_token",
        "expired",
        "revoked",
        "insufficient_user_authentication",
        "account_disabled",
        "tenant_disabled",
        "unknown_account",
        "too_many_refusals",
        "directory_unavailable",
        "issuer_unavailable",
        "forbidden",
        "rate_limited",
        "concurrency_limited",
        "limiter_unavailable",
        "upstream_unreachable",
        "upstream_timeout",
        "upstream_closed",
        "upstream_invalid",
        "upstream_unavailable",
        "upstream_circuit_open",
        "overloaded",
        "shutting_down",
        "internal",
        "integration_missing",
        "integration_unreadable",
    ];

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.words().0
    }

    /// The stable name that programs branch on, metrics are labelled with and `cases.toml` expects.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.words().1
    }

    /// A few words, the same for every refusal of this code.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.words().2
    }

    /// Status, code and title: the one place that knows them.
    const fn words(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (400, "malformed", "Malformed request"),
            Self::UriTooLong => (414, "uri_too_long", "URI too long"),
            Self::HeadersTooLarge => (431, "headers_too_large", "Header fields too large"),
            Self::BodyTooLarge { .. } => (413, "body_too_large", "Body too large"),
            Self::RequestTimeout => (408, "request_timeout", "Request timed out"),
            Self::ExpectationFailed => (417, "expectation_failed", "Expectation failed"),
            Self::NoRoute => (404, "no_route", "Not found"),
            Self::NotFound => (404, "not_found", "Not found"),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed", "Method not allowed"),
            Self::CorsRefused(_) => (403, "cors_refused", "Cross-origin request refused"),
            Self::Csrf(_) => (403, "csrf", "Cross-site request refused"),
            Self::UpgradeNotAllowed => (403, "upgrade_not_allowed", "Upgrade not allowed"),
            Self::WebSocketVersion => (426, "websocket_version", "WebSocket version not supported"),
            Self::AmbiguousCredentials => (400, "ambiguous_credentials", "Ambiguous credentials"),
            Self::MissingCredential(_) => (401, "missing_credential", "Credential required"),
            Self::UnsupportedCredential => (401, "unsupported_credential", "Unsupported credential"),
            Self::InvalidToken => (401, "invalid_token", "Invalid credential"),
            Self::Expired => (401, "expired", "Expired credential"),
            Self::Revoked => (401, "revoked", "Revoked credential"),
            Self::InsufficientAuthentication(_) => {
                (401, "insufficient_user_authentication", "Stronger authentication required")
            }
            Self::AccountDisabled => (403, "account_disabled", "Account disabled"),
            Self::TenantDisabled => (403, "tenant_disabled", "Tenant disabled"),
            Self::UnknownAccount => (403, "unknown_account", "Unknown account"),
            Self::TooManyRefusals { .. } => (429, "too_many_refusals", "Too many bad credentials"),
            Self::DirectoryUnavailable => (503, "directory_unavailable", "Accounts unavailable"),
            Self::IssuerUnavailable => (503, "issuer_unavailable", "Issuer unavailable"),
            Self::Forbidden { .. } => (403, "forbidden", "Forbidden"),
            Self::IntegrationMissing { .. } => (403, "integration_missing", "Integration missing"),
            Self::IntegrationUnreadable { .. } => (503, "integration_unreadable", "Integration unreadable"),
            Self::RateLimited { .. } => (429, "rate_limited", "Too many requests"),
            Self::TooManyConcurrent { .. } => (429, "concurrency_limited", "Too many concurrent requests"),
            Self::LimiterUnavailable { .. } => (503, "limiter_unavailable", "Limits unavailable"),
            Self::UpstreamConnect => (502, "upstream_unreachable", "Upstream unreachable"),
            Self::UpstreamTimeout => (504, "upstream_timeout", "Upstream timed out"),
            Self::UpstreamClosed => (502, "upstream_closed", "Upstream closed the connection"),
            Self::UpstreamInvalid => (502, "upstream_invalid", "Invalid upstream response"),
            Self::UpstreamUnavailable => (503, "upstream_unavailable", "Upstream unavailable"),
            Self::UpstreamCircuitOpen { .. } => (503, "upstream_circuit_open", "Upstream left alone"),
            Self::Overloaded => (503, "overloaded", "Overloaded"),
            Self::ShuttingDown => (503, "shutting_down", "Shutting down"),
            Self::Internal => (500, "internal", "Internal error"),
        }
    }

    /// A sentence that helps this caller.
    #[must_use]
    pub fn detail(&self) -> String {
        let text = match self {
            Self::Malformed(reason) => return format!("The request is ambiguous or malformed: {reason}."),
            Self::BodyTooLarge { limit } => return format!("The body may hold at most {limit} bytes here."),
            Self::MethodNotAllowed { allow } => return format!("This path takes {allow}."),
            Self::Forbidden { missing } => return format!("This needs {missing}."),
            Self::InsufficientAuthentication(wanted) => return format!("This needs {}.", wanted.clause()),
            Self::IntegrationMissing { service } => {
                return format!(
                    "This needs a key for {service}: give one at POST /integrations, or ask your tenant's administrator."
                );
            }
            Self::IntegrationUnreadable { service } => {
                return format!(
                    "The key for {service} that is kept here cannot be used; give it again at PATCH /integrations/{{id}}."
                );
            }
            Self::RateLimited { limit, .. } => return format!("The quota {limit} is used up; {}.", self.try_again()),
            Self::TooManyConcurrent { limit } => {
                return format!("As many requests as {limit} allows are in flight; wait for one to end.");
            }
            Self::TooManyRefusals { .. } => {
                return format!("Too many bad credentials came from this address; {}.", self.try_again());
            }
            Self::UriTooLong => "The path and query are too long.",
            Self::HeadersTooLarge => "The header fields are too large.",
            Self::RequestTimeout => "The request came too slowly; send it again on a new connection.",
            Self::ExpectationFailed => "Nothing but `Expect: 100-continue` is understood.",
            Self::NoRoute => "Nothing is exposed at this host and path.",
            Self::NotFound => "There is no such thing here, or it is not the caller's.",
            Self::CorsRefused(CorsPart::Origin) => "Pages of this origin may not call this path.",
            Self::CorsRefused(CorsPart::Method) => "Pages of other origins may not use this method here.",
            Self::CorsRefused(CorsPart::Header) => "Pages of other origins may not send one of these headers here.",
            Self::Csrf(CsrfPart::Origin) => {
                "A cookie or certificate alone is not enough: a page of this host has to send the request."
            }
            Self::Csrf(CsrfPart::Token) => "A cookie alone is not enough: show the session's token in X-CSRF-Token.",
            Self::UpgradeNotAllowed => "WebSockets are not allowed on this path.",
            Self::WebSocketVersion => "Only version 13 of the WebSocket protocol is spoken here.",
            Self::AmbiguousCredentials => {
                "Send exactly one credential: Authorization, X-API-Key, the session cookie or the WebSocket protocol `bearer.<token>`, once."
            }
            Self::MissingCredential(Auth::Mtls) => {
                "Show a client certificate that this gateway knows; nothing else counts here."
            }
            Self::MissingCredential(_) => {
                "Send `Authorization: Bearer <access token or API key>` or `X-API-Key: <API key>`."
            }
            Self::UnsupportedCredential => "The Authorization scheme is not supported; use Bearer.",
            Self::InvalidToken => "The credential is not valid here; log in again or check the API key.",
            Self::Expired => "The credential has expired; refresh it or log in again.",
            Self::Revoked => "The credential was revoked; log in again or use another key.",
            Self::AccountDisabled => "This account is disabled; ask an administrator.",
            Self::TenantDisabled => {
                "The organisation in which you act is disabled; log in again to act in another one of yours, or ask an administrator."
            }
            Self::DirectoryUnavailable => {
                "Accounts cannot be looked up right now; nothing is wrong with the credential."
            }
            Self::UnknownAccount => {
                "Your account at the issuer of this credential is none here, or not in the organisation that it names; ask an administrator, or sign in here first."
            }
            Self::IssuerUnavailable => {
                "The issuer of this credential cannot be asked for its keys right now; nothing is wrong with the credential."
            }
            Self::LimiterUnavailable { .. } => "Quotas cannot be counted right now.",
            Self::UpstreamConnect => "The service behind this path cannot be reached.",
            Self::UpstreamTimeout => "The service behind this path did not answer in time.",
            Self::UpstreamClosed => "The service behind this path closed the connection before it answered.",
            Self::UpstreamInvalid => "The service behind this path sent an answer that is not valid HTTP.",
            Self::UpstreamUnavailable => "The service behind this path is not healthy right now.",
            Self::UpstreamCircuitOpen { .. } => {
                return format!("The service behind this path has failed too often; {}.", self.try_again());
            }
            Self::Overloaded => "This gateway is too busy; try again.",
            Self::ShuttingDown => "This gateway is shutting down; try again.",
            Self::Internal => "Something went wrong here; the request id helps to find it.",
        };
        text.to_owned()
    }

    fn try_again(&self) -> String {
        match self.retry_after().unwrap_or_default() {
            1 => "try again in 1 second".to_owned(),
            seconds => format!("try again in {seconds} seconds"),
        }
    }

    /// For `Retry-After`: whole seconds, rounded up so that a retry then is not too early; at least 1.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        let wait = match self {
            Self::TooManyRefusals { retry_after }
            | Self::RateLimited { retry_after, .. }
            | Self::UpstreamCircuitOpen { retry_after } => *retry_after,
            Self::TooManyConcurrent { .. } | Self::Overloaded | Self::ShuttingDown => BUSY,
            Self::UpstreamUnavailable => SICK,
            Self::LimiterUnavailable { retry_after } => retry_after.unwrap_or(OUTAGE),
            Self::DirectoryUnavailable | Self::IssuerUnavailable => OUTAGE,
            Self::Malformed(_)
            | Self::UriTooLong
            | Self::HeadersTooLarge
            | Self::BodyTooLarge { .. }
            | Self::RequestTimeout
            | Self::ExpectationFailed
            | Self::NoRoute
            | Self::NotFound
            | Self::MethodNotAllowed { .. }
            | Self::CorsRefused(_)
            | Self::Csrf(_)
            | Self::UpgradeNotAllowed
            | Self::WebSocketVersion
            | Self::AmbiguousCredentials
            | Self::MissingCredential(_)
            | Self::UnsupportedCredential
            | Self::InvalidToken
            | Self::Expired
            | Self::Revoked
            | Self::InsufficientAuthentication(_)
            | Self::AccountDisabled
            | Self::TenantDisabled
            | Self::UnknownAccount
            | Self::Forbidden { .. }
            | Self::IntegrationMissing { .. }
            | Self::IntegrationUnreadable { .. }
            | Self::UpstreamConnect
            | Self::UpstreamTimeout
            | Self::UpstreamClosed
            | Self::UpstreamInvalid
            | Self::Internal => return None,
        };
        Some(whole_seconds(wait).max(1))
    }
}

/// Rounded up.
pub(crate) const fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + (wait.subsec_nanos() > 0) as u64
}

#[cfg(test)]
mod tests;
