//! What we remember: accounts, sessions, keys and what changed, in SQL, on SQLite for one node and Postgres for many.
//!
//! [`Store`] is the way in. Each query is one text that serves both engines (`db`); each file holds the questions about one
//! kind of record:
//!
//! - who somebody is, and by what: `account`, `accounts`, `email_change`, `passwords`, `factors`, `passkeys`, `identities`, `external`,
//!   `refused_issuers`, `one_time`, `voided`, `challenges`, `seen`, `lockout`, `takeover`, `invitations`, `administrators`, `weighed`
//! - with what they come: `sessions`, `cookies`, `keys`, `acting`, `uses`; `grants` are the door's look-ups, one query each
//! - with whom they are: `tenants`, `members`, `tenant_invitations`, `teams`, `domains`, `groups`; what a tenant begins with: `seed`
//! - what they have: `agents`, `instances`, `integrations`, `usage`, `quotas`, `billing`, `webhooks`
//! - what is kept beside: `signing`, `audit`, `outbox`
//! - page by page, for those who oversee: `oversight`, `paging`; from older systems: `import`
//! - how questions are asked: `clock` (the database's), `migrate`, `error`, `written` (whether what was asked has written anything),
//!   `sums` (which end at the largest number)
//!
//! Every write that matters to the door appends to the change feed (`feed`) in its own transaction. `retention` deletes what is
//! over, `reseal` is the list of all that is sealed and `seal_nodes` of who can open it, `backup` saves and restores everything. The
//! [`Keyring`] (`keyring`) opens the signing keys.
//!
//! Left to others: what may be done (`policies`), what a credential proves (`identity`), caching (`gateway`).

mod account;
mod accounts;
mod acting;
mod administrators;
mod agents;
mod audit;
mod backup;
mod billing;
mod challenges;
pub mod clock;
mod cookies;
mod db;
mod domains;
mod email_change;
mod error;
mod external;
mod factors;
mod feed;
mod grants;
mod groups;
mod identities;
mod import;
mod instances;
mod integrations;
mod invitations;
mod keyring;
mod keys;
mod lockout;
mod members;
mod migrate;
mod one_time;
mod outbox;
mod oversight;
mod paging;
mod passkeys;
mod passwords;
mod quotas;
mod refused_issuers;
mod reseal;
mod retention;
mod seal_nodes;
mod seed;
mod seen;
mod sessions;
mod signing;
mod sums;
mod takeover;
mod teams;
mod tenant_invitations;
mod tenants;
mod usage;
mod uses;
mod voided;
mod webhooks;
mod weighed;
mod written;

pub use account::{Account, AccountKind, Membership, Status};
pub use accounts::{AccountChange, Belonging, NewAccount, NewTier, ProfileChange};
pub use acting::MACHINE;
pub use agents::{Agent, AgentChange, AgentsWanted, Audience, NewAgent};
pub use audit::{Audit, AuditEvent, AuditFault, AuditFilter, AuditReport};
pub use backup::{BackupError, Receipt, restore};
pub use billing::{BillingMonth, Charge, Heard, Paid, Payment, Statement, Subscription, Unbilled};
pub use challenges::{ChallengeSeed, FactorLogin, Renewal, Renewed};
pub use cookies::CookieTerms;
pub use db::{PoolSettings, Store, fault_of_address};
pub use domains::{Domain, DomainChange, DomainMember, NewDomain};
pub use error::StoreError;
pub use external::{ExternalSubject, Followed};
pub use factors::{Confirmation, FactorKind, FactorProof, FactorRecord, NewFactor};
pub use feed::{Change, Subject};
pub use grants::{GrantFacts, Standing};
pub use groups::Groups;
pub use identities::{Believed, IdentityRecord, NewIdentity, Unlinked};
pub use import::{
    ImportOutcome, Imported, ImportedAccount, ImportedAgent, ImportedInstance, ImportedIntegration, ImportedStatement,
    ImportedThing, ImportedUsage, Rehearsal, Thing, by_address, end_of_month, imported_id, statement_id,
};
pub use instances::{Instance, InstanceChange, InstancePlace, NewInstance};
pub use integrations::{
    FoundIntegration, IntegrationChange, IntegrationOwner, IntegrationRecord, IntegrationStatus, MadeIntegration,
    NewIntegration,
};
pub use keyring::{Keyring, SigningSet};
pub use keys::{KeyRecord, NewKey};
pub use lockout::{Aim, Claim, Claimed, LoginFacts};
pub use members::Member;
pub use migrate::MigrationStatus;
pub use one_time::{Confirmed, LinkLogin, NewOneTime, OneTime, ShownOneTime};
pub use outbox::{Allowance, Asker, DueMail, Letters, MailOutcome, Most, NewMail, WishOutcome};
pub use oversight::{SeenKey, SeenSession, SessionRecord};
pub use paging::{Cursor, CursorError, Page};
pub use passkeys::NewPasskey;
pub use quotas::{CountedHere, NewReservation, QuotaKeeper, QuotaUse, Reserved};
pub use refused_issuers::RefusedIssuer;
pub use reseal::{Resealed, SEALED, SealedColumn};
pub use seal_nodes::SealNode;
pub use seed::{DomainSeed, TeamSeed, TenantSeed};
pub use seen::Seen;
pub use sessions::{NewSession, Origin, Proof, RefreshOutcome, RefreshRefusal, RefreshTerms, SessionSeed};
pub use signing::{Purpose, ensure_keys, rotate};
pub use takeover::WayIn;
pub use teams::{NewTeam, Team, TeamChange, TeamMember};
pub use tenant_invitations::{Invitation, NewInvitation};
pub use tenants::{Tenant, TenantChange};
pub use usage::{Misplaced, UsageAsked, UsageBy, UsageEvent, UsagePage, UsageTotal, Used};
pub use webhooks::DueWebhook;
pub use weighed::{DoneBy, Over};
pub use written::noticing_writes;
