//! What a second factor is, and how that is written down.

use crate::{StoreError, db::kept_as_text};

/// What a factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorKind {
    /// An authenticator that shows codes.
    Totp,
    /// A key pair that an authenticator holds.
    Passkey,
}

// === impl FactorKind ===

impl FactorKind {
    /// As it is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        }
    }
}

impl TryFrom<String> for FactorKind {
    type Error = StoreError;

    fn try_from(word: String) -> Result<Self, StoreError> {
        match word.as_str() {
            "totp" => Ok(Self::Totp),
            "passkey" => Ok(Self::Passkey),
            _ => Err(StoreError::Corrupt(format!("a second factor has the kind {word}"))),
        }
    }
}

kept_as_text!(FactorKind);
