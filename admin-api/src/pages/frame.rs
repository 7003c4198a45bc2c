//! How a page leaves: what browsers may do with it, and the one template that every form is made of.
//!
//! Nothing on a page runs but the one file of ours that asks for passkeys, on the pages that do. The policy forbids other scripts, so that no name that somebody gave a key and no mistake in a template can become one.

use askama::Template;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use policies::{ReturnTo, problem::FieldError};

use crate::{error::ApiError, office::Office, trail::Refused};

/// Styles of this host, forms to this host, and nothing else; shown in no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
/// An address that holds a token from a mail is nobody's to read. Without any referrer browsers would write `Origin: null` into forms to
/// ourselves (Fetch §3.2), and those that say no `Sec-Fetch-Site` could not send one.
const STRICT_ORIGIN: HeaderValue = HeaderValue::from_static("strict-origin");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// Whoever is sent on, to a login provider for one, is not told from where.
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// A form, or a page that only says something.
#[derive(Default, Template)]
#[template(path = "pages/form.html")]
pub(super) struct FormPage<'a> {
    pub(super) product: &'a str,
    /// Of somebody who is signed in: goes with the form, and with the way out above it.
    pub(super) csrf: Option<String>,
    /// Which of the account's pages it is, if it is one of those.
    pub(super) here: &'a str,
    pub(super) has_error: bool,
    pub(super) title: &'a str,
    pub(super) notice: Option<&'a str>,
    pub(super) alert: Option<String>,
    pub(super) intro: Option<&'a str>,
    pub(super) action: &'a str,
    pub(super) hidden: Vec<(&'a str, String)>,
    pub(super) fields: Vec<Field<'a>>,
    /// What the button says; empty: there is no form.
    pub(super) submit: &'a str,
    pub(super) links: Vec<(&'a str, &'a str)>,
    /// Where else somebody can sign in: an address, and what it is called.
    pub(super) elsewhere: Vec<(String, &'a str)>,
    /// What may be done in its place.
    pub(super) passkey: Option<PasskeyForm<'a>>,
}

/// A form that a script fills in with what an authenticator answers, and shows only where there can be one.
pub(super) struct PasskeyForm<'a> {
    /// Where the script asks what to ask the authenticator.
    pub(super) ask: &'a str,
    pub(super) action: &'a str,
    pub(super) hidden: Vec<(&'a str, String)>,
    pub(super) submit: &'a str,
    /// Is one to be made, and not only used?
    pub(super) makes: bool,
}

/// Something to be filled in.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) kind: &'a str,
    pub(super) autocomplete: &'a str,
    pub(super) value: String,
    pub(super) hint: Option<String>,
    pub(super) error: Option<String>,
    pub(super) is_required: bool,
}

// === impl Field ===

impl Field<'_> {
    pub(super) fn email(value: &str) -> Self {
        Self {
            name: "email",
            label: "E-mail address",
            kind: "email",
            autocomplete: "username",
            value: value.to_owned(),
            is_required: true,
            ..Self::default()
        }
    }

    /// A password that somebody has.
    pub(super) fn password() -> Self {
        Self {
            name: "password",
            label: "Password",
            kind: "password",
            autocomplete: "current-password",
            is_required: true,
            ..Self::default()
        }
    }

    fn described_by(&self) -> Option<String> {
        let hint = self.hint.as_ref().map(|_| format!("{}-hint", self.name));
        let error = self.error.as_ref().map(|_| format!("{}-error", self.name));
        let ids: Vec<String> = hint.into_iter().chain(error).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }
}

// === impl FormPage ===

impl<'a> FormPage<'a> {
    /// With the login providers beside it.
    pub(super) fn or_elsewhere(mut self, office: &'a Office, return_to: Option<&str>) -> Self {
        let back = return_to.and_then(ReturnTo::parse).map(|back| format!("?return_to={}", back.encoded()));
        let back = back.unwrap_or_default();
        let providers = office.providers.list().iter();
        self.elsewhere = providers.map(|one| (format!("/auth/oauth/{}{back}", one.id), &*one.label)).collect();
        self
    }

    pub(super) fn show(self, office: &'a Office) -> Response {
        self.with_status(office, StatusCode::OK)
    }

    /// The same form again, with what was wrong beside what it is wrong with.
    pub(super) fn again(mut self, office: &'a Office, error: &ApiError) -> Response {
        let of_fields = error.fields();
        for field in &mut self.fields {
            field.error = said_of(&of_fields, field.name).map(|said| sentence(field.label, &said));
        }
        if self.fields.iter().all(|field| field.error.is_none()) {
            self.alert = Some(match of_fields.first() {
                // A field that the page does not have, or that did not come.
                Some(FieldError { field, message }) if !field.is_empty() => format!("The field {field} {message}."),
                _ => error.detail().into_owned(),
            });
        }
        self.has_error = true;
        let mut response = self.with_status(office, status_of(error));
        response.extensions_mut().insert(Refused::by(error));
        response
    }

    fn with_status(mut self, office: &'a Office, status: StatusCode) -> Response {
        self.product = &office.mail.settings.product;
        let holds_token = self.hidden.iter().any(|(name, _)| *name == "token");
        let mut response = page(status, &self);
        if self.passkey.is_some() {
            allow_script(office, &mut response);
        }
        if holds_token {
            response.headers_mut().insert(header::REFERRER_POLICY, STRICT_ORIGIN);
        }
        response
    }
}

/// What is said of a field goes on after its name, unless it names what it is about itself.
fn sentence(label: &str, said: &str) -> String {
    match said.strip_prefix("the ") {
        Some(rest) => format!("The {rest}."),
        None => format!("{label} {said}."),
    }
}

/// What is wrong with one field.
pub(super) fn said_of(errors: &[FieldError], name: &str) -> Option<String> {
    errors.iter().find(|error| error.field == name).map(|error| error.message.clone())
}

/// The status of a page that says why not. A 401 would have to challenge, and browsers answer challenges with a window of their own.
pub(super) fn status_of(error: &ApiError) -> StatusCode {
    match error.face().status {
        StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        status => status,
    }
}

/// What every page says of itself.
pub(super) const fn fields() -> [(HeaderName, HeaderValue); 3] {
    [(header::CONTENT_TYPE, HTML), (header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, SAME_ORIGIN)]
}

/// A page as browsers get it.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, fields(), Body::from(html)).into_response(),
        Err(error) => ApiError::Internal(error.to_string()).into_response(),
    }
}

/// On a page that asks for passkeys.
pub(super) fn allow_script(office: &Office, response: &mut Response) {
    let policy = HeaderValue::try_from(script_policy(&office.mail.settings.public_url)).unwrap_or(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
}

/// The same, and our one script, which may ask this host. Not `'self'`: what a backend serves under this host is no script of ours.
fn script_policy(public_url: &str) -> String {
    format!(
        "default-src 'none'; style-src 'self'; script-src {public_url}/account/passkeys.js; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// A page that says why nothing can be done.
pub(crate) fn failed(office: &Office, error: &ApiError) -> Response {
    if let ApiError::Internal(cause) | ApiError::StoreAway(cause) = error {
        tracing::warn!(%cause, "a page could not be shown");
    }
    let face = error.face();
    let links = vec![("/account/sessions", "Your account"), ("/account/sign-in", "Sign in")];
    FormPage { title: face.title, links, ..FormPage::default() }.again(office, error)
}

/// On to another page, with what the browser is given on the way.
pub(super) fn go(to: &str, cookies: HeaderMap) -> Response {
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/account/sessions"));
    (StatusCode::SEE_OTHER, cookies, [(header::LOCATION, to), (header::REFERRER_POLICY, NO_REFERRER)]).into_response()
}
