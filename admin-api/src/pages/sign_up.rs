//! `/account/sign-up`, and `/account/check-mail`, where everybody goes who has asked for a mail.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use identity::SecretText;
use serde::Deserialize;

use super::{
    frame::{self, Field, FormPage},
    posted::Posted,
    sign_in::HOME,
};
use crate::{
    issue::SessionKind,
    office::Office,
    routes::register::{self, Register, Registered},
    visitor::Visitor,
};

pub(super) const CHECK_MAIL: &str = "/account/check-mail";

#[derive(Deserialize)]
pub(super) struct SignUp {
    email: String,
    password: SecretText,
    #[serde(default)]
    name: String,
}

pub(super) async fn show(State(office): State<Arc<Office>>) -> Response {
    form(&office, "", "").or_elsewhere(&office, None).show(&office)
}

pub(super) async fn post(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(SignUp { email, password, name }): Posted<SignUp>,
) -> Response {
    let register = Register {
        email: email.clone(),
        password,
        name: Some(name.clone()).filter(|name| !name.trim().is_empty()),
        full_name: None,
        tenant_name: None,
        session: SessionKind::Cookie,
    };
    match register::take_in(&office, &visitor, register).await {
        Ok(Registered::LoggedIn(cookies, _)) => frame::go(HOME, cookies),
        Ok(Registered::OnItsWay) => frame::go(CHECK_MAIL, HeaderMap::new()),
        Err(error) => form(&office, &email, &name).or_elsewhere(&office, None).again(&office, &error),
    }
}

/// The same whatever was asked for, and whoever asked.
pub(super) async fn check_mail(State(office): State<Arc<Office>>) -> Response {
    let page = FormPage {
        title: "Look into your mail",
        intro: Some("If there is something to tell you, a mail is on its way. Open the link in it in this browser."),
        links: vec![("/account/sign-in", "Sign in")],
        ..FormPage::default()
    };
    page.show(&office)
}

/// A password that somebody chooses.
pub(super) fn new_password<'a>(office: &Office, name: &'a str) -> Field<'a> {
    let rules = &office.settings.password_rules;
    let classes = if rules.classes { ", among them upper case, lower case and a digit" } else { "" };
    Field {
        name,
        autocomplete: "new-password",
        hint: Some(format!("{} characters or more{classes}.", rules.min_chars)),
        ..Field::password()
    }
}

fn form<'a>(office: &Office, email: &str, name: &str) -> FormPage<'a> {
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
        title: "Make an account",
        action: "/account/sign-up",
        fields: vec![Field::email(email), new_password(office, "password"), name],
        submit: "Make the account",
        links: vec![("/account/sign-in", "Sign in to an account that you have")],
        ..FormPage::default()
    }
}
