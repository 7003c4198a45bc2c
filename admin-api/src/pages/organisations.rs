//! `/account/organisations`: to which organisations somebody belongs and in which this browser acts; who asks them to belong to another one.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;

use super::{
    frame,
    posted::{Meant, SignedIn},
};
use crate::{caller::Caller, error::ApiError, office::Office, routes};

const ORGANISATIONS: &str = "/account/organisations";

#[derive(Template)]
#[template(path = "pages/organisations.html")]
struct OrganisationsPage<'a> {
    product: &'a str,
    here: &'static str,
    csrf: String,
    is_verified: bool,
    organisations: Vec<Organisation>,
    invitations: Vec<Asked>,
}

struct Organisation {
    id: String,
    name: String,
    role: &'static str,
    is_current: bool,
}

struct Asked {
    id: String,
    name: String,
    role: &'static str,
    by: String,
}

/// Invitations on the page: the latest. Whoever has answered those sees the ones before.
const SHOWN: u32 = 200;

/// A button without anything else.
#[derive(Deserialize)]
pub(super) struct Pressed {}

pub(super) async fn show(State(office): State<Arc<Office>>, who: SignedIn) -> Response {
    let shown = async {
        let now = office.now();
        let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
        let organisations = office.store.tenants_of(account.id).await?.into_iter().map(|(tenant, role)| Organisation {
            is_current: who.principal.tenant == Some(tenant.id),
            id: tenant.id.to_string(),
            name: tenant.name,
            role: role.word(),
        });
        let organisations = organisations.collect();
        let invitations = office.store.invitations_for(account.id, now, None, SHOWN).await?.items;
        let invitations = invitations.into_iter().map(|invitation| Asked {
            id: invitation.id.to_string(),
            name: invitation.tenant_name,
            role: invitation.role.word(),
            by: invitation.by_address.unwrap_or_else(|| "somebody who is not here any more".to_owned()),
        });
        Ok(OrganisationsPage {
            product: &office.mail.settings.product,
            here: "organisations",
            csrf: who.csrf(),
            is_verified: account.is_verified,
            organisations,
            invitations: invitations.collect(),
        })
    };
    match shown.await {
        Ok(shown) => frame::page(StatusCode::OK, &shown),
        Err(error) => frame::failed(&office, &error),
    }
}

pub(super) async fn accept(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    Meant { who, .. }: Meant<Pressed>,
) -> Response {
    let answered = routes::accept_invitation::answer(&office, &Caller(who.principal), &id, true).await;
    done(&office, answered.map(drop))
}

pub(super) async fn decline(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    Meant { who, .. }: Meant<Pressed>,
) -> Response {
    let answered = routes::accept_invitation::answer(&office, &Caller(who.principal), &id, false).await;
    done(&office, answered.map(drop))
}

pub(super) async fn switch(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    Meant { who, .. }: Meant<Pressed>,
) -> Response {
    let switched = routes::switch_tenant::switch(&office, &Caller(who.principal), &id).await;
    done(&office, switched.map(drop))
}

fn done(office: &Office, outcome: Result<(), ApiError>) -> Response {
    match outcome {
        Ok(()) => frame::go(ORGANISATIONS, HeaderMap::new()),
        Err(error) => frame::failed(office, &error),
    }
}
