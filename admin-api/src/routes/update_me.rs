//! `PATCH /auth/me`: the caller's name and picture. Role, tier, status and address are not fields here (OWASP ASVS 15.3.3):
//! naming one is an error, not a wish that is quietly ignored.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer};
use store::ProfileChange;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    form::Form,
    office::Office,
    user::User,
};

/// What shall change. A field that is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[expect(clippy::option_option, reason = "absent, null and a text are three wishes")]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateMe {
    /// 100 characters at most; `null` removes the name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 100)]
    name: Option<Option<String>>,
    /// Another word for `name`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 100)]
    full_name: Option<Option<String>>,
    /// An http or https address; `null` removes the picture.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    avatar_url: Option<Option<String>>,
}

/// Changes the caller's name and picture.
#[utoipa::path(
    patch, path = "/auth/me", tag = "auth", request_body = UpdateMe, security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "The account as it is now", body = User))
)]
pub(crate) async fn update_me(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Body(request): Body<UpdateMe>,
) -> Result<Json<User>, ApiError> {
    office.store.update_profile(caller.0.account, request.parse()?, office.now()).await?;
    let account = office.own_account(&caller.0).await?;
    Ok(Json(office.user(account).await?))
}

/// Tells `null` from absence.
#[expect(clippy::option_option, reason = "as above")]
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

// === impl UpdateMe ===

impl UpdateMe {
    fn parse(self) -> Result<ProfileChange, ApiError> {
        let mut form = Form::default();
        let name = form.either_name(self.name, self.full_name);
        let name = name.map(|name| name.and_then(|name| form.name("name", &name)));
        let avatar_url = self.avatar_url.map(|url| url.and_then(|url| form.picture("avatar_url", &url)));
        form.finish(Some(ProfileChange { name, avatar_url }))
    }
}
