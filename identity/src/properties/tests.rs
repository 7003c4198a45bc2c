//! The properties over the committed corpora.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, path::Path};

/// Runs a property over each file of a corpus, which must hold some.
fn hold(corpus: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "the corpus {corpus} is all but empty");
    for file in files {
        let seed = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| property(&seed));
        assert!(held.is_ok(), "{} breaks the property", file.display());
    }
}

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
