//! Sessions: logins that can be ended, and the chain of single-use refresh tokens that keeps each alive.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use identity::{AccountId, SecretDigest, SessionId, TenantId, network_of};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Account, CookieTerms, Groups, Status, Store, StoreError, Subject,
    db::{Tx, later, on_tx, stored},
    groups::{GroupsRow, groups_columns},
};

/// A session to be opened.
pub struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose it is, as it was when its owner was checked.
    pub account: &'a Account,
    /// What it is gone on with.
    pub proof: Proof,
    /// The time.
    pub now: DateTime<Utc>,
    /// Where it begins.
    pub origin: Origin<'a>,
}

/// A session to be opened for whomever a token turns out to be of.
pub struct SessionSeed<'a> {
    /// Its id.
    pub id: SessionId,
    /// What it is gone on with.
    pub proof: Proof,
    /// Where it begins.
    pub origin: Origin<'a>,
}

/// What a session is gone on with.
#[derive(Clone, Copy)]
pub enum Proof {
    /// Its first refresh token.
    Refresh {
        /// Its id and digest.
        token: (Uuid, SecretDigest),
        /// When it expires.
        expires_at: DateTime<Utc>,
    },
    /// A browser's cookie.
    Cookie(CookieTerms),
}

/// Where a session begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What its browser is known by.
    pub device: Option<SecretDigest>,
    /// What it says it is.
    pub user_agent: Option<&'a str>,
    /// By what somebody has logged in: `password`, `magic_link` …
    pub method: Option<&'a str>,
    /// The same in words of RFC 8176, with spaces between.
    pub amr: Option<&'a str>,
    /// When.
    pub seen: crate::Seen,
    /// The administrator who acts as the account's owner, as they were when their right to it was weighed.
    pub actor: Option<&'a Account>,
}

/// How long what a session is gone on with serves.
#[derive(Clone, Copy, Debug)]
pub struct RefreshTerms {
    /// How long after its first use a token may be used again.
    pub grace: Duration,
    /// Life of a token.
    pub ttl: Duration,
    /// Life of the session.
    pub session_life: Duration,
}

/// What came of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The next token is in force.
    Rotated {
        /// Whose session.
        account: Account,
        /// Which session.
        session: SessionId,
        /// Of which generation its access tokens are.
        generation: u32,
    },
    /// No such token.
    Unknown,
    /// It is known, and buys nothing.
    Refused {
        /// Whose session.
        account: AccountId,
        /// Which session.
        session: SessionId,
        /// Why not.
        why: RefreshRefusal,
    },
}

/// Why a known refresh token buys nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshRefusal {
    /// The token had been used before: somebody has a copy. The session is ended (RFC 9700 §4.14.2).
    Reused,
    /// Its id with another secret: an id is seen nowhere but in its token, so somebody has a part of it. The session is ended.
    Forged,
    /// Its time is over.
    Expired,
    /// Its session has ended, or its account is disabled.
    Ended,
}

#[derive(FromRow)]
struct Shown {
    session_id: Uuid,
    tenant_id: Option<Uuid>,
    account_id: Uuid,
    digest: Vec<u8>,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    generation: i64,
}

macro_rules! begin_session {
    () => {
        "INSERT INTO sessions (id, account_id, created_at, address, network, device, user_agent, method, last_seen_at, auth_time, amr, tenant_id, \
         actor_id) SELECT $1, id, $3, $4, $5, $6, $7, $8, $3, $11, $10, $12, $13 FROM accounts \
         WHERE id = $2 AND status = 'active' AND updated_at = $9"
    };
}

// === impl Store ===

impl Store {
    /// Opens a session; [`StoreError::Conflict`] if the account has changed since its owner was checked. Else a log-in with
    /// an old password could outlive the change that ends all others. Gives the groups of the account, that nobody need ask for them.
    pub async fn open_session(&self, new: NewSession<'_>) -> Result<Groups, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let groups = tx.insert_session(&new).await?;
            self.commit(tx).await?;
            Ok::<_, StoreError>(groups)
        })
        .await
    }

    /// Ends a session. To end it again, or one that there is not, changes nothing.
    pub async fn end_session(&self, id: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let ended = tx.end_session(id, now).await?;
            self.commit_and_tell(tx, ended.as_slice(), now).await
        })
        .await
    }

    /// Ends one of an account's sessions; [`StoreError::NotFound`] if it is not this account's, or has ended.
    pub async fn end_session_of(
        &self,
        account: AccountId,
        id: SessionId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            tx.end_own_session(account, id, now).await?;
            self.commit_and_tell(tx, &[Subject::Session(id)], now).await
        })
        .await
    }

    /// Ends an account's sessions but perhaps one; says how many.
    pub async fn end_sessions_but(
        &self,
        account: AccountId,
        keep: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            // The account before its sessions, as whoever changes what opens it takes them.
            tx.lock_account(account).await?;
            let ended = tx.end_sessions_of(account, keep, now).await?;
            let heard: Vec<Subject> = ended.into_iter().map(Subject::Session).collect();
            self.commit_and_tell(tx, &heard, now).await?;
            Ok::<_, StoreError>(heard.len())
        })
        .await
    }

    /// Uses a refresh token and puts `next` (id and digest) in force. A token serves once; within the grace of its first use
    /// it serves again, since two tabs of one browser may race. However often it is refreshed, a session ends when its life is over.
    pub async fn rotate_refresh(
        &self,
        token: Uuid,
        digest: &SecretDigest,
        next: (Uuid, SecretDigest),
        now: DateTime<Utc>,
        terms: RefreshTerms,
    ) -> Result<RefreshOutcome, StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            let Some(shown) = tx.lock_refresh_token(token).await? else { return Ok(RefreshOutcome::Unknown) };
            let session = SessionId::new(shown.session_id);
            let refused = |why| Ok(RefreshOutcome::Refused { account: shown.account_id.into(), session, why });
            if SecretDigest::from_slice(&shown.digest).as_ref() != Some(digest) {
                let ended = tx.end_session(session, now).await?;
                self.commit_and_tell(tx, ended.as_slice(), now).await?;
                return refused(RefreshRefusal::Forged);
            }
            let account = tx.account_in(shown.account_id.into(), shown.tenant_id.map(TenantId::new)).await?;
            let account = account.filter(|account| {
                account.status == Status::Active && (shown.tenant_id.is_none() || account.tenant.is_some())
            });
            let (None, Some(account)) = (shown.ended_at, account) else {
                return refused(RefreshRefusal::Ended);
            };
            if shown.used_at.is_some_and(|used| now > later(used, terms.grace)) {
                let ended = tx.end_session(session, now).await?;
                self.commit_and_tell(tx, ended.as_slice(), now).await?;
                return refused(RefreshRefusal::Reused);
            }
            let end = later(shown.created_at, terms.session_life);
            if now >= shown.expires_at.min(end) {
                return refused(RefreshRefusal::Expired);
            }
            tx.mark_used(token, now).await?;
            tx.mark_seen(session, now).await?;
            tx.add_refresh_token(session, &next, now, later(now, terms.ttl).min(end)).await?;
            self.commit(tx).await?;
            let generation = u32::try_from(shown.generation).unwrap_or(u32::MAX);
            Ok::<_, StoreError>(RefreshOutcome::Rotated { account, session, generation })
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// Begins a session, if the account is still what it was when its owner was checked, and will be until the commit: on Postgres
    /// the row is held, SQLite's transaction is alone anyway. Gives the groups of the account, read by the same statement: only for whoever
    /// is in.
    pub(crate) async fn insert_session(&mut self, new: &NewSession<'_>) -> Result<Groups, StoreError> {
        const LITE: &str = concat!(begin_session!(), " RETURNING ", groups_columns!(sqlite, "$14", "$2"));
        const PG: &str = concat!(begin_session!(), " FOR SHARE RETURNING ", groups_columns!(postgres, "$14", "$2"));
        let (origin, account) = (&new.origin, new.account);
        let statement = if matches!(self, Self::Pg(_)) { PG } else { LITE };
        let tenant = self.usable_tenant(account).await?;
        if let Some(actor) = origin.actor {
            self.hold_actor(actor, account.id).await?;
        }
        let begun: Option<GroupsRow> = on_tx!(&mut *self, |c| sqlx::query_as(statement)
            .bind(new.id.uuid())
            .bind(account.id.uuid())
            .bind(stored(new.now))
            .bind(origin.address.map(|address| address.to_string()))
            .bind(origin.address.map(network_of))
            .bind(origin.device.map(|device| device.as_bytes().to_vec()))
            .bind(origin.user_agent)
            .bind(origin.method)
            .bind(stored(account.updated_at))
            .bind(origin.amr)
            .bind(origin.seen.at(new.now).map(stored))
            .bind(tenant.map(|tenant| tenant.uuid()))
            .bind(origin.actor.map(|actor| actor.id.uuid()))
            .bind(account.tenant.map(|own| own.tenant.uuid()))
            .fetch_optional(c)
            .await)?;
        let Some(groups) = begun else {
            return Err(self.changed_meanwhile(account.id).await?);
        };
        match &new.proof {
            Proof::Refresh { token, expires_at } => self.add_refresh_token(new.id, token, new.now, *expires_at).await?,
            Proof::Cookie(terms) => self.add_cookie(new.id, terms).await?,
        }
        Ok(groups.into())
    }

    async fn mark_seen(&mut self, id: SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE sessions SET last_seen_at = $2 WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(now)).execute(c).await.map(drop))?)
    }

    /// Ends a session; gives what is to be heard of it, which is nothing if it had ended before.
    async fn end_session(&mut self, id: SessionId, now: DateTime<Utc>) -> Result<Option<Subject>, StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
        let ended =
            on_tx!(self, |c| sqlx::query(Q).bind(id.uuid()).bind(stored(now)).execute(c).await?.rows_affected());
        Ok((ended > 0).then_some(Subject::Session(id)))
    }

    /// Ends one of an account's sessions; [`StoreError::NotFound`] if it is not this account's, or has ended.
    pub(crate) async fn end_own_session(
        &mut self,
        account: AccountId,
        id: SessionId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL";
        let ended = on_tx!(self, |c| sqlx::query(Q)
            .bind(id.uuid())
            .bind(account.uuid())
            .bind(stored(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if ended == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    /// A refresh token with its session, which is held until the commit so that two who race come one after the other; SQLite's
    /// transaction is alone anyway. On Postgres the lock comes first: what is read after it is what the other has left.
    async fn lock_refresh_token(&mut self, token: Uuid) -> Result<Option<Shown>, StoreError> {
        const Q: &str = "SELECT t.session_id, s.tenant_id, s.account_id, t.digest, t.expires_at, t.used_at, s.created_at, s.ended_at, s.generation \
                         FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.id = $1";
        if let Self::Pg(tx) = self {
            const HOLD: &str =
                "SELECT 1 FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.id = $1 FOR UPDATE OF s";
            sqlx::query(HOLD).bind(token).execute(tx.within()).await?;
        }
        Ok(on_tx!(self, |c| sqlx::query_as(Q).bind(token).fetch_optional(c).await)?)
    }

    /// The first use counts: the grace begins once.
    async fn mark_used(&mut self, token: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "UPDATE refresh_tokens SET used_at = COALESCE(used_at, $2) WHERE id = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(token).bind(stored(now)).execute(c).await.map(drop))?)
    }

    pub(crate) async fn add_refresh_token(
        &mut self,
        session: SessionId,
        (id, digest): &(Uuid, SecretDigest),
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str =
            "INSERT INTO refresh_tokens (id, session_id, digest, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(*id)
            .bind(session.uuid())
            .bind(digest.as_bytes().as_slice())
            .bind(stored(now))
            .bind(stored(expires_at))
            .execute(c)
            .await
            .map(drop))?)
    }
}
