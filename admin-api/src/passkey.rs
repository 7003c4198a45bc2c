//! Passkeys (Web Authentication): what an authenticator is asked to sign, and whether what it signed is right.
//!
//! What it is asked is kept here until it answers, sealed and in a record that serves once; the browser never holds it. An answer is good
//! for this host's name alone and only from a page of the public address, so no other site can use what somebody shows it. The authenticator
//! has to have checked who holds it (user verification): such a signature is two factors. What an authenticator is made by is not asked
//! for, so nobody needs a list of makers to trust.

use identity::{AccountId, Email, FactorId, OneTimePurpose, OneTimeToken, SecretDigest, SecretText, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Account, FactorKind, FactorProof, FactorRecord, NewOneTime, ShownOneTime};
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url,
    Webauthn, WebauthnBuilder, WebauthnError,
};

use crate::{
    error::ApiError,
    mail::TOKENS,
    office::Office,
    routes::verify_email::shown,
    second_factor::{First, PATIENCE},
    trail,
};

const FACTORS: &str = "factors";

/// In words of RFC 8176: a key that somebody holds, and the authenticator has checked who.
pub(crate) const AMR: &str = "hwk mfa";
/// As it is shown among sessions.
pub(crate) const METHOD: &str = "passkey";

/// Who asks authenticators; `None` where browsers would not let us.
pub(crate) struct Passkeys(Option<Webauthn>);

/// What an authenticator is to sign, and by what its answer is known.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasskeyRequest {
    /// Send it back with the answer. It serves once, for five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    /// For `navigator.credentials.get`, as `PublicKeyCredential.parseRequestOptionsFromJSON` reads its `publicKey`.
    #[schema(value_type = Object)]
    options: Value,
}

/// What an authenticator has answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShownPasskey {
    /// What came with the options.
    #[schema(value_type = String, format = Password)]
    pub(crate) challenge: SecretText,
    /// What `navigator.credentials.get` gave, as its `toJSON` writes it.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
}

/// What is kept of a passkey: bound to its account too, so that no record can be moved to another's.
#[derive(Serialize, Deserialize)]
struct Kept {
    account: Uuid,
    passkey: Passkey,
}

/// Why an answer is none. For the trail; whoever answered learns only that it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoProof {
    /// Nothing was asked for, or too long ago, or it was answered before.
    Challenge,
    /// No such passkey, or another account's.
    Unknown,
    /// Signed on a page of another site.
    Origin,
    /// The authenticator has not checked who holds it.
    Unverified,
    /// It has made fewer signatures than before: there may be two of it.
    Counter,
    /// Anything else, a wrong signature first of all.
    Wrong,
}

// === impl Passkeys ===

impl Passkeys {
    /// Asks in the name of the public address. Browsers refuse this to addresses without a name, and to pages that were not fetched by
    /// HTTPS from elsewhere than this machine (Web Authentication §5.1.3, Secure Contexts §3.1).
    pub(crate) fn new(public_url: &str, product: &str) -> Self {
        let asks = Url::parse(public_url).ok().and_then(|url| {
            let host = url.domain()?.to_owned();
            let is_local = host == "localhost" || host.ends_with(".localhost");
            let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
            let builder = WebauthnBuilder::new(&host, &url).ok().filter(|_| is_safe)?;
            builder.rp_name(product).timeout(PATIENCE).build().ok()
        });
        Self(asks)
    }

    pub(crate) const fn are_possible(&self) -> bool {
        self.0.is_some()
    }

    fn asks(&self) -> Result<&Webauthn, ApiError> {
        self.0.as_ref().ok_or(ApiError::Conflict("passkeys need a public address with a name, by HTTPS"))
    }
}

// === impl Office ===

impl Office {
    /// What an authenticator needs to make a passkey, and what is kept until it has, sealed for the factor.
    pub(crate) fn ask_for_new_passkey(
        &self,
        factor: FactorId,
        account: &Account,
        others: &[FactorRecord],
    ) -> Result<(Value, Vec<u8>), ApiError> {
        let others = others.iter().filter(|factor| factor.kind == FactorKind::Passkey);
        let others = others.map(|other| Ok(self.open_passkey(account.id, other)?.cred_id().clone()));
        let others = others.collect::<Result<Vec<_>, ApiError>>()?;
        let name = account.name.as_deref().unwrap_or(&account.email);
        let asked =
            self.passkeys.asks()?.start_passkey_registration(account.id.uuid(), &account.email, name, Some(others));
        let (mut options, state) = asked.map_err(|error| ApiError::Internal(error.to_string()))?;
        // One that the authenticator finds by itself serves without a name and a password; where it cannot keep any, it still serves as a
        // second factor.
        if let Some(wanted) = &mut options.public_key.authenticator_selection {
            wanted.resident_key = serde_json::from_value("preferred".into()).ok();
        }
        let options =
            serde_json::to_value(options.public_key).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok((options, self.seal_in(FACTORS, factor.uuid(), &json(&state))))
    }

    /// The passkey that an authenticator has made: by what it knows it, and what is kept of it. With it is kept how many signatures it had
    /// made by then; it has to have made more when it is used.
    pub(crate) fn new_passkey(
        &self,
        account: AccountId,
        pending: &FactorRecord,
        credential: Value,
    ) -> Result<(Vec<u8>, Vec<u8>), ApiError> {
        let state = self.open_in(FACTORS, pending.id().uuid(), &pending.sealed);
        let state: Option<PasskeyRegistration> = state.and_then(|state| serde_json::from_slice(&state).ok());
        let state =
            state.ok_or_else(|| ApiError::Internal("what was asked of an authenticator cannot be read".into()))?;
        let not_made = |_| ApiError::one_field("credential", "is not the passkey that was asked for");
        let credential: RegisterPublicKeyCredential = serde_json::from_value(credential).map_err(not_an_answer)?;
        let passkey = self.passkeys.asks()?.finish_passkey_registration(&credential, &state).map_err(not_made)?;
        let id = passkey.cred_id().clone();
        let kept = json(&Kept { account: account.uuid(), passkey });
        Ok((id, self.seal_in(FACTORS, pending.id().uuid(), &kept)))
    }

    fn open_passkey(&self, account: AccountId, factor: &FactorRecord) -> Result<Passkey, ApiError> {
        let kept = self.open_in(FACTORS, factor.id().uuid(), &factor.sealed);
        let kept: Option<Kept> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
        let kept = kept.filter(|kept| kept.account == account.uuid());
        let passkey = kept.map(|kept| kept.passkey);
        passkey.ok_or_else(|| ApiError::Internal(format!("the passkey {} cannot be read", factor.id())))
    }

    /// Asks whoever comes for any passkey, which then says whose it is.
    pub(crate) async fn ask_anybody(&self) -> Result<PasskeyRequest, ApiError> {
        let (options, state) = self.ask(None)?;
        self.remember(OneTimePurpose::PasskeyLogin, None, None, options, &state).await
    }

    /// Asks somebody who is logged in for one of their own.
    pub(crate) async fn ask_within(&self, account: &Account, session: SessionId) -> Result<PasskeyRequest, ApiError> {
        let (options, state) = self.ask(Some((account.id, &self.store.factors(account.id).await?)))?;
        let binding = Some(bound_to(session));
        self.remember(OneTimePurpose::PasskeyProof, Some(account), binding, options, &state).await
    }

    /// Asks whoever has shown the first factor for one of the account's. What is kept stands beside what is known of them so far.
    pub(crate) async fn ask_beside(
        &self,
        account: AccountId,
        token: &OneTimeToken,
        first: First,
        most: i64,
    ) -> Result<PasskeyRequest, ApiError> {
        let (options, state) = self.ask(Some((account, &self.store.factors(account).await?)))?;
        let sealed = self.seal_in(TOKENS, token.id(), &json(&(first, state)));
        let shown = shown(token, OneTimePurpose::SecondFactor);
        if !self.store.ask_beside(&shown, &sealed, most, self.now()).await? {
            return Err(ApiError::MfaTokenRefused);
        }
        Ok(PasskeyRequest { challenge: None, options })
    }

    /// What the holder of a login's token was asked to sign.
    pub(crate) fn asked_beside(&self, token: Uuid, sealed: Option<&[u8]>) -> Option<DiscoverableAuthentication> {
        let kept = self.open_in(TOKENS, token, sealed?)?;
        serde_json::from_slice(&kept).ok().map(|(_, state): (First, _)| state)
    }

    /// What was asked of whoever shows a challenge, which is used up by it, and the account that it was asked of.
    pub(crate) async fn take_asked(
        &self,
        purpose: OneTimePurpose,
        session: Option<SessionId>,
        challenge: &SecretText,
    ) -> Result<Option<(Option<AccountId>, DiscoverableAuthentication)>, ApiError> {
        let Ok(token) = OneTimeToken::parse(challenge.expose()) else { return Ok(None) };
        let shown = ShownOneTime { binding: session.map(bound_to), ..shown(&token, purpose) };
        let Some(asked) = self.store.take_one_time(&shown, self.now()).await? else { return Ok(None) };
        let state = asked.sealed.as_deref().and_then(|sealed| self.open_in(TOKENS, token.id(), sealed));
        let state = state.and_then(|state| serde_json::from_slice(&state).ok());
        Ok(state.map(|state| (asked.account(), state)))
    }

    /// Whose passkey has answered, and which use of it that is. `of`: it has to be this account's.
    pub(crate) async fn passkey_proof(
        &self,
        state: Option<DiscoverableAuthentication>,
        credential: &Value,
        of: Option<AccountId>,
    ) -> Result<Result<(AccountId, FactorProof), NoProof>, ApiError> {
        let credential: PublicKeyCredential = PublicKeyCredential::deserialize(credential).map_err(not_an_answer)?;
        let Some(state) = state else { return Ok(Err(NoProof::Challenge)) };
        let Some((account, factor)) = self.store.passkey(&credential.raw_id).await? else {
            return Ok(Err(NoProof::Unknown));
        };
        if of.is_none() {
            trail::about(account.uuid());
        }
        // Where nobody said before who they are, the authenticator has to (Web Authentication §7.2).
        let named = credential.get_user_unique_id().map(|id| id == account.uuid().as_bytes());
        if of.is_some_and(|of| of != account) || !named.unwrap_or(of.is_some()) {
            return Ok(Err(NoProof::Unknown));
        }
        let passkey = self.open_passkey(account, &factor)?;
        let checked = self.passkeys.asks()?.finish_discoverable_authentication_v2(&credential, state, &passkey);
        Ok(match checked {
            Ok(seen) => Ok((account, FactorProof::Passkey { factor: factor.id(), count: seen.counter().into() })),
            Err(error) => Err(NoProof::from(error)),
        })
    }

    fn ask(&self, of: Option<(AccountId, &[FactorRecord])>) -> Result<(Value, DiscoverableAuthentication), ApiError> {
        let asked = self.passkeys.asks()?.start_discoverable_authentication();
        let (mut options, state) = asked.map_err(|error| ApiError::Internal(error.to_string()))?;
        if let Some((account, factors)) = of {
            let passkeys = factors.iter().filter(|factor| factor.kind == FactorKind::Passkey);
            let own: Vec<_> = passkeys.map(|factor| self.open_passkey(account, factor)).collect::<Result<_, _>>()?;
            if own.is_empty() {
                return Err(ApiError::NotFound("passkey"));
            }
            let named = self.passkeys.asks()?.start_passkey_authentication(&own);
            let (named, _) = named.map_err(|error| ApiError::Internal(error.to_string()))?;
            options.public_key.allow_credentials = named.public_key.allow_credentials;
        }
        let options =
            serde_json::to_value(options.public_key).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok((options, state))
    }

    async fn remember(
        &self,
        purpose: OneTimePurpose,
        account: Option<&Account>,
        binding: Option<SecretDigest>,
        options: Value,
        state: &DiscoverableAuthentication,
    ) -> Result<PasskeyRequest, ApiError> {
        let (token, now) = (OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()), self.now());
        let address = account.map(Account::address).transpose()?;
        let written = NewOneTime {
            id: token.id(),
            purpose,
            account: account.map(|account| account.id),
            address: address.as_ref().map_or("", Email::normalised),
            digest: token.digest_for(purpose),
            binding,
            sealed: Some(self.seal_in(TOKENS, token.id(), &json(state))),
            now,
            expires_at: now + PATIENCE,
        };
        self.store.keep_one_time(&written).await?;
        Ok(PasskeyRequest { challenge: Some(token.expose().to_owned()), options })
    }
}

/// What was asked in one session is not answered in another.
fn bound_to(session: SessionId) -> SecretDigest {
    SecretDigest::of(format!("session\0{}", session.uuid()).as_bytes())
}

fn not_an_answer(_: serde_json::Error) -> ApiError {
    ApiError::one_field("credential", "must be what an authenticator has answered, as JSON")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("what is kept of a passkey is strings, numbers and lists")
}

// === impl NoProof ===

impl NoProof {
    /// Writes down why, and gives what whoever asked is told.
    pub(crate) fn told(self) -> ApiError {
        trail::detail("passkey", self.word());
        if self == Self::Counter {
            tracing::warn!(
                "a passkey was refused that has made fewer signatures than before: there may be a copy of it"
            );
        }
        ApiError::PasskeyRefused
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Challenge => "not_asked",
            Self::Unknown => "unknown",
            Self::Origin => "wrong_site",
            Self::Unverified => "user_not_verified",
            Self::Counter => "counter_went_back",
            Self::Wrong => "wrong",
        }
    }
}

impl From<WebauthnError> for NoProof {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::MismatchedChallenge => Self::Challenge,
            WebauthnError::CredentialNotFound => Self::Unknown,
            WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash | WebauthnError::CredentialCrossOrigin => {
                Self::Origin
            }
            WebauthnError::UserNotPresent | WebauthnError::UserNotVerified => Self::Unverified,
            WebauthnError::CredentialPossibleCompromise => Self::Counter,
            // The enum is the library's, and grows.
            _ => Self::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_asked_only_where_they_would_answer() {
        for (address, possible) in [
            ("https://door.test", true),
            ("https://door.test:8443", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1:8080", false),
            ("https://192.0.2.1", false),
            ("https://[::1]", false),
            ("http://door.test", false),
            ("nonsense", false),
        ] {
            assert_eq!(Passkeys::new(address, "Portcullis").are_possible(), possible, "{address}");
        }
    }
}
