//! `/account/sign-in`, and `/account/sign-out`.

use std::sync::Arc;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use identity::SecretText;
use policies::ReturnTo;
use serde::Deserialize;

use super::{
    frame::{self, Field, FormPage},
    passkey,
    posted::{Meant, Posted},
    second_factor,
};
use crate::{
    issue::SessionKind,
    oauth::LINK_PAGE,
    office::Office,
    routes::{
        login::{self, Login},
        logout,
    },
    visitor::Visitor,
};

/// Where whoever has signed in goes who was on the way to nowhere else.
pub(crate) const HOME: &str = "/account/sessions";

/// Said to whoever has an account here and comes from a provider of which it does not know.
const SIGN_IN_TO_LINK: &str =
    "Sign in to your account here first, as you did before. Then you can link the other login to it.";

/// From where somebody comes. All of it is written by whoever made the link.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    return_to: Option<String>,
    /// What has happened before, by a word of ours.
    notice: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SignIn {
    email: String,
    password: SecretText,
    return_to: Option<String>,
}

/// Nothing but who it is from.
#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn show(State(office): State<Arc<Office>>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let Query(asked) = asked.unwrap_or_default();
    let to_agree = asked.return_to.as_deref() == Some(LINK_PAGE);
    let notice = asked.notice.as_deref().and_then(words_of).or(to_agree.then_some(SIGN_IN_TO_LINK));
    FormPage { notice, ..form(&office, "", asked.return_to.as_deref()) }
        .or_elsewhere(&office, asked.return_to.as_deref())
        .show(&office)
}

pub(super) async fn post(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(request): Posted<SignIn>,
) -> Response {
    let SignIn { email, password, return_to } = request;
    let login = Login { email, password, session: SessionKind::Cookie };
    match login::log_in(&office, &visitor, &login).await {
        Ok((cookies, _)) => {
            let back = return_to.as_deref().and_then(ReturnTo::parse);
            frame::go(back.as_ref().map_or(HOME, ReturnTo::as_str), cookies)
        }
        Err(error) => second_factor::ask(&office, &error, return_to.as_deref()).unwrap_or_else(|| {
            form(&office, &login.email, return_to.as_deref())
                .or_elsewhere(&office, return_to.as_deref())
                .again(&office, &error)
        }),
    }
}

pub(super) async fn sign_out(
    State(office): State<Arc<Office>>,
    Meant { who, form: Nothing {} }: Meant<Nothing>,
) -> Response {
    match logout::end(&office, &who.principal).await {
        Ok(cookies) => frame::go("/account/sign-in?notice=signed_out", cookies),
        Err(error) => frame::failed(&office, &error),
    }
}

/// Asked for by a word, so that no link makes a page say what its maker wants.
fn words_of(notice: &str) -> Option<&'static str> {
    match notice {
        "signed_out" => Some("You are signed out."),
        "confirmed" => Some("Your address is confirmed. Sign in."),
        "address" => Some("The account has the new address, and its other sessions have ended."),
        "accepted" => Some("The account is yours. Sign in."),
        "password" => Some("Your password has changed, and every session has ended. Sign in with the new one."),
        _ => None,
    }
}

pub(super) fn form<'a>(office: &Office, email: &str, return_to: Option<&str>) -> FormPage<'a> {
    let back = return_to.and_then(ReturnTo::parse).map(|back| ("return_to", back.as_str().to_owned()));
    FormPage {
        title: "Sign in",
        action: "/account/sign-in",
        hidden: back.into_iter().collect(),
        fields: vec![Field::email(email), Field::password()],
        submit: "Sign in",
        links: vec![
            ("/account/sign-up", "Make an account"),
            ("/account/forgot-password", "Choose a new password"),
            ("/account/magic-link", "Sign in with a link by mail"),
        ],
        passkey: passkey::form(office, return_to),
        ..FormPage::default()
    }
}
