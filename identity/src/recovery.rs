//! Recovery codes: what somebody has written down who loses their authenticator. Each serves once.
//!
//! `abcd-efgh-ijkl-mnop-qrst-uvwx`: 120 random bits, so that a plain digest is enough (NIST SP 800-63B-4 §3.1.2.2 asks for a slow hash
//! below 112). Hyphens, spaces and case are the reader's own affair.

use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::{AccountId, SecretDigest};

/// Characters, each of five bits.
const LENGTH: usize = 24;
const GROUP: usize = 4;
/// Without 0, 1, 8 and 9, which look like letters on paper.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A recovery code in clear: shown once, when it is made.
pub struct RecoveryCode(Zeroizing<String>);

/// The text is no recovery code. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a recovery code: 24 letters and digits")]
pub struct RecoveryCodeError;

// === impl RecoveryCode ===

impl RecoveryCode {
    /// A fresh code.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        rng.fill_bytes(&mut *bytes);
        Self(Zeroizing::new(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()))
    }

    /// Reads a code as somebody types it.
    pub fn parse(text: &str) -> Result<Self, RecoveryCodeError> {
        // Bounded before anything is copied.
        if text.len() > 4 * LENGTH {
            return Err(RecoveryCodeError);
        }
        let letters = text.chars().filter(|letter| !matches!(letter, '-' | ' '));
        let code = Zeroizing::new(letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>());
        let is_code = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
        if is_code { Ok(Self(code)) } else { Err(RecoveryCodeError) }
    }

    /// As it is written down.
    #[must_use]
    pub fn shown(&self) -> String {
        let groups = self.0.as_bytes().chunks(GROUP).map(|group| String::from_utf8_lossy(group).into_owned());
        groups.collect::<Vec<_>>().join("-")
    }

    /// What is kept of it: to whoever reads the table, the code of one account is no other's.
    #[must_use]
    pub fn digest_for(&self, account: AccountId) -> SecretDigest {
        let bound = Zeroizing::new(format!("recovery\0{account}\0{}", *self.0));
        SecretDigest::of(bound.as_bytes())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let mut rng = StdRng::seed_from_u64(1);
        let code = RecoveryCode::generate(&mut rng);
        let account = AccountId::new(Uuid::from_u128(1));
        let shown = code.shown();
        assert_eq!((shown.len(), shown.split('-').count()), (29, 6));
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', ""), shown.replace('-', " ")] {
            assert_eq!(RecoveryCode::parse(&typed).unwrap().digest_for(account), code.digest_for(account));
        }
        assert_ne!(code.digest_for(account), code.digest_for(AccountId::new(Uuid::from_u128(2))));
        assert_ne!(RecoveryCode::generate(&mut rng).shown(), shown);
    }

    #[test]
    fn what_is_no_code_is_told_from_one() {
        for bad in ["", "abcd", &"a".repeat(25), &"1".repeat(24), &"é".repeat(12), &" ".repeat(200)] {
            assert!(RecoveryCode::parse(bad).is_err(), "{bad}");
        }
    }
}
