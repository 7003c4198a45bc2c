//! `POST /admin/users/{id}/impersonate`: an administrator acts as somebody, to see what they see. Every upstream is told so (`act`, RFC 8693
//! §4.1), the trail says who it was, and it lasts as long as one access token. Nothing that makes an account somebody's own (passwords,
//! factors, keys, addresses) can be changed so.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use identity::RefreshToken;
use serde::{Deserialize, Serialize};
use store::{AccountKind, NewSession, Origin, Proof, Status};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    body::Body,
    caller::{Allowed, ManageUsers},
    error::ApiError,
    form::Form,
    issue::{Fresh, Of, SessionKind},
    office::Office,
    trail,
    user::{NO_ACCOUNT, User},
    visitor::Visitor,
};

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Impersonate {
    /// For the audit trail; 100 characters at most.
    #[schema(max_length = 100)]
    reason: String,
}

/// A session as somebody else.
#[derive(Serialize, ToSchema)]
pub(crate) struct Impersonation {
    /// Show it as `Authorization: Bearer …`. There is nothing to refresh it with.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds until it is over.
    expires_in: u64,
    user: User,
}

/// Acts as somebody. For administrators who may do all that the other one may.
#[utoipa::path(
    post, path = "/admin/users/{id}/impersonate", tag = "administration", request_body = Impersonate,
    security(("access_token" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 201, description = "A session as that account", body = Impersonation),
        (status = 403, description = "`forbidden`: the caller may not manage users, or the other may do what the caller may not; `own_account`; `account_disabled`; `session_required`: a key cannot, nor can whoever acts as somebody already"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: one of the two accounts was changed at the same moment"),
    )
)]
pub(crate) async fn impersonate(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    visitor: Visitor,
    Path(id): Path<String>,
    Body(request): Body<Impersonate>,
) -> Result<(StatusCode, Json<Impersonation>), ApiError> {
    let mut form = Form::default();
    let reason = form.name("reason", &request.reason);
    let reason = form.finish(reason)?;
    if caller.0.grant.session().is_none() || caller.0.actor.is_some() {
        return Err(ApiError::SessionNeeded);
    }
    let account = caller.managed_other(&office, &id).await?;
    if account.kind != AccountKind::Person {
        return Err(NO_ACCOUNT);
    }
    if account.status == Status::Disabled {
        return Err(ApiError::AccountDisabled);
    }
    // The assertion may be some minutes old.
    let own = office.store.account(caller.0.account).await?.filter(|own| own.role == *caller.0.role);
    let own = own.ok_or(ApiError::Conflict("the account was changed at the same moment; try again"))?;
    trail::detail("reason", reason);
    tracing::warn!(by = %caller.0.account, account = %account.id, "an administrator acts as somebody");
    let now = office.now();
    let session = Fresh::new(SessionKind::Tokens).id;
    trail::detail("session", session.to_string());
    // Nobody is given it, so that nobody goes on with the session.
    let refresh = RefreshToken::generate(Uuid::now_v7(), &mut rand::rng());
    let proof =
        Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: now + office.settings.access_ttl };
    let device = visitor.known_device();
    // No person has shown who they are: what demands that is not to be had so.
    let origin = visitor.origin(&device, "impersonation", None);
    let origin = Origin { actor: Some(&own), seen: store::Seen::Unknown, ..origin };
    office.store.open_session(NewSession { id: session, account: &account, proof, now, origin }).await?;
    let access_token = office.access_token(&account, Of(session, 0), now);
    let expires_in = office.settings.access_ttl.as_secs();
    let user = office.user_in_session(account).await;
    Ok((StatusCode::CREATED, Json(Impersonation { access_token, token_type: "bearer", expires_in, user })))
}
