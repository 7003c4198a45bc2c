//! Opaque tokens, API keys and refresh tokens: `prefix` + id + secret + checksum, of fixed width.
//!
//! ```text
//! pck_ 0000000000000000000000 0000000000000000000000000000000000000000000 000000
//!      id: 128 bits, base62   secret: 256 random bits, base62             CRC-32 of all before it
//! ```
//!
//! The prefix lets secret scanners find leaks; the checksum refuses typing errors and garbage without a look-up (it is no
//! defence: anybody can compute it). The secret is random, so its SHA-256 is kept and no slow hash: that would only be a
//! way to burn our processors (DESIGN §3).

use std::{fmt, marker::PhantomData};

use aws_lc_rs::digest;
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::KeyId;

const ID_WIDTH: usize = 22;
const SECRET_WIDTH: usize = 43;
const CHECKSUM_WIDTH: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What sort of token it is: its prefix and its id.
pub trait Kind {
    /// What every token of this kind begins with.
    const PREFIX: &'static str;
    /// The id of its record.
    type Id: From<Uuid> + Copy;
    /// The bits of an id.
    fn bits(id: Self::Id) -> u128;
}

/// An opaque token in clear: shown once, when it is made.
pub struct Opaque<K: Kind> {
    text: Zeroizing<String>,
    id: K::Id,
    kind: PhantomData<K>,
}

/// What is kept of an opaque token: the SHA-256 of its text. Compared in constant time.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

/// The text is no token of this kind. It does not say what is wrong, and never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a well-formed key")]
pub struct OpaqueError;

/// API keys: `pck_…`.
pub enum ApiKeyKind {}
/// Refresh tokens: `pcr_…`.
pub enum RefreshKind {}

/// An API key.
pub type ApiKey = Opaque<ApiKeyKind>;
/// A refresh token.
pub type RefreshToken = Opaque<RefreshKind>;

impl Kind for ApiKeyKind {
    const PREFIX: &'static str = "pck_";
    type Id = KeyId;
    fn bits(id: KeyId) -> u128 {
        id.uuid().as_u128()
    }
}

impl Kind for RefreshKind {
    const PREFIX: &'static str = "pcr_";
    type Id = Uuid;
    fn bits(id: Uuid) -> u128 {
        id.as_u128()
    }
}

// === impl Opaque ===

impl<K: Kind> Opaque<K> {
    /// A new token for the record `id`.
    pub fn generate<R: CryptoRng>(id: K::Id, rng: &mut R) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        let mut text = String::with_capacity(K::PREFIX.len() + ID_WIDTH + SECRET_WIDTH + CHECKSUM_WIDTH);
        text.push_str(K::PREFIX);
        push_base62(&mut text, &K::bits(id).to_be_bytes(), ID_WIDTH);
        push_base62(&mut text, &*secret, SECRET_WIDTH);
        let checksum = crc32fast::hash(text.as_bytes());
        push_base62(&mut text, &checksum.to_be_bytes(), CHECKSUM_WIDTH);
        Self { text: Zeroizing::new(text), id, kind: PhantomData }
    }

    /// Reads a token. Well-formed means only that: whether it exists is for the store to say.
    pub fn parse(text: &str) -> Result<Self, OpaqueError> {
        let rest = text.strip_prefix(K::PREFIX).ok_or(OpaqueError)?;
        if rest.len() != ID_WIDTH + SECRET_WIDTH + CHECKSUM_WIDTH || !rest.is_ascii() {
            return Err(OpaqueError);
        }
        let (body, checksum) = text.split_at(text.len() - CHECKSUM_WIDTH);
        if parse_base62(checksum)? != u128::from(crc32fast::hash(body.as_bytes())) {
            return Err(OpaqueError);
        }
        let (id, secret) = rest.split_at(ID_WIDTH);
        let id = Uuid::from_u128(parse_base62(id)?);
        if !secret.bytes().all(|byte| ALPHABET.contains(&byte)) {
            return Err(OpaqueError);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), id: id.into(), kind: PhantomData })
    }

    /// Which record it belongs to.
    #[must_use]
    pub const fn id(&self) -> K::Id {
        self.id
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.text.as_bytes())
    }

    /// The text, to be shown to its owner this once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What tells its owner's keys apart in a list: the prefix and twelve characters of the id. The first eight of a
    /// version 7 UUID are the time; four more are random.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.text[..K::PREFIX.len() + 12].to_owned()
    }
}

// === impl SecretDigest ===

impl SecretDigest {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(own)
    }

    /// For storing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As stored; `None` unless it is 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}

/// Appends big-endian bytes as base62 digits, padded with zeros to `width`.
fn push_base62(text: &mut String, bytes: &[u8], width: usize) {
    // Both hold a secret; what is left of them is wiped.
    let mut number = Zeroizing::new(bytes.to_vec());
    let mut digits = Zeroizing::new(vec![b'0'; width]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in number.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    text.extend(digits.iter().copied().map(char::from));
}

/// Reads base62 digits; refuses what does not fit into 128 bits.
fn parse_base62(text: &str) -> Result<u128, OpaqueError> {
    text.bytes().try_fold(0_u128, |number, byte| {
        let digit = ALPHABET.iter().position(|known| *known == byte).ok_or(OpaqueError)?;
        number.checked_mul(62).and_then(|number| number.checked_add(digit as u128)).ok_or(OpaqueError)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn key(id: u128, seed: u64) -> ApiKey {
        ApiKey::generate(Uuid::from_u128(id).into(), &mut StdRng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn every_key_is_read_back_as_what_it_was(id: u128, seed: u64) {
            let made = key(id, seed);
            let read = ApiKey::parse(made.expose()).unwrap();
            prop_assert_eq!(read.id().uuid().as_u128(), id);
            prop_assert_eq!(read.digest(), made.digest());
            prop_assert_eq!(made.expose().len(), 75);
        }

        #[test]
        fn a_key_with_one_wrong_character_is_refused(id: u128, seed: u64, at in 0_usize..75, to in 0_usize..62) {
            let made = key(id, seed);
            let mut text = made.expose().as_bytes().to_vec();
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            prop_assert!(ApiKey::parse(std::str::from_utf8(&text).unwrap()).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(text in ".*") {
            prop_assert!(ApiKey::parse(&text).is_err());
            let prefixed = format!("pck_{text}");
            prop_assert!(ApiKey::parse(&prefixed).is_err());
        }
    }

    #[test]
    fn a_key_is_no_refresh_token() {
        assert!(RefreshToken::parse(key(1, 1).expose()).is_err());
    }

    /// With the right checksum, which anybody can compute.
    fn parse(id: &str, secret: &str) -> Result<ApiKey, OpaqueError> {
        let mut text = format!("pck_{id}{secret}");
        let checksum = crc32fast::hash(text.as_bytes());
        push_base62(&mut text, &checksum.to_be_bytes(), CHECKSUM_WIDTH);
        ApiKey::parse(&text)
    }

    #[test]
    fn a_key_of_another_width_or_alphabet_is_refused_although_its_checksum_is_right() {
        let (id, secret) = ("0".repeat(ID_WIDTH), "0".repeat(SECRET_WIDTH));
        assert!(parse(&id, &secret).is_ok());
        for (odd_id, odd_secret) in [
            ("z".repeat(ID_WIDTH), secret.clone()),
            (id.replacen('0', "-", 1), secret.clone()),
            (id.clone(), format!("{secret}0")),
            (id.clone(), secret[1..].to_owned()),
            (id.clone(), secret.replacen('0', "-", 1)),
            (id.clone(), secret.replacen('0', " ", 1)),
            (id, secret.replacen("00", "\u{e9}", 1)),
        ] {
            assert!(parse(&odd_id, &odd_secret).is_err(), "{odd_id} {odd_secret}");
        }
    }

    #[test]
    fn a_letter_of_two_bytes_is_refused_wherever_it_stands() {
        for at in 0..70 {
            let text = format!("pck_{}\u{e9}{}", "0".repeat(at), "0".repeat(69 - at));
            assert!(ApiKey::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_is_of_the_whole_text_and_of_32_bytes() {
        let (one, other) = (key(1, 1), key(1, 2));
        assert_eq!(one.digest(), SecretDigest::from_slice(one.digest().as_bytes()).unwrap());
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.digest(), SecretDigest::of(one.expose().as_bytes()));
        assert!(SecretDigest::from_slice(&[0; 31]).is_none() && SecretDigest::from_slice(&[0; 33]).is_none());
    }

    #[test]
    fn what_a_list_shows_of_a_key_is_not_its_secret() {
        let made = key(u128::MAX, 1);
        assert_eq!((made.prefix().len(), made.expose().starts_with(&made.prefix())), (16, true));
        assert_eq!(made.prefix(), key(u128::MAX, 2).prefix());
    }
}
