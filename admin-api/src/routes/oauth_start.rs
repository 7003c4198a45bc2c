//! `GET /auth/oauth/{provider}`: a browser goes to log in at somebody else's.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use policies::ReturnTo;
use serde::Deserialize;

use crate::{
    oauth::{self, Beginning},
    office::Office,
    pages,
    visitor::Visitor,
};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// What the link says that led here.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    return_to: Option<String>,
    link: Option<String>,
    fresh: Option<String>,
}

/// Sends a browser to a login provider. It comes back at `/auth/oauth/{provider}/callback`, in ten minutes at most.
#[utoipa::path(
    get, path = "/auth/oauth/{provider}", tag = "auth",
    params(
        ("provider" = String, Path, description = "The provider's id in `[[login_providers]]`"),
        ("return_to" = Option<String>, Query, description = "Where the browser goes when it is logged in: a path of this host, else it is ignored"),
        ("link" = Option<String>, Query, description = "1: to link somebody to the account that is signed in, and not to log in"),
        ("fresh" = Option<String>, Query, description = "1: whoever is logged in at the provider is to show it anew, where the provider can ask for that"),
    ),
    responses(
        (status = 303, description = "To the provider; a browser that is not known yet is given a cookie"),
        (status = 200, description = "A page of another site, or of another host of this one, has sent the browser: here is a button", content_type = "text/html"),
        (status = 403, description = "`foreign_start`: the same, for whoever does not accept HTML"),
        (status = 404, description = "`not_found`: there is no such provider"),
        (status = 502, description = "`provider_broken`"),
        (status = 503, description = "`provider_unavailable`; see `Retry-After`"),
    )
)]
pub(crate) async fn oauth_start(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Path(provider): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Query(Wanted { return_to, link, fresh }) = wanted.unwrap_or_default();
    let return_to = return_to.as_deref().and_then(ReturnTo::parse);
    let wanted = Beginning {
        provider: &provider,
        return_to,
        is_link: link.as_deref() == Some("1"),
        is_fresh: fresh.as_deref() == Some("1"),
    };
    // Else any page could have its visitors signed in here, as whom they are at the provider, without a word (OWASP ASVS 7.6.2).
    let is_foreign = headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site" || site == "same-site");
    if is_foreign {
        return pages::ask_to_begin(&office, &headers, &wanted);
    }
    let begun = oauth::begin(&office, &visitor, wanted).await;
    pages::onward(&office, &headers, None, begun)
}
