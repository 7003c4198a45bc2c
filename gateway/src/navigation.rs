//! Somebody who goes to a page and has to log in first is sent to where they can, and back from there; who is refused it otherwise is
//! told so on a page. Programs get their problem.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
};
use policies::{Problem, Refusal, ReturnTo, StepUp, problem};

use crate::{answer::LocalAnswer, asked::CREDENTIALS, grpc, journey::Journey};

/// Where people log in: a page of the account service's, if `routes.toml` exposes it.
const SIGN_IN: &str = "/account/sign-in";
/// Where they add a second factor.
const SECURITY: &str = "/account/security";
/// What people meet who went to the right place: they may not, not now, or what is behind it is away.
const TOLD_ON_A_PAGE: [u16; 5] = [403, 429, 502, 503, 504];
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The way to the sign-in page, for a browser that shows pages and whose user has to log in to see this one.
pub(crate) fn to_sign_in(request: &RequestHeader, journey: &Journey, refusal: &Refusal) -> Option<LocalAnswer> {
    if refusal.status() != 401 || !is_navigation(request) {
        return None;
    }
    let inbound = journey.inbound.as_ref()?;
    let is_exposed = |page: &str| journey.rules.policy.routes.find(&inbound.host, "GET", page).is_ok();
    // Whoever has one was asked for it at the login: who lacks it has none.
    if let Refusal::InsufficientAuthentication(StepUp { acr: Some(_), max_age: None }) = refusal
        && is_exposed(SECURITY)
    {
        return Some(LocalAnswer::see_other(HeaderValue::from_static(SECURITY)));
    }
    if !is_exposed(SIGN_IN) {
        return None;
    }
    // What was posted cannot be posted again from here.
    let is_seen_again = inbound.method == Method::GET;
    let to = match request.uri.query() {
        Some(query) => format!("{}?{query}", inbound.path),
        None => inbound.path.to_string(),
    };
    let back = ReturnTo::parse(&to).filter(|_| is_seen_again);
    let back = back.map_or_else(String::new, |back| format!("?return_to={}", back.encoded()));
    HeaderValue::try_from(format!("{SIGN_IN}{back}")).ok().map(LocalAnswer::see_other)
}

/// Gives the body that says a problem, and says in `response` what it is: a page for a browser that goes to one.
pub(crate) fn write(
    problem: &Problem,
    request: &RequestHeader,
    journey: &Journey,
    response: &mut ResponseHeader,
) -> Result<Bytes> {
    let is_page = TOLD_ON_A_PAGE.contains(&problem.status) && is_navigation(request);
    if is_page && let Some((fields, html)) = admin_api::refused_page(&journey.rules.product, problem) {
        fields.into_iter().try_for_each(|(name, value)| response.insert_header(name, value))?;
        return Ok(html.into());
    }
    response.insert_header(header::CONTENT_TYPE, problem::MEDIA_TYPE)?;
    Ok(serde_json::to_vec(problem).unwrap_or_default().into())
}

/// Does a browser go to a page? It says so itself; of those that do not, GET for HTML is taken for it. Who shows a
/// credential of a program's is one.
fn is_navigation(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let navigates = match headers.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => request.method == Method::GET,
    };
    navigates
        && !CREDENTIALS.iter().any(|name| headers.contains_key(name))
        && !headers.contains_key(header::UPGRADE)
        && !grpc::is_call(request)
        && takes_html(headers)
}

/// Is HTML named among what is acceptable? Whoever takes anything (`*/*`) is no browser that goes to a page.
fn takes_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    ranges.flat_map(|accept| accept.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"))
            && !parts.any(|parameter| {
                parameter.trim_start_matches(['q', 'Q']).trim_start_matches('=').parse() == Ok(0.0_f32)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &str, fields: &[(&'static str, &'static str)]) -> bool {
        let mut request = RequestHeader::build(method, b"/", None).expect("a request");
        for (name, value) in fields {
            request.append_header(*name, *value).expect("a field");
        }
        is_navigation(&request)
    }

    const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

    #[test]
    fn who_goes_to_a_page_says_so_or_gets_html() {
        assert!(
            asks("GET", &[HTML]) && asks("GET", &[("accept", "application/json"), ("accept", "Text/HTML;level=1")])
        );
        assert!(asks("GET", &[HTML, ("sec-fetch-mode", "navigate")]));
        assert!(asks("POST", &[HTML, ("sec-fetch-mode", "navigate")]));
    }

    #[test]
    fn everybody_else_is_a_program() {
        for (method, fields) in [
            ("GET", &[][..]),
            ("GET", &[("accept", "*/*")]),
            ("GET", &[("accept", "application/json, text/html;q=0")]),
            ("GET", &[HTML, ("sec-fetch-mode", "cors")]),
            ("POST", &[HTML]),
            ("HEAD", &[HTML]),
            ("GET", &[HTML, ("upgrade", "websocket")]),
        ] {
            assert!(!asks(method, fields), "{method} {fields:?}");
        }
        for name in identity::Credential::HEADERS {
            assert!(!asks("GET", &[HTML, (name, "Bearer x")]), "{name}");
        }
    }
}
