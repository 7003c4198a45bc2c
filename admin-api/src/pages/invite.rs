//! `/account/accept-invite`, where the link in an invitation leads.

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
    sign_up::new_password,
};
use crate::{
    office::Office,
    routes::accept_invite::{self, AcceptInvite},
};

#[derive(Deserialize)]
pub(super) struct Taken {
    token: SecretText,
    password: SecretText,
    #[serde(default)]
    name: String,
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    shown: Result<Query<WithToken>, QueryRejection>,
) -> Response {
    match shown {
        Ok(Query(shown)) => form(&office, &shown.token, "").show(&office),
        Err(_) => no_token(&office, "/account/sign-in"),
    }
}

pub(super) async fn post(
    State(office): State<Arc<Office>>,
    Posted(Taken { token, password, name }): Posted<Taken>,
) -> Response {
    let written = Some(name.clone()).filter(|name| !name.trim().is_empty());
    let wanted = AcceptInvite { token, password, name: written };
    match accept_invite::accept(&office, &wanted).await {
        Ok(_) => frame::go("/account/sign-in?notice=accepted", HeaderMap::new()),
        Err(error) => form(&office, &wanted.token, &name).again(&office, &error),
    }
}

fn form<'a>(office: &Office, token: &SecretText, name: &str) -> FormPage<'a> {
    let name = Field {
        name: "name",
        label: "Your name",
        kind: "text",
        autocomplete: "name",
        value: name.to_owned(),
        hint: Some("You need not say.".to_owned()),
        ..Field::default()
    };
    FormPage {
        title: "Take over your account",
        action: "/account/accept-invite",
        hidden: vec![("token", token.expose().to_owned())],
        fields: vec![new_password(office, "password"), name],
        submit: "Take it over",
        links: vec![("/account/sign-in", "Sign in")],
        ..FormPage::default()
    }
}
