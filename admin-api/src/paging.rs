//! Which page of a list is asked for: `cursor` and `limit`, and whatever else a list can be asked by.

use std::str::FromStr;

use axum::{extract::Query, http::Uri};
use identity::AccountId;
use policies::problem::FieldError;
use store::Cursor;

use crate::error::ApiError;

/// Items on a page when nobody says how many, and at most.
pub(crate) const LIMIT: u32 = 50;
pub(crate) const MAX_LIMIT: u32 = 200;

/// No text that is kept has any, and not every database takes them (Postgres: NUL).
pub(crate) const NO_CONTROLS: &str = "must hold no control characters";

/// Which page.
pub(crate) struct Paging {
    pub(crate) after: Option<Cursor>,
    pub(crate) limit: u32,
}

// === impl Paging ===

impl Paging {
    /// Of a list that has no filters.
    pub(crate) fn read(uri: &Uri) -> Result<Self, ApiError> {
        Self::read_with(uri, &[]).map(|(paging, _)| paging)
    }

    /// Of a list that was whole before it had pages: whoever asks for none of them gets as much of it as one may have.
    pub(crate) fn read_of_whole(uri: &Uri) -> Result<Self, ApiError> {
        Self::read_by(uri, &[], MAX_LIMIT).map(|(paging, _)| paging)
    }

    /// Of everybody's, or of one account's: `account_id`.
    pub(crate) fn read_of_account(uri: &Uri) -> Result<(Self, Option<AccountId>), ApiError> {
        let (paging, values) = Self::read_with(uri, &["account_id"])?;
        let account = values.into_iter().flatten().next().map(|text| text.parse());
        Ok((paging, account.transpose().map_err(|_| wrong("account_id", "must be an id"))?))
    }

    /// And the values of its filters, in the order of their names. A parameter that we do not know or that is given twice is refused: it
    /// may be a filter somebody counts on.
    pub(crate) fn read_with(uri: &Uri, filters: &[&str]) -> Result<(Self, Vec<Option<String>>), ApiError> {
        Self::read_by(uri, filters, LIMIT)
    }

    fn read_by(uri: &Uri, filters: &[&str], by_default: u32) -> Result<(Self, Vec<Option<String>>), ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
        let (mut after, mut limit, mut values) = (None, None, vec![None; filters.len()]);
        for (name, value) in pairs {
            if value.chars().any(char::is_control) {
                return Err(wrong(&name, NO_CONTROLS));
            }
            let given_before = match name.as_str() {
                "cursor" => after
                    .replace(value.parse::<Cursor>().map_err(|_| wrong(&name, "must be a `next_cursor` of ours"))?)
                    .is_some(),
                "limit" => {
                    let value = value.parse().ok().filter(|value| (1..=MAX_LIMIT).contains(value));
                    limit.replace(value.ok_or_else(|| wrong(&name, "must be a number between 1 and 200"))?).is_some()
                }
                other => {
                    let Some(at) = filters.iter().position(|filter| *filter == other) else {
                        let known = [&["cursor", "limit"], filters].concat().join(", ");
                        return Err(wrong(&name, &format!("is not a parameter here; expected one of {known}")));
                    };
                    values[at].replace(value).is_some()
                }
            };
            if given_before {
                return Err(wrong(&name, "is given twice"));
            }
        }
        Ok((Self { after, limit: limit.unwrap_or(by_default) }, values))
    }
}

/// The one parameter of a query that may say nothing else.
pub(crate) fn only<T: FromStr>(uri: &Uri, name: &str) -> Result<Option<T>, ApiError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
    let mut said = None;
    for (given, value) in pairs {
        if given != name {
            return Err(wrong(&given, &format!("is not a parameter here; expected {name}")));
        }
        let value = value.parse().map_err(|_| wrong(name, "must be an id"))?;
        if said.replace(value).is_some() {
            return Err(wrong(name, "is given twice"));
        }
    }
    Ok(said)
}

/// A parameter that cannot be used.
pub(crate) fn wrong(field: &str, message: &str) -> ApiError {
    ApiError::Query(vec![FieldError { field: field.to_owned(), message: message.to_owned() }])
}
