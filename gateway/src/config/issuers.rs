//! `[[issuers]]` and `[[legacy_issuers]]`, parsed: who else is believed, and how far.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use http::Uri;
use identity::{Algorithm, ForeignRules, SecretText, TenantId};
use policies::Quota;

/// Who else is believed.
#[derive(Clone, Default, PartialEq)]
pub struct Issuers {
    /// By their keys.
    pub external: Vec<ExternalIssuer>,
    /// By a shared secret, for a while.
    pub legacy: Vec<LegacyIssuer>,
}

/// `[[issuers]]`.
#[derive(Clone, PartialEq)]
pub struct ExternalIssuer {
    /// `iss`.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: String,
    /// Which claim says so.
    pub audience_claim: String,
    /// Claims that must have this value.
    pub require: Vec<(String, String)>,
    /// Are its ID tokens believed too?
    pub id_tokens: bool,
    /// Where its keys are; `None`: it says so itself.
    pub jwks_url: Option<String>,
    /// Who may have signed its certificate: PEM.
    pub ca: Option<String>,
    /// What its keys may be for.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may differ.
    pub leeway: Duration,
    /// How often its keys are fetched, at most and at least.
    pub refresh: (Duration, Duration),
    /// How long keys are good that cannot be fetched anew.
    pub max_stale: Duration,
    /// Whose accounts.
    pub accounts: NewAccounts,
    /// May an address that the issuer has verified lead to an account that there is?
    pub link_verified_email: bool,
    /// Which claims say what.
    pub claims: ClaimNames,
    /// The role of those whom no mapping names.
    pub role: String,
    /// Their tier.
    pub tier: String,
    /// What the role is said by.
    pub roles: Option<Mapping>,
    /// What the tier is said by.
    pub tiers: Option<Mapping>,
    /// What it is said by for which organisation a token is; `None`: for whichever its account acts in.
    pub tenants: Option<Mapping<Acting>>,
    /// Claims that must have these values for a token to be of somebody who has shown two factors there; none: no token is.
    pub second_factor: Vec<(String, String)>,
    /// What the permissions are said by to which a token is limited; `None`: it may what its account may.
    pub scopes: Option<Mapping>,
}

/// Where somebody's keys are, and how they are kept.
#[derive(Clone, PartialEq)]
pub(crate) struct KeySource {
    /// `iss`.
    pub(crate) issuer: String,
    /// Where its keys are; `None`: it says so itself.
    pub(crate) jwks_url: Option<String>,
    /// Who may have signed its certificate: PEM.
    pub(crate) ca: Option<String>,
    /// What its keys may be for.
    pub(crate) algorithms: Vec<Algorithm>,
    /// How often its keys are fetched, at most and at least.
    pub(crate) refresh: (Duration, Duration),
    /// How long keys are good that cannot be fetched anew.
    pub(crate) max_stale: Duration,
}

/// What becomes of a subject without an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NewAccounts {
    /// It is refused.
    Existing,
    /// It gets one; so many from one address.
    Create(Quota),
}

/// Which claims say what.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Who it is.
    pub subject: String,
    /// The address.
    pub email: String,
    /// Has the issuer verified it?
    pub email_verified: String,
    /// The name.
    pub name: String,
}

/// A claim, and what its values mean here. The first that fits counts.
#[derive(Clone, PartialEq, Eq)]
pub struct Mapping<M = String> {
    /// Which claim.
    pub claim: String,
    /// Value and meaning.
    pub values: Vec<(String, M)>,
}

/// In which organisation a token acts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Acting {
    /// Which.
    pub tenant: TenantId,
    /// Does whoever gets an account by such a token belong to it?
    pub joins: bool,
}

/// `[[legacy_issuers]]`.
#[derive(Clone, PartialEq)]
pub struct LegacyIssuer {
    /// What it is called here; imported accounts name it.
    pub name: String,
    /// The secret of HS256.
    pub secret: SecretText,
    /// `iss`; `None`: its tokens name nobody.
    pub issuer: Option<String>,
    /// `aud`; `None`: its tokens are for nobody in particular.
    pub audience: Option<String>,
    /// `kid`; `None`: its tokens name no key.
    pub kid: Option<String>,
    /// What `sub` is.
    pub subject: LegacySubject,
    /// When its time is over.
    pub until: DateTime<Utc>,
}

/// What `sub` is in an old system's tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LegacySubject {
    /// The account's address.
    Email,
    /// The id that the account had there.
    Id,
}

// === impl ForeignRules ===

impl From<&ExternalIssuer> for ForeignRules {
    fn from(issuer: &ExternalIssuer) -> Self {
        let text = |(claim, value): &(String, String)| (claim.as_str().into(), value.as_str().into());
        Self {
            issuer: Some(issuer.issuer.as_str().into()),
            audience: Some((issuer.audience_claim.as_str().into(), issuer.audience.as_str().into())),
            required: issuer.require.iter().map(text).collect(),
            id_tokens: issuer.id_tokens,
            leeway: issuer.leeway,
        }
    }
}

// === impl KeySource ===

impl From<&ExternalIssuer> for KeySource {
    fn from(issuer: &ExternalIssuer) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            jwks_url: issuer.jwks_url.clone(),
            ca: issuer.ca.clone(),
            algorithms: issuer.algorithms.clone(),
            refresh: issuer.refresh,
            max_stale: issuer.max_stale,
        }
    }
}

/// HTTPS, or HTTP to this very machine: keys that come over a network in clear could be anybody's.
pub(crate) fn is_safe_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("https") => !host.is_empty() && !text.contains('@'),
            Some("http") => is_this_machine(host) && !text.contains('@'),
            _ => false,
        }
    })
}

/// Names and addresses that lead nowhere else.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
