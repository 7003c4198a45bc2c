//! `POST /auth/api-keys`: a key for a program, limited to what its maker chooses and never beyond what its maker may.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use identity::{ApiKey, Grant, KeyId, Networks, SecretText};
use serde::Deserialize;
use store::{KeyRecord, NewKey};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Allowed, Caller, ManageAccount},
    error::ApiError,
    form::Form,
    key::{NewlyMade, most_keys},
    mail::Letter,
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    trail,
    visitor::Visitor,
};

/// A key's life in days, at least and at most.
const DAYS: std::ops::RangeInclusive<i64> = 1..=3650;

/// What the key shall be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// For the person who manages keys; 100 characters at most.
    #[schema(max_length = 100)]
    pub(crate) name: String,
    /// Permissions that the key is limited to, such as `agents:publish`, `agents:*` or `*`. Left out: whatever the
    /// account's role may do, or, where a service's key makes this one, the scopes of that.
    pub(crate) scopes: Option<Vec<String>>,
    /// 1 to 3650. Left out: until it is deleted, or, where a service's key makes this one, as long as that.
    #[schema(minimum = 1, maximum = 3650)]
    pub(crate) expires_in_days: Option<i64>,
    /// From where the key may be shown: 1 to 16 networks such as `192.0.2.0/24` and `2001:db8::/32`, or single addresses. Left out: from
    /// anywhere, or, where a service's key makes this one, from where that may be.
    pub(crate) allowed_networks: Option<Vec<String>>,
    /// Unless the session has begun within five minutes, one of these shows that it is the owner who asks.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    pub(crate) password: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    pub(crate) code: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    pub(crate) recovery_code: Option<SecretText>,
    pub(crate) passkey: Option<ShownPasskey>,
}

struct Wanted {
    name: String,
    scopes: Option<Vec<String>>,
    networks: Option<Networks>,
    lifetime: Option<TimeDelta>,
}

/// Makes an API key. Its text is shown in this answer and never again. Its owner is told by mail.
#[utoipa::path(
    post, path = "/auth/api-keys", tag = "keys", request_body = CreateKey, security(("access_token" = []), ("api_key" = [])),
    responses(
        (status = 201, description = "The key", body = NewlyMade),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`forbidden`: a scope, a network or the end is beyond the caller's own; `wrong_proof`: the password or code is wrong; `session_required`: a person's key, another issuer's token, or one that a key has bought, makes no keys"),
        (status = 409, description = "`too_many_keys`: an account may have as many as its tier says (`api_keys`), else 100; `conflict`: the account was changed at the same moment"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn create_key(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    visitor: Visitor,
    Body(request): Body<CreateKey>,
) -> Result<(StatusCode, Json<NewlyMade>), ApiError> {
    let (key, record) = make(&office, &caller, &visitor, request).await?;
    Ok((StatusCode::CREATED, Json(NewlyMade::new(&key, record))))
}

/// Makes a key, for programs and for the page alike.
pub(crate) async fn make(
    office: &Office,
    caller: &Caller,
    visitor: &Visitor,
    request: CreateKey,
) -> Result<(ApiKey, KeyRecord), ApiError> {
    let (wanted, proof) = request.parse()?;
    let scopes = caller.hand_out(wanted.scopes)?;
    prove(office, caller, visitor, &proof).await?;
    let (own, now) = (office.bounds_of(caller).await?, office.now());
    let networks = wanted.networks.or_else(|| own.networks.clone());
    let ends = wanted.lifetime.map(|lifetime| now + lifetime).or(own.until);
    own.hold(networks.as_ref(), ends)?;
    let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
    let email = account.address()?;
    let notice = office.notice(Letter::KeyMade, &account, email.normalised());
    let most = most_keys(&office.hooks.policy(), &caller.0.tier);
    let (key, new) = fresh_key(caller, wanted.name, scopes, ends, most, now);
    let new = NewKey { networks, ..new };
    trail::about(new.account.uuid());
    trail::detail("key", new.id.to_string());
    trail::detail("scopes", new.scopes.clone());
    if let Some(networks) = &new.networks {
        trail::detail("allowed_networks", networks.texts());
    }
    let record = office.store.create_key_and_tell(new, &notice).await?;
    office.has_posted();
    Ok((key, record))
}

/// A key outlives the session in which it is made, and another password: whoever has no more than the session is not to have one, nor who
/// has a key, what a key has bought or another issuer's token, which would outlive itself (OWASP ASVS 7.5.1, 7.6.1). A service has no owner
/// who could be asked; what its key makes reaches no further than itself, and lasts no longer ([`crate::key::Bounds`]).
pub(crate) async fn prove(office: &Office, caller: &Caller, visitor: &Visitor, proof: &Proof) -> Result<(), ApiError> {
    let is_services_key = caller.0.is_service && matches!(caller.0.grant, Grant::Key(_));
    if !is_services_key {
        proof.by(caller, visitor, office).await?;
    }
    Ok(())
}

/// A key and what the store is told of it: everything but the key.
pub(crate) fn fresh_key(
    caller: &Caller,
    name: String,
    scopes: Option<Vec<String>>,
    expires_at: Option<DateTime<Utc>>,
    most: u32,
    now: DateTime<Utc>,
) -> (ApiKey, NewKey) {
    let id = KeyId::new(Uuid::now_v7());
    let key = ApiKey::generate(id, &mut rand::rng());
    let new = NewKey {
        id,
        account: caller.0.account,
        by: Some(caller.0.grant),
        tenant: caller.0.tenant,
        name,
        prefix: key.prefix(),
        digest: key.digest(),
        scopes,
        networks: None,
        expires_at,
        most,
        now,
    };
    (key, new)
}

// === impl CreateKey ===

impl CreateKey {
    fn parse(self) -> Result<(Wanted, Proof), ApiError> {
        let mut form = Form::default();
        let name = form.name("name", &self.name);
        let scopes = self.scopes.and_then(|scopes| form.scopes("scopes", &scopes));
        let networks =
            self.allowed_networks.and_then(|networks| form.parsed("allowed_networks", Networks::parse(&networks)));
        if self.expires_in_days.is_some_and(|days| !DAYS.contains(&days)) {
            form.fault("expires_in_days", format!("must be between {} and {}", DAYS.start(), DAYS.end()));
        }
        let lifetime = self.expires_in_days.and_then(TimeDelta::try_days);
        let Self { password, code, recovery_code, passkey, .. } = self;
        let proof = Proof { password, code, recovery_code, passkey };
        form.finish(name.map(|name| (Wanted { name, scopes, networks, lifetime }, proof)))
    }
}
