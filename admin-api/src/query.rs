//! What the query of a request says.

use std::str::FromStr;

use axum::{extract::Query, http::Uri};
use policies::problem::FieldError;

use crate::error::ApiError;

/// The parameters of a query, none of them twice.
pub(crate) struct Parameters(Vec<(String, String)>);

// === impl Parameters ===

impl Parameters {
    /// One that we do not know or that is given twice is refused: it may be a filter somebody counts on. No text that is kept has control
    /// characters, and not every database takes them (Postgres: NUL).
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
        for (at, (name, value)) in pairs.iter().enumerate() {
            if value.chars().any(char::is_control) {
                return Err(wrong(name, "must hold no control characters"));
            }
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(wrong(name, &format!("is not a parameter here; expected one of {known}")));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                return Err(wrong(name, "is given twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// As it is written.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// As `read` understands it; if that is not at all, `must` tells the caller what it has to be.
    pub(crate) fn get<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        must: &str,
    ) -> Result<Option<T>, ApiError> {
        self.text(name).map(|text| read(text).ok_or_else(|| wrong(name, must))).transpose()
    }

    /// An id of somebody or something.
    pub(crate) fn id<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.get(name, |text| text.parse().ok(), "must be an id")
    }

    /// Whether it is `true`; left out it is not.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let flag = self.get(name, |text| text.parse::<bool>().ok(), "must be true or false")?;
        Ok(flag.unwrap_or_default())
    }
}

/// A parameter that cannot be used.
pub(crate) fn wrong(field: &str, message: &str) -> ApiError {
    ApiError::Query(vec![FieldError { field: field.to_owned(), message: message.to_owned() }])
}
