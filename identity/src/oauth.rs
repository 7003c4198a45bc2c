//! What a login at somebody else's is begun with (OAuth 2, `OpenID` Connect): a verifier that only whoever began can show when the code is
//! exchanged (PKCE, RFC 7636), and a nonce that the ID token has to repeat.
//!
//! Both are random and never leave the server in clear but to the provider: the verifier with the code, of the nonce what it is.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::SecretText;

/// Bytes of randomness: 43 characters, the least that RFC 7636 §4.1 allows and what it recommends.
const BYTES: usize = 32;

/// A code verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeVerifier(SecretText);

// === impl CodeVerifier ===

impl CodeVerifier {
    /// A fresh one.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        Self(random_text(rng))
    }

    /// As it was kept.
    #[must_use]
    pub fn kept(text: SecretText) -> Self {
        Self(text)
    }

    /// What is shown with the code.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is said at the beginning, with the method S256 (RFC 7636 §4.2).
    #[must_use]
    pub fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.expose().as_bytes()))
    }
}

/// 256 random bits as text that needs no escaping in a URL.
pub fn random_text<R: CryptoRng>(rng: &mut R) -> SecretText {
    let mut bytes = Zeroizing::new([0; BYTES]);
    rng.fill_bytes(&mut *bytes);
    BASE64_URL_SAFE_NO_PAD.encode(*bytes).into()
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = CodeVerifier::kept("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned().into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn no_two_are_alike_and_none_needs_escaping() {
        let mut rng = StdRng::seed_from_u64(1);
        let (one, two) = (CodeVerifier::generate(&mut rng), CodeVerifier::generate(&mut rng));
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 43);
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        assert!(plain(one.expose()) && plain(&one.challenge()));
    }
}
