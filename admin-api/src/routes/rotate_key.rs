//! `POST /auth/api-keys/{id}/rotate`: a key makes way for a new one of the same name, scopes, networks and length of life; a service's key,
//! that asks for it itself, for one that ends when it would have.
//!
//! The old one stays good for a grace period, so that programs can be moved over one by one.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use identity::{Grant, KeyId, SecretText};
use serde::Deserialize;
use store::NewKey;
use utoipa::ToSchema;

use super::{
    create_key::{fresh_key, prove},
    delete_key::{NO_KEY, no_key},
};
use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageAccount},
    error::ApiError,
    key::{NewlyMade, most_keys},
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    trail,
    visitor::Visitor,
};

/// A week, in seconds.
const MAX_GRACE: i64 = 7 * 24 * 60 * 60;

/// How the old key goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateKey {
    /// Seconds for which the old key stays good, 604800 (a week) at most. Left out: 0, it is refused at once.
    #[schema(minimum = 0, maximum = 604_800)]
    #[serde(default)]
    grace: i64,
    /// Unless the session has begun within five minutes, one of these shows that it is the owner who asks.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    code: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    recovery_code: Option<SecretText>,
    passkey: Option<ShownPasskey>,
}

/// Replaces an API key. The new one's text is shown in this answer and never again. The body may be left out.
#[utoipa::path(
    post, path = "/auth/api-keys/{id}/rotate", tag = "keys", request_body = RotateKey, security(("access_token" = []), ("api_key" = [])),
    params(("id" = String, Path, description = "The old key's id")),
    responses(
        (status = 201, description = "The new key", body = NewlyMade),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`forbidden`: the key's scopes or networks, or the end of the new one, are beyond the caller's own; `wrong_proof`: the password or code is wrong; `session_required`: a person's key, another issuer's token, or one that a key has bought, rotates no keys"),
        (status = 409, description = "`too_many_keys`: an account may have as many as its tier says (`api_keys`), else 100, the old one in its grace among them; `conflict`: the key was rotated already and is in its grace, or the account was changed at the same moment"),
        (status = 404, description = "`not_found`: the caller has no such key in use"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn rotate_key(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageAccount>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(request): BodyOrNothing<RotateKey>,
) -> Result<(StatusCode, Json<NewlyMade>), ApiError> {
    let grace = request.parse()?;
    let id: KeyId = id.parse().map_err(|_| NO_KEY)?;
    let now = office.now();
    let records = office.keys_of(&caller).await?;
    let is_in_use = |expires_at: Option<chrono::DateTime<chrono::Utc>>| expires_at.is_none_or(|at| at > now);
    let old = records.into_iter().find(|record| record.id == id && is_in_use(record.expires_at)).ok_or(NO_KEY)?;
    // Whoever rotates a key holds its successor.
    caller.demand_scopes(old.scopes.as_deref())?;
    prove(&office, &caller, &visitor, &request.proof()).await?;
    let own = office.bounds_of(&caller).await?;
    let expires_at = if caller.0.grant == Grant::Key(id) {
        // Another secret, and not more time: else whoever has found a key would keep it for ever.
        own.until
    } else {
        let expires_at = old.expires_at.map(|expires_at| now + (expires_at - old.created_at));
        own.hold(old.networks.as_ref(), expires_at)?;
        expires_at
    };
    let most = most_keys(&office.hooks.policy(), &caller.0.tier);
    let (key, new) = fresh_key(&caller, old.name, old.scopes, expires_at, most, now);
    // Its successor acts where it acts, wherever its owner does now.
    let new = NewKey { tenant: old.tenant, networks: old.networks, ..new };
    trail::detail("successor", new.id.to_string());
    let record = office.store.rotate_key(caller.0.account, id, new, grace, now).await.map_err(no_key)?;
    Ok((StatusCode::CREATED, Json(NewlyMade::new(&key, record))))
}

// === impl RotateKey ===

impl RotateKey {
    fn proof(self) -> Proof {
        let Self { password, code, recovery_code, passkey, .. } = self;
        Proof { password, code, recovery_code, passkey }
    }

    fn parse(&self) -> Result<Duration, ApiError> {
        match u64::try_from(self.grace) {
            Ok(seconds) if self.grace <= MAX_GRACE => Ok(Duration::from_secs(seconds)),
            _ => Err(ApiError::one_field("grace", format!("must be between 0 and {MAX_GRACE}"))),
        }
    }
}
