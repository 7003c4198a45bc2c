//! Runs a property over the corpus of its fuzz target, for the unit tests of each crate that has properties.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, path::Path};

/// Runs a property over each file of a corpus, which must hold some.
pub(crate) fn hold(corpus: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "the corpus {corpus} is all but empty");
    for file in files {
        let seed = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| property(&seed));
        assert!(held.is_ok(), "{} breaks the property", file.display());
    }
}
