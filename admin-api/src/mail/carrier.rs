//! Carries the mail: takes what is due from the outbox, grants wishes, hands letters over, and tries again later what failed.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use store::{DueMail, MailOutcome, StoreError};

use super::{
    Letter, OUTBOX, Said,
    letter::{self, LetterError},
    transport::SendError,
};
use crate::office::Office;

/// What a node has taken it has until then; longer than a message takes, or two nodes would send it.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// How long the whole of one message may take, whatever the server does.
const LONGEST_SEND: Duration = Duration::from_mins(5);
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(5);
/// The longest wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);
/// How often to look although nobody here has posted anything: another node may have, and may be gone.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Carries the mail of an office.
pub struct Mailer(Arc<Office>);

/// Why a letter did not go.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("what it says cannot be read; is this the master key it was sealed with?")]
    Sealed,
    #[error(transparent)]
    Letter(#[from] LetterError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("it took longer than {LONGEST_SEND:?}")]
    TooSlow,
}

// === impl Mailer ===

impl Mailer {
    /// The mailer of an office.
    #[must_use]
    pub fn new(office: &Arc<Office>) -> Self {
        Self(Arc::clone(office))
    }

    /// Carries for as long as the process lives.
    pub async fn carry(self) {
        // Four at once, lest one slow server hold up everything; more would be more connections than small servers like.
        tokio::join!(self.carry_alone(), self.carry_alone(), self.carry_alone(), self.carry_alone());
    }

    async fn carry_alone(&self) {
        loop {
            let wait = match self.carry_due().await {
                Ok(next) => next.map_or(LOOK_EVERY, |next| until(next, self.0.now()).min(LOOK_EVERY)),
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.mail.nudge.notified() => {}
            }
        }
    }

    /// Carries what is due now; says when something is due next.
    pub async fn carry_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let office = &self.0;
        loop {
            let (now, next) = (office.now(), office.store.next_mail_due().await?);
            if next.is_none_or(|next| next > now) {
                return Ok(next);
            }
            // Whoever finds nothing comes second; the next look finds what is left.
            if let Some(due) = office.store.claim_mail(now, now + LEASE).await? {
                if due.is_wish {
                    self.carry_wish(&due).await?;
                } else {
                    self.carry_letter(&due).await?;
                }
            }
        }
    }

    /// One that fails again and again is given up like a letter.
    async fn carry_wish(&self, due: &DueMail) -> Result<(), StoreError> {
        let office = &self.0;
        let Err(error) = office.grant(due).await else { return Ok(()) };
        let (now, id, template, attempts) = (office.now(), due.id, &due.template, due.attempts);
        if now - due.created_at <= office.mail.give_up_after() {
            return Err(error);
        }
        tracing::error!(mail = %id, template, attempts, %error, "a wish cannot be granted, and is given up");
        office.metrics.mail("failed");
        office.store.end_mail(id, MailOutcome::Failed, now).await
    }

    async fn carry_letter(&self, due: &DueMail) -> Result<(), StoreError> {
        let office = &self.0;
        let sent = self.send(due).await;
        let now = office.now();
        let (id, template, attempts) = (due.id, &due.template, due.attempts);
        match sent {
            Ok(()) => {
                office.metrics.mail("sent");
                office.store.end_mail(id, MailOutcome::Sent, now).await
            }
            Err(error) if error.is_final() || now - due.created_at > office.mail.give_up_after() => {
                tracing::error!(mail = %id, template, attempts, %error, "a mail cannot be sent, and is given up");
                office.metrics.mail("failed");
                office.store.end_mail(id, MailOutcome::Failed, now).await
            }
            Err(error) => {
                let wait = backoff(attempts);
                tracing::warn!(mail = %id, template, attempts, %error, again_in = %wait, "a mail was not sent");
                office.metrics.mail("retried");
                office.store.retry_mail(id, now + wait).await
            }
        }
    }

    async fn send(&self, due: &DueMail) -> Result<(), Failure> {
        let mail = &self.0.mail;
        let said: Option<Said> = due.sealed.as_deref().and_then(|sealed| mail.open(OUTBOX, due.id, sealed));
        let (Some(letter), Some(Said { to: Some(to), values, .. })) = (Letter::from_word(&due.template), said) else {
            return Err(Failure::Sealed);
        };
        let words = mail.settings.templates.write(letter, &values).ok_or(Failure::Sealed)?;
        let message = letter::message(due.id, &mail.from, &to, words, due.created_at)?;
        let sent = tokio::time::timeout(LONGEST_SEND, mail.transport.send(due.id, due.created_at, message)).await;
        if let Some(path) = sent.map_err(|_| Failure::TooSlow)?? {
            tracing::info!(path = %path.display(), template = due.template, "a mail was written");
        }
        Ok(())
    }
}

// === impl Mail ===

impl super::Mail {
    fn give_up_after(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.give_up_after).unwrap_or(TimeDelta::MAX)
    }
}

// === impl Failure ===

impl Failure {
    fn is_final(&self) -> bool {
        match self {
            // Somebody may give us the right key.
            Self::Sealed | Self::TooSlow => false,
            Self::Letter(_) => true,
            Self::Send(error) => error.is_final(),
        }
    }
}

/// How long to wait after so many attempts.
fn backoff(attempts: i64) -> TimeDelta {
    let doublings = u32::try_from((attempts - 1).clamp(0, 20)).unwrap_or_default();
    FIRST_WAIT.checked_mul(1 << doublings).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (at - now).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_followed_by_a_longer_wait_up_to_an_hour() {
        let waits: Vec<i64> = (1..=12).map(|attempts| backoff(attempts).num_seconds()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!((backoff(0), backoff(i64::MAX)), (FIRST_WAIT, LONGEST_WAIT));
    }
}
