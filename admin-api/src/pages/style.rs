//! `/account/style.css`: the one style sheet, in the platform's colour.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{error::ApiError, office::Office};

const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=300");

#[derive(Template)]
#[template(path = "pages/style.css", escape = "none")]
struct Style {
    accent: String,
    ink: &'static str,
}

pub(super) async fn show(State(office): State<Arc<Office>>) -> Result<Response, ApiError> {
    let accent = office.settings.pages.accent;
    let style = Style { accent: accent.to_string(), ink: accent.ink() };
    let css = style.render().map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CSS), (header::CACHE_CONTROL, SHORT)], css).into_response())
}
