//! The properties over the committed corpora.

#[path = "../../../fuzz/hold.rs"]
mod hold;

use hold::hold;

#[test]
fn one_plain_word_is_a_credential_and_nothing_else_is() {
    hold("authorization", super::authorization);
}

#[test]
fn a_token_that_is_accepted_is_one_that_was_signed() {
    hold("token_verifier", super::token_verifier);
}

/// The property says what may be accepted; this, that something is.
#[test]
fn the_genuine_tokens_are_accepted() {
    for (token, accepted) in super::genuine() {
        assert!(accepted, "{token}");
    }
}
