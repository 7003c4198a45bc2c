//! `GET /admin/users/{id}`: one account, for whoever manages accounts.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    caller::{Allowed, ManageUsers},
    error::ApiError,
    office::Office,
    user::ManagedUser,
};

/// One account. For administrators.
#[utoipa::path(
    get, path = "/admin/users/{id}", tag = "administration", security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account, in the organisation in which it acts", body = ManagedUser),
        (status = 403, description = "`forbidden`: the caller may not manage users"),
        (status = 404, description = "`not_found`: there is no such account"),
    )
)]
pub(crate) async fn read_user(
    State(office): State<Arc<Office>>,
    _: Allowed<ManageUsers>,
    Path(id): Path<String>,
) -> Result<Json<ManagedUser>, ApiError> {
    let account = office.account_named(&id).await?;
    let status = account.status;
    Ok(Json(ManagedUser::new(office.user(account).await?, status)))
}
