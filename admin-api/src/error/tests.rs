//! That operators can look up every code, that it has one title, and that callers read sentences.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::oauth::ProviderFault;

/// Where the office says no.
const OURS: [&str; 2] = [include_str!("../error.rs"), include_str!("../oauth/fault.rs")];
/// Where the door does.
const THE_DOORS: &str = include_str!("../../../policies/src/refusal.rs");

/// Status, code and title of every face, read from where they are written, so that none can be left out here.
fn faces(source: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let arms = source.split('(').filter(|arm| arm.get(3..6) == Some(", \""));
    arms.map(|arm| {
        let mut texts = arm.split('"').skip(1).step_by(2);
        (&arm[..3], texts.next().unwrap(), texts.next().unwrap())
    })
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
    let faces: BTreeSet<_> = OURS.into_iter().flat_map(faces).map(|(status, code, _)| (status, code)).collect();
    assert!(faces.contains(&("409", "email_taken")) && faces.contains(&("409", "last_way_in")) && faces.len() > 60);
    for (status, code) in &faces {
        let row = format!("\n| `{code}` | {status} | ");
        assert_eq!(reference().matches(&row).count(), 1, "{row}");
    }
    for (status, code) in rows() {
        assert!(faces.contains(&(&*status, &*code)), "nothing is refused with {status} {code}");
    }
}

/// RFC 9457 §3.1.4: a title does not change from occurrence to occurrence of a type.
#[test]
fn a_code_has_one_title_wherever_it_is_said() {
    let mut titles = BTreeMap::new();
    for (_, code, title) in OURS.into_iter().chain([THE_DOORS]).flat_map(faces) {
        assert_eq!(*titles.entry(code).or_insert(title), title, "{code}");
    }
    assert!(titles.len() > 80, "{}", titles.len());
}

#[test]
fn conflicts_are_told_in_sentences() {
    let told = |clause| ApiError::from(StoreError::Conflict(clause)).detail().into_owned();
    assert_eq!(told("another team has this name"), "Another team has this name.");
    assert_eq!(told("What is paid is not voided."), "What is paid is not voided.");
    assert_eq!(told("`key` is taken; choose another"), "`key` is taken; choose another.");
}

#[test]
fn whoever_could_not_be_served_now_is_told_when_to_come_again() {
    let away = ApiError::Oauth(OauthFault::Provider(ProviderFault::Away));
    for error in [ApiError::Busy, ApiError::StoreAway(String::new()), away] {
        assert_eq!(error.retry_after(), Some(COME_AGAIN), "{error}");
    }
    assert_eq!(ApiError::Locked(7).retry_after(), Some(7));
    assert_eq!([ApiError::Unreadable, ApiError::LastOwner].map(|error| error.retry_after()), [None, None]);
}
