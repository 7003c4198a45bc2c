//! Sealing: what must not lie open in the database (AES-256-GCM, NIST SP 800-38D).
//!
//! ```text
//! version (1) | key id (4) | nonce (12) | ciphertext and tag (n + 16)
//! ```
//!
//! The key id says which master key opens it, so that keys can be rotated while the platform runs. Version, key id and the
//! record's identity are associated data: a sealed value that is altered, or moved to another row or column, does not open.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::SecretDigest;

const VERSION: u8 = 1;
const ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + ID_LEN;

/// A master key: 256 random bits.
#[derive(Clone)]
pub struct MasterKey {
    id: [u8; ID_LEN],
    bytes: Zeroizing<[u8; 32]>,
}

/// The text is not 32 bytes in base64url or hex. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 32 bytes, written as 43 characters of base64url or 64 of hex")]
pub struct MasterKeyError;

/// The key that seals, and those that open too: what was sealed before, and what others seal already. While a master key is
/// rotated they are replaced for everybody who holds them.
pub struct SealKeys(RwLock<Arc<Keys>>);

struct Keys {
    current: MasterKey,
    others: Vec<MasterKey>,
}

/// Which value of which record is sealed: its column and row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordId {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's key.
    pub row: String,
}

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not a sealed value.
    #[error("this is not a sealed value")]
    Malformed,
    /// Sealed with a key that is not here.
    #[error("this was sealed with another master key")]
    UnknownKey,
    /// Altered, or sealed for another record.
    #[error("this sealed value was altered or belongs to another record")]
    Forged,
}

// === impl MasterKey ===

impl MasterKey {
    /// A fresh key.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::of(bytes)
    }

    /// Reads base64url (with or without padding) or hex.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = if text.len() == 64 {
            from_hex(text)
        } else {
            BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
        };
        let bytes = Zeroizing::new(bytes.ok_or(MasterKeyError)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| MasterKeyError)?;
        Ok(Self::of(Zeroizing::new(bytes)))
    }

    /// As base64url, for the one file or variable that holds it.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*self.bytes))
    }

    fn of(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&SecretDigest::of(&*bytes).as_bytes()[..ID_LEN]);
        Self { id, bytes }
    }

    /// Several keys, separated by commas or white space; the first one seals. After a key on a line of its own may stand what is thought of it
    /// (`portcullis keys rotate-master`).
    pub fn parse_all(text: &str) -> Result<Vec<Self>, MasterKeyError> {
        let keys = text.split([',', '\n']).filter_map(|line| line.split_whitespace().next()).map(Self::parse);
        keys.collect::<Result<Vec<_>, _>>()
            .and_then(|keys| if keys.is_empty() { Err(MasterKeyError) } else { Ok(keys) })
    }

    /// What tells it from others, in hex; it is part of everything that the key has sealed, and tells nothing of the key.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &*self.bytes).expect("a key of 32 bytes fits AES-256");
        LessSafeKey::new(key)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

// === impl SealKeys ===

impl SealKeys {
    /// `current` seals; all of them open.
    #[must_use]
    pub fn new(current: MasterKey, others: Vec<MasterKey>) -> Self {
        Self(RwLock::new(Arc::new(Keys { current, others })))
    }

    /// From now on `current` seals, and these open.
    pub fn replace(&self, current: MasterKey, others: Vec<MasterKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys { current, others });
    }

    /// How everything begins that the key has sealed which seals now.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        [&[VERSION], &self.keys().current.id[..]].concat()
    }

    /// The ids of all of them; the first one is of the key that seals.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.keys().all().map(MasterKey::id).collect()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals `plain` for one record.
    ///
    /// # Panics
    /// At 64 GiB, which is the most that AES-GCM seals.
    pub fn seal<R: CryptoRng>(&self, plain: &[u8], record: &RecordId, rng: &mut R) -> Vec<u8> {
        // 96 random bits: safe for 2^32 values under one key (SP 800-38D §8.3), far more than there will ever be.
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let keys = self.keys();
        let mut sealed = vec![VERSION];
        sealed.extend(keys.current.id);
        let aad = associated_data(&sealed, record);
        sealed.extend(nonce);
        // With room for the tag: growing would leave the plain text behind in freed memory.
        let mut body = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(plain);
        keys.current
            .cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
            .expect("AES-256-GCM seals anything under 64 GiB");
        sealed.extend(body);
        sealed
    }

    /// Opens what was sealed for this record.
    pub fn open(&self, sealed: &[u8], record: &RecordId) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, rest) = sealed.split_at_checked(HEAD_LEN).ok_or(SealError::Malformed)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
        if head[0] != VERSION {
            return Err(SealError::Malformed);
        }
        let keys = self.keys();
        let key = keys.all().find(|key| key.id == head[1..]).ok_or(SealError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = key
            .cipher()
            .open_in_place(nonce, Aad::from(associated_data(head, record)), &mut body)
            .map_err(|_| SealError::Forged)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

// === impl Keys ===

impl Keys {
    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.others)
    }
}

/// Each part is preceded by its length, so that no two records give the same bytes.
fn associated_data(head: &[u8], record: &RecordId) -> Vec<u8> {
    let mut data = head.to_vec();
    for part in [record.table, record.column, &record.row] {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part.as_bytes());
    }
    data
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn keys(seed: u64) -> SealKeys {
        SealKeys::new(MasterKey::generate(&mut StdRng::seed_from_u64(seed)), Vec::new())
    }

    fn record(row: &str) -> RecordId {
        RecordId { table: "signing_keys", column: "sealed", row: row.to_owned() }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_its_own_record_only(plain: Vec<u8>, row: String, other: String, seed: u64) {
            let sealed = keys(1).seal(&plain, &record(&row), &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(&*keys(1).open(&sealed, &record(&row)).unwrap(), &plain);
            if row != other {
                prop_assert_eq!(keys(1).open(&sealed, &record(&other)).err(), Some(SealError::Forged));
            }
            for moved in [RecordId { column: "other", ..record(&row) }, RecordId { table: "other", ..record(&row) }] {
                prop_assert_eq!(keys(1).open(&sealed, &moved).err(), Some(SealError::Forged));
            }
        }

        #[test]
        fn a_sealed_value_with_one_altered_bit_does_not_open(plain: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let mut sealed = keys(1).seal(&plain, &record("r"), &mut StdRng::seed_from_u64(9));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(keys(1).open(&sealed, &record("r")).is_err());
        }

        #[test]
        fn garbage_does_not_open_and_does_not_panic(bytes: Vec<u8>) {
            prop_assert!(keys(1).open(&bytes, &record("r")).is_err());
        }
    }

    /// What lies in databases must open for ever: version 1, put together by hand.
    #[test]
    fn a_sealed_value_is_laid_out_as_it_is_written_down() {
        let (key, nonce) = (MasterKey::of(Zeroizing::new([7; 32])), [9; NONCE_LEN]);
        let head = [&[1], &SecretDigest::of(&[7; 32]).as_bytes()[..4]].concat();
        let part = |text: &str| [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat();
        let data = [head.clone(), part("signing_keys"), part("sealed"), part("r")].concat();
        let mut body = b"plain".to_vec();
        key.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(data), &mut body).unwrap();
        let mut sealed = [head.as_slice(), &nonce, &body].concat();
        let keys = SealKeys::new(key, vec![]);
        assert_eq!(&**keys.open(&sealed, &record("r")).unwrap(), b"plain");
        assert_eq!(keys.seal(b"plain", &record("r"), &mut StdRng::seed_from_u64(1)).len(), sealed.len());
        sealed[0] = 2;
        assert_eq!(keys.open(&sealed, &record("r")).err(), Some(SealError::Malformed));
    }

    #[test]
    fn an_older_key_still_opens_and_a_strange_one_does_not() {
        let old = MasterKey::generate(&mut StdRng::seed_from_u64(1));
        let new = MasterKey::generate(&mut StdRng::seed_from_u64(2));
        let sealed = SealKeys::new(old.clone(), vec![]).seal(b"x", &record("r"), &mut StdRng::seed_from_u64(3));
        assert_eq!(&**SealKeys::new(new.clone(), vec![old]).open(&sealed, &record("r")).unwrap(), b"x");
        assert_eq!(SealKeys::new(new, vec![]).open(&sealed, &record("r")).err(), Some(SealError::UnknownKey));
    }

    #[test]
    fn keys_are_replaced_for_everybody_who_holds_them() {
        let [old, new] = [1, 2].map(|seed| MasterKey::generate(&mut StdRng::seed_from_u64(seed)));
        let keys = SealKeys::new(old.clone(), vec![new.clone()]);
        let before = keys.seal(b"x", &record("r"), &mut StdRng::seed_from_u64(3));
        assert!(before.starts_with(&keys.head()) && keys.ids() == [old.id(), new.id()]);
        keys.replace(new.clone(), vec![old.clone()]);
        assert!(!before.starts_with(&keys.head()) && keys.ids() == [new.id(), old.id()]);
        assert_eq!(&**keys.open(&before, &record("r")).unwrap(), b"x");
        keys.replace(new, vec![]);
        assert_eq!(keys.open(&before, &record("r")).err(), Some(SealError::UnknownKey));
    }

    #[test]
    fn several_keys_are_read_in_their_order() {
        let [one, other] = [1, 2].map(|seed| MasterKey::generate(&mut StdRng::seed_from_u64(seed)));
        for text in [
            format!("{},{}", *one.encode(), *other.encode()),
            format!("{}\n{} next\n\n", *one.encode(), *other.encode()),
        ] {
            let read: Vec<_> = MasterKey::parse_all(&text).unwrap().iter().map(MasterKey::id).collect();
            assert_eq!(read, [one.id(), other.id()]);
        }
        for text in ["", "\n", ",", &format!("{},short", *one.encode())] {
            assert!(MasterKey::parse_all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_master_key_is_read_in_base64url_and_hex_and_nothing_else() {
        let key = MasterKey::generate(&mut StdRng::seed_from_u64(4));
        let hex = key.bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        for text in [key.encode().to_string(), format!("{}=", *key.encode()), hex.to_uppercase(), hex] {
            assert_eq!(*MasterKey::parse(&text).unwrap().bytes, *key.bytes);
        }
        for text in ["", "short", &"z".repeat(64), &"+f".repeat(32), &"A".repeat(44), &"\u{e9}".repeat(32)] {
            assert_eq!(MasterKey::parse(text).err(), Some(MasterKeyError), "{text}");
        }
    }
}
