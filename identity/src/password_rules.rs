//! What a new password has to be: long, and not what somebody would try first (OWASP ASVS 6.2, NIST SP 800-63B-4 §3.1.1.2).
//!
//! Everything is asked of the password as it was typed and as a whole, but for the estimate of its strength, which looks at the
//! first hundred characters: they alone have to be strong enough.

use std::{collections::HashSet, sync::Arc};

use crate::{Password, PasswordError};

/// Rules for new passwords. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordRules {
    /// Characters (code points) at least.
    pub min_chars: usize,
    /// Are upper case, lower case and a digit demanded?
    pub classes: bool,
    /// zxcvbn's score at least: 0 anything, 1 a million guesses, 2 a hundred million, 3 ten billion (10^10), 4 more.
    pub min_strength: u8,
    /// Is what others know of its owner refused? And words of the platform, in lower case.
    pub context: Option<Arc<[String]>>,
    /// Passwords that nobody may have, in lower case.
    pub blocklist: Arc<HashSet<String>>,
}

/// Letters of a word that counts as known: shorter ones stand in everything.
const SHORTEST_WORD: usize = 4;
/// Characters that have to be left of a password when known words are taken out of it.
const LEAST_OF_ITS_OWN: usize = 6;

// === impl PasswordRules ===

impl PasswordRules {
    /// Is the password good enough to be a new one? `about` is what others know of its owner: address, name.
    pub fn check(&self, password: &Password, about: &[&str]) -> Result<(), PasswordError> {
        let text = &*password.0;
        if text.chars().count() < self.min_chars {
            return Err(PasswordError::TooShort(self.min_chars));
        }
        let has = |test: fn(char) -> bool| text.chars().any(test);
        if self.classes && !(has(char::is_uppercase) && has(char::is_lowercase) && has(|c| c.is_ascii_digit())) {
            return Err(PasswordError::Classes);
        }
        let folded = zeroize::Zeroizing::new(text.to_lowercase());
        if self.blocklist.contains(&*folded) {
            return Err(PasswordError::Common);
        }
        let words = self.known_words(about);
        if words.iter().any(|word| folded.contains(word.as_str())) && own_part(&folded, &words) < LEAST_OF_ITS_OWN {
            return Err(PasswordError::Context);
        }
        Ok(())
    }

    /// Is it strong enough? Takes some milliseconds.
    pub fn estimate(&self, password: &Password, about: &[&str]) -> Result<(), PasswordError> {
        if self.min_strength == 0 {
            return Ok(());
        }
        let words = self.known_words(about);
        let known: Vec<&str> = words.iter().map(String::as_str).collect();
        let score = u8::from(zxcvbn::zxcvbn(&password.0, &known).score());
        if score < self.min_strength { Err(PasswordError::Weak) } else { Ok(()) }
    }

    /// Words of the platform and of the owner, the longest first, in lower case; none if nobody asks for it.
    fn known_words(&self, about: &[&str]) -> Vec<String> {
        let Some(own) = &self.context else { return Vec::new() };
        let parts = about.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
        let mut words: Vec<String> = parts.map(str::to_lowercase).chain(own.iter().cloned()).collect();
        words.retain(|word| word.chars().count() >= SHORTEST_WORD);
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        words
    }
}

/// Letters and digits that are left when every known word has been taken out.
fn own_part(folded: &str, words: &[String]) -> usize {
    let mut rest = zeroize::Zeroizing::new(folded.to_owned());
    for word in words {
        *rest = rest.replace(word.as_str(), " ");
    }
    rest.chars().filter(|c| c.is_alphanumeric()).count()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    fn strict() -> PasswordRules {
        PasswordRules {
            min_chars: 15,
            min_strength: 3,
            context: Some(Arc::from(["portcullis".to_owned()])),
            blocklist: Arc::new(["correcthorsebatterystaple".to_owned()].into()),
            ..PasswordRules::default()
        }
    }

    #[test]
    fn length_is_counted_in_characters_and_classes_are_asked_for_by_choice() {
        let rules = PasswordRules { min_chars: 8, classes: true, ..PasswordRules::default() };
        assert_eq!(rules.check(&password("Abcdefg1"), &[]), Ok(()));
        assert_eq!(rules.check(&password("Abcdef1"), &[]), Err(PasswordError::TooShort(8)));
        for missing in ["abcdefg1", "ABCDEFG1", "Abcdefgh"] {
            assert_eq!(rules.check(&password(missing), &[]), Err(PasswordError::Classes), "{missing}");
        }
        let four = PasswordRules { min_chars: 4, ..PasswordRules::default() };
        assert_eq!(four.check(&password("\u{e9}\u{e9}\u{e9}"), &[]), Err(PasswordError::TooShort(4)));
        assert_eq!(four.check(&password("\u{e9}\u{e9}\u{e9}\u{e9}"), &[]), Ok(()));
    }

    #[test]
    fn a_password_of_the_list_is_refused_in_whatever_case() {
        for listed in ["correcthorsebatterystaple", "CorrectHorseBatteryStaple"] {
            assert_eq!(strict().check(&password(listed), &[]), Err(PasswordError::Common), "{listed}");
        }
        assert_eq!(strict().check(&password("correct horse battery staple"), &[]), Ok(()));
    }

    #[test]
    fn a_password_that_is_little_more_than_known_words_is_refused() {
        let about = ["ada.lovelace@analytical.example", "Ada Lovelace"];
        for known in
            ["Lovelace-Lovelace-1843", "portcullis-2026!", "analyticalPortcullis", "lovelace@analytical.example1"]
        {
            assert_eq!(strict().check(&password(known), &about), Err(PasswordError::Context), "{known}");
        }
        for own in ["lovelace likes engines", "a portcullis of oak and iron", "nothing of the kind at all"] {
            assert_eq!(strict().check(&password(own), &about), Ok(()), "{own}");
        }
        let lax = PasswordRules { min_chars: 8, ..PasswordRules::default() };
        assert_eq!(lax.check(&password("Lovelace"), &about), Ok(()), "nobody asked for it");
    }

    #[test]
    fn a_password_that_is_guessed_soon_is_refused() {
        for weak in ["aaaaaaaaaaaaaaaaaaaa", "passwordpassword", "qwertyuiopasdfgh", "123456789012345"] {
            assert_eq!(strict().estimate(&password(weak), &[]), Err(PasswordError::Weak), "{weak}");
        }
        assert_eq!(strict().estimate(&password("dry trumpets flatten eleven moths"), &[]), Ok(()));
        assert_eq!(PasswordRules::default().estimate(&password("a"), &[]), Ok(()), "nobody asked for it");
    }

    #[test]
    fn the_longest_password_is_looked_at_in_time() {
        // A whole kilobyte; the estimate looks at a hundred characters, or it would never end.
        let long = "abcABC123!?".repeat(93);
        assert!(strict().estimate(&password(&long), &["ada@example.com"]).is_ok());
    }

    proptest! {
        #[test]
        fn the_rules_take_whatever_is_typed(text in "\\PC{1,60}", about in "\\PC{0,40}") {
            let _either = strict().check(&password(&text), &[&about]);
        }
    }
}
