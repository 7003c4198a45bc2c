//! A browser's question whether a page of another origin may send a request (Fetch §3.2.2).

use http::{HeaderMap, HeaderName, Method, header};

/// What a browser asks on behalf of a page of another origin, before it sends the request itself (Fetch §3.2.2).
pub(crate) struct Preflight<'a> {
    pub(crate) origin: &'a str,
    /// The method that the page wants to use: the one whose route has to be found.
    pub(crate) method: &'a str,
    pub(crate) headers: Option<&'a str>,
}

// === impl Preflight ===

impl<'a> Preflight<'a> {
    /// Is the request a preflight?
    pub(crate) fn read(method: &Method, headers: &'a HeaderMap) -> Option<Self> {
        if method != Method::OPTIONS {
            return None;
        }
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Some(Self {
            origin: text(header::ORIGIN)?,
            method: text(header::ACCESS_CONTROL_REQUEST_METHOD)?,
            headers: text(header::ACCESS_CONTROL_REQUEST_HEADERS),
        })
    }
}
