//! An old system: a shared secret, one key, and a day on which its time is over.

use anyhow::Context;
use chrono::{DateTime, Utc};
use identity::{Algorithm, ExternalId, ForeignClaims, ForeignRules, KeySet, LEEWAY, SigningKey, Unverified, Voucher};
use policies::Refusal;

use super::{Vouched, Whose};
use crate::{
    config::issuers::{LegacyIssuer, LegacySubject},
    directory::refusal_of,
};

/// An old system.
pub(super) struct OldSystem {
    settings: LegacyIssuer,
    rules: ForeignRules,
    keys: KeySet,
}

// === impl OldSystem ===

impl OldSystem {
    pub(super) fn new(settings: &LegacyIssuer) -> anyhow::Result<Self> {
        let kid = settings.kid.clone().unwrap_or_else(|| settings.name.clone());
        let key = SigningKey::from_bytes(Algorithm::Hs256, kid.clone(), settings.secret.expose().as_bytes())
            .with_context(|| format!("the secret of {}", settings.name))?;
        let rules = ForeignRules {
            issuer: settings.issuer.as_deref().map(Into::into),
            audience: settings.audience.as_deref().map(|audience| ("aud".into(), audience.into())),
            required: Box::default(),
            // They know no others.
            id_tokens: true,
            leeway: LEEWAY,
        };
        // A token without an id may match this key only if the configuration gives it none.
        let kidless = settings.kid.is_none().then_some(kid.as_str());
        let keys = KeySet::new(vec![key.verifying_key()], kidless);
        Ok(Self { settings: settings.clone(), rules, keys })
    }

    /// Is a token that says this of itself one of its own?
    pub(super) fn signs(&self, said: &Unverified) -> bool {
        self.settings.issuer == said.issuer && self.settings.kid == said.kid
    }

    pub(super) fn prove(&self, token: &str, now: DateTime<Utc>) -> Result<Vouched, Refusal> {
        let settings = &self.settings;
        if now >= settings.until {
            return Err(Refusal::Expired);
        }
        let claims = ForeignClaims::verify(token, &self.keys, &self.rules, now)
            .map_err(|error| refusal_of(&error, &settings.name))?;
        let id = match settings.subject {
            LegacySubject::Id => ExternalId::of(&settings.name, claims.subject()),
            LegacySubject::Email => ExternalId::of(&settings.name, &store::by_address(claims.subject())),
        };
        Ok(Vouched {
            id,
            by: Voucher::Legacy,
            expires_at: claims.expires_at().min(settings.until.timestamp()),
            whose: Whose::Imported,
        })
    }
}
