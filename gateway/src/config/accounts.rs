//! What `gateway.toml` says of accounts, passwords and mail, parsed.

use std::{path::Path, time::Duration};

use admin_api::{AccountSettings, Breached, Lockout, MailSettings, MailTransport, Templates};
use identity::{Argon2Params, PasswordRules};
use policies::roles::Guarded;

/// `[accounts]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Where people reach the platform, without a slash at the end.
    pub public_url: String,
    /// What it is called.
    pub product: String,
    /// How accounts are made and confirmed.
    pub settings: AccountSettings,
}

/// `[mfa]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Mfa {
    /// What authenticators call the platform.
    pub issuer: String,
    /// Half minutes for which a code of theirs serves before and after its own.
    pub totp_skew: u8,
    /// The roles in which a person needs a second factor.
    pub guarded: Guarded,
}

/// `[passwords]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Passwords {
    /// What a new one has to be.
    pub rules: PasswordRules,
    /// What it must not be.
    pub breached: Option<Breached>,
    /// Cost of a hash.
    pub argon2: Argon2Params,
    /// Hashes at once.
    pub concurrency: usize,
}

/// `[mail]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Who writes.
    pub from: String,
    /// How it goes; a folder is relative to the data folder.
    pub transport: MailTransport,
    /// Its words.
    pub templates: Templates,
    /// For how long one mail is tried.
    pub give_up_after: Duration,
}

/// `[lockout]`.
pub type LockoutSettings = Lockout;

// === impl Mail ===

impl Mail {
    /// What the account service is told.
    pub(crate) fn settings(&self, accounts: &Accounts, data: &Path) -> MailSettings {
        MailSettings {
            from: self.from.clone(),
            product: accounts.product.clone(),
            public_url: accounts.public_url.clone(),
            transport: match &self.transport {
                MailTransport::File(folder) => MailTransport::File(data.join(folder)),
                server @ MailTransport::Smtp(_) => server.clone(),
            },
            templates: self.templates.clone(),
            give_up_after: self.give_up_after,
        }
    }
}
