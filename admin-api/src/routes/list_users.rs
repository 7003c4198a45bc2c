//! `GET /admin/users`: every account, a page at a time, in the order in which they were made; or the one of an address.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use identity::Email;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
    paging::Paging,
    user::ManagedUser,
};

/// One page.
#[derive(Serialize, ToSchema)]
pub(crate) struct Users {
    items: Vec<ManagedUser>,
    /// Give it as `cursor` for the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Lists accounts. For administrators.
#[utoipa::path(
    get, path = "/admin/users", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "Where the page before this one ended: its `next_cursor`"),
        ("email" = Option<String>, Query, description = "Only the account of this address, however it is spelt"),
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
    let (paging, parameters) = Paging::read_with(&uri, &["email"])?;
    if let Some(email) = parameters.get("email", |text| Email::parse(text).ok(), "must be an address of mail")? {
        let account = office.store.account_by_address(email.normalised()).await?;
        let items = office.managed_users(account.into_iter().collect()).await?;
        return Ok(Json(Users { items, next_cursor: None }));
    }
    let page = office.store.list_accounts(paging.after, paging.limit).await?;
    Ok(Json(Users {
        items: office.managed_users(page.items).await?,
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
