//! The pages of the account service: what people see who have no program for it.
//!
//! ```text
//! door ──► posted.rs: from a page of this host, with the cookie's token ──► sign_in.rs, sessions.rs … ──► routes/*.rs ──► store
//!                                                                              └─ frame.rs, templates/pages: how it is shown
//! ```
//!
//! Each page does what an endpoint does, by the endpoint's own function, and shows what has come of it. Nothing runs in the browser
//! but what asks for passkeys (`script.rs`), and whatever else there is works without it.

mod accent;
mod confirm;
mod email;
mod frame;
mod identities;
mod invite;
mod keys;
mod link;
mod onward;
mod organisations;
mod passkey;
mod password;
mod posted;
mod prove;
mod qr;
mod refused;
mod script;
mod second_factor;
mod security;
mod sessions;
mod sign_in;
mod sign_up;
mod style;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    response::Redirect,
    routing::{get, post},
};

pub use self::{
    accent::{Accent, NoColour},
    refused::refused_page,
};
pub(crate) use self::{
    frame::failed,
    onward::{ask_to_begin, onward, takes_html, too_long_ago},
    sign_in::HOME,
};
use crate::office::Office;

/// What browsers get; from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// How long a session cookie is good when it is not used.
    pub cookie_idle: Duration,
    /// How long after its login, however often it is used.
    pub cookie_life: Duration,
    /// The colour of buttons.
    pub accent: Accent,
}

/// What is asked for by what a page sends, as the API's operations are named.
pub(crate) const OPERATIONS: [(&str, &str); 32] = [
    ("/account/sign-in", "login"),
    ("/account/sign-in/code", "verify_factor"),
    ("/account/sign-in/passkey", "passkey_login"),
    ("/account/sign-in/second-passkey", "verify_factor"),
    ("/account/security/confirm", "reauthenticate"),
    ("/account/security/confirm-passkey", "reauthenticate"),
    ("/account/security/totp", "enrol_totp"),
    ("/account/security/totp/confirm", "confirm_totp"),
    ("/account/security/passkeys", "confirm_passkey"),
    ("/account/security/recovery-codes", "renew_recovery_codes"),
    ("/account/security/{id}/remove", "remove_factor"),
    ("/account/security/{id}/rename", "rename_factor"),
    ("/account/sign-up", "register"),
    ("/account/forgot-password", "request_password_reset"),
    ("/account/reset-password", "reset_password"),
    ("/account/verify-email", "verify_email"),
    ("/account/magic-link", "magic_link"),
    ("/account/magic-link/consume", "consume_magic_link"),
    ("/account/sessions/{id}/end", "end_session"),
    ("/account/sessions/end-others", "end_other_sessions"),
    ("/account/keys", "create_key"),
    ("/account/keys/{id}/delete", "delete_key"),
    ("/account/link", "link_identity"),
    ("/account/identities/{id}/unlink", "unlink_identity"),
    ("/account/identities/{id}/allow", "allow_issuer"),
    ("/account/sign-out", "logout"),
    ("/account/email", "change_email"),
    ("/account/confirm-email", "confirm_email"),
    ("/account/accept-invite", "accept_invite"),
    ("/account/organisations/{id}/switch", "switch_tenant"),
    ("/account/invitations/{id}/accept", "accept_invitation"),
    ("/account/invitations/{id}/decline", "decline_invitation"),
];

/// Every page. Who may see those of the second half is decided at the door, and asked again here.
pub(crate) fn router() -> Router<Arc<Office>> {
    Router::new()
        .route("/account/style.css", get(style::show))
        .route("/account/sign-in", get(sign_in::show).post(sign_in::post))
        .route("/account/sign-in/code", post(second_factor::post))
        .route("/account/passkeys.js", get(script::show))
        .route("/account/sign-in/passkey", post(passkey::sign_in))
        .route("/account/sign-in/second-passkey", post(passkey::second_step))
        .merge(security::router())
        .route("/account/sign-up", get(sign_up::show).post(sign_up::post))
        .route("/account/check-mail", get(sign_up::check_mail))
        .route("/account/forgot-password", get(password::show_forgot).post(password::post_forgot))
        .route("/account/reset-password", get(password::show_reset).post(password::post_reset))
        .route("/account/verify-email", get(confirm::show_verify).post(confirm::post_verify))
        .route("/account/magic-link", get(confirm::show_link).post(confirm::post_link))
        .route("/account/magic-link/consume", post(confirm::consume_link))
        .route("/account", get(|| async { Redirect::to(sign_in::HOME) }))
        .route("/account/sessions", get(sessions::show))
        .route("/account/sessions/{id}/end", post(sessions::end))
        .route("/account/sessions/end-others", post(sessions::end_others))
        .route("/account/keys", get(keys::show).post(keys::create))
        .route("/account/keys/{id}/delete", post(keys::delete))
        .route("/account/link", get(link::show).post(link::agree))
        .route("/account/identities", get(identities::show))
        .route("/account/identities/{id}/unlink", post(identities::unlink))
        .route("/account/identities/{id}/allow", post(identities::allow))
        .route("/account/sign-out", post(sign_in::sign_out))
        .route("/account/email", get(email::show).post(email::ask))
        .route("/account/confirm-email", get(email::show_confirm).post(email::post_confirm))
        .route("/account/accept-invite", get(invite::show).post(invite::post))
        .route("/account/organisations", get(organisations::show))
        .route("/account/organisations/{id}/switch", post(organisations::switch))
        .route("/account/invitations/{id}/accept", post(organisations::accept))
        .route("/account/invitations/{id}/decline", post(organisations::decline))
}
