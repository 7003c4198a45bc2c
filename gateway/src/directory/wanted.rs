//! What a credential proves by itself, and what the record behind it has to say; also of a token of somebody else's that a service was handed
//! and asks about (`POST /auth/validate`).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{AccessClaims, ApiKey, Credential, Grant, Networks, SessionCookie};
use policies::{Refusal, Route};
use store::{GrantFacts, Standing, Status};
use uuid::Uuid;

use super::{
    Asking, Directory, Known,
    foreign::{Failed, Vouched},
};
use crate::stamps::Moment;

/// A credential whose own proof holds, and which record has to stand behind it.
pub(super) enum Wanted {
    Session(AccessClaims),
    Key(ApiKey),
    Cookie(SessionCookie),
    Vouched(Vouched),
}

/// Why not, whose change could change that, and from where the credential may be shown: elsewhere it is not told.
type Why = (Refusal, [Uuid; 3], Option<Box<Networks>>);

// === impl Wanted ===

impl Wanted {
    pub(super) fn grant(&self) -> Grant {
        match self {
            Self::Session(claims) => Grant::Session(claims.sid),
            Self::Key(key) => Grant::Key(key.id()),
            Self::Cookie(cookie) => Grant::Cookie(cookie.id()),
            Self::Vouched(vouched) => Grant::External(vouched.id, vouched.by),
        }
    }

    /// The facts, if they bear the credential out; else why not.
    pub(super) fn judge(&self, facts: Option<GrantFacts>, now: DateTime<Utc>) -> Result<GrantFacts, Why> {
        let grant = self.grant().uuid();
        let facts = facts.filter(|facts| self.is_proved_by(facts)).ok_or((self.unknown(), [grant; 3], None))?;
        let standing = match self {
            Self::Session(claims) => facts.standing_of_token(claims.generation, claims.iat, now),
            Self::Key(_) | Self::Cookie(_) | Self::Vouched(_) => facts.standing(now),
        };
        let refusal = match standing {
            Standing::Live => return Ok(facts),
            Standing::Ended => self.over(),
            Standing::Expired => Refusal::Expired,
            Standing::AccountDisabled => Refusal::AccountDisabled,
            Standing::TenantDisabled => Refusal::TenantDisabled,
        };
        let tenant = facts.account.tenant.map_or(grant, |tenant| tenant.tenant.uuid());
        Err((refusal, [grant, facts.account.id.uuid(), tenant], facts.networks.map(Box::new)))
    }

    /// What is said when there is no record.
    fn unknown(&self) -> Refusal {
        match self {
            Self::Session(_) | Self::Key(_) | Self::Cookie(_) => Refusal::InvalidToken,
            Self::Vouched(_) => Refusal::UnknownAccount,
        }
    }

    /// What is said when the record stands for it no more. What somebody else has signed is as good as it was, but its account does not belong to
    /// the organisation for which it is.
    fn over(&self) -> Refusal {
        match self {
            Self::Session(_) | Self::Key(_) | Self::Cookie(_) => Refusal::Revoked,
            Self::Vouched(_) => Refusal::UnknownAccount,
        }
    }

    /// Does the record say of itself what the credential says?
    fn is_proved_by(&self, facts: &GrantFacts) -> bool {
        match self {
            Self::Session(claims) => facts.account.id == claims.sub,
            Self::Key(key) => facts.digest.as_ref() == Some(&key.digest()),
            Self::Cookie(cookie) => facts.digest.as_ref() == Some(&cookie.digest()),
            // It was found by what has been proved.
            Self::Vouched(_) => true,
        }
    }

    /// Which external issuer's keys it was verified with; 0: with none of theirs.
    pub(super) fn issuer(&self) -> u16 {
        if let Self::Vouched(vouched) = self { vouched.issuer() } else { 0 }
    }

    pub(super) fn expires_at(&self, facts: &GrantFacts) -> i64 {
        match self {
            // A session's own end is that of its refresh token; the access token ends by itself, or before that with the key that has bought it.
            Self::Session(claims) => facts.expires_at.map_or(claims.exp, |at| claims.exp.min(at.timestamp())),
            Self::Key(_) | Self::Cookie(_) => facts.expires_at.map_or(i64::MAX, |at| at.timestamp()),
            Self::Vouched(vouched) => vouched.expires_at,
        }
    }
}

// === impl Directory ===

impl Directory {
    /// What is kept of the credential, and of whom it is of.
    pub(super) async fn facts_behind(
        &self,
        wanted: &Wanted,
        asking: Asking<'_>,
    ) -> Result<Option<GrantFacts>, Refusal> {
        let _took = self.store_seconds.start_timer();
        let facts = match wanted {
            Wanted::Session(claims) => self.store.session_grant(claims.sid).await.map_err(Failed::from),
            Wanted::Key(key) => self.store.key_grant(key.id()).await.map_err(Failed::from),
            Wanted::Cookie(cookie) => self.store.cookie_grant(cookie.id()).await.map_err(Failed::from),
            Wanted::Vouched(vouched) => self.outside.facts(&self.store, &self.limiter, vouched, asking).await,
        };
        facts.map_err(|Failed(refusal)| {
            if refusal == Refusal::DirectoryUnavailable {
                self.store_failures.inc();
            }
            refusal
        })
    }

    pub(super) fn known_by(
        &self,
        wanted: &Wanted,
        facts: &GrantFacts,
        learnt: Moment,
        now: DateTime<Utc>,
    ) -> Arc<Known> {
        let is_cookie = matches!(wanted, Wanted::Cookie(_));
        Arc::new(Known {
            expires_at: wanted.expires_at(facts),
            learnt,
            // Until it is used, a cookie is not one of long ago. A key that is not used, from elsewhere perhaps, is not to be written down.
            used_at: if is_cookie { u32::try_from(now.timestamp()).unwrap_or_default() } else { 0 }.into(),
            idle: if is_cookie { self.cookie_idle } else { 0 },
            issuer: wanted.issuer(),
            ..Known::of(
                self.with_shared_words(facts.principal(wanted.grant())),
                &facts.account.email,
                facts.account.name.as_deref(),
            )
        })
    }

    /// As [`Self::authenticate`]; of routes that serve also whoever acts in a disabled organisation they are let in.
    pub(crate) async fn authenticate_on(
        &self,
        route: &Route,
        credential: Credential<'_>,
        asking: Asking<'_>,
    ) -> Result<Arc<Known>, Refusal> {
        match self.authenticate(credential, asking).await {
            // Boxed, so that other requests do not carry room for it.
            Err(Refusal::TenantDisabled) if route.in_disabled_tenant => {
                Box::pin(self.leaving(credential, asking)).await
            }
            known => known,
        }
    }

    /// Whoever acts in a disabled organisation, and only by a login, which there is to end. All else has to hold of it, and nothing is kept: it is
    /// let in nowhere else.
    async fn leaving(&self, credential: Credential<'_>, asking: Asking<'_>) -> Result<Arc<Known>, Refusal> {
        let (learnt, now) = (self.stamps.now(), asking.now);
        let wanted = self.prove(credential, asking).await?;
        let mut facts = self.facts_behind(&wanted, asking).await?;
        if let Some(tenant) = facts.as_mut().and_then(|facts| facts.account.tenant.as_mut()) {
            tenant.status = Status::Active;
        }
        let facts = wanted.judge(facts, now).map_err(|(refusal, ..)| refusal)?;
        let known = self.known_by(&wanted, &facts, learnt, now);
        known.principal.grant.session().ok_or(Refusal::TenantDisabled)?;
        known.unless_expired(now)
    }

    /// Whose it is, if its issuer has signed it and there is an account for its subject, which may be made now as at the door; `None`: it
    /// does not say that it is somebody else's. `asking`: who asks about it.
    pub(crate) async fn vouched(
        &self,
        token: &str,
        asking: Asking<'_>,
    ) -> Option<Result<(Grant, GrantFacts), Refusal>> {
        let Asking { client, now, .. } = asking;
        let vouched = match self.outside.prove(token, client, now).await? {
            Ok(vouched) => vouched,
            Err(refusal) => return Some(Err(refusal)),
        };
        let facts = self.outside.facts(&self.store, &self.limiter, &vouched, asking).await;
        let judged = facts.map_err(|Failed(refusal)| refusal);
        let wanted = Wanted::Vouched(vouched);
        let judged = judged.and_then(|facts| wanted.judge(facts, now).map_err(|(refusal, ..)| refusal));
        Some(judged.map(|facts| (wanted.grant(), facts)))
    }
}
