//! Token pairs: a short access token that proves itself, and a refresh token that the store knows by its digest.

use chrono::{DateTime, Utc};
use identity::{AccessClaims, AccountId, RefreshToken, SessionId, TokenType};
use serde::Serialize;
use store::{Account, NewSession, Origin};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{error::ApiError, office::Office, trail, user::User};

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

// === impl Office ===

impl Office {
    /// Begins a session and issues its first pair.
    pub(crate) async fn open_session(
        &self,
        account: Account,
        origin: Origin<'_>,
        now: DateTime<Utc>,
    ) -> Result<TokenPair, ApiError> {
        trail::by(account.id.uuid());
        trail::about(account.id.uuid());
        let session = SessionId::new(Uuid::now_v7());
        let refresh = fresh_refresh_token();
        self.store
            .open_session(NewSession {
                id: session,
                account: &account,
                refresh: (refresh.id(), refresh.digest()),
                now,
                refresh_expires_at: now + self.settings.refresh_ttl,
                origin,
            })
            .await?;
        Ok(self.pair(account, session, &refresh, now))
    }

    /// The pair that belongs to a refresh token which the store has taken in.
    pub(crate) fn pair(
        &self,
        account: Account,
        session: SessionId,
        refresh: &RefreshToken,
        now: DateTime<Utc>,
    ) -> TokenPair {
        TokenPair {
            access_token: self.access_token(account.id, session, now),
            refresh_token: refresh.expose().to_owned(),
            token_type: "bearer",
            expires_in: self.settings.access_ttl.as_secs(),
            user: account.into(),
        }
    }

    pub(crate) fn access_token(&self, account: AccountId, session: SessionId, now: DateTime<Utc>) -> String {
        let claims = AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: account,
            sid: session,
            iat: now.timestamp(),
            exp: (now + self.settings.access_ttl).timestamp(),
            jti: Uuid::new_v4(),
        };
        self.keys.load().access.current.sign(TokenType::Access, &claims)
    }
}

/// 32 random bytes and an id to find them by.
pub(crate) fn fresh_refresh_token() -> RefreshToken {
    RefreshToken::generate(Uuid::now_v7(), &mut rand::rng())
}
