//! Mail: what the office says to people who are not there.
//!
//! ```text
//! handler ──► wish, letter ──► outbox (SQL) ──► carrier ──► wishes.rs: who is it, may it be said? ──► letter + token
//!                                                  │         allowance.rs: has the address had enough of them?
//!                                                  └──────► letter.rs, template.rs: the message ──► transport.rs
//! ```
//!
//! A handler that must not tell whether an account exists posts a *wish*, which looks nothing up and costs the same whatever
//! becomes of it. What is written down is sealed, so that the database alone opens no account.

mod allowance;
mod carrier;
mod letter;
mod template;
mod transport;
mod wishes;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{Email, RecordId, SealKeys, SecretDigest};
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use store::NewMail;
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) use self::{allowance::Source, letter::Letter};
pub use self::{
    carrier::Mailer,
    template::{TemplateFault, Templates},
    transport::{MailTransport, Security, SmtpSettings},
};
use self::{template::Values, transport::Transport};
use crate::{error::ApiError, office::Office};

/// How mail is sent and what it says; from the configuration.
#[derive(Clone)]
pub struct MailSettings {
    /// Who writes: `Portcullis <no-reply@example.com>`.
    pub from: String,
    /// What the platform is called.
    pub product: String,
    /// Where people reach it, without a slash at the end: links begin so, whatever a request says of its host.
    pub public_url: String,
    /// How it goes.
    pub transport: MailTransport,
    /// Its words.
    pub templates: Templates,
    /// For how long one mail is tried.
    pub give_up_after: std::time::Duration,
}

/// Why mail cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender.
    #[error("`{0}` cannot be the sender of mail")]
    From(String),
    /// TLS, or the folder.
    #[error("mail cannot be sent: {0}")]
    Transport(String),
}

/// What the office writes with.
pub(crate) struct Mail {
    pub(crate) settings: MailSettings,
    from: Mailbox,
    transport: Transport,
    seal: Arc<SealKeys>,
    nudge: Notify,
}

/// What a wish or a letter says. Sealed wherever it is kept.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Said {
    /// To whom a letter goes, and an invitation that is wished for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    values: Values,
    /// What the browser is known by that asked for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binding: Option<Vec<u8>>,
    /// From where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// Who wants an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<Registration>,
    /// Whose address shall be another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<EmailChange>,
    /// For how long what the letter tells of lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minutes: Option<i64>,
}

/// An account that is made when its address is confirmed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) email: String,
    pub(crate) password_hash: String,
    pub(crate) name: Option<String>,
    pub(crate) tenant_name: Option<String>,
}

/// An account's address that is another when the mail to it is answered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EmailChange {
    pub(crate) account: Uuid,
    /// As its owner writes it.
    pub(crate) email: String,
    /// In which it was asked for: whoever ends it has ended what was begun in it.
    pub(crate) session: Uuid,
}

/// The tables that something sealed stands in.
const OUTBOX: &str = "outbox";
pub(crate) const TOKENS: &str = "one_time_tokens";

// === impl Mail ===

impl Mail {
    pub(crate) fn new(settings: MailSettings, seal: Arc<SealKeys>) -> Result<Self, MailError> {
        let from = settings.from.parse().map_err(|_| MailError::From(settings.from.clone()))?;
        let transport = Transport::open(&settings.transport)?;
        Ok(Self { from, transport, settings, seal, nudge: Notify::new() })
    }

    fn seal(&self, table: &'static str, id: Uuid, said: &impl Serialize) -> Vec<u8> {
        sealed(&self.seal, table, id, said)
    }

    fn open<T: for<'a> Deserialize<'a>>(&self, table: &'static str, id: Uuid, sealed: &[u8]) -> Option<T> {
        let text = self.seal.open(sealed, &record(table, id)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Something to be put into the outbox.
    fn mail(&self, letter: Letter, address: &str, is_wish: bool, said: &Said, now: DateTime<Utc>) -> NewMail {
        let (id, address) = (Uuid::now_v7(), address.to_owned());
        let sealed = Some(self.seal(OUTBOX, id, said));
        NewMail { id, template: letter.word(), address, is_wish, sealed, asker: None, most: None, now }
    }

    /// The page that a letter's link leads to.
    fn page(&self, letter: Letter) -> String {
        format!("{}/{}", self.settings.public_url, letter.page())
    }
}

/// The wish that the owner of an address be told of somebody else whose word opens their account from now on; for the door, which has no
/// office.
#[must_use]
pub fn wish_to_tell_of_link(seal: &SealKeys, email: &Email, now: DateTime<Utc>) -> NewMail {
    let (id, address) = (Uuid::now_v7(), email.normalised().to_owned());
    let sealed = Some(sealed(seal, OUTBOX, id, &Said::default()));
    NewMail {
        id,
        template: Letter::IdentityLinked.word(),
        address,
        is_wish: true,
        sealed,
        asker: None,
        most: None,
        now,
    }
}

fn sealed(seal: &SealKeys, table: &'static str, id: Uuid, said: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(said).expect("texts and numbers in maps with string keys");
    seal.seal(&text, &record(table, id), &mut rand::rng())
}

/// Can mail be written by them?
#[must_use]
pub fn is_sender(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

// === impl Said ===

impl Said {
    pub(crate) fn bound_to(binding: SecretDigest) -> Self {
        Self { binding: Some(binding.as_bytes().to_vec()), ..Self::default() }
    }

    pub(crate) fn registration(registration: Registration) -> Self {
        Self { registration: Some(registration), ..Self::default() }
    }

    pub(crate) fn change(change: EmailChange) -> Self {
        Self { change: Some(change), ..Self::default() }
    }

    /// To an address as it was typed: what it is to us may be another one to the servers that carry mail.
    pub(crate) fn to(email: &Email) -> Self {
        Self { to: Some(email.as_str().to_owned()), ..Self::default() }
    }

    pub(crate) fn minutes(minutes: i64) -> Self {
        Self { minutes: Some(minutes), ..Self::default() }
    }

    /// The same, asked for from there.
    pub(crate) fn from(self, source: Option<Source>) -> Self {
        Self { source, ..self }
    }
}

// === impl Office ===

impl Office {
    /// Posts a wish. It looks nothing up: that there is no such account costs as much as that there is one.
    pub(crate) async fn wish(&self, letter: Letter, address: &str, said: &Said) -> Result<(), ApiError> {
        self.store.post(&self.mail.mail(letter, address, true, said, self.now())).await?;
        self.mail.nudge.notify_one();
        Ok(())
    }

    /// A wish that somebody else posts with what they do.
    pub(crate) fn wish_later(&self, letter: Letter, address: &str, said: &Said, now: DateTime<Utc>) -> NewMail {
        self.mail.mail(letter, address, true, said, now)
    }

    /// Somebody has posted something.
    pub(crate) fn has_posted(&self) {
        self.mail.nudge.notify_one();
    }

    /// The keys that seal.
    pub(crate) fn seal(&self) -> &SealKeys {
        &self.mail.seal
    }

    /// Seals something of a row.
    pub(crate) fn seal_in(&self, table: &'static str, id: Uuid, plain: &[u8]) -> Vec<u8> {
        self.mail.seal.seal(plain, &record(table, id), &mut rand::rng())
    }

    /// Seals something for a place that more than a row's id says.
    pub(crate) fn seal_at(&self, record: &RecordId, plain: &[u8]) -> Vec<u8> {
        self.mail.seal.seal(plain, record, &mut rand::rng())
    }

    /// Opens what was sealed for that place.
    pub(crate) fn open_at(&self, record: &RecordId, sealed: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.told(self.mail.seal.open(sealed, record).ok())
    }

    /// Opens what was sealed of that row.
    pub(crate) fn open_in(&self, table: &'static str, id: Uuid, sealed: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.told(self.mail.seal.open(sealed, &record(table, id)).ok())
    }

    /// Which address a token is to give an account.
    pub(crate) fn open_email_change(&self, token: Uuid, sealed: &[u8]) -> Option<EmailChange> {
        self.told(self.mail.open(TOKENS, token, sealed))
    }

    /// What was registered with a token.
    pub(crate) fn open_registration(&self, token: Uuid, sealed: &[u8]) -> Option<Registration> {
        self.told(self.mail.open(TOKENS, token, sealed))
    }

    /// The probes say at once that something does not open.
    fn told<T>(&self, opened: Option<T>) -> Option<T> {
        if opened.is_none() {
            self.hooks.found_unreadable();
        }
        opened
    }
}

fn record(table: &'static str, id: Uuid) -> RecordId {
    RecordId { table, column: "sealed", row: id.to_string() }
}
