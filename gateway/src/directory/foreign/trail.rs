//! What the word of others does to accounts, written down as what people do is: accounts that it makes, links and changes.
//!
//! There is no request to the account service that could be the event: it happens on the way to any service.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{Email, SealKeys};
use serde_json::json;
use store::{Account, Audit, AuditEvent, NewMail};
use uuid::Uuid;

use super::Asking;
use crate::inbound::RequestId;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// Somebody who was not known has an account.
    Made,
    /// Somebody who was not known is let into an account that was there.
    Linked,
    /// An account's role or tier is another.
    Changed,
}

/// Where it is written down, and what seals the mail to an owner; nowhere, unless somebody has said where.
#[derive(Default)]
pub(super) struct Trail(Option<(Arc<Audit>, Arc<SealKeys>)>);

// === impl Happened ===

impl Happened {
    const fn event(self) -> &'static str {
        match self {
            Self::Made => "issuer_account_made",
            Self::Linked => "issuer_linked",
            Self::Changed => "issuer_role",
        }
    }
}

// === impl Trail ===

impl Trail {
    pub(super) fn kept_in(audit: Arc<Audit>, seal: Arc<SealKeys>) -> Self {
        Self(Some((audit, seal)))
    }

    /// What tells the owner of an address that somebody else's word opens their account from now on, for whoever carries the mail.
    pub(super) fn notice_of_link(&self, email: &Email, now: DateTime<Utc>) -> Option<NewMail> {
        let (_, seal) = self.0.as_ref()?;
        Some(admin_api::wish_to_tell_of_link(seal, email, now))
    }

    /// Writes down what `issuer` has done to an account, as it is now. It is done, whatever becomes of this.
    pub(super) async fn tell(&self, happened: Happened, issuer: &str, account: &Account, asking: Asking<'_>) {
        let Some((audit, _)) = &self.0 else { return };
        let tenant = account.tenant.map(|tenant| tenant.tenant.to_string());
        let details = json!({ "issuer": issuer, "role": account.role, "tier": account.tier, "tenant": tenant });
        let event = AuditEvent {
            id: Uuid::now_v7(),
            at: asking.now,
            event: happened.event().to_owned(),
            outcome: "ok".to_owned(),
            actor: Some(account.id.uuid()),
            subject: Some(account.id.uuid()),
            address: asking.place().map(|client| client.to_string()),
            request_id: asking.request.map(RequestId::as_str).map(str::to_owned),
            details: Some(details.to_string()),
        };
        if let Err(error) = audit.add(event).await {
            tracing::error!(%error, account = %account.id, "an event is missing in the audit trail");
        }
    }
}
