//! `owner = "agent_instance:{id}"` of a route → [`OwnerDemand`].

use super::diagnostic::Placed;
use super::document::Document;
use super::raw::RawAuth;
use crate::{OwnerDemand, PathPattern, ResourceKind};

/// What a route demands to be the caller's. Every path has to hold the parameter, and at one place: else nobody could tell which is meant.
pub(super) fn build<'a>(
    file: &mut Document<'_>,
    auth: RawAuth,
    owner: Option<&Placed<String>>,
    admins: Option<&Placed<bool>>,
    paths: impl Iterator<Item = (&'a PathPattern, &'a Placed<String>)>,
) -> Option<OwnerDemand> {
    let Some(owner) = owner else {
        if let Some(admins) = admins {
            file.note(admins.span(), "without `owner` nothing is demanded from which administrators could be free");
        }
        return None;
    };
    if auth != RawAuth::Required {
        file.note(owner.span(), "only with auth = \"required\" there is an account that could own something");
    }
    let Some((kind, parameter)) = split(owner) else {
        file.note(owner.span(), "what is owned is a kind and a parameter of the path, such as \"agent_instance:{id}\"");
        return None;
    };
    let Some(kind) = ResourceKind::ALL.into_iter().find(|known| known.word() == kind) else {
        let known = ResourceKind::ALL.map(ResourceKind::word);
        let message = format!("there is nothing called `{kind}` that is owned; known are {}", known.join(", "));
        file.note(owner.span(), message);
        return None;
    };
    let mut places = Vec::new();
    for (path, word) in paths {
        match path.place_of(parameter) {
            Some(place) => places.push((place, word)),
            None => {
                file.note(word.span(), format!("`owner` needs the parameter {{{parameter}}}, which this path has not"));
            }
        }
    }
    let (place, _) = *places.first()?;
    if let Some((_, word)) = places.iter().find(|(other, _)| *other != place) {
        file.note(word.span(), format!("{{{parameter}}} stands at another place here than in the route's first path"));
    }
    let admins = admins.is_some_and(|admins| **admins);
    Some(OwnerDemand { kind, parameter: parameter.into(), place, admins })
}

/// `kind:{parameter}`.
fn split(owner: &Placed<String>) -> Option<(&str, &str)> {
    let (kind, parameter) = owner.split_once(':')?;
    Some((kind, parameter.strip_prefix('{')?.strip_suffix('}')?))
}
