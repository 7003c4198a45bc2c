//! Who are you: credentials, tokens, keys, passwords and sealed secrets.
//!
//! [`Credential::read`] finds what a caller shows. A JWT is proved by [`verify`] with the trusted [`KeySet`]; an [`ApiKey`] by its
//! digest in the store. What they prove, together with the account, is a [`Principal`]; [`AssertionClaims`] say it to an
//! upstream, signed by a [`SigningKey`]. [`Hasher`] checks passwords, [`Email`] makes addresses comparable, [`SealKeys`] keep
//! secrets at rest.
//!
//! - what a caller shows: `credential`, `token`, `opaque`, `cookie`; who that is: `principal`, `ids`
//! - what people log in by: `email`, `password`, `password_rules`, `totp`, `recovery`, `one_time`, `oauth`; who guesses: `lockout`, `crowd`
//! - what is kept secret: `secret`, `seal`, `provider_key`, `chain_key`, `webhook`; opened for older systems: `fernet`
//! - what is read strictly: `json`, `name`, `networks`; what holds whatever is sent: `properties`, for tests and fuzzing
//!
//! This crate is pure: time and randomness are arguments, and nothing here reads a file, a socket or a clock. (aws-lc draws
//! its own randomness for RSA and ECDSA.) Secrets are types with no way out: no `Debug`, `Display` or `Serialize` of the text.

mod chain_key;
mod cookie;
mod credential;
mod crowd;
mod email;
mod fernet;
mod ids;
mod json;
mod lockout;
mod name;
mod networks;
mod oauth;
mod one_time;
mod opaque;
mod password;
mod password_rules;
mod principal;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod provider_key;
mod recovery;
mod seal;
mod secret;
mod token;
mod totp;
mod webhook;

pub use chain_key::ChainKey;
pub use cookie::{CookieNames, SessionCookie, cookie_pairs};
pub use credential::{Credential, CredentialError, bearer_protocol, list_members};
pub use crowd::{CrowdRules, Crowds};
pub use email::{Email, EmailError, NOWHERE_OF_PEOPLE, NOWHERE_OF_SERVICES, folded, is_nowhere};
pub use fernet::{FernetError, FernetKey};
pub use ids::{AccountId, CertificateId, ExternalId, FactorId, IntegrationId, KeyId, SessionId, TenantId};
pub use lockout::{LockRules, Tally, network_of, site_of};
pub use name::{MAX_NAME, NameFault, foreign_name, readable_name, readable_name_of};
pub use networks::{Networks, NetworksError};
pub use oauth::{CodeVerifier, random_text};
pub use one_time::{DeviceToken, OneTimePurpose, OneTimeToken};
pub use opaque::{ApiKey, Opaque, OpaqueError, RefreshToken, SecretDigest};
pub use password::{Argon2Params, Hasher, Password, PasswordError, PasswordHash, Verdict, Work};
pub use password_rules::PasswordRules;
pub use principal::{Assurance, Authentication, Grant, Principal, TenantRole, Voucher};
pub use provider_key::{ProviderKey, ProviderKeyError, is_service};
pub use recovery::{RecoveryCode, RecoveryCodeError};
pub use seal::{MasterKey, MasterKeyError, RecordId, SealError, SealKeys};
pub use secret::SecretText;
pub use token::{
    Algorithm, TokenError, TokenType,
    claims::{AccessClaims, AssertionClaims, LEEWAY, TokenRules, verify},
    foreign::{ForeignClaims, ForeignRules, Unverified},
    jwks::JwksError,
    jws::verify_jws,
    keys::{KeyError, KeySet, SigningKey, VerifyingKey},
};
pub use totp::{MOST_SKEW, TotpSecret};
pub use webhook::{WebhookError, sign_webhook, verify_stripe};
