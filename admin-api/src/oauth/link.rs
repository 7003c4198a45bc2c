//! What somebody else has said and nobody has agreed to yet, and the owner's yes or no.
//!
//! It waits in a one-time token that only the browser has which came back with it, in a cookie, for a quarter of an hour. Whoever agrees is
//! signed in, was seen within five minutes or shows it anew, and has pressed the button of our own page.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use identity::{AccountId, Email, ExternalId, OneTimePurpose, OneTimeToken};
use serde::{Deserialize, Serialize};
use store::{Believed, NewIdentity, NewOneTime, ShownOneTime, StoreError, Unlinked};
use uuid::Uuid;

use super::{Identified, OauthFault, Provider};
use crate::{
    caller::Caller,
    cookie::the_one,
    error::{ApiError, OrMissing},
    mail::{Letter, TOKENS},
    office::Office,
    proof::Proof,
    trail,
    visitor::Visitor,
};

/// Where the owner agrees.
pub(crate) const LINK_PAGE: &str = "/account/link";
/// How long the owner may take to sign in and to agree.
const PATIENCE: Duration = Duration::from_mins(15);

const NO_IDENTITY: ApiError = ApiError::NotFound("identity");

/// Somebody at a provider, whom an account's owner may let in.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) provider: String,
    issuer: String,
    subject: String,
    /// Verified by the provider.
    pub(crate) email: String,
    #[serde(skip)]
    shown: Option<ShownOneTime>,
    #[serde(skip)]
    account: Option<AccountId>,
}

/// Keeps what a provider has said, for the owner of one account alone; gives the cookie of it.
pub(super) async fn keep_pending(
    office: &Office,
    visitor: &Visitor,
    provider: &Provider,
    identified: &Identified,
    account: AccountId,
) -> Result<HeaderMap, ApiError> {
    let email = identified.verified_email.as_ref().ok_or(OauthFault::EmailUnverified)?;
    let device = visitor.known_device();
    let (now, token) = (office.now(), OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()));
    let pending = Pending {
        provider: provider.id.clone(),
        issuer: provider.issuer.clone(),
        subject: identified.subject.clone(),
        email: email.as_str().to_owned(),
        shown: None,
        account: None,
    };
    let pending = serde_json::to_vec(&pending).expect("texts");
    let kept = NewOneTime {
        id: token.id(),
        purpose: OneTimePurpose::LinkIdentity,
        account: Some(account),
        address: "",
        digest: token.digest_for(OneTimePurpose::LinkIdentity),
        binding: Some(device.digest),
        sealed: Some(office.seal_in(TOKENS, token.id(), &pending)),
        now,
        expires_at: now + PATIENCE,
    };
    office.store.keep_one_time(&kept).await?;
    Ok(device.beside(office.link_cookie(token.expose(), PATIENCE.as_secs())))
}

/// Is there something to agree to, by the looks of it?
pub(crate) fn has_pending(office: &Office, headers: &HeaderMap) -> bool {
    office.shown_link(headers).is_some()
}

/// What there is to agree to for whoever is signed in; what waits for somebody else is nothing.
pub(crate) async fn pending(
    office: &Office,
    visitor: &Visitor,
    headers: &HeaderMap,
    account: AccountId,
) -> Result<Pending, ApiError> {
    let token = office.shown_link(headers).ok_or(OauthFault::NothingToLink)?;
    let shown = ShownOneTime {
        id: token.id(),
        purpose: OneTimePurpose::LinkIdentity,
        digest: token.digest_for(OneTimePurpose::LinkIdentity),
        binding: Some(visitor.device().ok_or(OauthFault::NothingToLink)?),
    };
    let found = office.store.look_at(&shown, office.now()).await?.ok_or(OauthFault::NothingToLink)?;
    if found.account() != Some(account) {
        return Err(OauthFault::NothingToLink.into());
    }
    let sealed = found.sealed.and_then(|sealed| office.open_in(TOKENS, token.id(), &sealed));
    let pending: Option<Pending> = sealed.and_then(|pending| serde_json::from_slice(&pending).ok());
    let pending = pending.ok_or_else(|| ApiError::Internal("what a link stands for cannot be read".to_owned()))?;
    Ok(Pending { shown: Some(shown), account: Some(account), ..pending })
}

/// The owner agrees: from now on it is a way into the account. Gives what takes the browser's cookie away.
pub(crate) async fn link(
    office: &Office,
    visitor: &Visitor,
    caller: &Caller,
    pending: &Pending,
    proof: &Proof,
) -> Result<HeaderMap, ApiError> {
    trail::about(caller.0.account.uuid());
    trail::detail("provider", pending.provider.as_str());
    trail::detail("identity", pending.id().uuid().to_string());
    let proved = proof.by(caller, visitor, office).await?;
    let (account, session) = (proved.account, proved.session);
    // Whose account it is has yet to be shown: whoever took the address would be let in for good.
    if !account.is_verified {
        return Err(ApiError::EmailUnverified);
    }
    let notice = office.notice(Letter::IdentityLinked, &account, &normalised(&account.email)?);
    let identity = NewIdentity { issuer: &pending.issuer, subject: &pending.subject, email: &pending.email };
    let shown =
        pending.shown.as_ref().filter(|_| pending.account == Some(account.id)).ok_or(OauthFault::NothingToLink)?;
    match office.store.link_identity(shown, (account.id, session), identity, &notice, office.now()).await {
        Ok(true) => {}
        Ok(false) => return Err(OauthFault::NothingToLink.into()),
        Err(StoreError::Conflict(_)) => return Err(OauthFault::IdentityTaken.into()),
        Err(error) => return Err(error.into()),
    }
    office.has_posted();
    Ok(office.no_link_cookie())
}

/// A way into the account is none any more.
pub(crate) async fn unlink(
    office: &Office,
    visitor: &Visitor,
    caller: &Caller,
    id: &str,
    proof: &Proof,
) -> Result<(), ApiError> {
    trail::about(caller.0.account.uuid());
    let id: ExternalId = id.parse().map_err(|_| NO_IDENTITY)?;
    trail::detail("identity", id.uuid().to_string());
    let proved = proof.by(caller, visitor, office).await?;
    let notice = office.notice(Letter::IdentityUnlinked, &proved.account, &normalised(&proved.account.email)?);
    let providers: Vec<&str> = office.providers.list().iter().map(|provider| &*provider.issuer).collect();
    let issuers: Vec<&str> = office.settings.believed_issuers.iter().map(|issuer| &**issuer).collect();
    let believed = Believed { providers: &providers, issuers: &issuers };
    let whose = (proved.account.id, proved.session);
    match office.store.unlink_identity(whose, id, believed, &notice, office.now()).await {
        Ok(Unlinked::Done) => {
            office.has_posted();
            Ok(())
        }
        Ok(Unlinked::LastWayIn) => Err(OauthFault::LastWayIn.into()),
        // Somebody else's is none.
        Err(StoreError::NotFound) => Err(NO_IDENTITY),
        Err(error) => Err(error.into()),
    }
}

/// What an issuer says of addresses counts for the account again.
pub(crate) async fn allow(
    office: &Office,
    visitor: &Visitor,
    caller: &Caller,
    id: &str,
    proof: &Proof,
) -> Result<(), ApiError> {
    trail::about(caller.0.account.uuid());
    let id: ExternalId = id.parse().map_err(|_| NO_IDENTITY)?;
    trail::detail("identity", id.uuid().to_string());
    let proved = proof.by(caller, visitor, office).await?;
    office.store.allow_issuer(proved.account.id, id, office.now()).await.or_missing(NO_IDENTITY)
}

fn normalised(email: &str) -> Result<String, ApiError> {
    let email = Email::parse(email).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(email.normalised().to_owned())
}

// === impl Pending ===

impl Pending {
    /// Who it is.
    pub(crate) fn id(&self) -> ExternalId {
        ExternalId::of(&self.issuer, &self.subject)
    }
}

// === impl Office ===

impl Office {
    /// Takes away what a browser could agree to.
    pub(crate) fn no_link_cookie(&self) -> HeaderMap {
        self.link_cookie("", 0)
    }

    fn link_cookie(&self, token: &str, life: u64) -> HeaderMap {
        let (name, secure) = (self.cookie_names().link, if self.is_secure() { "; Secure" } else { "" });
        let cookie = format!("{name}={token}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}");
        let value = HeaderValue::try_from(cookie).ok();
        value.into_iter().fold(HeaderMap::new(), |mut headers, mut value| {
            value.set_sensitive(true);
            headers.append(header::SET_COOKIE, value);
            headers
        })
    }

    /// The token that a browser shows.
    fn shown_link(&self, headers: &HeaderMap) -> Option<OneTimeToken> {
        OneTimeToken::parse(the_one(headers, self.cookie_names().link)?).ok()
    }
}
