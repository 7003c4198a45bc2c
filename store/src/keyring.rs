//! The keyring: signing keys opened, ready to sign and to verify. A snapshot; a change in the feed says when to load anew.

use chrono::{DateTime, Utc};
use identity::{KeySet, SealKeys, SigningKey};

use crate::{
    Purpose, Store, StoreError, clock,
    signing::{KeyRow, record},
};

/// The keys of both purposes.
pub struct Keyring {
    /// For access tokens.
    pub access: SigningSet,
    /// For assertions.
    pub assertion: SigningSet,
}

/// The keys of one purpose.
pub struct SigningSet {
    /// The one that signs.
    pub current: SigningKey,
    /// Those that verify: next, current and retiring.
    pub keys: KeySet,
}

// === impl Keyring ===

impl Keyring {
    /// Loads and opens every key.
    pub async fn load(store: &Store, seal: &SealKeys) -> Result<Self, StoreError> {
        let now = clock::now();
        Ok(Self {
            access: SigningSet::open(store.signing_rows(Purpose::Access).await?, seal, now)?,
            assertion: SigningSet::open(store.signing_rows(Purpose::Assertion).await?, seal, now)?,
        })
    }
}

// === impl SigningSet ===

impl SigningSet {
    fn open(rows: Vec<KeyRow>, seal: &SealKeys, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut current = None;
        let mut verifying = Vec::new();
        for row in rows.into_iter().filter(|row| row.retires_at.is_none_or(|at| at > now)) {
            let is_current = row.state == "current";
            let key = open(&row, seal)?;
            verifying.push(key.verifying_key());
            if is_current {
                current = Some(key);
            }
        }
        let current = current.ok_or_else(|| StoreError::Corrupt("there is no signing key".to_owned()))?;
        Ok(Self { current, keys: KeySet::new(verifying, None) })
    }
}

fn open(row: &KeyRow, seal: &SealKeys) -> Result<SigningKey, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt(format!("signing key {}: {reason}", row.kid));
    let bytes = seal.open(&row.sealed, &record(&row.kid)).map_err(|error| corrupt(error.to_string()))?;
    SigningKey::from_bytes(row.algorithm()?, row.kid.clone(), &bytes).map_err(|error| corrupt(error.to_string()))
}
