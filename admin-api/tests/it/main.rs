//! The office as the door sees it: a real router on a real database, and requests that carry the door's assertion or not.
//!
//! [`house`] stands in for the door, doing what the door does: it checks what a caller shows and asserts who it is. Each
//! other file tells one part of the contract.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accounts;
mod administration;
mod agents;
mod askers;
mod audit;
mod authenticator;
mod bad_input;
mod billing;
mod browsers;
mod cost;
mod coverage;
mod document;
mod email_change;
mod forgery;
mod groups;
mod guessing;
mod held;
mod house;
mod identities;
mod idor;
mod integrations;
mod invitations;
mod keys;
mod lists;
mod machines;
mod mails;
mod mfa;
mod operations;
mod outage;
mod own_data;
mod pages;
mod paging;
mod passkeys;
mod passwords;
mod postgres;
mod sessions;
#[path = "../../../store/tests/it/statements.rs"]
mod statements;
#[path = "../../../store/tests/it/template.rs"]
mod template;
mod tenants;
mod weighed;
