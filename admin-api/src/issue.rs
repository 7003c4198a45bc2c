//! What a login is gone on with: a token pair (a short access token that proves itself, and a refresh token that the store knows
//! by its digest) or, in a browser, a cookie.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use identity::{AccessClaims, Grant, RefreshToken, SessionCookie, SessionId, TokenType};
use serde::{Deserialize, Serialize};
use store::{Account, Groups, NewSession, Origin, Proof, Renewal, StoreError};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    cookie::fresh_cookie,
    error::ApiError,
    office::{Office, TokenSubject},
    trail,
    user::User,
};

/// What whoever logs in, registers or refreshes is given (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Show it as `Authorization: Bearer …`.
    access_token: String,
    /// Good for one use: it buys the next pair.
    refresh_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u64,
    user: User,
}

/// What whoever logs in by a browser is given beside the cookie.
#[derive(Serialize, ToSchema)]
pub(crate) struct CookieSession {
    /// Show it as `X-CSRF-Token: …` with whatever may change something. A cookie that scripts can read holds it too.
    csrf_token: String,
    /// Seconds until the cookie expires, however often it is used.
    expires_in: u64,
    user: User,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Begun {
    Tokens(TokenPair),
    Cookie(CookieSession),
}

/// What a session shall be gone on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(rename_all = "lowercase")]
pub(crate) enum SessionKind {
    /// A token pair, for programs.
    #[default]
    Tokens,
    /// A cookie, for browsers, and no tokens.
    Cookie,
}

/// To which session an access token belongs, and how often its owner had shown anew who they are.
#[derive(Clone, Copy)]
pub(crate) struct Of(pub(crate) SessionId, pub(crate) u32);

/// A session that nobody has yet.
pub(crate) struct Fresh {
    pub(crate) id: SessionId,
    proof: FreshProof,
}

enum FreshProof {
    Refresh(RefreshToken),
    Cookie(SessionCookie),
}

// === impl SessionKind ===

/// Not derived: serde would take `{"cookie": null}` for a kind as well.
impl TryFrom<String> for SessionKind {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, &'static str> {
        match word.as_str() {
            "tokens" => Ok(Self::Tokens),
            "cookie" => Ok(Self::Cookie),
            _ => Err("must be `tokens` or `cookie`"),
        }
    }
}

// === impl Fresh ===

impl Fresh {
    pub(crate) fn new(kind: SessionKind) -> Self {
        match kind {
            SessionKind::Tokens => {
                Self { id: SessionId::new(Uuid::now_v7()), proof: FreshProof::Refresh(fresh_refresh_token()) }
            }
            SessionKind::Cookie => {
                let cookie = fresh_cookie();
                Self { id: cookie.id(), proof: FreshProof::Cookie(cookie) }
            }
        }
    }

    /// What the store is told of it.
    pub(crate) fn proof(&self, office: &Office, now: DateTime<Utc>) -> Proof {
        match &self.proof {
            FreshProof::Refresh(token) => {
                let terms = office.settings.refresh_terms;
                let expires_at = now + terms.ttl.min(terms.session_life);
                Proof::Refresh { token: (token.id(), token.digest()), expires_at }
            }
            FreshProof::Cookie(cookie) => Proof::Cookie(office.terms(cookie, now)),
        }
    }
}

// === impl Office ===

impl Office {
    /// Begins a session: gives what the client is told, and the cookie that a browser is given.
    pub(crate) async fn open_session(
        &self,
        account: Account,
        origin: Origin<'_>,
        kind: SessionKind,
        now: DateTime<Utc>,
    ) -> Result<(HeaderMap, Begun), ApiError> {
        let fresh = Fresh::new(kind);
        let new = NewSession { id: fresh.id, account: &account, proof: fresh.proof(self, now), now, origin };
        let groups = self.store.open_session(new).await.map_err(|error| match error {
            // It was deleted since its password was checked: whoever comes a moment later hears no more.
            StoreError::NotFound => ApiError::InvalidCredentials,
            error => error.into(),
        })?;
        Ok(self.begun(account, groups, fresh, now))
    }

    /// What is given to whoever has begun a session that the store has taken in.
    pub(crate) fn begun(
        &self,
        account: Account,
        groups: Groups,
        fresh: Fresh,
        now: DateTime<Utc>,
    ) -> (HeaderMap, Begun) {
        trail::by(account.id.uuid());
        trail::about(account.id.uuid());
        match fresh.proof {
            FreshProof::Refresh(token) => {
                let access = self.access_token(&account, Of(fresh.id, 0), now);
                let user = User::with_groups(account, groups);
                (HeaderMap::new(), Begun::Tokens(self.pair(access, &token, user)))
            }
            FreshProof::Cookie(cookie) => {
                let session = CookieSession {
                    csrf_token: cookie.csrf_token(),
                    expires_in: self.settings.pages.cookie_life.as_secs(),
                    user: User::with_groups(account, groups),
                };
                (self.give_cookie(&cookie), Begun::Cookie(session))
            }
        }
    }

    /// The refresh token that a session of tokens is gone on with once its owner has shown more; none where a browser has a cookie.
    pub(crate) fn next_refresh(grant: Grant) -> Option<RefreshToken> {
        matches!(grant, Grant::Session(_)).then(fresh_refresh_token)
    }

    /// What the store is told of it.
    pub(crate) fn renewal(&self, refresh: Option<&RefreshToken>, cookie: Option<&SessionCookie>) -> Renewal {
        Renewal {
            refresh: refresh.map(|token| (token.id(), token.digest())),
            cookie: cookie.map(SessionCookie::digest),
            terms: self.settings.refresh_terms,
        }
    }

    /// The pair that belongs to a refresh token which the store has taken in.
    pub(crate) fn pair(&self, access_token: String, refresh: &RefreshToken, user: User) -> TokenPair {
        TokenPair {
            access_token,
            refresh_token: refresh.expose().to_owned(),
            token_type: "bearer",
            expires_in: self.settings.access_ttl.as_secs(),
            user,
        }
    }

    pub(crate) fn access_token(&self, account: &Account, session: Of, now: DateTime<Utc>) -> String {
        self.access_token_until(account, session, now, now + self.settings.access_ttl)
    }

    pub(crate) fn access_token_until(
        &self,
        account: &Account,
        Of(session, generation): Of,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> String {
        let claims = AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: account.id,
            // An address that nobody has confirmed may be somebody else's, and is nobody's name.
            email: (self.settings.subject == TokenSubject::Email && account.is_verified).then(|| account.email.clone()),
            sid: session,
            iat: now.timestamp(),
            exp: until.timestamp(),
            jti: Uuid::new_v4(),
            generation,
        };
        self.keys.load().access.current.sign(TokenType::Access, &claims)
    }
}

/// 32 random bytes and an id to find them by.
pub(crate) fn fresh_refresh_token() -> RefreshToken {
    RefreshToken::generate(Uuid::now_v7(), &mut rand::rng())
}
