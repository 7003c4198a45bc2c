//! Signing keys: sealed at rest, made at the first start, rotated online: next → current → retiring.
//!
//! The next key is published before it signs, so that nobody meets a token whose key they have not seen; a retiring key is
//! published until everything it signed has expired.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use identity::{Algorithm, RecordId, SealKeys, SecretDigest, SecretText, SigningKey};
use rand::CryptoRng;
use sqlx_macros::FromRow;

use crate::{
    Store, StoreError, Subject,
    db::{Tx, later, on, on_tx, stored},
};

/// What a key signs. Keys of one purpose never sign for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Access tokens.
    Access,
    /// Assertions to upstreams; always EdDSA.
    Assertion,
}

#[derive(Clone, FromRow)]
pub(crate) struct KeyRow {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) state: String,
    pub(crate) retires_at: Option<DateTime<Utc>>,
}

/// How long the key of another algorithm goes on verifying after a change of the configuration: the longest access token.
const AFTER_A_CHANGE: Duration = Duration::from_hours(24);
const ROWS: &str =
    "SELECT kid, algorithm, sealed, state, retires_at FROM signing_keys WHERE purpose = $1 ORDER BY created_at, kid";

impl Store {
    /// Has a platform signed with this database? Then it holds what a master key has sealed.
    pub async fn has_signing_keys(&self) -> Result<bool, StoreError> {
        const Q: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM signing_keys LIMIT 1) AS found";
        let found: i64 = self.bounded(async { on!(self, |pool| sqlx::query_scalar(Q).fetch_one(pool).await) }).await?;
        Ok(found > 0)
    }
}

/// Makes the keys that are missing: a current and a next one for each purpose, of the configured algorithm. Nodes that start
/// at once agree on what the first of them made. With HS256 the secret may be given, and is then the only key.
pub async fn ensure_keys<R: CryptoRng>(
    store: &Store,
    seal: &SealKeys,
    algorithm: Algorithm,
    shared: Option<&SecretText>,
    rng: &mut R,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let shared = shared.filter(|_| algorithm == Algorithm::Hs256);
    for (purpose, algorithm, shared) in
        [(Purpose::Access, algorithm, shared), (Purpose::Assertion, Algorithm::EdDsa, None)]
    {
        if !in_force(&store.signing_rows(purpose).await?, algorithm, shared) {
            let current = match shared {
                Some(secret) => SigningKey::hs256(secret.expose().as_bytes(), shared_kid(secret)).map_err(weak)?,
                None => fresh(algorithm, rng)?,
            };
            let next = if shared.is_none() { Some(fresh(algorithm, rng)?) } else { None };
            store.put_in_force(seal, purpose, &current, next.as_ref(), shared, rng, now).await?;
        }
    }
    Ok(())
}

/// Puts the next key in force; the current one goes on verifying for `retire_after`. Keys whose time is over are deleted.
pub async fn rotate<R: CryptoRng>(
    store: &Store,
    seal: &SealKeys,
    purpose: Purpose,
    retire_after: TimeDelta,
    rng: &mut R,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let next = next_of(&store.signing_rows(purpose).await?)?;
    // Made before the transaction: an RSA key takes its time.
    let after_next = fresh(next.algorithm()?, rng)?;
    store
        .bounded(async {
            let mut tx = store.begin().await?;
            if next_of(&tx.lock_signing_keys(purpose).await?)?.kid != next.kid {
                return Err(StoreError::Conflict("another node has just rotated the keys"));
            }
            tx.drop_retired(now).await?;
            tx.retire_current(purpose, later(now, retire_after.to_std().unwrap_or_default())).await?;
            tx.promote(&next.kid).await?;
            tx.insert_signing_key(seal, purpose, "next", &after_next, rng, now).await?;
            store.commit_and_tell(tx, &[Subject::SigningKeys], now).await
        })
        .await
}

// === impl Store ===

impl Store {
    pub(crate) async fn signing_rows(&self, purpose: Purpose) -> Result<Vec<KeyRow>, StoreError> {
        self.bounded(async { on!(self, |pool| sqlx::query_as(ROWS).bind(purpose.word()).fetch_all(pool).await) }).await
    }

    #[expect(clippy::too_many_arguments, reason = "one transaction with everything that goes into it")]
    async fn put_in_force<R: CryptoRng>(
        &self,
        seal: &SealKeys,
        purpose: Purpose,
        current: &SigningKey,
        next: Option<&SigningKey>,
        shared: Option<&SecretText>,
        rng: &mut R,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bounded(async {
            let mut tx = self.begin().await?;
            if in_force(&tx.lock_signing_keys(purpose).await?, current.algorithm(), shared) {
                return Ok(());
            }
            tx.drop_retired(now).await?;
            tx.drop_next(purpose).await?;
            tx.retire_current(purpose, later(now, AFTER_A_CHANGE)).await?;
            if tx.promote(current.kid()).await? == 0 {
                tx.insert_signing_key(seal, purpose, "current", current, rng, now).await?;
            }
            if let Some(next) = next {
                tx.insert_signing_key(seal, purpose, "next", next, rng, now).await?;
            }
            self.commit_and_tell(tx, &[Subject::SigningKeys], now).await
        })
        .await
    }
}

// === impl Tx ===

impl Tx {
    /// The keys, for nobody else to change until the commit: nodes that start or rotate at once do it one after the other.
    /// SQLite's transaction is alone anyway.
    async fn lock_signing_keys(&mut self, purpose: Purpose) -> Result<Vec<KeyRow>, StoreError> {
        if let Self::Pg(tx) = self {
            sqlx::query("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE").execute(tx.within()).await?;
        }
        Ok(on_tx!(self, |c| sqlx::query_as(ROWS).bind(purpose.word()).fetch_all(c).await)?)
    }

    async fn drop_retired(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM signing_keys WHERE state = 'retiring' AND retires_at <= $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(stored(now)).execute(c).await.map(drop))?)
    }

    async fn drop_next(&mut self, purpose: Purpose) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM signing_keys WHERE state = 'next' AND purpose = $1";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(purpose.word()).execute(c).await.map(drop))?)
    }

    async fn retire_current(&mut self, purpose: Purpose, at: DateTime<Utc>) -> Result<(), StoreError> {
        const Q: &str =
            "UPDATE signing_keys SET state = 'retiring', retires_at = $2 WHERE purpose = $1 AND state = 'current'";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(purpose.word()).bind(stored(at)).execute(c).await.map(drop))?)
    }

    /// A next key, or a shared secret that is taken up again, becomes current.
    async fn promote(&mut self, kid: &str) -> Result<u64, StoreError> {
        const Q: &str =
            "UPDATE signing_keys SET state = 'current', retires_at = NULL WHERE kid = $1 AND state <> 'current'";
        Ok(on_tx!(self, |c| sqlx::query(Q).bind(kid).execute(c).await.map(|done| done.rows_affected()))?)
    }

    async fn insert_signing_key<R: CryptoRng>(
        &mut self,
        seal: &SealKeys,
        purpose: Purpose,
        state: &str,
        key: &SigningKey,
        rng: &mut R,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "INSERT INTO signing_keys (kid, purpose, algorithm, sealed, state, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
        let sealed = seal.seal(&key.to_bytes(), &record(key.kid()), rng);
        Ok(on_tx!(self, |c| sqlx::query(Q)
            .bind(key.kid())
            .bind(purpose.word())
            .bind(key.algorithm().name())
            .bind(sealed)
            .bind(state)
            .bind(stored(now))
            .execute(c)
            .await
            .map(drop))?)
    }
}

// === impl KeyRow ===

impl KeyRow {
    pub(crate) fn algorithm(&self) -> Result<Algorithm, StoreError> {
        let unknown = || StoreError::Corrupt(format!("signing key {} is for {}", self.kid, self.algorithm));
        Algorithm::from_name(&self.algorithm).ok_or_else(unknown)
    }
}

// === impl Purpose ===

impl Purpose {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Assertion => "assertion",
        }
    }
}

/// Which value is sealed.
pub(crate) fn record(kid: &str) -> RecordId {
    RecordId { table: "signing_keys", column: "sealed", row: kid.to_owned() }
}

fn next_of(rows: &[KeyRow]) -> Result<KeyRow, StoreError> {
    const SHARED: StoreError = StoreError::Conflict("a shared secret is rotated by changing it in the configuration");
    rows.iter().find(|row| row.state == "next").cloned().ok_or(SHARED)
}

/// Is the current key what the configuration asks for?
fn in_force(rows: &[KeyRow], algorithm: Algorithm, shared: Option<&SecretText>) -> bool {
    let current = rows.iter().find(|row| row.state == "current");
    current.is_some_and(|row| match shared {
        Some(secret) => row.kid == shared_kid(secret),
        None => row.algorithm == algorithm.name() && !row.kid.starts_with(SHARED),
    })
}

/// What the ids of shared secrets begin with.
const SHARED: &str = "shared-";

/// A shared secret is known by its digest: nodes and restarts agree on its id, and a changed secret has another.
fn shared_kid(secret: &SecretText) -> String {
    let mut head = [0; 8];
    head.copy_from_slice(&SecretDigest::of(secret.expose().as_bytes()).as_bytes()[..8]);
    format!("{SHARED}{:016x}", u64::from_be_bytes(head))
}

fn fresh<R: CryptoRng>(algorithm: Algorithm, rng: &mut R) -> Result<SigningKey, StoreError> {
    let kid = format!("{:016x}", rng.next_u64());
    SigningKey::generate(algorithm, kid, rng).map_err(weak)
}

fn weak(error: identity::KeyError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
