//! Addresses: parsed strictly, compared by their normalised form.
//!
//! A lax parser lets `a@evil@good.com` pass a check of its domain (SECURITY §3, oauth2-proxy GHSA-c5c4); two spellings of one
//! address must not be two accounts, nor two addresses one. Normalised is NFKC with Unicode's full case folding (UAX #15, Unicode
//! §3.13), but for two letters of domains.

use std::fmt;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

/// The longest address that mail can be sent to (RFC 5321 §4.5.3.1.3, less the angle brackets).
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
const LONGEST_LABEL: usize = 63;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    written: String,
    normalised: String,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Not one `@` between two parts.
    #[error("an address has one @ between a name and a domain")]
    Shape,
    /// Over 254 bytes, or its name over 64.
    #[error("the address is too long")]
    TooLong,
    /// A character that addresses do not have.
    #[error("the address contains a character that addresses do not have")]
    Character,
    /// Not a domain.
    #[error("the part after the @ is not a domain")]
    Domain,
}

// === impl Email ===

impl Email {
    /// Reads an address; white space around it is removed.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let written = text.trim();
        if written.len() > LONGEST {
            return Err(EmailError::TooLong);
        }
        // A full-width @ would be an @ to whoever normalises, and none to whoever does not.
        if written.matches('@').count() != 1 {
            return Err(EmailError::Shape);
        }
        // What is checked is what is compared: a letter with its accent is one letter.
        let normalised = normalise(written);
        check(&normalised)?;
        if normalised.len() > LONGEST {
            return Err(EmailError::TooLong);
        }
        Ok(Self { written: written.to_owned(), normalised })
    }

    /// As its owner writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// What makes it unique.
    #[must_use]
    pub fn normalised(&self) -> &str {
        &self.normalised
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Where machines have their addresses: an account has to have one.
pub const NOWHERE_OF_SERVICES: &str = "service.invalid";
/// Where whoever has none, or none that their issuer has verified, has theirs.
pub const NOWHERE_OF_PEOPLE: &str = "no-address.invalid";

/// Does an address, as it is compared, only stand in the place of one? No mail ever gets there (RFC 2606 §2).
#[must_use]
pub fn is_nowhere(normalised: &str) -> bool {
    let domain = normalised.rsplit_once('@').map(|(_, domain)| domain);
    domain.is_some_and(|domain| [NOWHERE_OF_SERVICES, NOWHERE_OF_PEOPLE].contains(&domain))
}

/// How a name is compared with others, however they are written: after NFKC and case folding.
#[must_use]
pub fn folded(text: &str) -> String {
    let nfkc = ComposingNormalizer::new_nfkc();
    let composed = nfkc.normalize(text).into_owned();
    let folded = CaseMapper::new().fold_string(&composed).into_owned();
    // Folding may leave a text that composes further.
    nfkc.normalize(&folded).into_owned()
}

/// How an address is compared with others: its domain as DNS has it. There ß and ς are letters of their own (RFC 5892 §2.6), of which folding
/// would make ss and σ, and `groß.de` and `gross.de` are two people's. Whatever else a domain may be made of is what it folds to (§2.2).
fn normalise(text: &str) -> String {
    let Some((name, domain)) = text.split_once('@') else { return folded(text) };
    let but_sigma = |part: &str| part.split('\u{3c2}').map(folded).collect::<Vec<_>>().join("\u{3c2}");
    let domain = domain.replace('\u{1e9e}', "\u{df}");
    let domain = domain.split('\u{df}').map(but_sigma).collect::<Vec<_>>().join("\u{df}");
    format!("{}@{domain}", folded(name))
}

fn check(text: &str) -> Result<(), EmailError> {
    let (local, domain) = text.split_once('@').filter(|(_, domain)| !domain.contains('@')).ok_or(EmailError::Shape)?;
    if local.is_empty() || domain.is_empty() {
        return Err(EmailError::Shape);
    }
    if local.len() > LONGEST_LOCAL {
        return Err(EmailError::TooLong);
    }
    // dot-atom of RFC 5321 with the letters of RFC 6531; quoted names are refused, nobody has one.
    // Spaces, controls and marks that nobody sees are no letters, except the fillers of Hangul, which look like nothing.
    let letter = |c: char| c.is_alphanumeric() && !['\u{115f}', '\u{1160}'].contains(&c);
    let atom = |c: char| letter(c) || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if !local.split('.').all(|part| !part.is_empty() && part.chars().all(atom)) {
        return Err(EmailError::Character);
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| letter(c) || c == '-')
    };
    // A domain that ends in digits is an IPv4 address to some and a name to others.
    let digits = domain.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if domain.split('.').all(label) && !digits { Ok(()) } else { Err(EmailError::Domain) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_address() {
        for (one, other) in [
            ("Ada@Example.com", "ada@example.COM"),
            ("stra\u{df}e@example.com", "STRASSE@example.com"),
            ("\u{ff41}da@example.com", "ada@example.com"),
            ("\u{1d400}da@example.com", "ada@example.com"),
            ("cafe\u{301}@example.com", "caf\u{e9}@example.com"),
            ("j\u{30c}@example.com", "\u{1f0}@example.com"),
            (" ada@example.com ", "ada@example.com"),
            ("\u{212a}@example.com", "k@example.com"),
            ("ada@GRO\u{1e9e}.example", "ada@gro\u{df}.example"),
            ("ada@B\u{dc}CHER.example", "ada@bu\u{308}cher.example"),
            ("ada@\u{39f}\u{399}\u{39a}\u{39f}\u{3a3}.example", "ada@\u{3bf}\u{3b9}\u{3ba}\u{3bf}\u{3c3}.example"),
            // A letter of mathematics, which is a sigma anywhere in DNS.
            ("ada@\u{3bf}\u{1d6d3}.example", "ada@\u{3bf}\u{3c3}.example"),
        ] {
            assert_eq!(Email::parse(one).unwrap().normalised(), Email::parse(other).unwrap().normalised(), "{one}");
        }
        assert_eq!(Email::parse("Ada@Example.com").unwrap().as_str(), "Ada@Example.com");
    }

    #[test]
    fn two_domains_are_two_addresses() {
        for (one, other) in [
            ("ada@gro\u{df}.example", "ada@gross.example"),
            ("ada@GRO\u{1e9e}.example", "ada@GROSS.example"),
            ("ada@\u{3bf}\u{3b9}\u{3ba}\u{3bf}\u{3c2}.example", "ada@\u{3bf}\u{3b9}\u{3ba}\u{3bf}\u{3c3}.example"),
        ] {
            assert_ne!(Email::parse(one).unwrap().normalised(), Email::parse(other).unwrap().normalised(), "{one}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("", EmailError::Shape),
            ("ada", EmailError::Shape),
            ("@example.com", EmailError::Shape),
            ("ada@", EmailError::Shape),
            ("a@evil.com@good.com", EmailError::Shape),
            ("a b@example.com", EmailError::Character),
            ("a\r\nBcc: x@example.com", EmailError::Character),
            ("a\0@example.com", EmailError::Character),
            (".a@example.com", EmailError::Character),
            ("a..b@example.com", EmailError::Character),
            ("\"a\"@example.com", EmailError::Character),
            ("a@example..com", EmailError::Domain),
            ("a@-example.com", EmailError::Domain),
            ("a@exam_ple.com", EmailError::Domain),
            ("a\u{ff20}b@example.com", EmailError::Shape),
            ("a\u{ff20}example.com", EmailError::Shape),
            ("a@evil.com\u{ff20}good.com", EmailError::Shape),
            ("a@127.0.0.1", EmailError::Domain),
            ("a@[127.0.0.1]", EmailError::Domain),
            ("a@example.com.", EmailError::Domain),
            ("a@example\u{3002}com", EmailError::Domain),
            ("a\u{200b}b@example.com", EmailError::Character),
            ("a\u{3164}@example.com", EmailError::Character),
            ("a\u{115f}@example.com", EmailError::Character),
            ("a@exam\u{ffa0}ple.com", EmailError::Domain),
            ("a\u{17b4}@example.com", EmailError::Character),
            ("a\u{fe0f}@example.com", EmailError::Character),
            ("a\u{34f}@example.com", EmailError::Character),
            ("\u{202e}a@example.com", EmailError::Character),
            ("a\u{ad}b@example.com", EmailError::Character),
            ("\u{fdfa}@example.com", EmailError::Character),
            ("<a@example.com>", EmailError::Character),
            ("a,b@example.com", EmailError::Character),
        ] {
            assert_eq!(Email::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(65))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&format!("a@{}", "b.".repeat(200))), Err(EmailError::TooLong));
    }

    proptest! {
        #[test]
        fn the_case_of_an_address_does_not_make_it_another(local in "[a-zA-Z0-9+._-]{1,30}", domain in "[a-zA-Z]{1,10}\\.[a-zA-Z]{2,5}") {
            let text = format!("{local}@{domain}");
            let normalised = |text: &str| Email::parse(text).map(|email| email.normalised);
            prop_assert_eq!(normalised(&text), normalised(&text.to_uppercase()));
            prop_assert_eq!(normalised(&text), normalised(&text.to_lowercase()));
        }

        #[test]
        fn but_for_two_letters_a_domain_is_compared_as_a_name_is(domain in "[\\p{L}0-9-]{1,8}\\.[\\p{L}a-z]{2,5}") {
            prop_assume!(!domain.contains(['\u{df}', '\u{1e9e}', '\u{3c2}']));
            if let Ok(email) = Email::parse(&format!("Ada@{domain}")) {
                prop_assert_eq!(email.normalised(), folded(email.as_str()));
            }
        }

        #[test]
        fn an_address_has_one_at_and_nothing_that_could_end_a_line(text in "\\PC{0,20}[@\u{ff20}\r\n \0]\\PC{0,20}@\\PC{1,20}") {
            if let Ok(email) = Email::parse(&text) {
                for text in [email.as_str(), email.normalised()] {
                    prop_assert_eq!(text.matches('@').count(), 1);
                    prop_assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
                }
            }
        }

        #[test]
        fn normalising_is_a_fixed_point_and_never_panics(text in "\\PC{1,20}@\\PC{1,20}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.normalised());
                prop_assert_eq!(again.map(|email| email.normalised), Ok(email.normalised));
            }
        }
    }
}
