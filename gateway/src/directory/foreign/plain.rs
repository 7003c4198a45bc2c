//! What others say of somebody, as far as it may be kept and shown.

use identity::readable_name_of;

/// Bytes of a subject at most.
const LONGEST_SUBJECT: usize = 255;

/// One that may be kept and shown, as login providers' are (`OpenID` Connect Core §2: 255 characters of ASCII).
pub(super) fn is_plain_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control)
}

/// Characters of a name at most.
const LONGEST_NAME: usize = 200;

/// One line of a bounded length, as a name at registration.
pub(super) fn plain_name(text: &str) -> Option<String> {
    readable_name_of(text, LONGEST_NAME).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_no_longer_than_it_may_be_and_a_text_that_can_be_shown() {
        let (longest, longer) = ("x".repeat(255), "x".repeat(256));
        for (subject, is_plain) in
            [("ada", true), (&longest, true), (&longer, false), ("", false), ("a\0b", false), ("a\nb", false)]
        {
            assert_eq!(is_plain_subject(subject), is_plain, "{subject:?}");
        }
    }

    #[test]
    fn who_is_called_what_nobody_can_read_has_no_name() {
        let (longest, longer) = ("ä".repeat(200), "ä".repeat(201));
        assert_eq!(plain_name("  Ada\u{200d} ").as_deref(), Some("Ada\u{200d}"));
        assert_eq!(plain_name(&longest), Some(longest.clone()));
        for text in ["", " ", "\u{200b}", "a\nb", "a\u{2028}b", "\u{202e}ada", &longer] {
            assert_eq!(plain_name(text), None, "{text:?}");
        }
    }
}
