//! A verified caller. Who made it so is the gateway's directory; what it may do is decided by `policies`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccountId, CertificateId, ExternalId, KeyId, Networks, SessionId, TenantId};

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
    /// The customer organisation in which the caller acts.
    pub tenant: Option<TenantId>,
    /// As what the caller belongs to it.
    pub tenant_role: Option<TenantRole>,
    /// The administrator who acts as the account's owner. Boxed, since there is one so seldom and callers are kept by the million.
    pub actor: Option<Box<AccountId>>,
    /// Is it a service account's, and no person's?
    pub is_service: bool,
    /// By what the caller is known.
    pub grant: Grant,
    /// What an API key is restricted to; `None`: whatever the account may do.
    pub scopes: Option<Box<[Box<str>]>>,
    /// From where an API key may be shown; `None`: from anywhere. No assertion says it. Boxed, since few have any.
    pub networks: Option<Box<Networks>>,
    /// How and when the person has last shown who they are: of an API key, whoever has made it; `None`: no person has.
    pub authentication: Option<Authentication>,
    /// How often the person behind a login has shown anew who they are.
    pub generation: u32,
}

/// What somebody is in a tenant, from the least on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantRole {
    /// Belongs to it.
    Member,
    /// Manages what is in it, and who belongs to it.
    Admin,
    /// Answers for it: may end it too.
    Owner,
}

/// How and when a person has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authentication {
    /// Unix seconds; `auth_time` of `OpenID` Connect.
    pub at: i64,
    /// How sure we are.
    pub assurance: Assurance,
}

/// How sure we are of a person, from the least on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// One factor: a password, or a link by mail.
    Single,
    /// Two factors.
    Multi,
    /// A passkey with user verification, which is two factors and cannot be given to the wrong site.
    PhishingResistant,
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
    /// What a machine has bought with its key; no person is behind it.
    Machine(SessionId),
    /// A client certificate, verified in the TLS handshake.
    Certificate(CertificateId),
    /// The word of somebody else, for one of their subjects; each time anew.
    External(ExternalId, Voucher),
}

/// Who vouches for a caller, if it is not us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voucher {
    /// An external issuer (`OpenID` Connect).
    Issuer,
    /// The same, which has said for which organisation its word is: the caller acts in that one and in no other.
    #[serde(rename = "issuer_for_tenant")]
    IssuerForTenant,
    /// An old system, until its time is over.
    Legacy,
    /// Nobody: a developer on this machine says so.
    Developer,
}

// === impl Assurance ===

impl Assurance {
    /// What the methods of an authentication amount to: words of RFC 8176 (`amr`) with spaces between.
    #[must_use]
    pub fn of_methods(amr: &str) -> Self {
        let has = |word| amr.split(' ').any(|method| method == word);
        match (has("mfa"), has("hwk")) {
            (true, true) => Self::PhishingResistant,
            (true, false) => Self::Multi,
            (false, _) => Self::Single,
        }
    }

    /// As routes demand it and `acr_values` names it (RFC 9470 §3): `phr` is registered by `OpenID` Connect EAP ACR Values 1.0.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multi => "mfa",
            Self::PhishingResistant => "phr",
        }
    }
}

// === impl TenantRole ===

impl TenantRole {
    /// Every role there is.
    pub const ALL: [Self; 3] = [Self::Member, Self::Admin, Self::Owner];

    /// As it is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// May it manage the tenant's teams, members and settings?
    #[must_use]
    pub const fn administers(self) -> bool {
        matches!(self, Self::Admin | Self::Owner)
    }
}

// === impl Grant ===

impl Grant {
    /// `jwt`, `cookie`, `api_key`, `mtls`, `oidc` …, as upstreams are told.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Session(_) => "jwt",
            Self::Cookie(_) => "cookie",
            Self::Key(_) => "api_key",
            Self::Machine(_) => "client_credentials",
            Self::Certificate(_) => "mtls",
            Self::External(_, Voucher::Issuer | Voucher::IssuerForTenant) => "oidc",
            Self::External(_, Voucher::Legacy) => "legacy_jwt",
            Self::External(_, Voucher::Developer) => "dev_headers",
        }
    }

    /// The login, if it is one.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(id) | Self::Cookie(id) => Some(*id),
            Self::Key(_) | Self::Machine(_) | Self::Certificate(_) | Self::External(..) => None,
        }
    }

    /// Is it a key, or bought with one? Then it acts as a program, and in one tenant for ever.
    #[must_use]
    pub const fn is_of_a_program(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Machine(_))
    }

    /// Does it act in one tenant, whatever others its account belongs to? A program does, and what an issuer has signed for one of them.
    #[must_use]
    pub const fn is_for_one_tenant(&self) -> bool {
        self.is_of_a_program() || matches!(self, Self::External(_, Voucher::IssuerForTenant))
    }

    /// The id of the session, key, certificate or subject.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        match self {
            Self::Session(id) | Self::Cookie(id) | Self::Machine(id) => id.uuid(),
            Self::Key(id) => id.uuid(),
            Self::Certificate(id) => id.uuid(),
            Self::External(id, _) => id.uuid(),
        }
    }
}
