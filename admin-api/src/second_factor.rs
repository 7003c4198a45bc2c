//! The second factor: how somebody is asked for it, and whether what is shown is one.
//!
//! A right password (or link) of an account that has one buys no session but a token, `mfa_token`, which serves once, for five minutes and
//! five attempts, and buys nothing without a code. Wrong codes are counted as wrong passwords are, in a tally of their own
//! (docs/decisions/0008-lockout.md), and forgiven to none but who has shown both: else whoever has the password could wipe out the count of
//! their guesses.

use std::time::Duration;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use identity::{AccountId, FactorId, OneTimePurpose, OneTimeToken, RecoveryCode, SecretDigest, SecretText, TotpSecret};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use store::{Account, ChallengeSeed, Confirmation, FactorKind, FactorProof, FactorRecord, NewPasskey};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::Caller,
    error::{ApiError, OrMissing},
    issue::Of,
    mail::{Letter, TOKENS},
    office::Office,
    passkey::NoProof,
    proof::{session_of, with_method},
};

/// How long somebody may look for their authenticator.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// Codes that may be shown with one token.
pub(crate) const MOST_ATTEMPTS: i64 = 5;
/// Recovery codes made at once.
const CODES: usize = 10;

/// The table that something sealed stands in.
const FACTORS: &str = "factors";

/// By what somebody has been known before the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum First {
    /// A password.
    Password,
    /// A link by mail.
    MagicLink,
    /// The word of a login provider.
    Provider,
}

/// What whoever has shown the first factor is asked for.
#[derive(Debug)]
pub(crate) struct Challenge {
    token: SecretText,
    methods: Vec<&'static str>,
}

/// The members that it adds to its problem (RFC 9457 §3.2).
#[derive(Serialize)]
pub(crate) struct MfaRequired<'a> {
    /// Show it to `POST /auth/mfa/verify` with a code.
    mfa_token: &'a str,
    /// What may be shown with it: `totp`, `passkey`, `recovery_code`.
    methods: &'a [&'static str],
    /// Seconds until it is over.
    expires_in: u64,
}

/// A factor that counts. The tokens that the session had before it have ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counting {
    /// To be written down: shown this once. Empty if the account has some already.
    pub(crate) recovery_codes: Vec<String>,
    /// Show it as `Authorization: Bearer …` from now on. Not where the session is a cookie, which is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Buys the next pair. Not where the session had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Seconds until the access token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// A token that is about to be written down.
pub(crate) struct FreshChallenge {
    pub(crate) seed: ChallengeSeed,
    token: OneTimeToken,
}

// === impl First ===

impl First {
    /// As it is shown among sessions.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::MagicLink => "magic_link",
            Self::Provider => "provider",
        }
    }

    /// In a word of RFC 8176, which has none for the word of somebody else.
    pub(crate) const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::MagicLink => "email",
            Self::Provider => "fed",
        }
    }
}

// === impl Challenge ===

impl Challenge {
    pub(crate) fn takes_passkeys(&self) -> bool {
        self.methods.contains(&FactorKind::Passkey.word())
    }

    pub(crate) const fn token(&self) -> &SecretText {
        &self.token
    }

    pub(crate) fn members(&self) -> MfaRequired<'_> {
        MfaRequired { mfa_token: self.token.expose(), methods: &self.methods, expires_in: PATIENCE.as_secs() }
    }
}

// === impl FreshChallenge ===

impl FreshChallenge {
    /// What is said once it has been written down.
    pub(crate) fn said(&self, factors: &[FactorRecord]) -> ApiError {
        let kinds = [FactorKind::Totp, FactorKind::Passkey];
        let kinds = kinds.into_iter().filter(|kind| factors.iter().any(|factor| factor.kind == *kind));
        let methods = kinds.map(FactorKind::word).chain(["recovery_code"]).collect();
        ApiError::MfaRequired(Box::new(Challenge { token: self.token.expose().to_owned().into(), methods }))
    }
}

// === impl Office ===

impl Office {
    /// A token for somebody who has shown the first factor.
    pub(crate) fn fresh_challenge(&self, first: First, now: DateTime<Utc>) -> FreshChallenge {
        let token = OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng());
        let word = serde_json::to_vec(&first).expect("a word");
        let seed = ChallengeSeed {
            id: token.id(),
            digest: token.digest_for(OneTimePurpose::SecondFactor),
            sealed: self.seal_in(TOKENS, token.id(), &word),
            expires_at: now + PATIENCE,
        };
        FreshChallenge { seed, token }
    }

    /// Asks for a second factor whoever has shown the first.
    pub(crate) async fn challenge(&self, first: First, account: &Account, address: &str) -> Result<ApiError, ApiError> {
        let now = self.now();
        let fresh = self.fresh_challenge(first, now);
        // Who is deleted meanwhile is nobody, as at a login without it.
        self.store.challenge(account, address, &fresh.seed, now).await.or_missing(ApiError::InvalidCredentials)?;
        Ok(fresh.said(&self.store.factors(account.id).await?))
    }

    /// By what the holder of a token has been known so far.
    pub(crate) fn first_of(&self, token: Uuid, sealed: Option<&[u8]>) -> Result<First, ApiError> {
        let word = sealed.and_then(|sealed| self.open_in(TOKENS, token, sealed));
        let first = word.and_then(|word| {
            // Whoever was asked for a passkey has what was asked beside it.
            let beside = || serde_json::from_slice(&word).ok().map(|(first, _): (First, IgnoredAny)| first);
            serde_json::from_slice(&word).ok().or_else(beside)
        });
        first.ok_or_else(|| ApiError::Internal("what a token stands for cannot be read".to_owned()))
    }

    pub(crate) fn seal_totp(&self, id: FactorId, secret: &TotpSecret) -> Vec<u8> {
        self.seal_in(FACTORS, id.uuid(), secret.as_bytes())
    }

    pub(crate) fn open_totp(&self, factor: &FactorRecord) -> Result<TotpSecret, ApiError> {
        let secret = self.open_in(FACTORS, factor.id().uuid(), &factor.sealed);
        let secret = secret.and_then(|bytes| TotpSecret::from_slice(&bytes));
        secret.ok_or_else(|| ApiError::Internal(format!("the second factor {} cannot be read", factor.id())))
    }

    /// Lets a factor count from now on, whose owner is told by mail.
    pub(crate) async fn confirm_factor(
        &self,
        caller: &Caller,
        confirmed: Confirmed<'_>,
    ) -> Result<(HeaderMap, Counting), ApiError> {
        let (account, session, now) = (confirmed.account, session_of(caller)?, self.now());
        let email = account.address()?;
        let (_, amr) = self.store.authentication(session).await?.unwrap_or_default();
        let (shown, digests) = fresh_recovery_codes(account.id);
        // Whoever has a copy of a token or the cookie is not to be raised with its owner.
        let (next, cookie) = (Self::next_refresh(caller.0.grant), Self::next_cookie(caller.0.grant));
        let confirmation = Confirmation {
            factor: confirmed.factor,
            account: account.id,
            step: confirmed.step,
            passkey: confirmed.passkey,
            recovery: &digests,
            session: (session, &with_method(&amr, confirmed.method)),
            renewal: self.renewal(next.as_ref(), cookie.as_ref()),
            notice: &self.notice(Letter::FactorAdded, account, email.normalised()),
            now,
        };
        let (kept, renewed) = self.store.confirm_factor(confirmation).await?;
        self.has_posted();
        let cookies = cookie.map(|cookie| self.give_cookie(&cookie)).unwrap_or_default();
        let access_token = next.as_ref().map(|_| self.access_token(account, Of(session, renewed.generation), now));
        let counting = Counting {
            recovery_codes: if kept { shown } else { Vec::new() },
            expires_in: next.as_ref().map(|_| self.settings.access_ttl.as_secs()),
            access_token,
            refresh_token: next.filter(|_| renewed.refreshes).map(|token| token.expose().to_owned()),
        };
        Ok((cookies, counting))
    }

    /// The factor that a code, a recovery code or a passkey is of, as far as can be told before it is used. `token`: the one of a login, with
    /// what is sealed of it.
    pub(crate) async fn proof_of(
        &self,
        account: AccountId,
        shown: ShownFactor<'_>,
        token: Option<(Uuid, &[u8])>,
    ) -> Result<Option<FactorProof>, ApiError> {
        let code = match shown {
            ShownFactor::Passkey(credential) => {
                let asked = token.and_then(|(id, sealed)| self.asked_beside(id, Some(sealed)));
                let proof = self.passkey_proof(asked, credential, Some(account)).await?;
                return Ok(proof.map(|(_, proof)| proof).map_err(NoProof::told).ok());
            }
            ShownFactor::Recovery(text) => {
                let code = RecoveryCode::parse(text).ok();
                return Ok(code.map(|code| FactorProof::Recovery(code.digest_for(account))));
            }
            ShownFactor::Code(code) => code,
        };
        let mut proof = None;
        for factor in self.store.factors(account).await?.iter().filter(|factor| factor.kind == FactorKind::Totp) {
            if let Some(step) = self.open_totp(factor)?.step_of(code, self.settings.totp_skew, self.now()) {
                proof = Some(FactorProof::Code { factor: factor.id(), step });
            }
        }
        Ok(proof)
    }
}

/// What somebody says is their second factor.
#[derive(Clone, Copy)]
pub(crate) enum ShownFactor<'a> {
    /// What an authenticator shows.
    Code(&'a str),
    /// What was written down.
    Recovery(&'a str),
    /// What a passkey has signed.
    Passkey(&'a Value),
}

// === impl ShownFactor ===

impl ShownFactor<'_> {
    /// In a word of RFC 8176.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Code(_) | Self::Recovery(_) => "otp",
            Self::Passkey(_) => "hwk",
        }
    }

    /// What is said when it is wrong.
    pub(crate) const fn refused(self) -> ApiError {
        match self {
            Self::Code(_) | Self::Recovery(_) => ApiError::InvalidCode,
            Self::Passkey(_) => ApiError::PasskeyRefused,
        }
    }

    /// What is said when it was right and cannot be used.
    pub(crate) fn used(self) -> ApiError {
        match self {
            Self::Code(_) | Self::Recovery(_) => ApiError::InvalidCode,
            Self::Passkey(_) => NoProof::Counter.told(),
        }
    }
}

/// A factor whose owner has shown that they can use it.
pub(crate) struct Confirmed<'a> {
    pub(crate) account: &'a Account,
    pub(crate) factor: FactorId,
    pub(crate) step: i64,
    pub(crate) passkey: Option<NewPasskey<'a>>,
    /// In a word of RFC 8176.
    pub(crate) method: &'static str,
}

/// Recovery codes to be shown this once, and what is kept of them.
pub(crate) fn fresh_recovery_codes(account: AccountId) -> (Vec<String>, Vec<SecretDigest>) {
    let codes = (0..CODES).map(|_| RecoveryCode::generate(&mut rand::rng()));
    codes.map(|code| (code.shown(), code.digest_for(account))).unzip()
}
