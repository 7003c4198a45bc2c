//! Tokens: JSON Web Tokens (RFC 7519) that we sign and verify, by the best current practice of RFC 8725.
//!
//! [`jws`] reads the envelope and checks the signature; [`claims`] says what the content must be; [`keys`] holds the keys, and
//! [`jwk`] and [`jwks`] read them as others publish them; [`foreign`] is about the tokens of others.
//! The cryptography is aws-lc's, verification through `jsonwebtoken`.

pub(crate) mod claims;
pub(crate) mod foreign;
mod jwk;
pub(crate) mod jwks;
pub(crate) mod jws;
pub(crate) mod keys;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// What a token is signed with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// HMAC with SHA-256: whoever verifies could also sign.
    #[serde(rename = "HS256")]
    Hs256,
}

/// What a token is for. Tokens of one purpose never serve another (RFC 8725 §3.11–3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token (RFC 9068).
    Access,
    /// Our signed word to an upstream.
    Assertion,
}

/// Why a token proves nothing. It never holds the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a compact JWS of strict JSON.
    #[error("the token is malformed")]
    Malformed,
    /// Over 8 KiB.
    #[error("the token is too long")]
    TooLong,
    /// No key of that id is trusted.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Another algorithm than the key's.
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    Signature,
    /// Made for another purpose.
    #[error("the token is of another type")]
    Type,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// From somebody else.
    #[error("the token's issuer is not trusted here")]
    Issuer,
    /// For somebody else.
    #[error("the token is meant for somebody else")]
    Audience,
    /// A claim is missing, of the wrong type or out of range.
    #[error("the token's claim `{0}` is missing or wrong")]
    MissingClaim(&'static str),
    /// Demands an extension, of which we know none (RFC 7515 §4.1.11).
    #[error("the token demands an extension that is not supported")]
    Critical,
}

// === impl Algorithm ===

impl Algorithm {
    /// As it is written in headers and JWKs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Rs256, Self::Es256, Self::Hs256].into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) const fn for_verifying(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

// === impl TokenType ===

impl TokenType {
    /// The header's `typ`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Assertion => "assertion+jwt",
        }
    }

    pub(crate) fn is(self, typ: &str) -> bool {
        is_type(typ, self.name())
    }
}

/// Media types may carry `application/` and any case (RFC 7515 §4.1.9).
fn is_type(typ: &str, known: &str) -> bool {
    let typ = match typ.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => &typ[12..],
        _ => typ,
    };
    typ.eq_ignore_ascii_case(known)
}

// === impl TokenError ===

impl TokenError {
    /// What the caller is told: `expired`, since that can be mended by refreshing, or `invalid_token`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            _ => "invalid_token",
        }
    }
}
