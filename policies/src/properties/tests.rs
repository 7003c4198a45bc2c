//! The properties over the committed corpora.

#[path = "../../../fuzz/hold.rs"]
mod hold;

use hold::hold;

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
