//! That it is still the account's owner who sits there: asked before a second factor is added or taken away (OWASP ASVS 7.5.1).
//!
//! Either something is shown with the request, a password or a code, which is counted as at a login; or the session is one whose owner has
//! shown it within [`FRESH`]. An API key is nobody who could.

use std::time::Duration;

use chrono::TimeDelta;
use identity::{Assurance, OneTimePurpose, SecretText, SessionId, Verdict};
use serde::Deserialize;
use store::{Account, FactorProof};
use utoipa::ToSchema;

use crate::{
    attempt::Attempt,
    caller::Caller,
    error::ApiError,
    form::Form,
    office::Office,
    passkey::{NoProof, ShownPasskey},
    second_factor::ShownFactor,
    visitor::Visitor,
};

/// As OWASP's cheat sheets have it: long enough to find the page, too short for who comes by later.
const FRESH: Duration = Duration::from_mins(5);

/// What shows that it is the owner: one of these.
#[derive(Default, Deserialize, ToSchema)]
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
    /// What a passkey has answered to `POST /auth/reauthenticate/passkey`.
    pub(crate) passkey: Option<ShownPasskey>,
}

/// What is shown.
pub(crate) enum Shown<'a> {
    Password(&'a SecretText),
    Factor(ShownFactor<'a>),
    /// In this session.
    Passkey(&'a ShownPasskey, Option<SessionId>),
}

const ONE_OF_THEM: &str = "must hold one of password, code, recovery_code and passkey";

/// Somebody who has shown it.
pub(crate) struct Proved {
    pub(crate) account: Account,
    pub(crate) session: SessionId,
    /// By which methods the owner is known in this session now, in words of RFC 8176.
    pub(crate) amr: String,
}

// === impl Proof ===

impl Proof {
    fn shown(&self, session: Option<SessionId>) -> Result<Option<Shown<'_>>, ApiError> {
        let shown = [
            self.password.as_ref().map(Shown::Password),
            self.code.as_ref().map(|code| Shown::Factor(ShownFactor::Code(code.expose()))),
            self.recovery_code.as_ref().map(|code| Shown::Factor(ShownFactor::Recovery(code.expose()))),
            self.passkey.as_ref().map(|passkey| Shown::Passkey(passkey, session)),
        ];
        let mut shown = shown.into_iter().flatten();
        match (shown.next(), shown.next()) {
            (one, None) => Ok(one),
            _ => Err(ApiError::one_field("", ONE_OF_THEM)),
        }
    }

    /// What is shown has to be right; if nothing is, the session has to be fresh. One that has ended proves nobody, also if that was while the
    /// password was checked; nor does what its owner has shown by another token, and that was read after the caller was last asked for.
    pub(crate) async fn by(&self, caller: &Caller, visitor: &Visitor, office: &Office) -> Result<Proved, ApiError> {
        let proved = self.checked(caller, visitor, office).await?;
        caller.still(office).await?;
        Ok(proved)
    }

    /// The same for whoever asks afterwards whether the caller is still so.
    pub(crate) async fn checked(
        &self,
        caller: &Caller,
        visitor: &Visitor,
        office: &Office,
    ) -> Result<Proved, ApiError> {
        if caller.0.actor.is_some() {
            return Err(ApiError::Impersonated);
        }
        let session = session_of(caller)?;
        let shown = self.shown(Some(session))?;
        let known = office.store.authentication(session).await?;
        let account = office.store.account(caller.0.account).await?.ok_or(ApiError::CallerGone)?;
        // The door may not have heard of it yet.
        let (at, amr) = known.ok_or(ApiError::SessionEnded)?;
        // Where there is a second factor a password is one half of a proof: else whoever has it could take the other half away.
        let has_factor = !office.store.factors(account.id).await?.is_empty();
        let Some(shown) = shown else {
            let is_young = |at| TimeDelta::from_std(FRESH).is_ok_and(|fresh| office.now() - at <= fresh);
            let is_fresh =
                at.is_some_and(is_young) && (!has_factor || Assurance::of_methods(&amr) != Assurance::Single);
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
        if self.shown(None)?.is_none() {
            return Err(ApiError::one_field("", ONE_OF_THEM));
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
    let email = account.address()?;
    let (attempt, is_right, method) = match shown {
        Shown::Password(text) => {
            let attempt = Attempt::begin(office, visitor, &email).await?;
            let facts = attempt.facts.as_ref().filter(|facts| facts.account.id == account.id);
            let hash = facts.ok_or(ApiError::CallerGone)?.hash.clone();
            let mut form = Form::default();
            let password = form.password("password", text);
            let password = form.finish(password)?;
            (attempt, office.hashing.verify(&password, hash).await? != Verdict::Mismatch, "pwd")
        }
        Shown::Factor(shown) => {
            let attempt = Attempt::at_code(office, visitor, &email).await?;
            (attempt, use_factor(office, account, shown).await?, "otp")
        }
        // Nobody guesses what it signs: there is nothing to count.
        Shown::Passkey(shown, session) => {
            let is_right = use_passkey(office, account, session, shown).await?;
            return if is_right { Ok("hwk") } else { Err(ApiError::WrongProof) };
        }
    };
    if !is_right {
        attempt.failed(office).await?;
        return Err(ApiError::WrongProof);
    }
    attempt.succeeded(office).await;
    Ok(method)
}

async fn use_factor(office: &Office, account: &Account, shown: ShownFactor<'_>) -> Result<bool, ApiError> {
    let proof: Option<FactorProof> = office.proof_of(account.id, shown, None).await?;
    match proof {
        Some(proof) => Ok(office.store.use_factor(account.id, &proof, office.now()).await?),
        None => Ok(false),
    }
}

async fn use_passkey(
    office: &Office,
    account: &Account,
    session: Option<SessionId>,
    shown: &ShownPasskey,
) -> Result<bool, ApiError> {
    let asked = office.take_asked(OneTimePurpose::PasskeyProof, session, &shown.challenge).await?;
    let asked = asked.filter(|(of, _)| *of == Some(account.id)).map(|(_, state)| state);
    let no_proof = match office.passkey_proof(asked, &shown.credential, Some(account.id)).await? {
        Ok((_, proof)) if office.store.use_factor(account.id, &proof, office.now()).await? => return Ok(true),
        Ok(_) => NoProof::Counter,
        Err(no_proof) => no_proof,
    };
    no_proof.told();
    Ok(false)
}

/// The session that a caller is in.
pub(crate) fn session_of(caller: &Caller) -> Result<SessionId, ApiError> {
    caller.0.grant.session().ok_or(ApiError::SessionNeeded)
}

/// The methods of a session and one more: what has been shown in it adds up, and with a code it is two factors. A passkey alone is two.
pub(crate) fn with_method(amr: &str, method: &str) -> String {
    let mut methods: Vec<&str> = amr.split(' ').filter(|word| !word.is_empty() && *word != "mfa").collect();
    let was_two = amr.split(' ').any(|word| word == "mfa");
    if !methods.contains(&method) {
        methods.push(method);
    }
    if was_two || methods.contains(&"hwk") || (methods.contains(&"otp") && methods.len() > 1) {
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
            ("pwd", "hwk", "pwd hwk mfa"),
            ("", "hwk", "hwk mfa"),
        ] {
            assert_eq!(with_method(before, method), after, "{before} {method}");
        }
    }
}
