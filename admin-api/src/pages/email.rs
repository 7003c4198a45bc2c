//! `/account/email`, where somebody asks for another address, and `/account/confirm-email`, where the link in the mail leads.

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
    posted::{Meant, Posted, SignedIn},
    prove::{self, ProofForm},
    sign_up::CHECK_MAIL,
};
use crate::{
    caller::Caller,
    error::ApiError,
    office::Office,
    proof::Proof,
    routes::{
        change_email::{self, ChangeEmail},
        confirm_email,
    },
    visitor::Visitor,
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    new_email: String,
    #[serde(flatten)]
    proof: ProofForm,
}

pub(super) async fn show(State(office): State<Arc<Office>>, visitor: Visitor, who: SignedIn) -> Response {
    match form(&office, &who, &visitor, "", None).await {
        Ok(page) => page.show(&office),
        Err(error) => frame::failed(&office, &error),
    }
}

pub(super) async fn ask(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: Wanted { new_email, proof } }: Meant<Wanted>,
) -> Response {
    let written = new_email.clone();
    let Proof { password, code, recovery_code, passkey } = proof.proof();
    let wanted = ChangeEmail { new_email, password, code, recovery_code, passkey };
    match change_email::ask(&office, &Caller(who.principal.clone()), &visitor, wanted).await {
        Ok(()) => frame::go(CHECK_MAIL, HeaderMap::new()),
        Err(error) => match form(&office, &who, &visitor, &written, Some(&error)).await {
            Ok(page) => page.again(&office, &error),
            Err(error) => frame::failed(&office, &error),
        },
    }
}

pub(super) async fn show_confirm(
    State(office): State<Arc<Office>>,
    shown: Result<Query<WithToken>, QueryRejection>,
) -> Response {
    match shown {
        Ok(Query(shown)) => confirm(&shown.token).show(&office),
        Err(_) => no_token(&office, "/account/email"),
    }
}

pub(super) async fn post_confirm(State(office): State<Arc<Office>>, Posted(shown): Posted<WithToken>) -> Response {
    match confirm_email::confirm(&office, shown.token.expose()).await {
        Ok(_) => frame::go("/account/sign-in?notice=address", HeaderMap::new()),
        Err(error) => confirm(&shown.token).again(&office, &error),
    }
}

/// What is still to be shown is asked for at once, and again if it was wrong.
async fn form<'a>(
    office: &Office,
    who: &SignedIn,
    visitor: &Visitor,
    email: &str,
    refused: Option<&ApiError>,
) -> Result<FormPage<'a>, ApiError> {
    let fresh = Proof::default().by(&Caller(who.principal.clone()), visitor, office).await;
    let is_wrong = |error: &&ApiError| matches!(error, ApiError::WrongProof | ApiError::Locked(_));
    let refused = refused.filter(is_wrong).or(fresh.as_ref().err());
    let mut fields =
        vec![Field { name: "new_email", label: "New e-mail address", autocomplete: "email", ..Field::email(email) }];
    fields.extend(prove::fields(office, who.principal.account, refused).await?);
    Ok(FormPage {
        title: "Change your address",
        intro: Some(
            "A mail with a link goes to the new address. With it the account has that address, and its other sessions end.",
        ),
        action: "/account/email",
        csrf: Some(who.csrf()),
        here: "email",
        fields,
        submit: "Send the mail",
        ..FormPage::default()
    })
}

fn confirm<'a>(token: &SecretText) -> FormPage<'a> {
    FormPage {
        title: "Confirm your new address",
        intro: Some("Other sessions of the account end with it."),
        action: "/account/confirm-email",
        hidden: vec![("token", token.expose().to_owned())],
        submit: "Confirm",
        links: vec![("/account/email", "Ask for another mail")],
        ..FormPage::default()
    }
}
