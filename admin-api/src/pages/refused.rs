//! The page in the place of a problem of the door's, for somebody who went to a page: the door has none of its own.

use askama::Template;
use axum::http::{HeaderName, HeaderValue};
use policies::Problem;

use super::frame;

#[derive(Template)]
#[template(path = "pages/refused.html")]
struct Refused<'a> {
    product: &'a str,
    problem: &'a Problem,
}

/// Fields and text of a page that says what a problem says, and looks as every page does; `None`: it cannot be made.
#[must_use]
pub fn refused_page(product: &str, problem: &Problem) -> Option<([(HeaderName, HeaderValue); 3], String)> {
    let html = Refused { product, problem }.render().ok()?;
    Some((frame::fields(), html))
}
