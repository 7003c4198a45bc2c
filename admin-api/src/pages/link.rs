//! `/account/link`: the owner of an account agrees that somebody at a login provider is let in to it, or does not.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{
    frame::{self, FormPage},
    posted::{Meant, SignedIn},
    prove::{self, ProofForm},
};
use crate::{
    caller::Caller,
    error::ApiError,
    oauth::{self, LINK_PAGE, OauthFault, Pending},
    office::Office,
    visitor::Visitor,
};

/// Where ways to sign in are listed.
pub(super) const IDENTITIES: &str = "/account/identities";

/// The same for who does not agree.
const DECLINED: &str = "/account/identities?declined";

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    headers: HeaderMap,
    who: SignedIn,
) -> Response {
    let asked = async {
        let pending = oauth::pending(&office, &visitor, &headers, who.principal.account).await?;
        let already = office.store.external_grant(pending.id()).await?;
        if let Some(facts) = already {
            if facts.account.id != who.principal.account {
                return Err(OauthFault::IdentityTaken.into());
            }
            // What an issuer has linked on its own word is still to be agreed to.
            if office.store.is_agreed(pending.id()).await? {
                return Ok(frame::go(IDENTITIES, HeaderMap::new()));
            }
        }
        let fresh = ProofForm::default().proof().by(&Caller(who.principal.clone()), &visitor, &office).await;
        form(&office, &who, &pending, fresh.as_ref().err(), false).await
    };
    asked.await.unwrap_or_else(|error| frame::failed(&office, &error))
}

pub(super) async fn agree(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    headers: HeaderMap,
    Meant { who, form: shown }: Meant<ProofForm>,
) -> Response {
    let asked = async {
        let pending = oauth::pending(&office, &visitor, &headers, who.principal.account).await?;
        let caller = Caller(who.principal.clone());
        match oauth::link(&office, &visitor, &caller, &pending, &shown.proof()).await {
            Ok(cookies) => Ok(frame::go(IDENTITIES, cookies)),
            Err(error) if prove::is_asking(&error) => form(&office, &who, &pending, Some(&error), true).await,
            Err(error) => Err(error),
        }
    };
    asked.await.unwrap_or_else(|error| frame::failed(&office, &error))
}

/// Asks the owner. What is still to be shown is asked for at once; that it is missing is an error only to who has pressed the button.
async fn form(
    office: &Office,
    who: &SignedIn,
    pending: &Pending,
    refused: Option<&ApiError>,
    is_sent: bool,
) -> Result<Response, ApiError> {
    let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
    if !account.is_verified {
        return Err(ApiError::EmailUnverified);
    }
    let label = &office.provider(&pending.provider)?.label;
    let title = format!("Link {label} to your account");
    let intro = format!(
        "{label} says that you are {}. If you agree, whoever signs in there so is let in to the account {} from now on.",
        pending.email, account.email
    );
    let page = FormPage {
        title: &title,
        intro: Some(&intro),
        action: LINK_PAGE,
        csrf: Some(who.csrf()),
        fields: prove::fields(office, account.id, refused).await?,
        submit: "Link",
        links: vec![(DECLINED, "Do not link")],
        ..FormPage::default()
    };
    Ok(match refused.filter(|_| is_sent) {
        Some(error) => page.again(office, error),
        None => page.show(office),
    })
}
