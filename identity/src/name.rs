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
    /// It travels in a header, and stands on one line.
    #[error("must not contain control characters")]
    Control,
    /// It would not be read in the order in which it is written.
    #[error("must not contain characters that turn the direction of writing")]
    TurnsDirection,
    /// There is nothing in it that anybody sees.
    #[error("must have a character that can be seen")]
    Invisible,
}

/// A name as it is kept: trimmed, with something to see, without control characters, and read in the order in which it is written.
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
    } else {
        read_as_written(text)?;
        if text.chars().any(is_seen) { Ok(text) } else { Err(NameFault::Invisible) }
    }
}

/// What another system calls something, as it is kept: to the letter, with the white space around it. It stands beside names, and what holds of them
/// holds of it.
pub fn foreign_name(text: &str) -> Result<&str, NameFault> {
    // What would be trimmed of a name stays.
    read_as_written(text)?;
    if text.chars().count() > MAX_NAME {
        return Err(NameFault::TooLong(MAX_NAME));
    }
    readable_name(text).map(|_| text)
}

/// No control characters, and it is read in the order in which it is written.
fn read_as_written(text: &str) -> Result<(), NameFault> {
    if text.chars().any(|letter| letter.is_control() || ends_line(letter)) {
        Err(NameFault::Control)
    } else if text.chars().any(turns_direction) {
        Err(NameFault::TurnsDirection)
    } else {
        Ok(())
    }
}

/// U+2028 and U+2029 are no controls by their category (Zl, Zp), and end a line where a control does (UAX #14, BK).
const fn ends_line(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Is it one of Unicode's `Bidi_Control` (UAX #9 §2)? With them a name reads as another one, and what stands beside it on a page or in a
/// mail reads backwards. Letters bring their direction with them, and joiners, which scripts need, are none of these.
const fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Is it neither white space nor a control, nor one of those that are there for the sake of others: Unicode's
/// `Default_Ignorable_Code_Point` (`DerivedCoreProperties` 16.0) and `Cf`, some of which are letters by their category (the fillers of Hangul)? Nor
/// the pattern of Braille without a dot.
fn is_seen(letter: char) -> bool {
    let is_for_others = matches!(
        u32::from(letter),
        0xad | 0x34f
            | 0x600..=0x605
            | 0x61c
            | 0x6dd
            | 0x70f
            | 0x890..=0x891
            | 0x8e2
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x2800
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0x1_10bd
            | 0x1_10cd
            | 0x1_3430..=0x1_343f
            | 0x1_bca0..=0x1_bca3
            | 0x1_d173..=0x1_d17a
            | 0xe_0000..=0xe_0fff
    );
    !is_for_others && !letter.is_whitespace() && !letter.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("a\u{2028}b", NameFault::Control),
            ("a\u{2029}b", NameFault::Control),
            ("\u{200b}", NameFault::Invisible),
            ("\u{200d}\u{a0}\u{fe0f}", NameFault::Invisible),
            ("\u{3164}", NameFault::Invisible),
            ("\u{2800}", NameFault::Invisible),
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

    #[test]
    fn what_another_system_calls_something_is_kept_to_the_letter_and_judged_like_a_name() {
        for good in [" grp\u{200b}-1 ", &"ä".repeat(MAX_NAME)] {
            assert_eq!(foreign_name(good), Ok(good));
        }
        for (bad, fault) in [
            ("", NameFault::Empty),
            (" ", NameFault::Empty),
            ("\u{200b}", NameFault::Invisible),
            (" \u{3164} ", NameFault::Invisible),
            ("grp\u{2028}1", NameFault::Control),
            ("g\nrp", NameFault::Control),
            ("grp\n", NameFault::Control),
            ("\u{202e}1-prg", NameFault::TurnsDirection),
            (&format!(" {}", "x".repeat(MAX_NAME)), NameFault::TooLong(MAX_NAME)),
        ] {
            assert_eq!(foreign_name(bad), Err(fault), "{bad:?}");
        }
    }

    proptest! {
        // By tables that are not ours.
        #[test]
        fn what_nobody_sees_is_no_name(text in "[\\p{Default_Ignorable_Code_Point}\\p{Cf}\\p{White_Space}\\p{Cc}]{0,20}") {
            prop_assert!(readable_name(&text).is_err());
        }

        #[test]
        fn what_somebody_sees_is_a_name(text in "[[\\p{L}\\p{N}\\p{P}\\p{S}]--[\\p{Default_Ignorable_Code_Point}\u{2800}]]{1,20}") {
            prop_assert_eq!(readable_name(&text), Ok(&*text));
        }

        #[test]
        fn one_character_that_is_seen_is_enough(before in "\\p{Cf}{0,5}", after in "\\p{Cf}{0,5}") {
            prop_assume!(read_as_written(&format!("{before}{after}")).is_ok());
            let name = format!("{before}x{after}");
            prop_assert!(readable_name(&name).is_ok());
        }
    }
}
