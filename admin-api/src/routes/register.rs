//! `POST /auth/register`: a newcomer gets an account, with the role and tier that every newcomer gets, and is logged in.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::{AccountId, Email, Password, SecretText};
use serde::Deserialize;
use store::{NewAccount, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    error::ApiError,
    form::Form,
    issue::TokenPair,
    office::{Office, Settings},
};

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// Unique, however it is written: compared after NFKC and case folding.
    #[schema(format = Email, example = "user@example.com")]
    email: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: SecretText,
    /// The person's name, 100 characters at most.
    name: Option<String>,
    /// Another word for `name`.
    full_name: Option<String>,
    /// The organisation that the account founds, 100 characters at most.
    tenant_name: Option<String>,
}

struct Newcomer {
    email: Email,
    password: Password,
    name: Option<String>,
    tenant_name: Option<String>,
}

/// Creates an account and logs in.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = Register,
    responses(
        (status = 201, description = "The account, logged in", body = TokenPair),
        (status = 409, description = "`email_taken`: there is an account with this address"),
        (status = 503, description = "`busy`: too many passwords are being hashed; see `Retry-After`"),
    )
)]
pub(crate) async fn register(
    State(office): State<Arc<Office>>,
    Body(request): Body<Register>,
) -> Result<(StatusCode, Json<TokenPair>), ApiError> {
    let newcomer = request.parse(&office.settings)?;
    let password_hash = office.hashing.hash(newcomer.password).await?;
    let now = office.now();
    let account = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &newcomer.email,
        password_hash,
        name: newcomer.name,
        role: &office.settings.default_role,
        tier: &office.settings.default_tier,
        tenant_name: newcomer.tenant_name.as_deref(),
        now,
    };
    let account = office.store.create_account(account).await.inspect_err(|error| {
        if matches!(error, StoreError::EmailTaken) {
            office.metrics.registration("taken");
        }
    })?;
    office.metrics.registration("ok");
    Ok((StatusCode::CREATED, Json(office.open_session(account, now).await?)))
}

// === impl Register ===

impl Register {
    fn parse(self, settings: &Settings) -> Result<Newcomer, ApiError> {
        let mut form = Form::default();
        let email = form.email(&self.email);
        let password = form.new_password("password", &self.password, &settings.password_rules);
        let name = form.either_name(self.name, self.full_name).and_then(|name| form.name("name", &name));
        let tenant_name = self.tenant_name.and_then(|name| form.name("tenant_name", &name));
        form.finish(email.zip(password).map(|(email, password)| Newcomer { email, password, name, tenant_name }))
    }
}
