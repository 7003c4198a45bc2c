//! `rewrite = { "/api/auth" = "/auth" }` → [`Rewrite`].

use std::collections::BTreeMap;

use super::diagnostic::Placed;
use super::document::Document;
use crate::pattern::Segment;
use crate::route::RewriteError;
use crate::{PathPattern, Rewrite, path};

/// The rewrite of a route with these paths; what cannot be, or would never happen, is noted.
pub(super) fn build(
    file: &mut Document<'_>,
    raw: &BTreeMap<Placed<String>, Placed<String>>,
    paths: &[PathPattern],
) -> Rewrite {
    let mut pairs = Vec::new();
    for (from, to) in raw {
        match Rewrite::parse([(from.as_str(), to.as_str())]) {
            Err(error) => {
                let is_from = mentions(&error, from);
                file.note(if is_from { from.span() } else { to.span() }, error.to_string());
            }
            Ok(_) if !paths.iter().any(|pattern| reaches(pattern, from)) => {
                file.note(from.span(), format!("no path of this route begins with `{}`", **from));
            }
            Ok(_) => pairs.push((from.as_str(), to.as_str())),
        }
    }
    Rewrite::parse(pairs).unwrap_or_else(|error| {
        let span = raw.keys().next().map(Placed::span).unwrap_or_default();
        file.note(span, error.to_string());
        Rewrite::default()
    })
}

/// Whether the error is about this text rather than the other of its pair.
fn mentions(error: &RewriteError, text: &str) -> bool {
    match error {
        RewriteError::Path { path, .. } => **path == *text,
        RewriteError::Spelling(_) => path::normalise(text).is_ok_and(|canonical| canonical != text),
        RewriteError::Twice(_) => true,
    }
}

/// Whether some path of the pattern begins with the prefix.
fn reaches(pattern: &PathPattern, prefix: &str) -> bool {
    let mut prefix = prefix.split('/').filter(|segment| !segment.is_empty());
    let matches = |(segment, word): (&Segment, &str)| match segment {
        Segment::Literal(literal) => **literal == *path::plain(word),
        Segment::Any => true,
    };
    let is_along = pattern.segments.iter().zip(&mut prefix).all(matches);
    is_along && (pattern.is_open || prefix.next().is_none())
}
