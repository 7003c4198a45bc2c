//! A verified caller. Who made it so is the gateway's directory; what it may do is decided by `policies`.

use std::sync::Arc;

use uuid::Uuid;

use crate::{AccountId, CertificateId, KeyId, SessionId, TenantId};

/// A caller whose credential has been verified and whose account has been looked up: what decisions are made of, and what an
/// assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose credential it was.
    pub account: AccountId,
    /// The account's role; what it may do is in `roles.toml`.
    pub role: Arc<str>,
    /// The account's tier; what it includes is in `tiers.toml`.
    pub tier: Arc<str>,
    /// The customer organisation.
    pub tenant: Option<TenantId>,
    /// By what the caller is known.
    pub grant: Grant,
    /// What an API key is restricted to; `None`: whatever the account may do.
    pub scopes: Option<Box<[Box<str>]>>,
}

/// What a caller was given to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// A login; its access tokens are JWTs.
    Session(SessionId),
    /// A login; a browser shows its cookie.
    Cookie(SessionId),
    /// An API key.
    Key(KeyId),
    /// A client certificate, verified in the TLS handshake.
    Certificate(CertificateId),
}

// === impl Grant ===

impl Grant {
    /// `jwt`, `cookie`, `api_key` or `mtls`, as upstreams are told.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Session(_) => "jwt",
            Self::Cookie(_) => "cookie",
            Self::Key(_) => "api_key",
            Self::Certificate(_) => "mtls",
        }
    }

    /// The login, if it is one.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(id) | Self::Cookie(id) => Some(*id),
            Self::Key(_) | Self::Certificate(_) => None,
        }
    }

    /// The id of the session, key or certificate.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        match self {
            Self::Session(id) | Self::Cookie(id) => id.uuid(),
            Self::Key(id) => id.uuid(),
            Self::Certificate(id) => id.uuid(),
        }
    }
}
