//! `/account/sign-in/code`: the second step of whoever has an authenticator. It is reached from a right password or link alone, whose
//! token its form holds.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use identity::SecretText;
use policies::ReturnTo;
use serde::Deserialize;

use super::{
    frame::{self, Field, FormPage},
    passkey,
    posted::Posted,
    sign_in::{self, HOME},
};
use crate::{
    error::ApiError,
    issue::SessionKind,
    office::Office,
    routes::verify_factor::{self, VerifyFactor},
    trail::Refused,
    visitor::Visitor,
};

/// Digits that an authenticator shows; a recovery code is longer.
const DIGITS: usize = 6;

#[derive(Deserialize)]
pub(super) struct SecondStep {
    token: SecretText,
    code: SecretText,
    return_to: Option<String>,
}

/// Asks for a code whoever has shown the first factor, if that is what is wrong.
pub(super) fn ask(office: &Office, error: &ApiError, return_to: Option<&str>) -> Option<Response> {
    let ApiError::MfaRequired(challenge) = error else { return None };
    let mut response = form(challenge.token(), return_to, challenge.takes_passkeys()).show(office);
    response.extensions_mut().insert(Refused::by(error));
    Some(response)
}

/// Of what may be a code or a recovery code.
pub(super) fn is_code(shown: &SecretText) -> bool {
    shown.expose().trim().chars().count() <= DIGITS
}

pub(super) async fn post(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(request): Posted<SecondStep>,
) -> Response {
    let SecondStep { token, code, return_to } = request;
    let (code, recovery_code) = if is_code(&code) { (Some(code), None) } else { (None, Some(code)) };
    let shown = VerifyFactor { mfa_token: token, code, recovery_code, credential: None, session: SessionKind::Cookie };
    match verify_factor::log_in(&office, &visitor, &shown).await {
        Ok((cookies, _)) => {
            let back = return_to.as_deref().and_then(ReturnTo::parse);
            frame::go(back.as_ref().map_or(HOME, ReturnTo::as_str), cookies)
        }
        Err(error @ ApiError::MfaTokenRefused) => {
            sign_in::form(&office, "", return_to.as_deref()).again(&office, &error)
        }
        Err(error) => {
            let takes_passkeys = verify_factor::takes_passkeys(&office, &shown.mfa_token).await;
            form(&shown.mfa_token, return_to.as_deref(), takes_passkeys).again(&office, &error)
        }
    }
}

pub(super) fn form<'a>(token: &SecretText, return_to: Option<&str>, takes_passkeys: bool) -> FormPage<'a> {
    let back = return_to.and_then(ReturnTo::parse).map(|back| ("return_to", back.as_str().to_owned()));
    FormPage {
        title: "Your second factor",
        intro: Some("Enter what your authenticator shows, or one of your recovery codes."),
        action: "/account/sign-in/code",
        hidden: [("token", token.expose().to_owned())].into_iter().chain(back).collect(),
        fields: vec![Field {
            name: "code",
            label: "Code",
            kind: "text",
            autocomplete: "one-time-code",
            is_required: true,
            ..Field::default()
        }],
        submit: "Sign in",
        links: vec![("/account/sign-in", "Begin again")],
        passkey: takes_passkeys.then(|| passkey::second_form(token, return_to)),
        ..FormPage::default()
    }
}
