//! `/account/keys`: somebody's API keys. The text of a new one is on the page that answers its making, and on no other.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use identity::ApiKey;
use serde::Deserialize;
use store::KeyRecord;

use super::{
    frame::{self, said_of},
    posted::{Meant, SignedIn},
    sessions::Moment,
    sign_in::Nothing,
};
use crate::{
    caller::Caller,
    error::ApiError,
    office::Office,
    routes::{
        create_key::{self, CreateKey},
        delete_key,
    },
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "pages/keys.html")]
struct KeysPage<'a> {
    product: &'a str,
    here: &'static str,
    csrf: String,
    email: String,
    keys: Vec<Key>,
    made: Option<Made>,
    alert: Option<String>,
    name_error: Option<String>,
    days_error: Option<String>,
    /// It takes the owner, who is asked elsewhere.
    is_stale: bool,
}

struct Key {
    id: String,
    name: String,
    prefix: String,
    made: Moment,
    used: Option<Moment>,
    ends: Option<Moment>,
    /// From where it may be shown, if not from anywhere.
    networks: Option<String>,
}

struct Made {
    name: String,
    key: String,
}

#[derive(Deserialize)]
pub(super) struct NewKey {
    name: String,
    #[serde(default)]
    expires_in_days: String,
}

pub(super) async fn show(State(office): State<Arc<Office>>, who: SignedIn) -> Response {
    list(&office, &who, Ok(None)).await
}

pub(super) async fn create(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form }: Meant<NewKey>,
) -> Response {
    let days = form.expires_in_days.trim();
    let expires_in_days = if days.is_empty() { Ok(None) } else { days.parse().map(Some) };
    let made = match expires_in_days {
        Ok(expires_in_days) => {
            let wanted = CreateKey { name: form.name, expires_in_days, ..CreateKey::default() };
            create_key::make(&office, &Caller(who.principal.clone()), &visitor, wanted).await
        }
        Err(_) => Err(ApiError::one_field("expires_in_days", "must be a whole number")),
    };
    list(&office, &who, made.map(Some)).await
}

pub(super) async fn delete(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    Meant { who, form: Nothing {} }: Meant<Nothing>,
) -> Response {
    match delete_key::delete(&office, &Caller(who.principal), &id).await {
        Ok(()) => frame::go("/account/keys", HeaderMap::new()),
        Err(error) => frame::failed(&office, &error),
    }
}

/// The keys, with the one that was just made, or why it was not.
async fn list(office: &Office, who: &SignedIn, made: Result<Option<(ApiKey, KeyRecord)>, ApiError>) -> Response {
    let read = async {
        let account = office.store.account(who.principal.account).await?.ok_or(ApiError::CallerGone)?;
        Ok((account.email, office.store.list_keys(who.principal.account).await?))
    };
    let (email, records) = match read.await {
        Ok(read) => read,
        Err(error) => return frame::failed(office, &error),
    };
    let status = match &made {
        Ok(None) => StatusCode::OK,
        Ok(Some(_)) => StatusCode::CREATED,
        Err(error) => frame::status_of(error),
    };
    let error = made.as_ref().err();
    let fields = error.map(ApiError::fields).unwrap_or_default();
    let (name_error, days_error) = (said_of(&fields, "name"), said_of(&fields, "expires_in_days"));
    let is_told = name_error.is_some() || days_error.is_some();
    let shown = KeysPage {
        product: &office.mail.settings.product,
        here: "keys",
        csrf: who.csrf(),
        email,
        keys: records.into_iter().map(Key::from).collect(),
        alert: error.filter(|_| !is_told).map(|error| error.detail().into_owned()),
        name_error,
        days_error,
        is_stale: matches!(error, Some(ApiError::NotFresh(_))),
        made: made.ok().flatten().map(|(key, record)| Made { name: record.name, key: key.expose().to_owned() }),
    };
    frame::page(status, &shown)
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        Self {
            id: record.id.uuid().to_string(),
            name: record.name,
            prefix: record.prefix,
            made: record.created_at.into(),
            used: record.last_used_at.map(Moment::from),
            ends: record.expires_at.map(Moment::from),
            networks: record.networks.map(|networks| networks.texts().join(", ")),
        }
    }
}
