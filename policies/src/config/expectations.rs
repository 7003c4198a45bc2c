//! `cases.toml`: `[[case]]` → [`Case`]s.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::Placed;
use super::document::Document;
use super::known::{self, Known};
use super::raw::{RawCaller, RawCase};
use crate::cases::{Answer, Caller, Case};

/// Every case, one for each request.
pub(super) fn build(file: &mut Document<'_>, known: &Known, routes: Option<&BTreeSet<String>>) -> Vec<Case> {
    let elements = file.elements::<RawCase>("case");
    elements.into_iter().filter_map(|element| element.value).flat_map(|raw| cases(file, known, routes, raw)).collect()
}

fn cases(file: &mut Document<'_>, known: &Known, routes: Option<&BTreeSet<String>>, raw: RawCase) -> Vec<Case> {
    let answer = answer(file, &raw.answer);
    let caller = raw.caller.map(|raw| caller(file, known, &raw));
    if let Some(route) = &raw.route {
        known::check(file, routes, route, "route");
    }
    let expected = raw.route.as_ref().map(Placed::span).or(raw.forwards.as_ref().map(Placed::span));
    if let (Some(Answer::Refused(_)), Some(span)) = (answer, expected) {
        file.note(span, "a request that is refused reaches no route and is not forwarded");
    }
    let requests = raw.request.span();
    let words = raw.request.into_words();
    if words.is_empty() {
        file.note(requests, "without a request nothing is tried");
    }
    let mut cases = Vec::new();
    for word in words {
        let place = file.place(&word.span());
        let Some((method, path)) = request(file, &word, word.span()) else { continue };
        cases.extend(answer.map(|answer| Case {
            name: raw.name.as_str().into(),
            place: place.into(),
            caller: caller.clone(),
            method: method.into(),
            host: raw.host.as_str().into(),
            path: path.into(),
            answer,
            route: raw.route.as_ref().map(|route| route.as_str().into()),
            forwards: raw.forwards.as_ref().map(|path| path.as_str().into()),
        }));
    }
    cases
}

/// `GET /path?query`: method and path, which may be nonsense, since that is what is tried.
fn request<'a>(file: &mut Document<'_>, text: &'a str, span: Range<usize>) -> Option<(&'a str, &'a str)> {
    let parts = text.split_once(' ').filter(|(method, path)| !method.is_empty() && !path.is_empty());
    if parts.is_none() {
        file.note(span, "a request is a method and a path, such as \"GET /health\"");
    }
    let (method, target) = parts?;
    Some((method, target.split_once('?').map_or(target, |(path, _)| path)))
}

fn answer(file: &mut Document<'_>, word: &Placed<String>) -> Option<Answer> {
    let answer = Answer::parse(word);
    if answer.is_none() {
        let known = Answer::words().collect::<Vec<_>>();
        let message = format!("a case cannot be answered `{}`; answers are {}", **word, known.join(", "));
        file.note_unknown(word, message, known);
    }
    answer
}

fn caller(file: &mut Document<'_>, known: &Known, raw: &RawCaller) -> Caller {
    known::check(file, known.roles.as_ref(), &raw.role, "role");
    known::check(file, known.tiers.as_ref(), &raw.tier, "tier");
    let scopes = raw.scopes.as_ref().map(|scopes| known::permissions(file, scopes));
    let given = raw.acr.as_ref().map(Placed::span).or(raw.auth_age.as_ref().map(Placed::span));
    if let (Some(_), Some(span)) = (&raw.scopes, given) {
        file.note(span, "an API key has no owner who has shown who they are");
    }
    Caller {
        role: raw.role.as_str().into(),
        tier: raw.tier.as_str().into(),
        scopes: scopes.map(|scopes| scopes.iter().map(Into::into).collect()),
        acr: raw.acr.as_deref().map(|acr| (*acr).into()),
        auth_age: raw.auth_age.as_ref().map(|age| age.0).unwrap_or_default(),
        owns: raw.owns.unwrap_or_default(),
    }
}
