//! Grants wishes: finds out whether there is somebody to write to, and makes the token that the letter carries.
//!
//! Whoever posted the wish has long been answered: nothing here can be seen or timed by them.

use std::time::Duration;

use identity::{AccountId, Email, OneTimePurpose, OneTimeToken, SecretDigest, is_nowhere};
use serde::Serialize;
use store::{
    Account, AccountKind, Allowance, Asker, DueMail, MailOutcome, Most, NewMail, NewOneTime, Status, StoreError,
    WishOutcome,
};
use uuid::Uuid;

use super::{
    EmailChange, Letter, OUTBOX, Registration, Said, TOKENS,
    allowance::{self, Weighed},
    template::Values,
};
use crate::office::Office;

/// A letter that may be written.
struct Granted {
    letter: Letter,
    to: String,
    account: Option<AccountId>,
    ticket: Option<Ticket>,
    minutes: Option<i64>,
    /// How many there may be, where others of its kind are posted and not wished for.
    most: Option<Most>,
}

/// The token that it carries.
struct Ticket {
    purpose: OneTimePurpose,
    ttl: Duration,
    binding: Option<SecretDigest>,
    content: Option<Content>,
}

/// What a token is for, where its purpose does not say it all. Written as what it holds.
#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Registration(Registration),
    Change(EmailChange),
}

// === impl Office ===

impl Office {
    pub(super) async fn grant(&self, due: &DueMail) -> Result<(), StoreError> {
        let (now, address) = (self.now(), due.address.as_str());
        let said: Option<Said> = due.sealed.as_deref().and_then(|sealed| self.mail.open(OUTBOX, due.id, sealed));
        let (Some(wanted), Some(said)) = (Letter::from_word(&due.template), said) else {
            tracing::error!(mail = %due.id, template = due.template, "a wish cannot be read, and is given up");
            return self.store.end_mail(due.id, MailOutcome::Failed, now).await;
        };
        let source = said.source.clone();
        let granted = self.decide(wanted, address, said).await?;
        let Some(granted) = granted else { return self.store.drop_wish(due.id).await };
        let weighed = Weighed {
            letter: granted.letter,
            address,
            account: granted.account,
            device: granted.ticket.as_ref().and_then(|ticket| ticket.binding),
            source,
        };
        let asker = self.asker(&weighed).await?;
        match self.write(due.id, address, granted, asker).await {
            Ok(WishOutcome::TooMany) => {
                tracing::warn!(template = due.template, "somebody asks for too many mails to one address");
                self.metrics.mail("too_many");
                Ok(())
            }
            // Written by this node, or by another that was faster.
            Ok(WishOutcome::Written) | Err(StoreError::Conflict(_)) => Ok(()),
            // The account has been deleted meanwhile.
            Err(StoreError::NotFound) => self.store.drop_wish(due.id).await,
            Err(error) => Err(error),
        }
    }

    /// Is there a letter to be written, and which?
    async fn decide(&self, wanted: Letter, address: &str, said: Said) -> Result<Option<Granted>, StoreError> {
        let account = self.store.account_by_address(address).await?;
        // Nobody reads it there, and a machine has nothing but its keys: by a link in a file of letters it would get a password and lose them.
        if is_nowhere(address) || account.as_ref().is_some_and(|account| account.kind == AccountKind::Service) {
            return Ok(None);
        }
        let active = account.as_ref().filter(|account| account.status == Status::Active);
        Ok(match (wanted, account.as_ref()) {
            (Letter::VerifyEmail, Some(_)) => {
                active.filter(|account| !account.is_verified).map(|account| self.verification(account))
            }
            // Nobody is there yet: perhaps somebody has registered and waits.
            (Letter::VerifyEmail, None) => self.waiting(address).await?.map(|waiting| self.registration(waiting)),
            (Letter::Register, None) => said.registration.map(|registration| self.registration(registration)),
            (Letter::Register, Some(account)) => Some(Granted::to(account, Letter::AddressTaken, None)),
            (Letter::ChangeEmail, owner) => {
                let Some(change) = said.change else { return Ok(None) };
                let asker = self.store.account(AccountId::new(change.account)).await?;
                asker.map(|_| match owner {
                    // As whoever registers it: nobody but its owner is told.
                    Some(owner) if owner.id.uuid() != change.account => Granted::to(owner, Letter::AddressTaken, None),
                    _ => self.change_of_email(change),
                })
            }
            (Letter::ResetPassword, Some(_)) => active.map(|account| self.reset(account)),
            (Letter::ResetPassword, None) => self.waiting(address).await?.map(|waiting| self.reset_of_nobody(waiting)),
            (Letter::MagicLink, _) => {
                active.zip(said.binding).map(|(account, binding)| self.magic_link(account, &binding))
            }
            (Letter::AccountLocked, _) => {
                active.map(|account| Granted { minutes: said.minutes, ..Granted::to(account, wanted, None) })
            }
            (Letter::IdentityLinked, _) => active.map(|account| {
                let most = Some(allowance::most(wanted, account));
                Granted { most, ..Granted::to(account, wanted, None) }
            }),
            (Letter::TenantInvite, Some(account)) => Some(Granted::to(account, wanted, None)),
            (Letter::TenantInvite, None) => {
                // Wishes of the version before do not say.
                let to = said.to.unwrap_or_else(|| address.to_owned());
                Some(Granted::without_account(to, wanted, None))
            }
            // Nobody wishes for these.
            (
                Letter::AddressTaken
                | Letter::PasswordChanged
                | Letter::FactorAdded
                | Letter::FactorRemoved
                | Letter::RecoveryCodesRenewed
                | Letter::EmailChangeAsked
                | Letter::EmailChanged
                | Letter::Invite
                | Letter::IdentityUnlinked
                | Letter::KeyMade,
                _,
            ) => None,
        })
    }

    /// A registration of that address that waits to be confirmed, the last one.
    async fn waiting(&self, address: &str) -> Result<Option<Registration>, StoreError> {
        let waiting = self.store.pending_registration(address, self.now()).await?;
        Ok(waiting.and_then(|(id, sealed)| self.open_registration(id, &sealed)))
    }

    fn verification(&self, account: &Account) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::VerifyEmail, self.settings.accounts.verification_ttl);
        Granted::to(account, Letter::VerifyEmail, Some(ticket))
    }

    fn registration(&self, registration: Registration) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::Register, self.settings.accounts.verification_ttl);
        let (to, content) = (registration.email.clone(), Some(Content::Registration(registration)));
        Granted::without_account(to, Letter::Register, Some(Ticket { content, ..ticket }))
    }

    fn change_of_email(&self, change: EmailChange) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::ChangeEmail, self.settings.accounts.verification_ttl);
        let (to, account) = (change.email.clone(), Some(AccountId::new(change.account)));
        let ticket = Ticket { content: Some(Content::Change(change)), ..ticket };
        Granted { account, ..Granted::without_account(to, Letter::ChangeEmail, Some(ticket)) }
    }

    fn reset(&self, account: &Account) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::ResetPassword, self.settings.accounts.reset_ttl);
        Granted::to(account, Letter::ResetPassword, Some(ticket))
    }

    /// Perhaps others have registered the address so often that whoever reads its mail gets no letter of their own: they choose the password.
    fn reset_of_nobody(&self, waiting: Registration) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::ResetPassword, self.settings.accounts.reset_ttl);
        let waiting = Registration { name: None, tenant_name: None, ..waiting };
        let (to, content) = (waiting.email.clone(), Some(Content::Registration(waiting)));
        Granted::without_account(to, Letter::ResetPassword, Some(Ticket { content, ..ticket }))
    }

    fn magic_link(&self, account: &Account, binding: &[u8]) -> Granted {
        let ticket = Ticket::new(OneTimePurpose::MagicLink, self.settings.accounts.magic_link_ttl);
        let binding = SecretDigest::from_slice(binding);
        Granted::to(account, Letter::MagicLink, Some(Ticket { binding, ..ticket }))
    }

    /// Puts the letter, and what is kept of its token, in the wish's place, if the address has room for it.
    async fn write(
        &self,
        wish: Uuid,
        address: &str,
        granted: Granted,
        asker: Option<Asker>,
    ) -> Result<WishOutcome, StoreError> {
        let now = self.now();
        let late = allowance::late(granted.ticket.as_ref().map(|ticket| ticket.ttl), now);
        let has_room = |made| allowance::has_room(made, asker.as_ref());
        let allowance = Allowance { late, has_room: &has_room };
        let Some(ticket) = granted.ticket else {
            let said = self.say(granted.letter, &granted.to, None, granted.minutes);
            let letter = self.mail.mail(granted.letter, address, false, &said, now);
            return self.store.grant_wish(wish, &NewMail { asker, most: granted.most, ..letter }, allowance).await;
        };
        let token = OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng());
        let minutes = i64::try_from(ticket.ttl.as_secs() / 60).unwrap_or(i64::MAX);
        let said = self.say(granted.letter, &granted.to, Some(&token), Some(minutes));
        let letter = NewMail { asker, ..self.mail.mail(granted.letter, address, false, &said, now) };
        let sealed = ticket.content.map(|content| self.mail.seal(TOKENS, token.id(), &content));
        let new = NewOneTime {
            id: token.id(),
            purpose: ticket.purpose,
            account: granted.account,
            address,
            digest: token.digest_for(ticket.purpose),
            binding: ticket.binding,
            sealed,
            now,
            expires_at: now + ticket.ttl,
        };
        self.store.grant_wish_with(wish, &letter, allowance, &new).await
    }

    /// What a letter says.
    fn say(&self, letter: Letter, to: &str, token: Option<&OneTimeToken>, minutes: Option<i64>) -> Said {
        let page = self.mail.page(letter);
        let link = token.map_or_else(|| page.clone(), |token| format!("{page}?token={}", token.expose()));
        let values = [
            ("email", Some(to.to_owned())),
            ("product", Some(self.mail.settings.product.clone())),
            ("link", Some(link)),
            ("token", token.map(|token| token.expose().to_owned())),
            ("minutes", minutes.map(|minutes| minutes.to_string())),
            ("hours", minutes.map(|minutes| (minutes / 60).to_string())),
        ];
        let values: Values =
            values.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect();
        Said { to: Some(to.to_owned()), values, ..Said::default() }
    }

    /// A letter with a token to somebody who is known to be there.
    pub(crate) fn letter_with(&self, letter: Letter, email: &Email, token: &OneTimeToken, ttl: Duration) -> NewMail {
        let minutes = i64::try_from(ttl.as_secs() / 60).unwrap_or(i64::MAX);
        let said = self.say(letter, email.as_str(), Some(token), Some(minutes));
        self.mail.mail(letter, email.normalised(), false, &said, self.now())
    }

    /// A letter that tells somebody what has happened to their account, unless they have had enough of them.
    pub(crate) fn notice(&self, letter: Letter, account: &Account, address: &str) -> NewMail {
        let said = self.say(letter, &account.email, None, None);
        let most = Some(allowance::most(letter, account));
        NewMail { most, ..self.mail.mail(letter, address, false, &said, self.now()) }
    }
}

// === impl Granted ===

impl Granted {
    /// To the address as its owner writes it, never as somebody has typed it: what is one address to us may be two to the
    /// servers that carry mail.
    fn to(account: &Account, letter: Letter, ticket: Option<Ticket>) -> Self {
        Self { account: Some(account.id), ..Self::without_account(account.email.clone(), letter, ticket) }
    }

    /// To an address that has no account.
    fn without_account(to: String, letter: Letter, ticket: Option<Ticket>) -> Self {
        Self { letter, to, account: None, ticket, minutes: None, most: None }
    }
}

// === impl Ticket ===

impl Ticket {
    const fn new(purpose: OneTimePurpose, ttl: Duration) -> Self {
        Self { purpose, ttl, binding: None, content: None }
    }
}
