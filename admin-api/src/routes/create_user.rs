//! `POST /admin/users`: an administrator makes an account for somebody else.
//!
//! Invited, they get a letter with a link that serves once (`POST /auth/accept-invite`); nobody can log in before, and the address
//! counts as confirmed then, since its mail was read. With a password the account is there at once, like any that has been registered;
//! then two people know the password, so an invitation is better.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use identity::{AccountId, Email, Password, SecretText};
use policies::Policy;
use serde::Deserialize;
use store::{Account, AccountKind, Belonging, NewAccount};
use utoipa::ToSchema;
use uuid::Uuid;

use super::invite_user::Invitation;
use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageUsers},
    error::ApiError,
    form::Form,
    mail::{Letter, Said},
    office::{Office, Settings},
    trail,
    user::ManagedUser,
};

/// Who gets an account. Either `invite` or `password`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    #[schema(format = Email, example = "user@example.com")]
    email: String,
    /// The person's name, 100 characters at most.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// A role of the configuration; by default that of newcomers.
    role: Option<String>,
    /// A tier of the configuration; by default that of newcomers.
    tier: Option<String>,
    /// Whoever reads the mail of the address chooses the password.
    #[serde(default)]
    invite: bool,
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<SecretText>,
}

struct Wanted {
    email: Email,
    name: Option<String>,
    role: Option<String>,
    tier: Option<String>,
    /// `None`: invited.
    password: Option<Password>,
}

/// Makes an account for somebody, who is invited to take it over or has the password that is given. For administrators.
#[utoipa::path(
    post, path = "/admin/users", tag = "administration", request_body = CreateUser,
    security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The account", body = ManagedUser),
        (status = 403, description = "`forbidden`: the caller may not manage users, or the role may do what the caller may not"),
        (status = 409, description = "`email_taken`: there is an account with this address; `conflict`: the caller's account was changed at the same moment"),
        (status = 503, description = "`busy`: too many passwords are being hashed; see `Retry-After`"),
    )
)]
pub(crate) async fn create_user(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Body(request): Body<CreateUser>,
) -> Result<(StatusCode, Json<ManagedUser>), ApiError> {
    let wanted = request.parse(&office.settings, &office.hooks.policy())?;
    let role = wanted.role.as_deref().unwrap_or(&office.settings.default_role);
    caller.demand_all_of(&office.hooks.policy(), role)?;
    trail::detail("invited", wanted.password.is_none());
    for (name, value) in [("role", &wanted.role), ("tier", &wanted.tier)] {
        if let Some(value) = value {
            trail::detail(name, value.as_str());
        }
    }
    let account = match wanted.password.clone() {
        Some(password) => make(&office, &caller, wanted, password).await?,
        None => invite(&office, &caller, wanted).await?,
    };
    trail::about(account.id.uuid());
    tracing::info!(by = %caller.0.account, account = %account.id, "an account is made for somebody");
    Ok((StatusCode::CREATED, Json(office.managed_user(account).await)))
}

async fn invite(office: &Office, caller: &Caller, wanted: Wanted) -> Result<Account, ApiError> {
    let (id, settings) = (AccountId::new(Uuid::now_v7()), &office.settings);
    let invitation = Invitation::fresh(office, id, &wanted.email);
    let new = NewAccount {
        id,
        email: &wanted.email,
        password_hash: office.hashing.no_password().clone(),
        name: wanted.name,
        role: wanted.role.as_deref().unwrap_or(&settings.default_role),
        tier: wanted.tier.as_deref().unwrap_or(&settings.default_tier),
        has_own_tier: wanted.tier.is_some(),
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::FoundsOwn,
        now: office.now(),
    };
    let (token, letter, by) = (invitation.token(), Some(&invitation.letter), caller.doer(office));
    let account = office.store.invite(new, &token, letter, by.as_ref()).await?;
    office.has_posted();
    office.metrics.registration("invited");
    Ok(account)
}

/// As whoever registers and whose address is not confirmed yet.
async fn make(office: &Office, caller: &Caller, wanted: Wanted, password: Password) -> Result<Account, ApiError> {
    office.metrics.registration("begun");
    let settings = &office.settings;
    let about = [wanted.email.as_str(), wanted.name.as_deref().unwrap_or_default()];
    let password_hash = office.hash_new("password", password, &about).await?;
    // Whoever asks may have been thrown out while it was hashed.
    caller.still(office).await?;
    let newcomer = settings.accounts.unverified_role.as_deref().unwrap_or(&settings.default_role);
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &wanted.email,
        password_hash,
        name: wanted.name,
        role: wanted.role.as_deref().unwrap_or(newcomer),
        tier: wanted.tier.as_deref().unwrap_or(&settings.default_tier),
        has_own_tier: wanted.tier.is_some(),
        is_verified: false,
        kind: AccountKind::Person,
        tenant: Belonging::FoundsOwn,
        now: office.now(),
    };
    let account = office.store.create_account_by(new, caller.doer(office).as_ref()).await?;
    office.metrics.registration("ok");
    // The account is there; a mail that could not be posted can be asked for again.
    if let Err(error) = office.wish(Letter::VerifyEmail, wanted.email.normalised(), &Said::default()).await {
        tracing::warn!(account = %account.id, %error, "the mail that confirms an address could not be posted");
    }
    Ok(account)
}

// === impl CreateUser ===

impl CreateUser {
    fn parse(self, settings: &Settings, policy: &Policy) -> Result<Wanted, ApiError> {
        let mut form = Form::default();
        let email = form.email(&self.email);
        let name = self.name.and_then(|name| form.name("name", &name));
        if let Some(role) = &self.role {
            form.role(role, policy, AccountKind::Person);
        }
        if let Some(tier) = self.tier.as_deref().filter(|tier| !policy.tiers.contains(tier)) {
            form.fault("tier", format!("there is no tier `{tier}`"));
        }
        if self.invite == self.password.is_some() {
            form.fault("password", "is given, or `invite` is true: one of them");
        }
        let about = [self.email.as_str(), name.as_deref().unwrap_or_default()];
        let rules = &settings.password_rules;
        let password = self.password.and_then(|password| form.new_password("password", &password, rules, &about));
        let wanted = |email| Wanted { email, name: name.clone(), role: self.role, tier: self.tier, password };
        form.finish(email.map(wanted))
    }
}
