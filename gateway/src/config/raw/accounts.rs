//! The sections of `gateway.toml` on accounts, passwords and mail, as they are written.

use policies::config::{DurationText, Placed, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;

/// How accounts are made and confirmed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Accounts {
    /// Where people reach the platform; links in mails begin so. <http://127.0.0.1:8080> by default.
    pub(in crate::config) public_url: Given<String>,
    /// What the platform is called in mails; Portcullis by default.
    pub(in crate::config) product: Given<String>,
    /// `immediate` (the default) or `verified`.
    pub(in crate::config) registration: Option<Registration>,
    /// The role of accounts whose address is not confirmed; by default that of all newcomers, user.
    pub(in crate::config) unverified_role: Option<Placed<String>>,
    /// May accounts whose address is not confirmed log in? true by default.
    pub(in crate::config) unverified_may_log_in: Option<bool>,
    /// How long an address can be confirmed; 24h by default.
    pub(in crate::config) verification_ttl: Given<DurationText>,
    /// How long a new password can be chosen; 30m by default.
    pub(in crate::config) reset_ttl: Given<DurationText>,
    /// How long a link can be used to log in; 10m by default, and at most.
    pub(in crate::config) magic_link_ttl: Given<DurationText>,
    /// How long an account that an administrator has made can be taken over; 7d by default.
    pub(in crate::config) invitation_ttl: Given<DurationText>,
}

/// When is a registered account there?
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Registration {
    /// At once; a taken address is answered 409.
    Immediate,
    /// When its address is confirmed; 202 whatever the address.
    Verified,
}

/// Rules for passwords and the cost of checking them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Passwords {
    /// Characters at least; 8 by default.
    pub(in crate::config) min_chars: Given<u64>,
    /// Are upper case, lower case and a digit demanded? false by default.
    pub(in crate::config) classes: Option<bool>,
    /// How hard it has to be to guess, by zxcvbn's score from 0 (the default, anything) to 4.
    pub(in crate::config) min_strength: Given<u64>,
    /// Are passwords refused that are little more than the owner's address or name, or one of `words`? false by default.
    pub(in crate::config) context: Option<bool>,
    /// Words of the platform that are refused so; none by default.
    #[serde(default)]
    pub(in crate::config) words: Vec<String>,
    /// A file of passwords that nobody may have, one a line, relative to this folder; none by default.
    pub(in crate::config) blocklist: Option<Placed<String>>,
    /// A file of the SHA-1s of stolen passwords, in order, one a line, as Pwned Passwords is downloaded; relative to this folder. None by
    /// default.
    pub(in crate::config) breached: Option<Placed<String>>,
    /// KiB; 19456 by default.
    pub(in crate::config) argon2_memory_kib: Given<u64>,
    /// Passes; 2 by default.
    pub(in crate::config) argon2_iterations: Given<u64>,
    /// Lanes; 1 by default.
    pub(in crate::config) argon2_parallelism: Given<u64>,
    /// Hashes at once; 0, the default: one per core.
    pub(in crate::config) concurrency: Given<u64>,
}

/// Second factors.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Mfa {
    /// What authenticators call us; the product's name by default.
    pub(in crate::config) issuer: Given<String>,
    /// Half minutes for which an authenticator's code serves before and after its own (RFC 6238 §5.2): 0 or 1; 1 by default.
    pub(in crate::config) totp_skew: Given<u64>,
    /// Is a second factor needed of every person, whatever the role? false by default.
    pub(in crate::config) required: Option<bool>,
    /// Roles in which a person may only add a second factor until they have shown one; none by default.
    #[serde(default)]
    pub(in crate::config) required_roles: Vec<Placed<String>>,
}

/// How many wrong passwords are too many.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Lockout {
    /// Wrong passwords in a row for one account, from one familiar place or from everywhere else together; 5 by default, 0: any.
    pub(in crate::config) attempts: Given<u64>,
    /// Wrong passwords from one IPv4 address or IPv6 /56 for whatever accounts; 50 by default, 0: any.
    pub(in crate::config) attempts_per_address: Given<u64>,
    /// Minutes of the first lock; each further one is twice as long. 30 by default.
    pub(in crate::config) minutes: Given<u64>,
    /// The longest lock; 24h by default.
    pub(in crate::config) longest: Given<DurationText>,
}

/// How mail is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Mail {
    /// `file` (the default): each into a file; or `smtp`.
    pub(in crate::config) transport: Option<Placed<MailTransport>>,
    /// With `file`: the folder, relative to the data folder; outbox by default.
    pub(in crate::config) folder: Option<String>,
    /// With `smtp`: host:port.
    pub(in crate::config) server: Given<String>,
    /// `starttls` (the default), `tls` from the first byte, or `none`.
    pub(in crate::config) security: Option<MailSecurity>,
    /// Who we are to the server; nobody in particular by default.
    pub(in crate::config) username: Given<String>,
    /// Its password.
    pub(in crate::config) password: Option<Placed<Secret>>,
    /// A PEM file of the authority that signed the server's certificate, relative to this folder; by default those of the web.
    pub(in crate::config) ca: Option<Placed<String>>,
    /// Who writes; `Portcullis <no-reply@localhost>` by default.
    pub(in crate::config) from: Given<String>,
    /// A folder of files that replace the words of mails, relative to this folder; none by default.
    pub(in crate::config) templates: Option<Placed<String>>,
    /// How long one command to the server may take; 30s by default.
    pub(in crate::config) timeout: Given<DurationText>,
    /// For how long one mail is tried; 3d by default.
    pub(in crate::config) give_up_after: Given<DurationText>,
}

/// How mail goes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum MailTransport {
    /// Each into a file.
    File,
    /// To a server.
    Smtp,
}

/// With TLS?
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum MailSecurity {
    /// After STARTTLS, which the server has to offer.
    StartTls,
    /// From the first byte.
    Tls,
    /// No.
    None,
}
