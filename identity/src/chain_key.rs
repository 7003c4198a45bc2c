//! The key of a chain of events: without it nobody continues the chain or puts another event in an event's place (HMAC-SHA-256, RFC 2104).

use std::fmt;

use aws_lc_rs::hmac;
use rand::CryptoRng;
use zeroize::Zeroizing;

/// 256 random bits. It is kept sealed, so that it outlives the master key that it was first sealed with.
pub struct ChainKey(Zeroizing<[u8; Self::LEN]>);

// === impl ChainKey ===

impl ChainKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// A fresh key.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// What was sealed.
    #[must_use]
    pub fn of(bytes: &[u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// To be sealed, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What only holders of the key can say of these bytes.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), bytes).as_ref());
        digest
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const RFC_4231: &str = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";

    /// §4.2 with its key filled up with zeros, which HMAC itself does.
    #[test]
    fn it_is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let digest = ChainKey::of(&key).digest(b"Hi There");
        assert_eq!(digest.map(|byte| format!("{byte:02x}")).concat(), RFC_4231);
    }

    #[test]
    fn another_key_says_something_else() {
        let [one, other] = [1, 2].map(|seed| ChainKey::generate(&mut StdRng::seed_from_u64(seed)));
        assert_ne!(one.digest(b"x"), other.digest(b"x"));
        assert_eq!(one.digest(b"x"), ChainKey::of(one.expose()).digest(b"x"));
        assert_eq!(format!("{one:?}"), "ChainKey");
    }
}
