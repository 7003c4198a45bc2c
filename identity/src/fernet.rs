//! Fernet tokens, in which older systems keep secrets: opened here, never made (version 0x80 of the Fernet specification).
//!
//! ```text
//! version (1) | time (8) | IV (16) | AES-128-CBC with PKCS #7 (16 n) | HMAC-SHA256 of all before it (32)
//! ```
//!
//! Of its time nothing is asked: what is kept does not grow old.

use aws_lc_rs::{
    cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey},
    hmac,
    iv::FixedLength,
};
use base64::{Engine, prelude::BASE64_URL_SAFE};
use zeroize::Zeroizing;

const VERSION: u8 = 0x80;
const TIME_LEN: usize = 8;
const IV_LEN: usize = 16;
const TAG_LEN: usize = 32;
const HALF: usize = 16;

/// A key of Fernet's: half of it signs, half of it encrypts.
pub struct FernetKey(Zeroizing<[u8; 2 * HALF]>);

/// Why nothing was opened. It never holds the key or the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FernetError {
    /// The key is none.
    #[error("a Fernet key is 32 bytes, written as 44 characters of base64url")]
    Key,
    /// The token is none.
    #[error("this is not a Fernet token")]
    Malformed,
    /// Altered, or made with another key.
    #[error("this was encrypted with another key, or altered")]
    Forged,
}

// === impl FernetKey ===

impl FernetKey {
    /// Reads a key as `Fernet.generate_key()` writes it.
    pub fn parse(text: &str) -> Result<Self, FernetError> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE.decode(text).map_err(|_| FernetError::Key)?);
        let bytes = bytes.as_slice().try_into().map_err(|_| FernetError::Key)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// What a token holds.
    pub fn open(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, FernetError> {
        let token = BASE64_URL_SAFE.decode(token).map_err(|_| FernetError::Malformed)?;
        let (signed, tag) = token.split_last_chunk::<TAG_LEN>().ok_or(FernetError::Malformed)?;
        let (head, sealed) = signed.split_at_checked(1 + TIME_LEN + IV_LEN).ok_or(FernetError::Malformed)?;
        let (sign, encrypt) = self.0.split_at(HALF);
        let iv: [u8; IV_LEN] = head[1 + TIME_LEN..].try_into().map_err(|_| FernetError::Malformed)?;
        if head[0] != VERSION || sealed.is_empty() || sealed.len() % IV_LEN != 0 {
            return Err(FernetError::Malformed);
        }
        // Before anything is decrypted: a padding that can be probed would tell the text.
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, sign), signed, tag).map_err(|_| FernetError::Forged)?;
        let key = UnboundCipherKey::new(&AES_128, encrypt).and_then(PaddedBlockDecryptingKey::cbc_pkcs7);
        let mut text = Zeroizing::new(sealed.to_vec());
        let length = key
            .and_then(|key| Ok(key.decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(iv)))?.len()))
            .map_err(|_| FernetError::Malformed)?;
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// The specification's own: verify.json.
    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const TOKEN: &str =
        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn open(token: &str) -> Result<Vec<u8>, FernetError> {
        FernetKey::parse(KEY).unwrap().open(token).map(|text| text.to_vec())
    }

    #[test]
    fn the_specifications_token_opens() {
        assert_eq!(open(TOKEN).unwrap(), b"hello");
    }

    /// invalid.json, but for those whose time alone is wrong, which is nothing here.
    #[test]
    fn the_specifications_bad_tokens_do_not() {
        for (why, token, error) in [
            (
                "incorrect mac",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
                FernetError::Forged,
            ),
            ("too short", "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==", FernetError::Malformed),
            (
                "invalid base64",
                "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
                FernetError::Malformed,
            ),
            (
                "payload size not multiple of block size",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
                FernetError::Malformed,
            ),
            (
                "payload padding error",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
                FernetError::Malformed,
            ),
            (
                "incorrect IV (causes padding error)",
                "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
                FernetError::Malformed,
            ),
        ] {
            assert_eq!(open(token), Err(error), "{why}");
        }
        assert_eq!(open(""), Err(FernetError::Malformed));
    }

    #[test]
    fn whatever_byte_is_another_one_nothing_opens() {
        let bytes = BASE64_URL_SAFE.decode(TOKEN).unwrap();
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            assert!(open(&BASE64_URL_SAFE.encode(altered)).is_err(), "{place}");
        }
    }

    #[test]
    fn a_key_is_32_bytes_and_another_one_opens_nothing() {
        for bad in ["", "secret", "your-encryption-key-change-this", &KEY[..43], "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert_eq!(FernetKey::parse(bad).err(), Some(FernetError::Key), "{bad}");
        }
        let other = FernetKey::parse(&BASE64_URL_SAFE.encode([7; 32])).unwrap();
        assert_eq!(other.open(TOKEN).err(), Some(FernetError::Forged));
    }
}
