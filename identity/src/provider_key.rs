//! A key at somebody else's: a provider's, such as `sk-…`. It is kept sealed, shown to nobody, and sent to the provider alone.

use zeroize::Zeroizing;

/// The longest still fits into a header field.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=4096;
/// Characters of a key that its owner is shown, to tell it from others.
const SHOWN: usize = 4;
/// Characters of a key so long that its last ones tell nothing.
const LONG: usize = 16;
const LONGEST_SERVICE: usize = 64;

/// A key at a provider's. Has no way out but [`ProviderKey::expose`], and is wiped when dropped.
#[derive(Clone)]
pub struct ProviderKey(Zeroizing<String>);

/// The text cannot be a key. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 8 to 4096 visible ASCII characters, with spaces only between them, as it has to travel in a header")]
pub struct ProviderKeyError;

// === impl ProviderKey ===

impl ProviderKey {
    /// Reads what a field value may hold (RFC 9110 §5.5) without obsolete text: what begins or ends with a space would arrive without.
    pub fn parse(text: &str) -> Result<Self, ProviderKeyError> {
        let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let is_bare = !text.starts_with(' ') && !text.ends_with(' ');
        let is_key = LENGTH.contains(&text.len()) && is_visible && is_bare;
        is_key.then(|| Self(Zeroizing::new(text.to_owned()))).ok_or(ProviderKeyError)
    }

    /// What was sealed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProviderKeyError> {
        std::str::from_utf8(bytes).map_err(|_| ProviderKeyError).and_then(Self::parse)
    }

    /// The key itself, for the provider and for the seal.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key with something around it, as a provider reads it; wiped too.
    #[must_use]
    pub fn between(&self, before: &str, after: &str) -> Zeroizing<String> {
        // With room for all of it: growing would leave the key behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(before.len() + self.0.len() + after.len()));
        for part in [before, &self.0, after] {
            text.push_str(part);
        }
        text
    }

    /// Its last characters; nothing of a short one.
    #[must_use]
    pub fn last_four(&self) -> &str {
        if self.0.len() < LONG { "" } else { &self.0[self.0.len() - SHOWN..] }
    }
}

/// Is it what a provider may be called? `claude`, `openai`, `gemini`, or any word of `a-z0-9_-` that somebody chooses.
#[must_use]
pub fn is_service(word: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=LONGEST_SERVICE).contains(&word.len()) && word.bytes().all(is_letter)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_can_travel_in_a_header() {
        let longest = "k".repeat(4096);
        for good in ["sk-ant-api-key", "12345678", "two words", &longest] {
            assert_eq!(ProviderKey::parse(good).unwrap().expose(), good);
            assert_eq!(ProviderKey::from_bytes(good.as_bytes()).unwrap().expose(), good);
        }
        for bad in
            ["", "1234567", " 12345678", "12345678 ", "1234\r\n5678", "1234\t5678", "1234\u{0}5678", "schlüssel-1"]
        {
            assert_eq!(ProviderKey::parse(bad).err(), Some(ProviderKeyError), "{bad:?}");
        }
        assert!(ProviderKey::parse(&"k".repeat(4097)).is_err());
        assert!(ProviderKey::from_bytes(&[0xff; 8]).is_err());
    }

    #[test]
    fn the_last_four_characters_are_shown() {
        for (key, shown) in [("sk-ant-0123456789", "6789"), ("0123456789abcdef", "cdef"), ("0123456789abcde", "")] {
            assert_eq!(ProviderKey::parse(key).unwrap().last_four(), shown);
        }
    }

    #[test]
    fn a_service_is_a_word() {
        assert!(["claude", "openai", "my_own-2", "x"].into_iter().all(is_service));
        assert!(!["", "OpenAI", "a b", "a/b", "é", &"x".repeat(65)].into_iter().any(is_service));
    }
}
