//! The envelope: compact JWS (RFC 7515 §7.1), read strictly, its signature checked before its content is looked at.
//!
//! The algorithm comes from the key and never from the token; `crit` and `b64` are refused; `jku`, `jwk`, `x5u` and `x5c` are
//! ignored: where keys come from is configured (ASVS 5.0 §9.1.3).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{TokenError, keys::KeySet};
use crate::json;

/// The longest token that is read.
pub(crate) const LONGEST: usize = 8 * 1024;

/// What a verified envelope holds.
pub(crate) struct Verified {
    pub(crate) typ: Option<String>,
    pub(crate) payload: Vec<u8>,
}

/// Checks a compact JWS against the keys; gives the payload. What the payload means is for the caller.
pub fn verify_jws(token: &str, keys: &KeySet) -> Result<Vec<u8>, TokenError> {
    open(token, keys).map(|verified| verified.payload)
}

pub(crate) fn open(token: &str, keys: &KeySet) -> Result<Verified, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::TooLong);
    }
    // More than three parts leave a dot in the payload, which is no base64url.
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = json::object(&decode(header)?).ok_or(TokenError::Malformed)?;
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenError::Critical);
    }
    let text = |name| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(TokenError::Malformed),
    };
    let algorithm = text("alg")?;
    let key = keys.find(text("kid")?, algorithm).ok_or(TokenError::UnknownKey)?;
    if algorithm != Some(key.algorithm().name()) {
        return Err(TokenError::Algorithm);
    }
    if !key.verifies(signature, message.as_bytes()) {
        return Err(TokenError::Signature);
    }
    Ok(Verified { typ: text("typ")?.map(str::to_owned), payload: decode(payload)? })
}

/// base64url without padding and with zero trailing bits (RFC 7515 §2), or one token would have several spellings. (The
/// signature is decoded in the same way where it is checked.)
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}
