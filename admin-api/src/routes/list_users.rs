//! `GET /admin/users`: every account, a page at a time, in the order in which they were made.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::Uri,
};
use policies::problem::FieldError;
use serde::Serialize;
use store::Cursor;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
    user::User,
};

/// Accounts on a page when nobody says how many, and at most.
const LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Users {
    items: Vec<User>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Which page.
pub(crate) struct Wanted {
    pub(crate) after: Option<Cursor>,
    pub(crate) limit: u32,
}

/// Lists accounts. For administrators.
#[utoipa::path(
    get, path = "/admin/users", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("limit" = Option<u32>, Query, description = "Accounts on the page, 1 to 200; 50 by default", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page", body = Users),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
    )
)]
pub(crate) async fn list_users(
    State(office): State<Arc<Office>>,
    _: Allowed<ManageUsers>,
    uri: Uri,
) -> Result<Json<Users>, ApiError> {
    let wanted = Wanted::read(&uri)?;
    let page = office.store.list_accounts(wanted.after, wanted.limit).await?;
    Ok(Json(Users {
        items: page.items.into_iter().map(User::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

// === impl Wanted ===

impl Wanted {
    /// A parameter that we do not know or that is given twice is refused: it may be a filter somebody counts on.
    pub(crate) fn read(uri: &Uri) -> Result<Self, ApiError> {
        let wrong = |field: &str, message: &str| {
            ApiError::Query(vec![FieldError { field: field.to_owned(), message: message.to_owned() }])
        };
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
        let (mut after, mut limit) = (None, None);
        for (name, value) in pairs {
            let given_before = match name.as_str() {
                "cursor" => after
                    .replace(value.parse::<Cursor>().map_err(|_| wrong(&name, "must be a `next_cursor` of ours"))?)
                    .is_some(),
                "limit" => {
                    let value = value.parse().ok().filter(|value| (1..=MAX_LIMIT).contains(value));
                    limit.replace(value.ok_or_else(|| wrong(&name, "must be a number between 1 and 200"))?).is_some()
                }
                _ => return Err(wrong(&name, "is not a parameter here; expected cursor or limit")),
            };
            if given_before {
                return Err(wrong(&name, "is given twice"));
            }
        }
        Ok(Self { after, limit: limit.unwrap_or(LIMIT) })
    }
}
