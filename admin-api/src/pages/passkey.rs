//! `/account/sign-in/passkey` and `/account/sign-in/second-passkey`: what a passkey has answered, alone or after a password.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use identity::SecretText;
use policies::ReturnTo;
use serde::Deserialize;
use serde_json::Value;

use super::{
    frame::{self, PasskeyForm},
    posted::Posted,
    second_factor,
    sign_in::{self, HOME},
};
use crate::{
    error::ApiError,
    issue::SessionKind,
    json,
    office::Office,
    routes::{
        passkey_login::{self, PasskeyLogin},
        verify_factor::{self, VerifyFactor},
    },
    visitor::Visitor,
};

#[derive(Deserialize)]
pub(super) struct Alone {
    challenge: SecretText,
    credential: String,
    return_to: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Second {
    token: SecretText,
    credential: String,
    return_to: Option<String>,
}

pub(super) async fn sign_in(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(Alone { challenge, credential, return_to }): Posted<Alone>,
) -> Response {
    let done = match read(&credential) {
        Ok(credential) => {
            let login = PasskeyLogin { challenge, credential, session: SessionKind::Cookie };
            passkey_login::log_in(&office, &visitor, &login).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok((cookies, _)) => on(return_to.as_deref(), cookies),
        Err(error) => sign_in::form(&office, "", return_to.as_deref()).again(&office, &error),
    }
}

pub(super) async fn second_step(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Posted(Second { token, credential, return_to }): Posted<Second>,
) -> Response {
    let credential = match read(&credential) {
        Ok(credential) => Some(credential),
        Err(error) => return sign_in::form(&office, "", return_to.as_deref()).again(&office, &error),
    };
    let shown =
        VerifyFactor { mfa_token: token, code: None, recovery_code: None, credential, session: SessionKind::Cookie };
    match verify_factor::log_in(&office, &visitor, &shown).await {
        Ok((cookies, _)) => on(return_to.as_deref(), cookies),
        Err(error @ ApiError::MfaTokenRefused) => {
            sign_in::form(&office, "", return_to.as_deref()).again(&office, &error)
        }
        Err(error) => second_factor::form(&shown.mfa_token, return_to.as_deref(), true).again(&office, &error),
    }
}

/// The form on the page of whoever signs in; none where browsers have no passkeys for us.
pub(super) fn form<'a>(office: &Office, return_to: Option<&str>) -> Option<PasskeyForm<'a>> {
    office.passkeys.are_possible().then(|| PasskeyForm {
        ask: "/auth/passkey/options",
        action: "/account/sign-in/passkey",
        hidden: back(return_to),
        submit: "Sign in with a passkey",
        makes: false,
    })
}

/// The form on the page of whoever has shown the first factor.
pub(super) fn second_form<'a>(token: &SecretText, return_to: Option<&str>) -> PasskeyForm<'a> {
    PasskeyForm {
        ask: "/auth/mfa/passkeys/options",
        action: "/account/sign-in/second-passkey",
        hidden: [("token", token.expose().to_owned())].into_iter().chain(back(return_to)).collect(),
        submit: "Use a passkey",
        makes: false,
    }
}

/// What the script has written into the form, with the limits of every other JSON.
pub(super) fn read(credential: &str) -> Result<Value, ApiError> {
    Ok(json::parse(credential.as_bytes())?)
}

fn back<'a>(return_to: Option<&str>) -> Vec<(&'a str, String)> {
    let back = return_to.and_then(ReturnTo::parse).map(|back| ("return_to", back.as_str().to_owned()));
    back.into_iter().collect()
}

fn on(return_to: Option<&str>, cookies: HeaderMap) -> Response {
    let back = return_to.and_then(ReturnTo::parse);
    frame::go(back.as_ref().map_or(HOME, ReturnTo::as_str), cookies)
}
