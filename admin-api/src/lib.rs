//! The office beside the door: it registers people, logs them in, issues their keys and lets administrators manage them.
//!
//! ```text
//! door ──► answer.rs ──► routes/*.rs, one per endpoint ──► store, identity
//!            │      └──► pages/*.rs, which do the same for browsers
//!            │  limits, panics        │
//!            │  problem+json          ├─ caller.rs   who is calling: the door's assertion and nothing else
//!            └─ error.rs              ├─ still.rs    whether that is still so once the body is here, or a password hashed
//!                                     ├─ body.rs     JSON read strictly (json.rs), faults of fields gathered (form.rs)
//!                                     ├─ hashing.rs  passwords, off the async threads, a few at a time; breached.rs  none that was stolen
//!                                     ├─ visitor.rs  from where, and in which browser
//!                                     ├─ attempt.rs  how often somebody has guessed
//!                                     ├─ stuffing.rs  who guesses at everybody
//!                                     ├─ trail.rs   what is written down of it; operations.rs  by which name
//!                                     ├─ second_factor.rs, passkey.rs, proof.rs  what is shown besides, and anew
//!                                     ├─ oauth/      logging in at somebody else's
//!                                     ├─ mail/       what people are told who are not there
//!                                     ├─ user.rs, tenant.rs, group.rs, agent.rs, key.rs  records as answers show them
//!                                     ├─ query.rs, paging.rs  what a query says, and which page of a list; export.rs  everything of somebody at once
//!                                     ├─ integration.rs  keys at providers, and whose they may be
//!                                     ├─ issue.rs    token pairs
//!                                     ├─ quota.rs    how much of something a tenant has
//!                                     ├─ kept_usage.rs  what services report of use, until it is counted
//!                                     ├─ reach.rs    whose usage and money somebody sees; statement.rs, csv.rs  how they are shown
//!                                     └─ cookie.rs   what browsers get in their place
//! ```
//!
//! This is a library: [`router`] makes an axum router out of an [`Office`] (`office`), which `openapi` describes and `metrics` counts,
//! and the process that runs it says where it listens and answers its [`Hooks`]. Who may reach an endpoint, and how often, is
//! decided at the door by `policies`; what must never depend on a route alone is checked here again. What is remembered is `store`'s,
//! what is proved `identity`'s.

mod agent;
mod answer;
mod attempt;
mod body;
mod breached;
mod caller;
mod cookie;
mod csv;
mod error;
mod export;
mod form;
mod group;
mod hashing;
mod integration;
mod issue;
mod json;
mod kept_usage;
mod key;
mod mail;
mod metrics;
mod oauth;
mod office;
mod openapi;
mod operations;
mod pages;
mod paging;
mod passkey;
mod proof;
mod query;
mod quota;
mod reach;
mod routes;
mod second_factor;
mod statement;
mod still;
mod stuffing;
mod tenant;
mod trail;
mod user;
mod visitor;

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};
pub use breached::Breached;
pub use form::check_picture;
pub use hashing::LONGEST_WAIT;
use identity::CookieNames;
pub use kept_usage::UsageSpool;
pub use mail::{
    MailError, MailSettings, MailTransport, Mailer, Security, SmtpSettings, TemplateFault, Templates, is_sender,
    wish_to_tell_of_link,
};
pub use oauth::{Answered, Asked, Identified, Provider, ProviderFault, Providers};
pub use office::{
    AccountSettings, Clock, Hooks, Lockout, Office, OfficeError, Registration, ReloadReport, Settings, TokenSubject,
};
pub use pages::{Accent, NoColour, PageSettings, refused_page};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    operations::Operations,
    still::still_so,
    trail::{Trail, written_down},
};

/// Every endpoint of the office.
pub fn router(office: Arc<Office>) -> Router {
    let (endpoints, outline) = described();
    let operations = Arc::new(Operations::of(&outline));
    let trail = Arc::new(Trail::new(Arc::clone(&office), Arc::clone(&operations)));
    let cookies = office.cookie_names();
    let still = from_fn_with_state((Arc::clone(&office), operations), still_so);
    let endpoints = endpoints.merge(pages::router()).with_state(office).layer(still);
    // Around it: who is refused so is written down too.
    let endpoints = endpoints.layer(from_fn_with_state(trail, written_down));
    answer::around(endpoints.merge(routes::docs::router(cookies)))
}

/// The API's `OpenAPI` document, which `GET /openapi.json` answers with.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    written(CookieNames::of(true))
}

fn written(cookies: CookieNames) -> utoipa::openapi::OpenApi {
    let (_, mut document) = described();
    openapi::complete(&mut document, cookies);
    document
}

/// A new endpoint is one line here; its file says method, path and words. [`openapi::complete`] adds the rest to the document.
fn described() -> (Router<Arc<Office>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::Outline::openapi())
        .routes(routes!(routes::register::register))
        .routes(routes!(routes::login::login))
        .routes(routes!(routes::refresh::refresh))
        .routes(routes!(routes::logout::logout))
        .routes(routes!(routes::me::me))
        .routes(routes!(routes::update_me::update_me))
        .routes(routes!(routes::export_me::export_me))
        .routes(routes!(routes::delete_me::delete_me))
        .routes(routes!(routes::change_password::change_password))
        .routes(routes!(routes::change_email::change_email))
        .routes(routes!(routes::confirm_email::confirm_email))
        .routes(routes!(routes::verify_email::verify_email))
        .routes(routes!(routes::resend_verification::resend_verification))
        .routes(routes!(routes::request_password_reset::request_password_reset))
        .routes(routes!(routes::reset_password::reset_password))
        .routes(routes!(routes::accept_invite::accept_invite))
        .routes(routes!(routes::magic_link::magic_link))
        .routes(routes!(routes::consume_magic_link::consume_magic_link))
        .routes(routes!(routes::verify_factor::verify_factor))
        .routes(routes!(routes::list_factors::list_factors))
        .routes(routes!(routes::enrol_totp::enrol_totp))
        .routes(routes!(routes::confirm_totp::confirm_totp))
        .routes(routes!(routes::enrol_passkey::enrol_passkey))
        .routes(routes!(routes::confirm_passkey::confirm_passkey))
        .routes(routes!(routes::ask_second_passkey::ask_second_passkey))
        .routes(routes!(routes::ask_passkey::ask_passkey))
        .routes(routes!(routes::passkey_login::passkey_login))
        .routes(routes!(routes::ask_own_passkey::ask_own_passkey))
        .routes(routes!(routes::renew_recovery_codes::renew_recovery_codes))
        .routes(routes!(routes::remove_factor::remove_factor, routes::rename_factor::rename_factor))
        .routes(routes!(routes::reauthenticate::reauthenticate))
        .routes(routes!(routes::oauth_start::oauth_start))
        .routes(routes!(routes::oauth_callback::oauth_callback))
        .routes(routes!(routes::list_identities::list_identities))
        .routes(routes!(routes::unlink_identity::unlink_identity))
        .routes(routes!(routes::allow_issuer::allow_issuer))
        .routes(routes!(routes::list_sessions::list_sessions))
        .routes(routes!(routes::end_session::end_session))
        .routes(routes!(routes::end_other_sessions::end_other_sessions))
        .routes(routes!(routes::validate::validate))
        .routes(routes!(routes::list_keys::list_keys))
        .routes(routes!(routes::create_key::create_key))
        .routes(routes!(routes::delete_key::delete_key))
        .routes(routes!(routes::rotate_key::rotate_key))
        .routes(routes!(routes::list_users::list_users))
        .routes(routes!(routes::create_user::create_user))
        .routes(routes!(routes::invite_user::invite_user))
        .routes(routes!(routes::read_user::read_user))
        .routes(routes!(routes::change_user::change_user))
        .routes(routes!(routes::delete_user::delete_user))
        .routes(routes!(routes::unlock_user::unlock_user))
        .routes(routes!(routes::list_audit::list_audit))
        .routes(routes!(routes::reset_factors::reset_factors))
        .routes(routes!(routes::reload_config::reload_config))
        .routes(routes!(routes::jwks::jwks))
        .routes(routes!(routes::health::health))
        .routes(routes!(routes::impersonate::impersonate))
        .routes(routes!(routes::see_keys::see_keys))
        .routes(routes!(routes::end_key::end_key))
        .routes(routes!(routes::see_sessions::see_sessions))
        .routes(routes!(routes::end_any_session::end_any_session))
        .routes(routes!(routes::see_status::see_status))
        .routes(routes!(routes::see_limits::see_limits))
        .routes(routes!(routes::issue_token::issue_token))
        .merge(tenant::endpoints())
        .merge(group::endpoints())
        .merge(agent::endpoints())
        .routes(routes!(routes::list_integrations::list_integrations))
        .routes(routes!(routes::create_integration::create_integration))
        .routes(routes!(routes::read_integration::read_integration))
        .routes(routes!(routes::change_integration::change_integration))
        .routes(routes!(routes::delete_integration::delete_integration))
        .merge(of_usage())
        .split_for_parts()
}

/// What is used, and what it costs.
fn of_usage() -> OpenApiRouter<Arc<Office>> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_usage::list_usage))
        .routes(routes!(routes::report_usage::report_usage))
        .routes(routes!(routes::list_quotas::list_quotas))
        .routes(routes!(routes::reserve_quota::reserve_quota))
        .routes(routes!(routes::commit_quota::commit_quota))
        .routes(routes!(routes::release_quota::release_quota))
        .routes(routes!(routes::release_any_quota::release_any_quota))
        .routes(routes!(routes::list_statements::list_statements))
        .routes(routes!(routes::read_statement::read_statement, routes::settle_statement::settle_statement))
        .routes(routes!(routes::hear_payment::hear_payment))
}
