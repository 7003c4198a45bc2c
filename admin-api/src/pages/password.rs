//! `/account/forgot-password` and `/account/reset-password`, where the link in the mail leads.

use std::sync::Arc;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use identity::SecretText;
use serde::Deserialize;

use super::{
    confirm::{WithToken, no_token},
    frame::{self, Field, FormPage},
    posted::Posted,
    sign_up::{CHECK_MAIL, new_password},
};
use crate::{
    office::Office,
    routes::{
        request_password_reset,
        resend_verification::ForAddress,
        reset_password::{self, ResetPassword},
    },
};

#[derive(Deserialize)]
pub(super) struct NewPassword {
    token: SecretText,
    new_password: SecretText,
}

pub(super) async fn show_forgot(State(office): State<Arc<Office>>) -> Response {
    forgot("").show(&office)
}

pub(super) async fn post_forgot(State(office): State<Arc<Office>>, Posted(request): Posted<ForAddress>) -> Response {
    match request_password_reset::ask(&office, &request).await {
        Ok(()) => frame::go(CHECK_MAIL, HeaderMap::new()),
        Err(error) => forgot(&request.email).again(&office, &error),
    }
}

pub(super) async fn show_reset(
    State(office): State<Arc<Office>>,
    shown: Result<Query<WithToken>, QueryRejection>,
) -> Response {
    match shown {
        Ok(Query(shown)) => reset(&office, &shown.token).show(&office),
        Err(_) => no_token(&office, "/account/forgot-password"),
    }
}

pub(super) async fn post_reset(State(office): State<Arc<Office>>, Posted(request): Posted<NewPassword>) -> Response {
    let NewPassword { token, new_password } = request;
    let wanted = ResetPassword { token, new_password };
    match reset_password::change(&office, &wanted).await {
        Ok(_) => frame::go("/account/sign-in?notice=password", HeaderMap::new()),
        Err(error) => reset(&office, &wanted.token).again(&office, &error),
    }
}

fn forgot<'a>(email: &str) -> FormPage<'a> {
    FormPage {
        title: "Choose a new password",
        intro: Some("A mail with a link goes to your address. With it you can choose another password."),
        action: "/account/forgot-password",
        fields: vec![Field::email(email)],
        submit: "Send the mail",
        links: vec![("/account/sign-in", "Sign in")],
        ..FormPage::default()
    }
}

fn reset<'a>(office: &Office, token: &SecretText) -> FormPage<'a> {
    let password = Field { label: "New password", ..new_password(office, "new_password") };
    FormPage {
        title: "Choose a new password",
        intro: Some("Every session of the account ends with it."),
        action: "/account/reset-password",
        hidden: vec![("token", token.expose().to_owned())],
        fields: vec![password],
        submit: "Set the password",
        links: vec![("/account/forgot-password", "Ask for another mail")],
        ..FormPage::default()
    }
}
