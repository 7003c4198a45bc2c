//! `/account/verify-email` and `/account/magic-link`, where links in mails lead.
//!
//! Whoever opens a link may be a program that looks for harm in mails. So a link shows a page and changes nothing; the button on it does.

use std::sync::Arc;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use identity::SecretText;
use serde::Deserialize;

use super::{
    frame::{self, Field, FormPage},
    posted::Posted,
    second_factor,
    sign_in::HOME,
    sign_up::CHECK_MAIL,
};
use crate::{
    error::ApiError,
    issue::SessionKind,
    oauth::{self, LINK_PAGE},
    office::Office,
    routes::{consume_magic_link, magic_link, resend_verification::ForAddress, verify_email},
    visitor::Visitor,
};

/// What a mail's link has shown, or its page's form.
#[derive(Deserialize)]
pub(super) struct WithToken {
    pub(super) token: SecretText,
}

pub(super) async fn show_verify(
    State(office): State<Arc<Office>>,
    shown: Result<Query<WithToken>, QueryRejection>,
) -> Response {
    match shown {
        Ok(Query(shown)) => verify(&shown.token).show(&office),
        Err(_) => no_token(&office, "/account/sign-in"),
    }
}

pub(super) async fn post_verify(State(office): State<Arc<Office>>, Posted(shown): Posted<WithToken>) -> Response {
    match verify_email::confirm(&office, shown.token.expose()).await {
        Ok(_) => frame::go("/account/sign-in?notice=confirmed", HeaderMap::new()),
        Err(error) => verify(&shown.token).again(&office, &error),
    }
}

/// With a token: the link of a mail. Without: to ask for one.
pub(super) async fn show_link(
    State(office): State<Arc<Office>>,
    shown: Result<Query<WithToken>, QueryRejection>,
) -> Response {
    match shown {
        Ok(Query(shown)) => link(&shown.token).show(&office),
        Err(_) => ask("").show(&office),
    }
}

pub(super) async fn post_link(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(request): Posted<ForAddress>,
) -> Response {
    match magic_link::ask(&office, &visitor, &request).await {
        Ok(cookies) => frame::go(CHECK_MAIL, cookies),
        Err(error) => ask(&request.email).again(&office, &error),
    }
}

pub(super) async fn consume_link(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    headers: HeaderMap,
    Posted(shown): Posted<WithToken>,
) -> Response {
    // Somebody who has come from a provider signs in to agree to a link.
    let back = oauth::has_pending(&office, &headers).then_some(LINK_PAGE);
    match consume_magic_link::log_in(&office, &visitor, shown.token.expose(), SessionKind::Cookie).await {
        Ok((cookies, _)) => frame::go(back.unwrap_or(HOME), cookies),
        Err(error) => second_factor::ask(&office, &error, back).unwrap_or_else(|| ask("").again(&office, &error)),
    }
}

/// A link that has lost its end.
pub(super) fn no_token(office: &Office, ask: &str) -> Response {
    let links = vec![(ask, "Ask for another mail")];
    FormPage { title: "This link is not whole", links, ..FormPage::default() }.again(office, &ApiError::LinkRefused)
}

fn verify<'a>(token: &SecretText) -> FormPage<'a> {
    FormPage {
        title: "Confirm your address",
        intro: Some(
            "Somebody has chosen a password for it. If that was not you, do not confirm: ask for a new password.",
        ),
        action: "/account/verify-email",
        hidden: vec![("token", token.expose().to_owned())],
        submit: "Confirm",
        links: vec![
            ("/account/sign-in", "Sign in"),
            ("/account/forgot-password", "It was not me: ask for a new password"),
        ],
        ..FormPage::default()
    }
}

fn link<'a>(token: &SecretText) -> FormPage<'a> {
    FormPage {
        title: "Sign in with your link",
        intro: Some("It serves once, in the browser in which it was asked for."),
        action: "/account/magic-link/consume",
        hidden: vec![("token", token.expose().to_owned())],
        submit: "Sign in",
        links: vec![("/account/magic-link", "Ask for another link")],
        ..FormPage::default()
    }
}

fn ask<'a>(email: &str) -> FormPage<'a> {
    FormPage {
        title: "Sign in with a link by mail",
        intro: Some("The link serves once, in this browser."),
        action: "/account/magic-link",
        fields: vec![Field::email(email)],
        submit: "Send the link",
        links: vec![("/account/sign-in", "Sign in with a password")],
        ..FormPage::default()
    }
}
