//! What every handler needs: the store, the keys, the settings, the clock, and the hooks into the process that runs us.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use identity::{
    Argon2Params, Grant, LEEWAY, LockRules, Password, PasswordHash, PasswordRules, SealKeys, SecretText, TokenRules,
    TokenType,
};
use policies::{Policy, Refusal};
use prometheus::Registry;
use store::{Audit, Confirmed, GrantFacts, Keyring, RefreshTerms, Store};

use crate::{
    attempt::Turns,
    breached::Breached,
    error::ApiError,
    hashing::Hashing,
    kept_usage::UsageSpool,
    mail::{Mail, MailError, MailSettings},
    metrics::OfficeMetrics,
    oauth::{NoProviders, Providers},
    pages::PageSettings,
    passkey::Passkeys,
    stuffing::Stuffing,
};

/// What the office does and how; from the configuration.
#[derive(Clone)]
pub struct Settings {
    /// `iss` of everything that is signed.
    pub issuer: String,
    /// `aud` of access tokens; empty: they have none.
    pub audience: String,
    /// What their `sub` is.
    pub subject: TokenSubject,
    /// `aud` of the assertions by which callers are known: our name among the upstreams.
    pub upstream_name: String,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token, of a session however often it is refreshed, and how long after its use a token may be used
    /// again: two tabs of one browser may race.
    pub refresh_terms: RefreshTerms,
    /// What a new password has to be.
    pub password_rules: PasswordRules,
    /// What it must not be; `None`: no such file is here.
    pub breached: Option<Breached>,
    /// The cost of a password hash.
    pub argon2: Argon2Params,
    /// Password hashes computed at once; 0 means one per core.
    pub hash_concurrency: usize,
    /// The role of whoever registers.
    pub default_role: String,
    /// The tier of whoever registers.
    pub default_tier: String,
    /// How accounts are made and confirmed.
    pub accounts: AccountSettings,
    /// How many wrong passwords are too many.
    pub lockout: Lockout,
    /// What authenticators call us.
    pub mfa_issuer: String,
    /// Half minutes for which a code of theirs serves before and after its own.
    pub totp_skew: u8,
    /// How mail is sent.
    pub mail: MailSettings,
    /// What browsers get.
    pub pages: PageSettings,
    /// `iss` of others whose tokens the door believes.
    pub believed_issuers: Vec<String>,
    /// With what payment providers sign; `None`: nobody is believed.
    pub payment_secret: Option<SecretText>,
}

/// Whom `sub` of an access token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSubject {
    /// The account, by its id.
    Id,
    /// Its address, for services that know people by that; the id is `uid` then.
    Email,
}

/// How accounts are made and confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// When is an account there?
    pub registration: Registration,
    /// The role of accounts whose address is not confirmed; `None`: that of those whose address is.
    pub unverified_role: Option<String>,
    /// May they log in?
    pub unverified_may_log_in: bool,
    /// How long an address can be confirmed.
    pub verification_ttl: Duration,
    /// How long a new password can be chosen.
    pub reset_ttl: Duration,
    /// How long a link can be used to log in.
    pub magic_link_ttl: Duration,
    /// How long an account that an administrator has made can be taken over.
    pub invitation_ttl: Duration,
}

/// When is a registered account there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// At once; a taken address is told.
    Immediate,
    /// When its address is confirmed; nobody is told whether an address is taken, but its owner.
    Verified,
}

/// How many wrong passwords are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// For one account.
    pub account: LockRules,
    /// From one network, whatever accounts they are for.
    pub network: LockRules,
}

/// What the office asks of the process that runs it.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Reads the configuration anew and puts it in force, or returns every error in it and leaves the old one.
    async fn reload(&self) -> Result<ReloadReport, Vec<String>>;

    /// The policy in force: which roles and tiers exist and what they hold.
    fn policy(&self) -> Arc<Policy>;

    /// What a token that says that somebody else has signed it is worth at the door, which may make the account as the configuration has
    /// it; `None`: it does not say so. `client` and `request`: by which address who asks is counted, and whether it is their own; and under
    /// which name that stands in the log.
    async fn vouched(
        &self,
        token: &str,
        client: (IpAddr, bool),
        request: Option<&str>,
    ) -> Option<Result<(Grant, GrantFacts), Refusal>>;

    /// What does not work as it should, a word each; empty when all is well. Strangers can read it.
    fn status(&self) -> Vec<&'static str>;

    /// Hears that a request has met a value that the master keys do not open.
    fn found_unreadable(&self);
}

/// A configuration that has been put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// Counts configurations since the start of the process, which is 1.
    pub generation: u64,
    /// Sections that changed and take effect at the next start only.
    pub needs_restart: Vec<String>,
    /// Which one it is, for the audit trail.
    pub digest: Option<String>,
}

/// Tells the time. Tests bring their own, so that a week passes at once.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

/// Why an office cannot open.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// Its metrics are registered already, or wrongly.
    #[error("the metrics of the account service cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// The cost of password hashes is out of range.
    #[error("the parameters of password hashes cannot be used")]
    Argon2(#[from] identity::PasswordError),
    /// Mail cannot be sent.
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// The account service, ready to be served by [`crate::router`].
pub struct Office {
    pub(crate) store: Store,
    pub(crate) audit: Arc<Audit>,
    pub(crate) keys: Arc<ArcSwap<Keyring>>,
    pub(crate) settings: Settings,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) providers: Arc<dyn Providers>,
    /// `None`: what is reported is counted at once.
    pub(crate) usage: Option<Arc<dyn UsageSpool>>,
    pub(crate) hashing: Hashing,
    pub(crate) metrics: OfficeMetrics,
    pub(crate) mail: Mail,
    pub(crate) turns: Turns,
    pub(crate) stuffing: Stuffing,
    pub(crate) passkeys: Passkeys,
    pub(crate) access_rules: TokenRules,
    pub(crate) assertion_rules: TokenRules,
    clock: Clock,
}

// === impl Office ===

impl Office {
    /// Opens an office. Its metrics are registered in `registry`, so there can be one office for each.
    pub fn new(
        store: Store,
        keys: Arc<ArcSwap<Keyring>>,
        seal: Arc<SealKeys>,
        audit: Arc<Audit>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        registry: &Registry,
    ) -> Result<Self, OfficeError> {
        let metrics = OfficeMetrics::new(registry)?;
        Ok(Self {
            hashing: Hashing::new(settings.argon2, settings.hash_concurrency, metrics.clone())?,
            access_rules: rules(&settings.issuer, &settings.audience, TokenType::Access),
            assertion_rules: rules(&settings.issuer, &settings.upstream_name, TokenType::Assertion),
            mail: Mail::new(settings.mail.clone(), seal)?,
            turns: Turns::new(),
            stuffing: Stuffing::new(),
            passkeys: Passkeys::new(&settings.mail.public_url, &settings.mail.product),
            clock: Clock::system(),
            store,
            audit,
            keys,
            settings,
            hooks,
            providers: Arc::new(NoProviders),
            usage: None,
            metrics,
        })
    }

    /// The same office by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same office, where people can log in at others' too.
    #[must_use]
    pub fn with_providers(self, providers: Arc<dyn Providers>) -> Self {
        Self { providers, ..self }
    }

    /// The same office, where what services report is kept in a spool.
    #[must_use]
    pub fn with_usage_spool(self, usage: Option<Arc<dyn UsageSpool>>) -> Self {
        Self { usage, ..self }
    }

    /// Hashes a password that somebody chooses, or names the field when it is too weak. `about` is what others know of them.
    pub(crate) async fn hash_new(
        &self,
        field: &str,
        password: Password,
        about: &[&str],
    ) -> Result<PasswordHash, ApiError> {
        let about = about.iter().map(|word| (*word).to_owned()).collect();
        let hashed = self
            .hashing
            .hash_new(password, (self.settings.password_rules.clone(), self.settings.breached.clone()), about)
            .await?;
        hashed.map_err(|error| ApiError::one_field(field, error.to_string()))
    }

    /// What becomes of accounts whose address is confirmed.
    pub(crate) fn confirmed(&self) -> Confirmed<'_> {
        let to_role = &*self.settings.default_role;
        let from_role = self.settings.accounts.unverified_role.as_deref().unwrap_or(to_role);
        Confirmed { from_role, to_role, no_password: self.hashing.no_password() }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock.0)()
    }
}

// === impl Clock ===

impl Clock {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Utc::now)
    }

    /// Whatever `now` says.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn rules(issuer: &str, audience: &str, typ: TokenType) -> TokenRules {
    TokenRules { issuer: issuer.into(), audience: audience.into(), typ, leeway: LEEWAY }
}
