//! That operators can look up every code, and callers read sentences.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use super::*;

/// Status and code of every face, read from where they are written, so that none can be left out here.
fn faces() -> BTreeSet<(&'static str, &'static str)> {
    let sources = [include_str!("../error.rs"), include_str!("../oauth/fault.rs")];
    let arms = sources.into_iter().flat_map(|source| source.split("=> (").skip(1));
    let arms = arms.filter(|arm| arm.starts_with(|first: char| first.is_ascii_digit()));
    arms.map(|arm| (&arm[..3], arm.split('"').nth(1).unwrap())).collect()
}

/// The rows of the account service's own table in the reference for operators.
fn rows() -> BTreeSet<(String, String)> {
    let (_, after) = reference().split_once("\n## Refusals of the account service\n").unwrap();
    let (section, _) = after.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(code, rest)| (rest[..3].to_owned(), code.to_owned())).collect()
}

const fn reference() -> &'static str {
    include_str!("../../../docs/reference.md")
}

#[test]
fn the_reference_for_operators_has_every_code_with_its_status_once() {
    let faces = faces();
    assert!(faces.contains(&("409", "email_taken")) && faces.contains(&("409", "last_way_in")) && faces.len() > 60);
    for (status, code) in &faces {
        let row = format!("\n| `{code}` | {status} | ");
        assert_eq!(reference().matches(&row).count(), 1, "{row}");
    }
    for (status, code) in rows() {
        assert!(faces.contains(&(&*status, &*code)), "nothing is refused with {status} {code}");
    }
}

#[test]
fn conflicts_are_told_in_sentences() {
    let told = |clause| ApiError::from(StoreError::Conflict(clause)).detail().into_owned();
    assert_eq!(told("another team has this name"), "Another team has this name.");
    assert_eq!(told("What is paid is not voided."), "What is paid is not voided.");
    assert_eq!(told("`key` is taken; choose another"), "`key` is taken; choose another.");
}
