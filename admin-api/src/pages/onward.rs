//! Where a browser goes on that begins a login at somebody else's or comes back from one, and what it is shown that goes nowhere.

use axum::{
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use policies::ReturnTo;

use super::{
    frame::{self, FormPage},
    second_factor,
};
use crate::{
    error::ApiError,
    oauth::{Beginning, OauthFault},
    office::Office,
};

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

/// Whoever was sent to a provider by a page of somebody else's goes on by a button of ours, or not at all.
pub(crate) fn ask_to_begin(office: &Office, headers: &HeaderMap, wanted: &Beginning<'_>) -> Response {
    if !takes_html(headers) {
        return ApiError::from(OauthFault::ForeignStart).into_response();
    }
    let provider = match office.provider(wanted.provider) {
        Ok(provider) => provider,
        Err(error) => return frame::failed(office, &error),
    };
    let fields = [
        wanted.return_to.as_ref().map(|back| format!("return_to={}", back.encoded())),
        wanted.is_link.then(|| "link=1".to_owned()),
        wanted.is_fresh.then(|| "fresh=1".to_owned()),
    ];
    let query = fields.into_iter().flatten().collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    let intro = "Another site has sent you here to sign in. If that is not what you want, leave this page: nothing has happened.";
    FormPage {
        title: "Sign in?",
        intro: Some(intro),
        elsewhere: vec![(format!("/auth/oauth/{}{mark}{query}", provider.id), &*provider.label)],
        links: vec![("/account/sign-in", "Sign in in another way")],
        ..FormPage::default()
    }
    .show(office)
}

/// Whoever has signed in at a provider too long ago is shown the way to sign in there anew.
pub(crate) fn too_long_ago(office: &Office, provider: &str, back: Option<&ReturnTo>, error: &ApiError) -> Response {
    let back = back.map(|back| format!("return_to={}&", back.encoded())).unwrap_or_default();
    let provider = office.provider(provider).ok();
    FormPage {
        title: "Sign in anew",
        elsewhere: provider
            .map(|one| (format!("/auth/oauth/{}?{back}fresh=1", one.id), &*one.label))
            .into_iter()
            .collect(),
        links: vec![("/account/sign-in", "Sign in in another way")],
        ..FormPage::default()
    }
    .again(office, error)
}

pub(crate) fn takes_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")))
}
