//! `limits = [{ per = "user", requests = ["20/second", "500/minute"], concurrent = 20 }]`, of a tier or a route.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::Placed;
use super::document::Document;
use super::raw::RawLimit;
use crate::{Kind, Limit, Owner, Per, Quota};

/// The limits, in the file's order; what is not one is noted.
pub(super) fn build(file: &mut Document<'_>, owner: Owner<'_>, raw: Vec<Placed<RawLimit>>) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut seen = BTreeSet::new();
    for raw in raw {
        let span = raw.span();
        let raw = raw.into_inner();
        if raw.requests.is_none() && raw.concurrent.is_none() {
            file.note(span, "nothing is limited: write `requests` or `concurrent`");
        }
        let per = raw.per.into();
        let max_overshoot = max_overshoot(file, &raw);
        for (span, kind) in kinds(file, raw) {
            let limit = Limit { max_overshoot, ..Limit::new(owner, per, kind) };
            if !seen.insert(limit.id) {
                file.note(span, format!("there is another limit of the same kind and length per {per}"));
            }
            limits.push(limit);
        }
    }
    limits
}

fn max_overshoot(file: &mut Document<'_>, raw: &RawLimit) -> u32 {
    let Some(given) = &raw.max_overshoot else { return 0 };
    if raw.requests.is_none() {
        file.note(given.span(), "only `requests` can be overshot");
    }
    u32::try_from(**given).unwrap_or_else(|_| {
        file.note(given.span(), "not a whole number of requests from 0 to 4294967295");
        0
    })
}

/// Each with the place it is written at.
fn kinds(file: &mut Document<'_>, raw: RawLimit) -> Vec<(Range<usize>, Kind)> {
    let mut kinds = Vec::new();
    let list = raw.requests.map(|requests| (requests.span(), requests.into_words()));
    let (span, words) = list.unwrap_or_default();
    if words.is_empty() && !span.is_empty() {
        file.note(span, "an empty list limits nothing: write \"unlimited\", or leave it out");
    }
    for text in words {
        match Quota::parse(&text) {
            Ok(quota) => kinds.extend(quota.map(|quota| (text.span(), Kind::Requests(quota)))),
            Err(error) => file.note(text.span(), error.to_string()),
        }
    }
    if let Some(concurrent) = raw.concurrent {
        match u32::try_from(*concurrent) {
            Ok(number @ 1..) => kinds.push((concurrent.span(), Kind::Concurrent(number))),
            _ => file.note(concurrent.span(), "not a whole number of requests from 1 to 4294967295"),
        }
    }
    kinds
}

/// Notes limits that would never be counted, because nobody is known where they stand.
pub(super) fn check_strangers(file: &mut Document<'_>, raw: &[Placed<RawLimit>]) {
    for raw in raw.iter().filter(|raw| Per::from(raw.per) != Per::Ip) {
        file.note(raw.span(), "with auth = \"none\" nobody is known; write per = \"ip\"");
    }
}
