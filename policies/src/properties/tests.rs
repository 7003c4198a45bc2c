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
fn the_canonical_path_is_what_was_judged_and_what_is_forwarded() {
    hold("canonical_path", super::canonical_path);
}

#[test]
fn a_header_is_reserved_by_its_folded_name_alone() {
    hold("folded_header", super::folded_header);
}

#[test]
fn the_table_finds_what_a_naive_reading_of_the_patterns_finds() {
    hold("route_matcher", super::route_matcher);
}

#[test]
fn whatever_the_files_say_they_are_read_or_told_what_is_wrong() {
    hold("policy_files", super::policy_files);
}
