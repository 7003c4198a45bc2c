//! An external issuer: what its tokens prove, and what their claims mean here.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use identity::{ExternalId, ForeignClaims, ForeignRules, TokenError, Voucher};
use policies::Refusal;
use store::{Account, Followed, Store, StoreError};
use uuid::Uuid;

use super::{Said, Vouched, Whose, plain::is_plain_subject};
use crate::{
    config::issuers::{Acting, ExternalIssuer, Mapping},
    directory::refusal_of,
    jwks_client::JwksClient,
};

/// An external issuer.
pub(super) struct Issuer {
    /// The first one's is 1.
    pub(super) number: u16,
    /// What changes when one of its keys is withdrawn: the id of a subject that there cannot be.
    pub(super) mark: Uuid,
    pub(super) settings: ExternalIssuer,
    pub(super) rules: ForeignRules,
    pub(super) jwks: Arc<JwksClient>,
}

// === impl Issuer ===

impl Issuer {
    /// Checks a token with the issuer's keys.
    pub(super) async fn prove(
        self: &Arc<Self>,
        token: &str,
        kid: Option<&str>,
        client: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Vouched, Refusal> {
        let issuer = &self.settings.issuer;
        let checked = self.jwks.verify(token, kid, &self.rules, client, now).await.ok_or(Refusal::IssuerUnavailable)?;
        let claims = checked.map_err(|error| refusal_of(&error, issuer))?;
        let lacks = |claim| refusal_of(&TokenError::MissingClaim(claim), issuer);
        let subject = subject_of(&self.settings.claims.subject, &claims).filter(|subject| is_plain_subject(subject));
        let subject = subject.ok_or_else(|| lacks("who somebody is"))?.into_owned();
        // Of two words about a role the later one counts; one that has no time could be the older.
        if self.has_a_say() && claims.issued_at().is_none() {
            return Err(lacks("iat"));
        }
        let names_tenant = self.settings.tenants.as_ref().is_some_and(|tenants| claims.says(&tenants.claim));
        Ok(Vouched {
            id: ExternalId::of(issuer, &subject),
            by: if names_tenant { Voucher::IssuerForTenant } else { Voucher::Issuer },
            expires_at: claims.expires_at(),
            whose: Whose::Subject(Arc::clone(self), Said { subject, claims }),
        })
    }

    /// For which organisation a token is that names one, if it is known here: by the whole of what is said, since a word of it may be anybody's choice.
    pub(super) fn tenant(&self, claims: &ForeignClaims) -> Option<Acting> {
        let Mapping { claim, values } = self.settings.tenants.as_ref()?;
        values.iter().find(|(value, _)| claims.holds(claim, value)).map(|(_, here)| *here)
    }

    /// The role and tier that the claims say; what no value fits is that of newcomers: who is taken out of a group there loses
    /// its role here. `None` where the issuer has no say.
    pub(super) fn says(&self, claims: &ForeignClaims) -> (Option<&str>, Option<&str>) {
        let settings = &self.settings;
        (
            meaning(settings.roles.as_ref(), &settings.role, claims),
            meaning(settings.tiers.as_ref(), &settings.tier, claims),
        )
    }

    fn has_a_say(&self) -> bool {
        self.settings.roles.is_some() || self.settings.tiers.is_some()
    }

    /// Lets the account be what its issuer says now; says whether it is another one by that. That it has said it is written down also if it
    /// changes nothing: else an older token that says otherwise would be taken for news.
    pub(super) async fn follow(
        &self,
        store: &Store,
        id: ExternalId,
        (account, heard_at): (Account, Option<i64>),
        claims: &ForeignClaims,
        now: DateTime<Utc>,
    ) -> Result<(Account, bool), StoreError> {
        let is_news = |said_at: &i64| self.has_a_say() && heard_at.is_none_or(|before| before < *said_at);
        let Some(said_at) = claims.issued_at().filter(is_news) else { return Ok((account, false)) };
        let (role, tier) = self.says(claims);
        let is_so = role.is_none_or(|role| role == account.role)
            && tier.is_none_or(|tier| tier == account.tier && account.has_own_tier);
        let followed = match store.follow_issuer(id, said_at, (role, tier), now).await {
            // What it says is so already: no reason to keep anybody out while the database takes no writes.
            Err(error) if is_so => {
                tracing::warn!(%error, "when an issuer has last been heard could not be written down");
                return Ok((account, false));
            }
            followed => followed?,
        };
        if followed == Followed::Stale {
            return Ok((account, false));
        }
        let has_own_tier = account.has_own_tier || tier.is_some();
        let or = |said: Option<&str>, had: &str| said.unwrap_or(had).to_owned();
        let (role, tier) = (or(role, &account.role), or(tier, &account.tier));
        Ok((Account { has_own_tier, role, tier, ..account }, followed == Followed::Changed))
    }
}

fn meaning<'a>(mapping: Option<&'a Mapping>, otherwise: &'a str, claims: &ForeignClaims) -> Option<&'a str> {
    let Mapping { claim, values } = mapping?;
    let found = values.iter().find(|(value, _)| claims.names(claim, value));
    Some(found.map_or(otherwise, |(_, here)| here))
}

/// Who somebody is at an issuer, by `sub` or by another claim. That one's name stands before what it says, so that it is never taken for a `sub`;
/// an address is nobody for ever, whatever claim it stands in.
fn subject_of<'a>(claim: &str, claims: &'a ForeignClaims) -> Option<Cow<'a, str>> {
    if claim == "sub" {
        return Some(claims.subject().into());
    }
    let said = claims.text(claim).filter(|said| !said.is_empty() && !said.contains('@'))?;
    Some(format!("{claim}={said}").into())
}
