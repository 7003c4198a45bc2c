//! `cors = { origins = […], … }` → [`Cors`].

use super::document::Document;
use super::raw::RawCors;
use super::{Placed, routes};
use crate::cors::CorsError;
use crate::{Cors, Methods};

/// The rules of a route that takes these methods; what cannot be is noted.
pub(super) fn build(file: &mut Document<'_>, raw: &RawCors, route: Methods) -> Option<Cors> {
    let methods = raw.methods.as_ref().map_or(Some(route), |words| routes::methods(file, words))?;
    let credentials = raw.credentials.as_ref().is_some_and(|credentials| **credentials);
    let (origins, headers) =
        (raw.origins.iter().map(|word| word.as_str()), raw.headers.iter().map(|word| word.as_str()));
    let cors = Cors::new(origins, methods, headers, credentials, raw.max_age.0);
    cors.map_err(|error| {
        let span = match &error {
            CorsError::AnyWithCredentials => raw.credentials.as_ref().map(Placed::span),
            CorsError::Origin(text) => raw.origins.iter().find(|word| ***word == **text).map(Placed::span),
            CorsError::Header(text) => raw.headers.iter().find(|word| ***word == **text).map(Placed::span),
            CorsError::NoOrigin => None,
        };
        file.note(span.unwrap_or_else(|| raw.origins.span()), error.to_string());
    })
    .ok()
}
