//! What the audit trail is told of an import: that it has begun, before anything is stored; whom it lets manage others, before and after; and how
//! it has ended. One that is killed has a beginning and no end.

use identity::AccountId;
use serde_json::{Value, json};
use store::AuditEvent;

use super::lines::Report;
use crate::foundation::{Foundation, of_command};

const IMPORT: &str = "import";
/// Of an account whose role manages others.
const ACCOUNT: &str = "import_account";
const BEGUN: &str = "begun";
const DONE: &str = "ok";
const FAILED: &str = "failed";

/// Writes it down.
pub(super) struct Trail<'a> {
    pub(super) foundation: &'a Foundation,
    /// Where it is from, if that has a name.
    pub(super) system: Option<&'a str>,
}

// === impl Trail ===

impl Trail<'_> {
    pub(super) async fn begin(&self) -> anyhow::Result<()> {
        self.write(IMPORT, BEGUN, None, self.system.map(|system| json!({ "system": system }))).await
    }

    /// They are about to be stored, as far as they are not here already.
    pub(super) async fn will_make(&self, accounts: &[(AccountId, String)]) -> anyhow::Result<()> {
        self.accounts(accounts, BEGUN).await
    }

    pub(super) async fn have_made(&self, accounts: &[(AccountId, String)]) -> anyhow::Result<()> {
        self.accounts(accounts, DONE).await
    }

    pub(super) async fn end(&self, report: &Report, is_done: bool) -> anyhow::Result<()> {
        let [made, present, rejected] = report.counts();
        let mut details = json!({ "made": made, "present": present, "rejected": rejected });
        if let Some(system) = self.system {
            details["system"] = system.into();
        }
        self.write(IMPORT, if is_done { DONE } else { FAILED }, None, Some(details)).await
    }

    async fn accounts(&self, accounts: &[(AccountId, String)], outcome: &str) -> anyhow::Result<()> {
        for (id, role) in accounts {
            self.write(ACCOUNT, outcome, Some(*id), Some(json!({ "role": role }))).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        event: &str,
        outcome: &str,
        subject: Option<AccountId>,
        details: Option<Value>,
    ) -> anyhow::Result<()> {
        let event = of_command(event, subject.map(|account| account.uuid()));
        let details = details.map(|details| details.to_string());
        self.foundation.write_event(AuditEvent { outcome: outcome.to_owned(), details, ..event }).await
    }
}
