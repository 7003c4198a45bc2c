//! `DELETE /admin/users/{id}/mfa`: somebody has lost whatever they had. Their second factors and recovery codes are gone and their sessions
//! end; they are told by mail. Whoever does it says how the owner has shown who they are, and shows who they are themselves; nobody does
//! it for themselves here: that would take away what they have to show.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use identity::SecretText;
use serde::Deserialize;
use store::Over;
use utoipa::ToSchema;

use crate::{
    body::BodyOrNothing,
    caller::{Allowed, ManageUsers},
    error::{ApiError, OrMissing},
    form::Form,
    mail::Letter,
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    trail,
    user::NO_ACCOUNT,
    visitor::Visitor,
};

/// Why, and, unless the session has begun within five minutes, one of the others, which shows who asks.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetFactors {
    /// How the owner has shown who they are; 100 characters at most. For the audit trail: no address, and nothing secret.
    #[schema(required = true, value_type = String, max_length = 100)]
    reason: Option<String>,
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    code: Option<SecretText>,
    #[schema(value_type = Option<String>, format = Password)]
    recovery_code: Option<SecretText>,
    passkey: Option<ShownPasskey>,
}

/// Removes somebody's second factors. For administrators, in a session whose owner is there.
#[utoipa::path(
    delete, path = "/admin/users/{id}/mfa", tag = "administration", request_body = ResetFactors, security(("access_token" = [])),
    params(("id" = String, Path, description = "The account's id")),
    responses(
        (status = 204, description = "It has none"),
        (status = 401, description = "`insufficient_user_authentication`: the session is not fresh, and nothing was shown"),
        (status = 403, description = "`forbidden`: the caller may not manage users, or a role may do what the caller may not; `own_account`: it is the caller's own; `wrong_proof`: the password or code is wrong; `session_required`: an API key cannot do this"),
        (status = 404, description = "`not_found`: there is no such account"),
        (status = 409, description = "`conflict`: the account was changed at the same moment"),
        (status = 429, description = "`login_locked`: too many wrong passwords or codes; see `Retry-After`"),
        (status = 503, description = "`busy`: too many passwords or codes are being checked; see `Retry-After`"),
    )
)]
pub(crate) async fn reset_factors(
    State(office): State<Arc<Office>>,
    Allowed { caller, .. }: Allowed<ManageUsers>,
    Path(id): Path<String>,
    visitor: Visitor,
    BodyOrNothing(request): BodyOrNothing<ResetFactors>,
) -> Result<StatusCode, ApiError> {
    let account = caller.managed_other(&office, &id).await?;
    let (reason, proof) = request.parse()?;
    proof.by(&caller, &visitor, &office).await?;
    trail::detail("reason", reason);
    let email = account.address()?;
    let notice = office.notice(Letter::FactorRemoved, &account, email.normalised());
    let by = caller.doer(&office);
    let over = Over { of_role: &account.role, by: by.as_ref() };
    let had = office.store.remove_factors(account.id, over, &notice, office.now()).await;
    let had = had.or_missing(NO_ACCOUNT)?;
    office.has_posted();
    tracing::info!(by = %caller.0.account, account = %account.id, had, "second factors are removed");
    Ok(StatusCode::NO_CONTENT)
}

// === impl ResetFactors ===

impl ResetFactors {
    fn parse(self) -> Result<(String, Proof), ApiError> {
        let mut form = Form::default();
        let reason = form.name("reason", self.reason.as_deref().unwrap_or_default());
        let Self { password, code, recovery_code, passkey, .. } = self;
        let proof = Proof { password, code, recovery_code, passkey };
        form.finish(reason.map(|reason| (reason, proof)))
    }
}
