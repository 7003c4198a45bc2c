//! What others say of somebody, as far as it may be kept and shown.

/// Bytes of a subject at most.
const LONGEST_SUBJECT: usize = 255;

/// One that may be kept and shown, as login providers' are (`OpenID` Connect Core §2: 255 characters of ASCII).
pub(super) fn is_plain_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control)
}

/// One line of a bounded length, as a name at registration.
pub(super) fn plain_name(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control)).then(|| text.to_owned())
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
}
