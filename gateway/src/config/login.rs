//! `[[login_providers]]`, parsed: at whom people can log in.

use std::time::Duration;

use identity::{Algorithm, SecretText};

use super::issuers::KeySource;

/// `[[login_providers]]`.
#[derive(Clone, PartialEq)]
pub struct LoginProvider {
    /// What it is called in addresses.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// What it speaks.
    pub speaks: Speaks,
    /// In whose name it speaks, without a slash at the end where it is GitHub.
    pub issuer: String,
    /// This platform's id there.
    pub client_id: String,
    /// And its secret.
    pub client_secret: SecretText,
    /// What is asked for, with spaces between.
    pub scope: String,
    /// Do people whom nobody here knows get an account?
    pub sign_up: bool,
    /// How long ago somebody may have logged in there.
    pub max_age: Duration,
    /// Is nobody let in of whom it does not say when that was?
    pub says_when: bool,
    /// Who may have signed its certificate: PEM.
    pub ca: Option<String>,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// `OpenID` Connect.
    Oidc,
    /// OAuth 2, and GitHub's own interface.
    Github,
}

/// As those of `[[issuers]]` have it by default.
const REFRESH: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(10));
const MAX_STALE: Duration = Duration::from_hours(24);

// === impl LoginProvider ===

impl LoginProvider {
    /// Where the keys are that sign its ID tokens.
    pub(crate) fn keys(&self) -> KeySource {
        KeySource {
            issuer: self.issuer.clone(),
            jwks_url: None,
            ca: self.ca.clone(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
            refresh: REFRESH,
            max_stale: MAX_STALE,
        }
    }
}
