//! What a form asks for where it takes the owner: a password or a code, unless the owner has been seen just now.

use axum::response::Response;
use identity::SecretText;
use serde::Deserialize;

use super::{
    frame::{self, Field, FormPage},
    posted::SignedIn,
};
use crate::{error::ApiError, office::Office, proof::Proof};

/// Digits that an authenticator shows; a recovery code is longer.
const DIGITS: usize = 6;

/// What a form shows, if it shows anything.
#[derive(Default, Deserialize)]
pub(super) struct ProofForm {
    password: Option<SecretText>,
    code: Option<SecretText>,
}

// === impl ProofForm ===

impl ProofForm {
    pub(super) fn proof(self) -> Proof {
        let given = |text: Option<SecretText>| text.filter(|text| !text.expose().trim().is_empty());
        let is_short = |code: &SecretText| code.expose().trim().chars().count() <= DIGITS;
        let (code, recovery_code) = match given(self.code) {
            Some(code) if is_short(&code) => (Some(code), None),
            code => (None, code),
        };
        Proof { password: given(self.password), code, recovery_code, passkey: None }
    }
}

/// What the owner is asked for, and where it is shown.
pub(super) struct Ask<'a> {
    /// Where what is shown is posted.
    pub(super) action: &'a str,
    pub(super) submit: &'a str,
    /// The way back.
    pub(super) back: (&'static str, &'a str),
}

/// Asks whoever was refused because they have not been seen lately for what shows that they are the owner; says any other refusal.
pub(super) async fn ask(
    office: &Office,
    who: &SignedIn,
    refused: &ApiError,
    Ask { action, submit, back }: Ask<'_>,
) -> Result<Response, ApiError> {
    if !is_asking(refused) {
        return Ok(frame::failed(office, refused));
    }
    let page = FormPage {
        title: "Show that it is you",
        intro: Some(
            "If you have nothing to show, sign out, have a link to sign in mailed to you, and come back within five minutes.",
        ),
        action,
        csrf: Some(who.csrf()),
        fields: fields(office, who.principal.account, Some(refused)).await?,
        submit,
        links: vec![back],
        ..FormPage::default()
    };
    Ok(page.again(office, refused))
}

/// What has to be filled in by whoever was refused with this.
pub(super) async fn fields<'a>(
    office: &Office,
    account: identity::AccountId,
    refused: Option<&ApiError>,
) -> Result<Vec<Field<'a>>, ApiError> {
    if !refused.is_some_and(is_asking) {
        return Ok(Vec::new());
    }
    let has_factor = !office.store.factors(account).await?.is_empty();
    let code = Field {
        name: "code",
        label: "Code of your authenticator, or a recovery code",
        kind: "text",
        autocomplete: "one-time-code",
        is_required: true,
        ..Field::default()
    };
    Ok(vec![if has_factor { code } else { Field::password() }])
}

/// Can it be mended by showing something?
pub(super) fn is_asking(error: &ApiError) -> bool {
    matches!(error, ApiError::NotFresh(_) | ApiError::WrongProof | ApiError::Fields(_) | ApiError::Locked(_))
}
