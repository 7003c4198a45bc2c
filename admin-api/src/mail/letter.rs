//! Which letters there are, what each may say, and how one becomes a message.
//!
//! What a stranger may write (a name) stands in no letter: a mail to an address that nobody has confirmed must not carry somebody
//! else's words.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{Header, HeaderName, HeaderValue},
    },
};
use uuid::Uuid;

use super::template::Words;

/// A letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// Proves that an account's address is its owner's.
    VerifyEmail,
    /// Makes the account that was registered.
    Register,
    /// Somebody tried to register the address of an account.
    AddressTaken,
    /// Buys a new password.
    ResetPassword,
    /// The password is another.
    PasswordChanged,
    /// Buys a session.
    MagicLink,
    /// Somebody has guessed too often.
    AccountLocked,
    /// A login asks for more from now on.
    FactorAdded,
    /// A login asks for less from now on.
    FactorRemoved,
    /// What was written down is worth nothing any more.
    RecoveryCodesRenewed,
    /// Gives an account another address.
    ChangeEmail,
    /// Somebody wants to give the account another address.
    EmailChangeAsked,
    /// The account has another address; goes to the one before.
    EmailChanged,
    /// Buys the account that an administrator has made.
    Invite,
    /// Somebody at a login provider is let in from now on.
    IdentityLinked,
    /// And no more.
    IdentityUnlinked,
    /// Somebody asks to belong to an organisation.
    TenantInvite,
    /// A program may act for the account from now on.
    KeyMade,
}

/// Why a message cannot be made. It is not to be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LetterError {
    #[error("mail cannot be sent to this address: {0}")]
    Address(#[from] lettre::address::AddressError),
    #[error("the message cannot be made: {0}")]
    Message(#[from] lettre::error::Error),
}

/// No machine answers it, not even to say that somebody is on holiday (RFC 3834 §5).
#[derive(Clone)]
struct AutoSubmitted;

macro_rules! files {
    ($name:literal) => {
        [
            include_str!(concat!("../../templates/", $name, ".txt")),
            include_str!(concat!("../../templates/", $name, ".html")),
        ]
    };
}

// === impl Letter ===

impl Letter {
    pub(crate) const ALL: [Self; 18] = [
        Self::VerifyEmail,
        Self::Register,
        Self::AddressTaken,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::MagicLink,
        Self::AccountLocked,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::RecoveryCodesRenewed,
        Self::ChangeEmail,
        Self::EmailChangeAsked,
        Self::EmailChanged,
        Self::Invite,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::TenantInvite,
        Self::KeyMade,
    ];

    /// Those that tell of what whoever is in an account has done to it, or an administrator.
    pub(crate) const NOTICES: [Self; 9] = [
        Self::PasswordChanged,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::RecoveryCodesRenewed,
        Self::EmailChangeAsked,
        Self::EmailChanged,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::KeyMade,
    ];

    /// As it is stored, and as its files are called.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::Register => "register",
            Self::AddressTaken => "address_taken",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::MagicLink => "magic_link",
            Self::AccountLocked => "account_locked",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
            Self::ChangeEmail => "change_email",
            Self::EmailChangeAsked => "email_change_asked",
            Self::EmailChanged => "email_changed",
            Self::Invite => "invite",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::TenantInvite => "tenant_invite",
            Self::KeyMade => "key_made",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|letter| letter.word() == word)
    }

    /// The page that its link leads to, below the public URL.
    pub(crate) const fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail | Self::Register => "account/verify-email",
            Self::ResetPassword => "account/reset-password",
            Self::MagicLink => "account/magic-link",
            Self::ChangeEmail => "account/confirm-email",
            Self::Invite => "account/accept-invite",
            Self::TenantInvite => "account/organisations",
            // A new password removes no factor.
            Self::FactorAdded => "account/security",
            // Nor a key.
            Self::KeyMade => "account/keys",
            Self::AddressTaken
            | Self::PasswordChanged
            | Self::AccountLocked
            | Self::FactorRemoved
            | Self::RecoveryCodesRenewed
            | Self::EmailChangeAsked
            | Self::EmailChanged
            | Self::IdentityLinked
            | Self::IdentityUnlinked => "account/forgot-password",
        }
    }

    /// What may be put in.
    pub(crate) const fn placeholders(self) -> &'static [&'static str] {
        match self {
            Self::VerifyEmail | Self::Register | Self::ResetPassword | Self::MagicLink | Self::ChangeEmail => {
                &["email", "product", "minutes", "link", "token"]
            }
            Self::Invite => &["email", "product", "hours", "link", "token"],
            Self::EmailChanged => &["email", "product"],
            Self::AccountLocked => &["email", "product", "minutes", "link"],
            Self::AddressTaken
            | Self::PasswordChanged
            | Self::FactorAdded
            | Self::FactorRemoved
            | Self::RecoveryCodesRenewed
            | Self::EmailChangeAsked
            | Self::IdentityLinked
            | Self::IdentityUnlinked
            | Self::TenantInvite
            | Self::KeyMade => &["email", "product", "link"],
        }
    }

    pub(crate) fn files(self) -> [String; 2] {
        [format!("{}.txt", self.word()), format!("{}.html", self.word())]
    }

    /// The text, beginning with the subject, and the HTML.
    pub(crate) const fn built_in(self) -> [&'static str; 2] {
        match self {
            Self::VerifyEmail => files!("verify_email"),
            Self::Register => files!("register"),
            Self::AddressTaken => files!("address_taken"),
            Self::ResetPassword => files!("reset_password"),
            Self::PasswordChanged => files!("password_changed"),
            Self::MagicLink => files!("magic_link"),
            Self::AccountLocked => files!("account_locked"),
            Self::FactorAdded => files!("factor_added"),
            Self::FactorRemoved => files!("factor_removed"),
            Self::RecoveryCodesRenewed => files!("recovery_codes_renewed"),
            Self::ChangeEmail => files!("change_email"),
            Self::EmailChangeAsked => files!("email_change_asked"),
            Self::EmailChanged => files!("email_changed"),
            Self::Invite => files!("invite"),
            Self::IdentityLinked => files!("identity_linked"),
            Self::IdentityUnlinked => files!("identity_unlinked"),
            Self::TenantInvite => files!("tenant_invite"),
            Self::KeyMade => files!("key_made"),
        }
    }
}

/// One message. Its id is the mail's own: a server that is given it twice, since the first answer was lost, can tell.
pub(crate) fn message(
    id: Uuid,
    from: &Mailbox,
    to: &str,
    words: Words,
    now: DateTime<Utc>,
) -> Result<Message, LetterError> {
    let to = Mailbox::new(None, to.parse()?);
    let parts = MultiPart::alternative_plain_html(words.text, words.html);
    let message = Message::builder()
        .message_id(Some(format!("<{}@{}>", id.simple(), from.email.domain())))
        .date(SystemTime::from(now))
        .from(from.clone())
        .to(to)
        .subject(words.subject)
        .header(AutoSubmitted);
    Ok(message.multipart(parts)?)
}

// === impl AutoSubmitted ===

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
