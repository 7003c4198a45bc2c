//! The keys that an issuer publishes (RFC 7517 §5): of what it says only what can be trusted is kept.

use serde_json::Value;

use super::{
    Algorithm,
    keys::{KeySet, VerifyingKey},
};
use crate::json;

/// The most keys that one issuer may have. More is no key set but an attempt to keep us busy.
const MOST_KEYS: usize = 64;
/// The longest id of a key that is kept.
const LONGEST_ID: usize = 256;

/// Why what was published is no key set that could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not the JSON of a key set.
    #[error("this is not a JSON Web Key Set")]
    Malformed,
    /// Over 64 keys.
    #[error("the key set holds more than {MOST_KEYS} keys")]
    TooMany,
    /// No key of an algorithm that is accepted, long enough, with no other's id, and for signatures.
    #[error("the key set holds no key that can be trusted")]
    NoneUsable,
}

// === impl KeySet ===

impl KeySet {
    /// What is published at a `jwks_uri`. Left out are secrets (`oct`: whoever could verify could sign), keys for encryption, of
    /// other algorithms, too short, or off their curve; and of two with one id both, since nobody can tell which is meant. A key
    /// that names no algorithm is for the one that its type has here (Entra ID names none); one without an id is for tokens without.
    pub fn from_jwks(text: &[u8], accepted: &[Algorithm]) -> Result<Self, JwksError> {
        let set = json::object(text).ok_or(JwksError::Malformed)?;
        let Some(Value::Array(published)) = set.get("keys") else { return Err(JwksError::Malformed) };
        if published.len() > MOST_KEYS {
            return Err(JwksError::TooMany);
        }
        let read = published.iter().filter_map(|jwk| VerifyingKey::of_issuer(jwk).ok());
        let fit = |key: &VerifyingKey| accepted.contains(&key.algorithm()) && key.kid().len() <= LONGEST_ID;
        let (nameless, keys): (Vec<_>, Vec<_>) = read.filter(fit).partition(|key: &VerifyingKey| key.kid().is_empty());
        let is_one = |kid: &str| keys.iter().filter(|key| key.kid() == kid).count() == 1;
        let keys: Vec<VerifyingKey> = keys.iter().filter(|key| is_one(key.kid())).cloned().collect();
        let set = Self::published(keys, nameless);
        if set.is_empty() { Err(JwksError::NoneUsable) } else { Ok(set) }
    }

    /// Does it trust a key that `next` does not? What that key has signed must then be verified again.
    #[must_use]
    pub fn loses_a_key_to(&self, next: &Self) -> bool {
        let (Value::Object(own), Value::Object(next)) = (self.jwks(), next.jwks()) else { return true };
        let keys = |set: &serde_json::Map<String, Value>| set.get("keys").and_then(Value::as_array).cloned();
        let (own, next) = (keys(&own).unwrap_or_default(), keys(&next).unwrap_or_default());
        own.iter().any(|key| !next.contains(key))
    }

    /// Is there a key of this id?
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.find(Some(kid), None).is_some()
    }
}
