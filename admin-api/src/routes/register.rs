//! `POST /auth/register`: a newcomer gets an account, with the role and tier that every newcomer gets.
//!
//! Registration is `immediate` or `verified`, as the configuration says. Immediate: the account is there at once and logged in, and an
//! address that is taken is told (409). Verified: the answer is 202 whatever the address, after the same work, since all that is
//! done before it is to hash the password and to write one row; a mail tells its reader the rest. The account is made when the mail
//! has been answered (`POST /auth/verify-email`): until then its password opens nothing, so logging in tells nothing either.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use identity::{AccountId, Email, Password, SecretText};
use serde::Deserialize;
use store::{Account, AccountKind, Belonging, NewAccount, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

use super::logout::Done;
use crate::{
    body::Body,
    error::ApiError,
    form::Form,
    issue::{Begun, SessionKind},
    mail::{self, Letter, Said},
    office::{Office, Registration, Settings},
    second_factor::First,
    visitor::Visitor,
};

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// Unique, however it is written: compared after NFKC and case folding, its domain as DNS has it.
    #[schema(format = Email, example = "user@example.com")]
    pub(crate) email: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub(crate) password: SecretText,
    /// The person's name, 100 characters at most.
    #[schema(max_length = 100)]
    pub(crate) name: Option<String>,
    /// Another word for `name`.
    #[schema(max_length = 100)]
    pub(crate) full_name: Option<String>,
    /// The organisation that the account founds, 100 characters at most.
    #[schema(max_length = 100)]
    pub(crate) tenant_name: Option<String>,
    /// `cookie`: the answer gives the browser a cookie, and no tokens.
    #[serde(default)]
    pub(crate) session: SessionKind,
}

/// What has come of it.
pub(crate) enum Registered {
    /// The account is there and logged in; the cookies are for the browser.
    LoggedIn(HeaderMap, Box<Begun>),
    /// A mail says the rest.
    OnItsWay,
}

struct Newcomer {
    email: Email,
    password: Password,
    name: Option<String>,
    tenant_name: Option<String>,
}

/// Creates an account and logs in, or sends the mail that creates it.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = Register,
    responses(
        (status = 201, description = "The account, logged in", body = Begun),
        (status = 202, description = "A mail is on its way, whatever the address", body = Done),
        (status = 409, description = "`email_taken`: there is an account with this address. Never where registration is `verified`"),
        (status = 503, description = "`busy`: too many passwords are being hashed; see `Retry-After`"),
    )
)]
pub(crate) async fn register(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Body(request): Body<Register>,
) -> Result<Response, ApiError> {
    Ok(match take_in(&office, &visitor, request).await? {
        Registered::LoggedIn(cookies, begun) => (StatusCode::CREATED, cookies, Json(begun)).into_response(),
        Registered::OnItsWay => {
            let done = Done { message: "a mail is on its way; the address has to be confirmed" };
            (StatusCode::ACCEPTED, Json(done)).into_response()
        }
    })
}

/// Takes a newcomer in, for programs and for the page alike.
pub(crate) async fn take_in(office: &Office, visitor: &Visitor, request: Register) -> Result<Registered, ApiError> {
    let kind = request.session;
    let newcomer = request.parse(&office.settings)?;
    office.metrics.registration("begun");
    match office.settings.accounts.registration {
        Registration::Immediate => at_once(office, visitor, newcomer, kind).await,
        Registration::Verified => when_confirmed(office, visitor, newcomer).await,
    }
}

async fn at_once(
    office: &Office,
    visitor: &Visitor,
    newcomer: Newcomer,
    kind: SessionKind,
) -> Result<Registered, ApiError> {
    let account = make_account(office, newcomer).await?;
    let now = office.now();
    if !office.settings.accounts.unverified_may_log_in {
        return Ok(Registered::OnItsWay);
    }
    let device = visitor.known_device();
    let origin = visitor.origin(&device, "registration", Some(First::Password.amr()));
    let (cookies, begun) = office.open_session(account, origin, kind, now).await?;
    office.leave_behind(visitor).await;
    Ok(Registered::LoggedIn(device.beside(cookies), Box::new(begun)))
}

async fn make_account(office: &Office, newcomer: Newcomer) -> Result<Account, ApiError> {
    let password_hash = newcomer.hash(office).await?;
    let settings = &office.settings;
    let account = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &newcomer.email,
        password_hash,
        name: newcomer.name,
        role: settings.accounts.unverified_role.as_deref().unwrap_or(&settings.default_role),
        tier: &settings.default_tier,
        has_own_tier: false,
        is_verified: false,
        kind: AccountKind::Person,
        tenant: newcomer.tenant_name.as_deref().map_or(Belonging::FoundsOwn, Belonging::Founds),
        now: office.now(),
    };
    let account = office.store.create_account(account).await.inspect_err(|error| {
        if matches!(error, StoreError::EmailTaken) {
            office.metrics.registration("taken");
        }
    })?;
    office.metrics.registration("ok");
    // The account is there; a mail that could not be posted can be asked for again.
    let address = newcomer.email.normalised();
    if let Err(error) = office.wish(Letter::VerifyEmail, address, &Said::default()).await {
        tracing::warn!(account = %account.id, %error, "the mail that confirms an address could not be posted");
    }
    Ok(account)
}

/// Looks nothing up.
async fn when_confirmed(office: &Office, visitor: &Visitor, newcomer: Newcomer) -> Result<Registered, ApiError> {
    let password_hash = newcomer.hash(office).await?;
    let registration = mail::Registration {
        email: newcomer.email.as_str().to_owned(),
        password_hash: password_hash.as_str().to_owned(),
        name: newcomer.name,
        tenant_name: newcomer.tenant_name,
    };
    let said = Said::registration(registration).from(visitor.source());
    office.wish(Letter::Register, newcomer.email.normalised(), &said).await?;
    Ok(Registered::OnItsWay)
}

// === impl Newcomer ===

impl Newcomer {
    async fn hash(&self, office: &Office) -> Result<identity::PasswordHash, ApiError> {
        office.hash_new("password", self.password.clone(), &self.about()).await
    }

    /// Words that others know of them.
    fn about(&self) -> [&str; 3] {
        [self.email.as_str(), self.name.as_deref().unwrap_or_default(), self.tenant_name.as_deref().unwrap_or_default()]
    }
}

// === impl Register ===

impl Register {
    fn parse(self, settings: &Settings) -> Result<Newcomer, ApiError> {
        let mut form = Form::default();
        let email = form.email(&self.email);
        let about = [Some(&self.email), self.name.as_ref(), self.full_name.as_ref(), self.tenant_name.as_ref()];
        let about = about.map(|text| text.map_or("", String::as_str));
        let password = form.new_password("password", &self.password, &settings.password_rules, &about);
        let name = form.either_name(self.name, self.full_name).and_then(|name| form.name("name", &name));
        let tenant_name = self.tenant_name.and_then(|name| form.name("tenant_name", &name));
        form.finish(email.zip(password).map(|(email, password)| Newcomer { email, password, name, tenant_name }))
    }
}
