//! That it is still the account's owner who sits there: asked before a second factor is added or taken away (OWASP ASVS 7.5.1).
//!
//! Either something is shown with the request, a password or a code, which is counted as at a login; or the session is one whose owner has
//! shown it within [`FRESH`]. An API key is nobody who could.

use std::time::Duration;

use chrono::TimeDelta;
use identity::{Assurance, Email, SecretText, SessionId, Verdict};
use serde::Deserialize;
use store::{Account, FactorProof};
use utoipa::ToSchema;

use crate::{
    attempt::Attempt, caller::Caller, error::ApiError, form::Form, office::Office, second_factor::ShownFactor,
    visitor::Visitor,
};

/// As OWASP's cheat sheets have it: long enough to find the page, too short for who comes by later.
const FRESH: Duration = Duration::from_mins(5);

/// What shows that it is the owner: one of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    /// The account's password.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    pub(crate) password: Option<SecretText>,
    /// What the authenticator shows.
    #[schema(value_type = Option<String>, format = Password, example = "123456")]
    pub(crate) code: Option<SecretText>,
    /// One of the recovery codes; it serves once.
    #[schema(value_type = Option<String>, format = Password)]
    pub(crate) recovery_code: Option<SecretText>,
}

/// What is shown.
pub(crate) enum Shown<'a> {
    Password(&'a SecretText),
    Factor(ShownFactor<'a>),
}

/// Somebody who has shown it.
pub(crate) struct Proved {
    pub(crate) account: Account,
    pub(crate) session: SessionId,
    /// By which methods the owner is known in this session now, in words of RFC 8176.
    pub(crate) amr: String,
}

// === impl Proof ===

impl Proof {
    fn shown(&self) -> Result<Option<Shown<'_>>, ApiError> {
        match (&self.password, &self.code, &self.recovery_code) {
            (None, None, None) => Ok(None),
            (Some(password), None, None) => Ok(Some(Shown::Password(password))),
            (None, Some(code), None) => Ok(Some(Shown::Factor(ShownFactor::Code(code.expose())))),
            (None, None, Some(code)) => Ok(Some(Shown::Factor(ShownFactor::Recovery(code.expose())))),
            _ => Err(ApiError::one_field("", "must hold one of password, code and recovery_code")),
        }
    }

    /// What is shown has to be right; if nothing is, the session has to be fresh.
    pub(crate) async fn by(&self, caller: &Caller, visitor: &Visitor, office: &Office) -> Result<Proved, ApiError> {
        let session = session_of(caller)?;
        let shown = self.shown()?;
        let known = office.store.authentication(session).await?;
        let (at, amr) = known.unwrap_or_default();
        let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
        // Where there is a second factor a password is one half of a proof: else whoever has it could take the other half away.
        let has_factor = !office.store.factors(account.id).await?.is_empty();
        let Some(shown) = shown else {
            let age = office.now() - at;
            let is_fresh = TimeDelta::from_std(FRESH).is_ok_and(|fresh| age <= fresh)
                && (!has_factor || Assurance::of_methods(&amr) != Assurance::Single);
            let fresh = is_fresh.then_some(Proved { account, session, amr });
            return fresh.ok_or(ApiError::NotFresh(FRESH.as_secs()));
        };
        if has_factor && matches!(shown, Shown::Password(_)) {
            return Err(ApiError::one_field("code", "is needed, or `recovery_code`: the account has a second factor"));
        }
        let method = check(office, visitor, &account, shown).await?;
        Ok(Proved { account, session, amr: with_method(&amr, method) })
    }

    /// What is shown has to be right.
    pub(crate) async fn anew(&self, caller: &Caller, visitor: &Visitor, office: &Office) -> Result<Proved, ApiError> {
        if self.shown()?.is_none() {
            return Err(ApiError::one_field("", "must hold one of password, code and recovery_code"));
        }
        self.by(caller, visitor, office).await
    }
}

/// Checks what is shown, and counts it. Gives the method, in a word of RFC 8176.
pub(crate) async fn check(
    office: &Office,
    visitor: &Visitor,
    account: &Account,
    shown: Shown<'_>,
) -> Result<&'static str, ApiError> {
    let email = Email::parse(&account.email).map_err(|error| ApiError::Internal(error.to_string()))?;
    let attempt = Attempt::begin(office, visitor, &email).await?;
    let facts = attempt.facts.as_ref().filter(|facts| facts.account.id == account.id).ok_or(ApiError::CallerGone)?;
    let (hash, has_factor) = (facts.hash.clone(), facts.has_factor);
    let (is_right, method) = match shown {
        Shown::Password(text) => {
            let mut form = Form::default();
            let password = form.password("password", text);
            let password = form.finish(password)?;
            (office.hashing.verify(&password, Some(hash)).await? != Verdict::Mismatch, "pwd")
        }
        Shown::Factor(shown) => (use_factor(office, account, shown).await?, "otp"),
    };
    if !is_right {
        attempt.failed(office).await?;
        return Err(ApiError::WrongProof);
    }
    // A password alone forgives no wrong codes.
    if method != "pwd" || !has_factor {
        attempt.succeeded(office).await;
    }
    Ok(method)
}

async fn use_factor(office: &Office, account: &Account, shown: ShownFactor<'_>) -> Result<bool, ApiError> {
    let proof: Option<FactorProof> = office.proof_of(account.id, shown).await?;
    match proof {
        Some(proof) => Ok(office.store.use_factor(account.id, &proof, office.now()).await?),
        None => Ok(false),
    }
}

/// The session that a caller is in.
pub(crate) fn session_of(caller: &Caller) -> Result<SessionId, ApiError> {
    caller.0.grant.session().ok_or(ApiError::SessionNeeded)
}

/// The methods of a session and one more: what has been shown in it adds up, and with a code it is two factors.
pub(crate) fn with_method(amr: &str, method: &str) -> String {
    let mut methods: Vec<&str> = amr.split(' ').filter(|word| !word.is_empty() && *word != "mfa").collect();
    let was_two = amr.split(' ').any(|word| word == "mfa");
    if !methods.contains(&method) {
        methods.push(method);
    }
    if was_two || (methods.contains(&"otp") && methods.len() > 1) {
        methods.push("mfa");
    }
    methods.join(" ")
}

#[cfg(test)]
mod tests {
    use super::with_method;

    #[test]
    fn a_code_beside_something_else_is_two_factors_and_they_stay_two() {
        for (before, method, after) in [
            ("", "pwd", "pwd"),
            ("", "otp", "otp"),
            ("pwd", "pwd", "pwd"),
            ("email", "pwd", "email pwd"),
            ("pwd", "otp", "pwd otp mfa"),
            ("email", "otp", "email otp mfa"),
            ("pwd otp mfa", "pwd", "pwd otp mfa"),
            ("hwk mfa", "pwd", "hwk pwd mfa"),
        ] {
            assert_eq!(with_method(before, method), after, "{before} {method}");
        }
    }
}
