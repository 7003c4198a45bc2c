//! The cookies of whoever logs in by a browser: the session's, which no script can read, and beside it the token that a page's
//! scripts show with whatever changes something (`identity::cookie`).
//!
//! What is shown is checked at the door; the pages check it in their forms.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use identity::{CookieNames, Grant, SessionCookie, SessionId, cookie_pairs};
use store::{CookieTerms, StoreError};
use uuid::Uuid;

use crate::{error::ApiError, office::Office, visitor::Visitor};

/// A cookie that nobody has yet.
pub(crate) fn fresh_cookie() -> SessionCookie {
    SessionCookie::generate(SessionId::new(Uuid::now_v7()), &mut rand::rng())
}

/// The value of the one cookie of that name; of two, one was set by somebody else (a sister host, perhaps), and nobody can say which. What
/// stands beside it may be no text.
pub(crate) fn the_one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|field| cookie_pairs(field.as_bytes()));
    let mut ours = pairs.filter(|(own, _)| *own == name.as_bytes());
    let (Some((_, value)), None) = (ours.next(), ours.next()) else { return None };
    std::str::from_utf8(value).ok()
}

// === impl Office ===

impl Office {
    pub(crate) fn cookie_names(&self) -> CookieNames {
        CookieNames::of(self.is_secure())
    }

    /// Do people reach the platform by HTTPS? Cookies are as safe as that.
    pub(crate) fn is_secure(&self) -> bool {
        self.mail.settings.public_url.starts_with("https://")
    }

    /// How long a cookie that begins now is good.
    pub(crate) fn terms(&self, cookie: &SessionCookie, now: DateTime<Utc>) -> CookieTerms {
        let pages = &self.settings.pages;
        CookieTerms { digest: cookie.digest(), idle_until: now + pages.cookie_idle, ends_at: now + pages.cookie_life }
    }

    /// Gives a browser its cookies.
    pub(crate) fn give_cookie(&self, cookie: &SessionCookie) -> HeaderMap {
        let life = self.settings.pages.cookie_life.as_secs();
        self.set_cookies(cookie.expose(), &cookie.csrf_token(), life)
    }

    /// Takes a browser's cookies away.
    pub(crate) fn no_cookie(&self) -> HeaderMap {
        self.set_cookies("", "", 0)
    }

    /// The cookie that a browser's session is gone on with once its owner has shown more; none where there are tokens.
    pub(crate) fn next_cookie(grant: Grant) -> Option<SessionCookie> {
        let Grant::Cookie(session) = grant else { return None };
        Some(SessionCookie::generate(session, &mut rand::rng()))
    }

    /// Gives a browser another cookie where the password has changed, so that whoever had the old one has nothing. The change itself
    /// stands, whatever becomes of this.
    pub(crate) async fn another_cookie(&self, grant: Grant) -> Result<HeaderMap, ApiError> {
        let Some(cookie) = Self::next_cookie(grant) else { return Ok(HeaderMap::new()) };
        match self.store.change_cookie(cookie.id(), &cookie.digest(), self.now()).await {
            Ok(()) => Ok(self.give_cookie(&cookie)),
            // It has ended meanwhile.
            Err(StoreError::NotFound) => Ok(self.no_cookie()),
            Err(error) => {
                tracing::warn!(%error, session = %cookie.id().uuid(), "a browser's cookie could not be changed");
                Ok(HeaderMap::new())
            }
        }
    }

    /// What the forms of a page have to show that is sent with these cookies, if there is a new one among them.
    pub(crate) fn csrf_given(&self, cookies: &HeaderMap) -> Option<String> {
        let given = cookies.get_all(header::SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let mut ours = given.filter_map(|cookie| cookie.strip_prefix(self.cookie_names().csrf)?.strip_prefix('='));
        ours.next().and_then(|rest| rest.split(';').next()).map(str::to_owned)
    }

    /// Whoever logs in anew in a browser leaves the session behind that was there (OWASP ASVS 5.0 §7.2.4): the cookie is gone, and nobody
    /// else is to find it good. The login stands, whatever becomes of this.
    pub(crate) async fn leave_behind(&self, visitor: &Visitor) {
        let Some(old) = &visitor.session else { return };
        if let Err(error) = self.store.leave_cookie(old.id(), &old.digest(), self.now()).await {
            tracing::warn!(%error, "the session that a browser had before could not be ended");
        }
    }

    /// The cookie that came with a request which the door let through by it.
    pub(crate) fn cookie_in(&self, headers: &HeaderMap) -> Option<SessionCookie> {
        SessionCookie::parse(the_one(headers, self.cookie_names().session)?).ok()
    }

    fn set_cookies(&self, session: &str, csrf: &str, life: u64) -> HeaderMap {
        let names = self.cookie_names();
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let shared = format!("; Path=/; Max-Age={life}; SameSite=Lax{secure}");
        let cookies =
            [format!("{}={session}{shared}; HttpOnly", names.session), format!("{}={csrf}{shared}", names.csrf)];
        let values = cookies.into_iter().filter_map(|cookie| HeaderValue::try_from(cookie).ok());
        values.fold(HeaderMap::new(), |mut headers, mut value| {
            value.set_sensitive(true);
            headers.append(header::SET_COOKIE, value);
            headers
        })
    }
}
