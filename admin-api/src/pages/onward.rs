//! Where a browser goes on that begins a login at somebody else's or comes back from one, and what it is shown that goes nowhere.

use axum::{
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use policies::ReturnTo;

use super::{frame, second_factor};
use crate::{error::ApiError, office::Office};

/// Sends a browser on, or says why not: on a page to whoever goes to pages, else as a problem.
pub(crate) fn onward(
    office: &Office,
    headers: &HeaderMap,
    back: Option<&ReturnTo>,
    came: Result<(HeaderMap, String), ApiError>,
) -> Response {
    match came {
        Ok((cookies, to)) => frame::go(&to, cookies),
        Err(error) if takes_html(headers) => second_factor::ask(office, &error, back.map(ReturnTo::as_str))
            .unwrap_or_else(|| frame::failed(office, &error)),
        Err(error) => error.into_response(),
    }
}

fn takes_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")))
}
