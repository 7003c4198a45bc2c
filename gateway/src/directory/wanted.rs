//! What a credential proves by itself, and what the record behind it has to say; also of a token of somebody else's that a service was handed
//! and asks about (`POST /auth/validate`).

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use identity::{AccessClaims, ApiKey, Grant, SessionCookie};
use policies::Refusal;
use store::{GrantFacts, Standing};
use uuid::Uuid;

use super::{
    Directory,
    foreign::{Failed, Vouched},
};

/// A credential whose own proof holds, and which record has to stand behind it.
pub(super) enum Wanted {
    Session(AccessClaims),
    Key(ApiKey),
    Cookie(SessionCookie),
    Vouched(Vouched),
}

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

    /// The facts, if they bear the credential out; else why not, and the ids of all whose change could change that.
    pub(super) fn judge(
        &self,
        facts: Option<GrantFacts>,
        now: DateTime<Utc>,
    ) -> Result<GrantFacts, (Refusal, [Uuid; 3])> {
        let grant = self.grant().uuid();
        let facts = facts.filter(|facts| self.is_proved_by(facts)).ok_or((self.unknown(), [grant; 3]))?;
        let standing = match self {
            Self::Session(claims) => facts.standing_of_token(claims.generation, claims.iat, now),
            Self::Key(_) | Self::Cookie(_) | Self::Vouched(_) => facts.standing(now),
        };
        let refusal = match standing {
            Standing::Live => return Ok(facts),
            Standing::Ended => Refusal::Revoked,
            Standing::Expired => Refusal::Expired,
            Standing::AccountDisabled => Refusal::AccountDisabled,
            Standing::TenantDisabled => Refusal::TenantDisabled,
        };
        let tenant = facts.account.tenant.map_or(grant, |tenant| tenant.tenant.uuid());
        Err((refusal, [grant, facts.account.id.uuid(), tenant]))
    }

    /// What is said when there is no record.
    fn unknown(&self) -> Refusal {
        match self {
            Self::Session(_) | Self::Key(_) | Self::Cookie(_) => Refusal::InvalidToken,
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
            // A session's own end is that of its refresh token; the access token ends by itself.
            Self::Session(claims) => claims.exp,
            Self::Key(_) | Self::Cookie(_) => facts.expires_at.map_or(i64::MAX, |at| at.timestamp()),
            Self::Vouched(vouched) => vouched.expires_at,
        }
    }
}

// === impl Directory ===

impl Directory {
    /// Whose it is, if its issuer has signed it and there is an account for its subject, which may be made now as at the door; `None`: it
    /// does not say that it is somebody else's. `client`: who asks.
    pub(crate) async fn vouched(
        &self,
        token: &str,
        client: IpAddr,
        now: DateTime<Utc>,
    ) -> Option<Result<(Grant, GrantFacts), Refusal>> {
        let vouched = match self.outside.prove(token, client, now).await? {
            Ok(vouched) => vouched,
            Err(refusal) => return Some(Err(refusal)),
        };
        let facts = self.outside.facts(&self.store, &self.limiter, &vouched, client, now).await;
        let judged = facts.map_err(|Failed(refusal)| refusal);
        let wanted = Wanted::Vouched(vouched);
        let judged = judged.and_then(|facts| wanted.judge(facts, now).map_err(|(refusal, _)| refusal));
        Some(judged.map(|facts| (wanted.grant(), facts)))
    }
}
