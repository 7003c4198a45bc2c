//! `POST /auth/validate`: is this credential good, and whose is it? For services that are handed one and do not check it
//! themselves. The answer is what the door would find: the signature, and then what the database says of the session or
//! key and of the account.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use identity::{AccessClaims, ApiKey, Grant, Networks, SecretText, TokenError};
use serde::{Deserialize, Serialize};
use store::{GrantFacts, Standing};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{answer::REQUEST_ID, body::Body, error::ApiError, office::Office, user::User, visitor::Visitor};

/// How every API key begins.
const KEY_PREFIX: &str = "pck_";
/// What the door says, too, of a role that needs a second factor (RFC 9470 §3).
const ONE_FACTOR: &str = "insufficient_user_authentication";

/// A credential to be looked at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validate {
    /// An access token, an API key (one with `allowed_networks` is good only where it is asked about from there), or a token of an issuer that the door believes.
    #[schema(value_type = String, format = Password)]
    token: SecretText,
}

/// What the credential is worth.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verdict {
    valid: bool,
    /// Whose it is, if it is valid.
    user: Option<User>,
    /// The permissions that the credential is limited to; `null`: whatever the user's role may do.
    scopes: Option<Vec<String>>,
    /// How sure it is who shows it: `single`, `mfa` or `phr`. `null`: of a key, or not known.
    acr: Option<&'static str>,
    /// When its owner last showed who they are. `null`: of a key, or not known.
    auth_time: Option<DateTime<Utc>>,
    /// Who acts as the user, if it is an administrator (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    act: Option<Actor>,
    /// If it is not valid: `invalid_token`, `expired`, `revoked`, `account_disabled`, `tenant_disabled`, `insufficient_user_authentication` (the
    /// user's role needs a second factor, and none was shown), or `unknown_account` (an issuer's token is good, and nobody here is meant by it, or nobody in the organisation that it names).
    error: Option<&'static str>,
}

/// Who acts as somebody else.
#[derive(Serialize, ToSchema)]
pub(crate) struct Actor {
    /// The account's id.
    sub: Uuid,
}

/// Looks at a credential. Always 200 for a readable body; `valid` is the answer.
#[utoipa::path(
    post, path = "/auth/validate", tag = "auth", request_body = Validate,
    responses((status = 200, description = "What the credential is worth", body = Verdict))
)]
pub(crate) async fn validate(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    headers: HeaderMap,
    Body(request): Body<Validate>,
) -> Result<Json<Verdict>, ApiError> {
    let shown = request.token.expose();
    if let Some(verdict) = of_somebody_else(&office, (&visitor, &headers), shown).await? {
        return Ok(Json(verdict));
    }
    let found = if shown.starts_with(KEY_PREFIX) {
        of_key(&office, &visitor, shown).await?
    } else {
        of_token(&office, shown).await?
    };
    let verdict = found.and_then(|(grant, facts, standing)| match standing {
        Standing::Live if office.wants_second_factor(&facts, grant) => Err(ONE_FACTOR),
        Standing::Live => Ok(facts),
        Standing::Ended => Err("revoked"),
        Standing::Expired => Err("expired"),
        Standing::AccountDisabled => Err("account_disabled"),
        Standing::TenantDisabled => Err("tenant_disabled"),
    });
    Ok(Json(match verdict {
        Ok(facts) => Verdict::good(&office, facts).await?,
        Err(error) => Verdict::bad(error),
    }))
}

/// A token of an external issuer or of an old system; `None`: it says of itself that it is no such thing.
async fn of_somebody_else(
    office: &Office,
    (visitor, headers): (&Visitor, &HeaderMap),
    shown: &str,
) -> Result<Option<Verdict>, ApiError> {
    let counted = visitor.counted().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let request = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match office.hooks.vouched(shown, (counted, visitor.address.is_some()), request).await {
        None => Ok(None),
        Some(Ok((grant, facts))) if office.wants_second_factor(&facts, grant) => Ok(Some(Verdict::bad(ONE_FACTOR))),
        Some(Ok((_, facts))) => Verdict::good(office, facts).await.map(Some),
        Some(Err(refusal)) if matches!(refusal.status(), 401 | 403) => Ok(Some(Verdict::bad(refusal.code()))),
        // Nobody knows, which is not to say that it is bad.
        Some(Err(refusal)) => Err(ApiError::StoreAway(refusal.detail())),
    }
}

// === impl Verdict ===

impl Verdict {
    async fn good(office: &Office, facts: GrantFacts) -> Result<Self, ApiError> {
        let GrantFacts { account, scopes, authentication, actor, .. } = facts;
        Ok(Self {
            valid: true,
            user: Some(office.user(account).await?),
            scopes,
            acr: authentication.map(|shown| shown.assurance.word()),
            auth_time: authentication.and_then(|shown| DateTime::from_timestamp(shown.at, 0)),
            act: actor.map(|actor| Actor { sub: actor.uuid() }),
            error: None,
        })
    }

    const fn bad(error: &'static str) -> Self {
        Self { valid: false, user: None, scopes: None, acr: None, auth_time: None, act: None, error: Some(error) }
    }
}

type Found = Result<(Grant, GrantFacts, Standing), &'static str>;

// === impl Office ===

impl Office {
    fn wants_second_factor(&self, facts: &GrantFacts, grant: Grant) -> bool {
        self.hooks.policy().wants_second_factor(&facts.principal(grant), self.now().timestamp())
    }
}

async fn of_token(office: &Office, shown: &str) -> Result<Found, ApiError> {
    let claims: AccessClaims =
        match identity::verify(shown, &office.keys.load().access.keys, &office.access_rules, office.now()) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => return Ok(Err("expired")),
            Err(_) => return Ok(Err("invalid_token")),
        };
    let facts = office.store.session_grant(claims.sid).await?;
    let facts = facts.filter(|facts| facts.account.id == claims.sub);
    let judged = facts.map(|facts| {
        let standing = facts.standing_of_token(claims.generation, claims.iat, office.now());
        (Grant::Session(claims.sid), facts, standing)
    });
    Ok(judged.ok_or("invalid_token"))
}

/// A key that is bound to networks is worth something to those who ask from there: to all others it is nobody's, as at the door.
async fn of_key(office: &Office, visitor: &Visitor, shown: &str) -> Result<Found, ApiError> {
    let Ok(key) = ApiKey::parse(shown) else { return Ok(Err("invalid_token")) };
    let facts = office.store.key_grant(key.id()).await?;
    let admits = |networks: &Networks| visitor.address.is_some_and(|address| networks.admit(address));
    let facts = facts
        .filter(|facts| facts.digest.as_ref() == Some(&key.digest()) && facts.networks.as_ref().is_none_or(admits));
    let judged = facts.map(|facts| {
        let standing = facts.standing(office.now());
        (Grant::Key(key.id()), facts, standing)
    });
    Ok(judged.ok_or("invalid_token"))
}
