//! Names that people read: of a person, a machine, an organisation or a key. They stand on pages and in mails, in lines of a log and in
//! headers, beside what somebody else has written.

/// Characters of a name at most.
pub const MAX_NAME: usize = 100;

/// Why a text is no name. Completes a sentence that begins with what it would be the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// There is nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// It is too long.
    #[error("must have {0} characters at most")]
    TooLong(usize),
    /// It travels in a header.
    #[error("must not contain control characters")]
    Control,
    /// It would not be read in the order in which it is written.
    #[error("must not contain characters that turn the direction of writing")]
    TurnsDirection,
}

/// A name as it is kept: trimmed, not empty, without control characters, and read in the order in which it is written.
pub fn readable_name(text: &str) -> Result<&str, NameFault> {
    readable_name_of(text, MAX_NAME)
}

/// The same of another length, for names that were given elsewhere.
pub fn readable_name_of(text: &str, most: usize) -> Result<&str, NameFault> {
    let text = text.trim();
    if text.is_empty() {
        Err(NameFault::Empty)
    } else if text.chars().count() > most {
        Err(NameFault::TooLong(most))
    } else if text.chars().any(char::is_control) {
        Err(NameFault::Control)
    } else if text.chars().any(turns_direction) {
        Err(NameFault::TurnsDirection)
    } else {
        Ok(text)
    }
}

/// Is it one of Unicode's `Bidi_Control` (UAX #9 §2)? With them a name reads as another one, and what stands beside it on a page or in a
/// mail reads backwards. Letters bring their direction with them, and joiners, which scripts need, are none of these.
const fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_visible_text() {
        assert_eq!(readable_name("  Änne Ö'Neil 李 \t"), Ok("Änne Ö'Neil 李"));
        // Letters that are written from right to left, and a joiner and a non-joiner, which some scripts cannot do without.
        for good in [
            "\u{5d0}\u{5d1} \u{627}\u{628}",
            "\u{646}\u{627}\u{645}\u{200c}\u{647}\u{627}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            &"ä".repeat(MAX_NAME),
        ] {
            assert_eq!(readable_name(good), Ok(good));
        }
        for (bad, fault) in [
            ("", NameFault::Empty),
            ("   ", NameFault::Empty),
            ("a\nb", NameFault::Control),
            ("a\r\nX-User-Role: admin", NameFault::Control),
            ("a\u{0}b", NameFault::Control),
            ("a\u{85}b", NameFault::Control),
            (&"x".repeat(MAX_NAME + 1), NameFault::TooLong(MAX_NAME)),
        ] {
            assert_eq!(readable_name(bad), Err(fault), "{bad:?}");
        }
    }

    #[test]
    fn names_do_not_turn_the_direction_of_writing() {
        let turning = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter();
        for letter in turning.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(readable_name(&format!("evil{letter}")), Err(NameFault::TurnsDirection), "{letter:?}");
        }
    }
}
