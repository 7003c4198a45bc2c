//! What the office asks of login providers; answered by the process that runs it, which can reach them.

use std::net::IpAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use identity::{CodeVerifier, Email, SecretText};

const LONGEST_SUBJECT: usize = 255;

/// Somebody at whom people can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is called in addresses.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// In whose name it speaks (`iss`).
    pub issuer: String,
    /// Do people whom nobody here knows get an account?
    pub sign_up: bool,
}

/// What a login is begun with.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Comes back with the answer.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// Of the code verifier, by S256.
    pub challenge: &'a str,
    /// Where the answer goes.
    pub redirect_uri: &'a str,
    /// Whoever is logged in there is to show it anew.
    pub is_fresh: bool,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Buys the tokens.
    pub code: &'a SecretText,
    /// Who says so, if the provider says who it is (RFC 9207).
    pub issuer: Option<&'a str>,
    /// What only whoever began can show.
    pub verifier: &'a CodeVerifier,
    /// What the ID token has to repeat.
    pub nonce: &'a str,
    /// Where the answer came.
    pub redirect_uri: &'a str,
    /// By which address whoever brings it is counted.
    pub client: Option<IpAddr>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What a provider says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// `sub`: who it is, there.
    pub subject: String,
    /// The address, if it is one and the provider says that it has verified it.
    pub verified_email: Option<Email>,
    /// The name.
    pub name: Option<String>,
    /// When somebody has last shown there who they are, if the provider says so.
    pub seen_at: Option<DateTime<Utc>>,
}

/// Why a provider is of no use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It cannot be reached, or takes too long.
    #[error("the provider cannot be reached")]
    Away,
    /// What it says cannot be understood.
    #[error("what the provider says cannot be understood")]
    Broken,
    /// It refuses us, not the one who logs in.
    #[error("the provider refuses us")]
    Refused,
    /// It does not know the code, or knows it as somebody else's.
    #[error("the provider does not take the code")]
    CodeRefused,
    /// The answer is another's.
    #[error("the answer is not the provider's")]
    WrongIssuer,
    /// Whoever comes back has logged in there longer ago than is allowed.
    #[error("somebody has logged in at the provider too long ago")]
    TooLongAgo,
    /// The ID token proves nothing.
    #[error("the ID token proves nothing")]
    IdToken,
}

/// The login providers.
#[async_trait]
pub trait Providers: Send + Sync {
    /// All of them, in the order in which people see them.
    fn list(&self) -> &[Provider];

    /// Where a browser goes to log in at one of them.
    async fn begin(&self, provider: &Provider, asked: Asked<'_>) -> Result<String, ProviderFault>;

    /// Who it is that came back.
    async fn redeem(&self, provider: &Provider, answered: Answered<'_>) -> Result<Identified, ProviderFault>;
}

// === impl Identified ===

impl Identified {
    /// Is it one that may be kept and shown (`OpenID` Connect Core §2: 255 characters of ASCII)?
    pub(crate) fn has_plain_subject(&self) -> bool {
        let subject = &self.subject;
        !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control)
    }
}

/// There are none.
pub(crate) struct NoProviders;

// === impl NoProviders ===

#[async_trait]
impl Providers for NoProviders {
    fn list(&self) -> &[Provider] {
        &[]
    }

    async fn begin(&self, _: &Provider, _: Asked<'_>) -> Result<String, ProviderFault> {
        Err(ProviderFault::Away)
    }

    async fn redeem(&self, _: &Provider, _: Answered<'_>) -> Result<Identified, ProviderFault> {
        Err(ProviderFault::Away)
    }
}

#[cfg(test)]
mod tests {
    use super::Identified;

    #[test]
    fn a_subject_is_no_longer_than_it_may_be_and_a_text_that_can_be_shown() {
        for (subject, is_plain) in [
            ("ada".to_owned(), true),
            ("x".repeat(255), true),
            ("x".repeat(256), false),
            (String::new(), false),
            ("a\nb".to_owned(), false),
            ("a\u{85}".to_owned(), false),
        ] {
            let identified = Identified { subject, verified_email: None, name: None, seen_at: None };
            assert_eq!(identified.has_plain_subject(), is_plain, "{identified:?}");
        }
    }
}
