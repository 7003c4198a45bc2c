//! There and back again: what is kept while somebody is at the provider's, and whose session begins when they come back.
//!
//! `state` is a one-time token that serves in one browser, for one provider, once and for ten minutes. What belongs to it (nonce, verifier,
//! where to go on) never leaves the server: a copied or swapped answer finds nothing.

use std::time::Duration;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use identity::{AccountId, CodeVerifier, Email, ExternalId, OneTimePurpose, OneTimeToken, SecretText, random_text};
use policies::ReturnTo;
use serde::{Deserialize, Serialize};
use store::{
    Account, AccountKind, Belonging, NewAccount, NewIdentity, NewOneTime, Origin, Seen, ShownOneTime, Standing, Status,
    StoreError,
};
use uuid::Uuid;

use super::{
    Answered, Asked, Identified, OauthFault, Provider, ProviderFault,
    link::{LINK_PAGE, keep_pending},
};
use crate::{
    error::ApiError, form::Form, issue::SessionKind, mail::TOKENS, office::Office, pages::HOME, second_factor::First,
    trail, visitor::Visitor,
};

/// How long somebody may take at the provider's.
const PATIENCE: Duration = Duration::from_mins(10);
/// Where whoever wants to link begins who is not signed in.
const SIGN_IN_FIRST: &str = "/account/sign-in?return_to=/account/identities";

/// What somebody wants who begins.
pub(crate) struct Beginning<'a> {
    pub(crate) provider: &'a str,
    /// Where to go on.
    pub(crate) return_to: Option<ReturnTo>,
    /// To link an account, and not to log in.
    pub(crate) is_link: bool,
    /// Whoever is logged in at the provider is to show it anew.
    pub(crate) is_fresh: bool,
}

/// What a browser brings back (RFC 6749 §4.1.2, RFC 9207 §2).
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) state: Option<SecretText>,
    pub(crate) code: Option<SecretText>,
    pub(crate) error: Option<String>,
    pub(crate) iss: Option<String>,
}

/// What is kept meanwhile, sealed.
#[derive(Serialize, Deserialize)]
struct Begun {
    provider: String,
    nonce: String,
    verifier: String,
    return_to: Option<String>,
    /// Whose account is to be linked, if one is.
    link: Option<Uuid>,
}

/// Begins: gives where the browser goes, and what it is known by from now on.
pub(crate) async fn begin(
    office: &Office,
    visitor: &Visitor,
    wanted: Beginning<'_>,
) -> Result<(HeaderMap, String), ApiError> {
    let provider = office.provider(wanted.provider)?;
    let device = visitor.known_device();
    let link = if wanted.is_link { office.signed_in(visitor).await? } else { None };
    if wanted.is_link && link.is_none() {
        return Ok((device.headers(), SIGN_IN_FIRST.to_owned()));
    }
    let (now, token) = (office.now(), OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()));
    let (verifier, nonce) = (CodeVerifier::generate(&mut rand::rng()), random_text(&mut rand::rng()));
    let asked = Asked {
        state: token.expose(),
        nonce: nonce.expose(),
        challenge: &verifier.challenge(),
        redirect_uri: &office.redirect_uri(provider),
        is_fresh: wanted.is_fresh,
    };
    let to = office.providers.begin(provider, asked).await.map_err(OauthFault::from)?;
    let begun = Begun {
        provider: provider.id.clone(),
        nonce: nonce.expose().to_owned(),
        verifier: verifier.expose().to_owned(),
        return_to: wanted.return_to.map(|back| back.as_str().to_owned()),
        link: link.map(|account| account.uuid()),
    };
    let begun = zeroize::Zeroizing::new(serde_json::to_vec(&begun).expect("texts and a bool"));
    let kept = NewOneTime {
        id: token.id(),
        purpose: OneTimePurpose::OauthState,
        account: None,
        address: "",
        digest: token.digest_for(OneTimePurpose::OauthState),
        binding: Some(device.digest),
        sealed: Some(office.seal_in(TOKENS, token.id(), &begun)),
        now,
        expires_at: now + PATIENCE,
    };
    office.store.keep_one_time(&kept).await?;
    Ok((device.headers(), to))
}

/// Comes back: gives where the browser wanted to go, and where it goes on, with its cookies.
pub(crate) async fn come_back(
    office: &Office,
    visitor: &Visitor,
    provider: &str,
    answer: Answer,
) -> (Option<ReturnTo>, Result<(HeaderMap, String), ApiError>) {
    let mut back = None;
    let came = arrive(office, visitor, provider, answer, &mut back).await;
    match &came {
        Ok(_) => {}
        Err(ApiError::MfaRequired(_)) => office.metrics.login("mfa_required"),
        Err(_) => office.metrics.login("provider_refused"),
    }
    (back, came)
}

async fn arrive(
    office: &Office,
    visitor: &Visitor,
    provider: &str,
    answer: Answer,
    back: &mut Option<ReturnTo>,
) -> Result<(HeaderMap, String), ApiError> {
    let provider = office.provider(provider)?;
    trail::detail("provider", &*provider.id);
    let begun = begun_by(office, visitor, provider, answer.state.as_ref()).await?;
    if let Some(error) = &answer.error {
        tracing::info!(provider = provider.id, error = error.escape_debug().to_string(), "a provider has said no");
        return Err(OauthFault::said(error).into());
    }
    let code = answer.code.ok_or(ApiError::BodyBroken)?;
    *back = begun.return_to.as_deref().and_then(ReturnTo::parse);
    let answered = Answered {
        code: &code,
        issuer: answer.iss.as_deref(),
        verifier: &CodeVerifier::kept(begun.verifier.into()),
        nonce: &begun.nonce,
        redirect_uri: &office.redirect_uri(provider),
        client: visitor.counted(),
        now: office.now(),
    };
    let identified = office.providers.redeem(provider, answered).await.map_err(OauthFault::from)?;
    if !identified.has_plain_subject() {
        tracing::warn!(provider = provider.id, "a provider names somebody in a way that is no name");
        return Err(OauthFault::Provider(ProviderFault::Broken).into());
    }
    if let Some(account) = begun.link.map(AccountId::new) {
        // Whoever signs in meanwhile has not begun it.
        if office.signed_in(visitor).await? != Some(account) {
            return Err(OauthFault::State.into());
        }
        let cookies = keep_pending(office, visitor, provider, &identified, account).await?;
        return Ok((cookies, LINK_PAGE.to_owned()));
    }
    let account = match known_or_new(office, provider, &identified).await? {
        Whose::Theirs(account) => *account,
        Whose::Asked(owner) => {
            // The owner of the account has to sign in and agree, whoever this is.
            trail::detail("asked_to_link", true);
            let cookies = keep_pending(office, visitor, provider, &identified, owner).await?;
            return Ok((cookies, LINK_PAGE.to_owned()));
        }
    };
    let cookies = log_in(office, visitor, account, identified.seen_at).await?;
    Ok((cookies, back.as_ref().map_or(HOME, ReturnTo::as_str).to_owned()))
}

/// What was begun with a state, which is used up by it.
async fn begun_by(
    office: &Office,
    visitor: &Visitor,
    provider: &Provider,
    state: Option<&SecretText>,
) -> Result<Begun, ApiError> {
    let token = state.and_then(|state| OneTimeToken::parse(state.expose()).ok()).ok_or(OauthFault::State)?;
    let shown = ShownOneTime {
        id: token.id(),
        purpose: OneTimePurpose::OauthState,
        digest: token.digest_for(OneTimePurpose::OauthState),
        // A browser that is not known has begun nothing.
        binding: Some(visitor.device().ok_or(OauthFault::State)?),
    };
    let found = office.store.take_one_time(&shown, office.now()).await?.ok_or(OauthFault::State)?;
    let sealed = found.sealed.and_then(|sealed| office.open_in(TOKENS, token.id(), &sealed));
    let begun: Option<Begun> = sealed.and_then(|begun| serde_json::from_slice(&begun).ok());
    let begun = begun.ok_or_else(|| ApiError::Internal("what a state stands for cannot be read".to_owned()))?;
    // The answer of another one is nobody's (mix-up, RFC 9700 §4.4).
    if begun.provider == provider.id { Ok(begun) } else { Err(OauthFault::State.into()) }
}

/// Whose account it is that somebody at a provider asks for.
enum Whose {
    /// Theirs.
    Theirs(Box<Account>),
    /// One whose owner has not agreed: it has the same address, or an issuer's tokens may use it.
    Asked(AccountId),
}

/// Finds the account, or makes it.
async fn known_or_new(office: &Office, provider: &Provider, identified: &Identified) -> Result<Whose, ApiError> {
    let (id, now) = (ExternalId::of(&provider.issuer, &identified.subject), office.now());
    if let Some(known) = known(office, id).await? {
        if matches!(known, Whose::Theirs(_)) {
            office.store.identity_used(id, identified.verified_email.as_ref().map(Email::as_str), now).await?;
        }
        return Ok(known);
    }
    let email = identified.verified_email.as_ref().ok_or(OauthFault::EmailUnverified)?;
    if let Some(owner) = office.store.account_by_email(email).await? {
        return Ok(Whose::Asked(owner.id));
    }
    if !provider.sign_up {
        return Err(OauthFault::SignUpClosed.into());
    }
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email,
        password_hash: office.hashing.no_password().clone(),
        name: identified.name.as_deref().and_then(|name| Form::default().name("name", name)),
        role: &office.settings.default_role,
        tier: &office.settings.default_tier,
        has_own_tier: false,
        is_verified: true,
        kind: AccountKind::Person,
        tenant: Belonging::FoundsOwn,
        now,
    };
    let identity = NewIdentity { issuer: &provider.issuer, subject: &identified.subject, email: email.as_str() };
    // Begun and completed at once: whoever counts the ones by the others finds these among both.
    office.metrics.registration("begun");
    match office.store.create_with_identity(new, identity).await {
        Ok(account) => {
            office.metrics.registration("ok");
            trail::detail("account_made", true);
            Ok(Whose::Theirs(Box::new(account)))
        }
        // Of two who come at once one comes second, and finds what the first one has made.
        Err(StoreError::EmailTaken | StoreError::Conflict(_)) => {
            let found = match known(office, id).await? {
                Some(known) => Some(known),
                None => office.store.account_by_email(email).await?.map(|owner| Whose::Asked(owner.id)),
            };
            found.ok_or_else(|| OauthFault::NothingToLink.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The account that a subject has.
async fn known(office: &Office, id: ExternalId) -> Result<Option<Whose>, ApiError> {
    let Some(facts) = office.store.external_grant(id).await? else { return Ok(None) };
    let is_agreed = office.store.is_agreed(id).await?;
    Ok(Some(if is_agreed { Whose::Theirs(Box::new(facts.account)) } else { Whose::Asked(facts.account.id) }))
}

/// Logs somebody in by a cookie, as whoever has shown a password is logged in, but seen when the provider says: it may have asked nobody
/// since yesterday.
async fn log_in(
    office: &Office,
    visitor: &Visitor,
    account: Account,
    seen_at: Option<DateTime<Utc>>,
) -> Result<HeaderMap, ApiError> {
    trail::about(account.id.uuid());
    if account.status == Status::Disabled {
        return Err(ApiError::AccountDisabled);
    }
    if !account.is_verified && !office.settings.accounts.unverified_may_log_in {
        return Err(ApiError::EmailUnverified);
    }
    if !office.store.factors(account.id).await?.is_empty() {
        let email = account.address()?;
        return Err(office.challenge(First::Provider, &account, email.normalised()).await?);
    }
    let device = visitor.known_device();
    let seen = seen_at.map_or(Seen::Unknown, Seen::At);
    let origin = Origin { seen, ..visitor.origin_of(&device, First::Provider) };
    let (cookies, _) = office.open_session(account, origin, SessionKind::Cookie, office.now()).await?;
    office.leave_behind(visitor).await;
    office.metrics.login("provider");
    Ok(device.beside(cookies))
}

// === impl Office ===

impl Office {
    /// The provider that an address names.
    pub(crate) fn provider(&self, id: &str) -> Result<&Provider, ApiError> {
        let provider = self.providers.list().iter().find(|provider| provider.id == id);
        provider.ok_or(ApiError::NotFound("login provider"))
    }

    /// Whose session it is that a browser shows the cookie of. The door asks for nobody where logins begin and end.
    async fn signed_in(&self, visitor: &Visitor) -> Result<Option<AccountId>, ApiError> {
        let Some(cookie) = &visitor.session else { return Ok(None) };
        let Some(facts) = self.store.cookie_grant(cookie.id()).await? else { return Ok(None) };
        let is_good = facts.digest == Some(cookie.digest()) && facts.standing(self.now()) == Standing::Live;
        Ok(is_good.then_some(facts.account.id))
    }

    /// Where answers of a provider go: what was registered there, to the letter, whatever host a request names.
    fn redirect_uri(&self, provider: &Provider) -> String {
        format!("{}/auth/oauth/{}/callback", self.mail.settings.public_url, provider.id)
    }
}
