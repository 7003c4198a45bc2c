//! `/account/security`: second factors and passkeys. Who has not shown lately that it is they is asked for that first, and for nothing else.
//!
//! Recovery codes and the secret of an authenticator are on the page that answers their making, and on no other.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use chrono::TimeDelta;
use identity::SecretText;
use serde::Deserialize;
use store::{FactorKind, FactorRecord};

use super::{
    frame::{self, PasskeyForm, said_of},
    passkey,
    posted::{Meant, SignedIn},
    qr::QrCode,
    second_factor::is_code,
    sessions::Moment,
    sign_in::Nothing,
};
use crate::{
    caller::Caller,
    error::ApiError,
    office::Office,
    passkey::ShownPasskey,
    proof::Proof,
    routes::{
        confirm_passkey::{self, ConfirmPasskey},
        confirm_totp, enrol_totp, reauthenticate, remove_factor, rename_factor, renew_recovery_codes,
    },
    trail::Refused,
    visitor::Visitor,
};

const HERE: &str = "/account/security";

#[derive(Template)]
#[template(path = "pages/security.html")]
struct SecurityPage<'a> {
    product: &'a str,
    here: &'static str,
    csrf: String,
    email: String,
    /// Has it been shown lately that it is they?
    is_fresh: bool,
    factors: Vec<Factor>,
    codes_left: i64,
    codes: Vec<String>,
    enrolment: Option<Enrolment>,
    alert: Option<String>,
    name_error: Option<String>,
    /// To show anew who it is, or to add one.
    passkey: Option<PasskeyForm<'a>>,
}

struct Factor {
    id: String,
    kind: &'static str,
    name: Option<String>,
    made: Moment,
    used: Option<Moment>,
}

/// An authenticator that has yet to show its first code.
struct Enrolment {
    secret: String,
    uri: String,
    /// The same as a picture.
    code: Option<QrCode>,
}

/// What has come of what was sent.
#[derive(Default)]
struct Outcome {
    error: Option<ApiError>,
    /// Is it wrong with another name of a factor, and not with that of a new one?
    renames: bool,
    codes: Vec<String>,
    enrolment: Option<Enrolment>,
    cookies: HeaderMap,
}

#[derive(Deserialize)]
struct Anew {
    proof: SecretText,
}

#[derive(Deserialize)]
struct AnewByPasskey {
    challenge: SecretText,
    credential: String,
}

#[derive(Deserialize)]
struct NewName {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct FirstCode {
    code: SecretText,
}

#[derive(Deserialize)]
struct NewPasskey {
    credential: String,
    #[serde(default)]
    name: String,
}

pub(super) fn router() -> Router<Arc<Office>> {
    Router::new()
        .route(HERE, get(show))
        .route("/account/security/confirm", post(confirm))
        .route("/account/security/confirm-passkey", post(confirm_by_passkey))
        .route("/account/security/totp", post(begin_totp))
        .route("/account/security/totp/confirm", post(confirm_totp))
        .route("/account/security/passkeys", post(add_passkey))
        .route("/account/security/recovery-codes", post(renew))
        .route("/account/security/{id}/remove", post(remove))
        .route("/account/security/{id}/rename", post(rename))
}

async fn show(State(office): State<Arc<Office>>, visitor: Visitor, who: SignedIn) -> Response {
    page(&office, &who, &visitor, Outcome::default()).await
}

async fn confirm(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: Anew { proof } }: Meant<Anew>,
) -> Response {
    let factors = match office.store.factors(who.principal.account).await {
        Ok(factors) => factors,
        Err(error) => return frame::failed(&office, &error.into()),
    };
    // Where there is a second factor a password proves nothing here.
    let proof = match (factors.is_empty(), is_code(&proof)) {
        (true, _) => Proof { password: Some(proof), ..Proof::default() },
        (false, true) => Proof { code: Some(proof), ..Proof::default() },
        (false, false) => Proof { recovery_code: Some(proof), ..Proof::default() },
    };
    confirmed(&office, &who, &visitor, &proof).await
}

async fn confirm_by_passkey(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: AnewByPasskey { challenge, credential } }: Meant<AnewByPasskey>,
) -> Response {
    match passkey::read(&credential) {
        Ok(credential) => {
            let shown = ShownPasskey { challenge, credential };
            confirmed(&office, &who, &visitor, &Proof { passkey: Some(shown), ..Proof::default() }).await
        }
        Err(error) => page(&office, &who, &visitor, Outcome::refused(error)).await,
    }
}

async fn confirmed(office: &Office, who: &SignedIn, visitor: &Visitor, proof: &Proof) -> Response {
    match reauthenticate::anew(office, &caller(who), visitor, proof).await {
        Ok((cookies, _)) => frame::go(HERE, cookies),
        Err(error) => page(office, who, visitor, Outcome::refused(error)).await,
    }
}

async fn begin_totp(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: NewName { name } }: Meant<NewName>,
) -> Response {
    let begun = enrol_totp::begin(&office, &caller(&who), &visitor, given(&name), &Proof::default()).await;
    let outcome = match begun {
        Ok(begun) => {
            let enrolment = Enrolment::new(begun.secret, begun.otpauth_uri);
            Outcome { enrolment: Some(enrolment), ..Outcome::default() }
        }
        Err(error) => Outcome::refused(error),
    };
    page(&office, &who, &visitor, outcome).await
}

async fn confirm_totp(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: FirstCode { code } }: Meant<FirstCode>,
) -> Response {
    let outcome = match confirm_totp::confirm(&office, &caller(&who), &visitor, &code, &Proof::default()).await {
        Ok((cookies, counting)) => Outcome { codes: counting.recovery_codes, cookies, ..Outcome::default() },
        // Once more, with what the authenticator was told before.
        Err(error) => Outcome { enrolment: pending(&office, &who).await, ..Outcome::refused(error) },
    };
    answer(&office, &who, &visitor, outcome).await
}

async fn add_passkey(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: NewPasskey { credential, name } }: Meant<NewPasskey>,
) -> Response {
    let added = match passkey::read(&credential) {
        Ok(credential) => {
            let name = given(&name).map(str::to_owned);
            let made = ConfirmPasskey { credential, name, proof: Proof::default() };
            confirm_passkey::confirm(&office, &caller(&who), &visitor, made).await
        }
        Err(error) => Err(error),
    };
    let outcome = match added {
        Ok((cookies, counting)) => Outcome { codes: counting.recovery_codes, cookies, ..Outcome::default() },
        Err(error) => Outcome::refused(error),
    };
    answer(&office, &who, &visitor, outcome).await
}

async fn renew(
    State(office): State<Arc<Office>>,
    visitor: Visitor,
    Meant { who, form: Nothing {} }: Meant<Nothing>,
) -> Response {
    let outcome = match renew_recovery_codes::renew(&office, &caller(&who), &visitor, &Proof::default()).await {
        Ok(codes) => Outcome { codes, ..Outcome::default() },
        Err(error) => Outcome::refused(error),
    };
    page(&office, &who, &visitor, outcome).await
}

async fn remove(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    visitor: Visitor,
    Meant { who, form: Nothing {} }: Meant<Nothing>,
) -> Response {
    match remove_factor::remove(&office, &caller(&who), &visitor, &id, &Proof::default()).await {
        Ok(()) => frame::go(HERE, HeaderMap::new()),
        Err(error) => page(&office, &who, &visitor, Outcome::refused(error)).await,
    }
}

async fn rename(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    visitor: Visitor,
    Meant { who, form: NewName { name } }: Meant<NewName>,
) -> Response {
    match rename_factor::rename(&office, &caller(&who), &id, given(&name)).await {
        Ok(()) => frame::go(HERE, HeaderMap::new()),
        Err(error) => page(&office, &who, &visitor, Outcome { renames: true, ..Outcome::refused(error) }).await,
    }
}

fn caller(who: &SignedIn) -> Caller {
    Caller(who.principal.clone())
}

fn given(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.trim().is_empty())
}

async fn pending(office: &Office, who: &SignedIn) -> Option<Enrolment> {
    let since = office.now() - TimeDelta::hours(1);
    let begun = office.store.pending_factor(who.principal.account, FactorKind::Totp, since).await.ok()??;
    let account = office.store.account(who.principal.account).await.ok()??;
    let secret = office.open_totp(&begun).ok()?;
    let uri = secret.uri(&office.settings.mfa_issuer, &account.email).to_string();
    Some(Enrolment::new(secret.base32().to_string(), uri))
}

/// A page without anything that is shown once is gone to, so that to load it anew sends nothing again.
async fn answer(office: &Office, who: &SignedIn, visitor: &Visitor, outcome: Outcome) -> Response {
    if outcome.error.is_none() && outcome.codes.is_empty() {
        return frame::go(HERE, outcome.cookies);
    }
    page(office, who, visitor, outcome).await
}

async fn page(office: &Office, who: &SignedIn, visitor: &Visitor, outcome: Outcome) -> Response {
    let shown = match read(office, who, visitor, &outcome).await {
        Ok(shown) => shown,
        Err(error) => return frame::failed(office, &error),
    };
    let status = outcome.error.as_ref().map_or(StatusCode::OK, frame::status_of);
    let mut response = frame::page(status, &shown);
    if shown.passkey.is_some() {
        frame::allow_script(office, &mut response);
    }
    if let Some(error) = &outcome.error {
        response.extensions_mut().insert(Refused::by(error));
    }
    response.headers_mut().extend(outcome.cookies);
    response
}

async fn read<'a>(
    office: &'a Office,
    who: &SignedIn,
    visitor: &Visitor,
    outcome: &Outcome,
) -> Result<SecurityPage<'a>, ApiError> {
    let id = who.principal.account;
    let account = office.store.account(id).await?.ok_or(ApiError::CallerGone)?;
    let records = office.store.factors(id).await?;
    // Whoever has just been given another cookie has shown who they are, and this one has ended.
    let is_fresh = !outcome.cookies.is_empty()
        || match Proof::default().by(&caller(who), visitor, office).await {
            Ok(_) => true,
            Err(ApiError::NotFresh(_)) => false,
            Err(error) => return Err(error),
        };
    let csrf = office.csrf_given(&outcome.cookies).unwrap_or_else(|| who.csrf());
    let fields = outcome.error.as_ref().map(ApiError::fields).unwrap_or_default();
    let said = said_of(&fields, "name");
    let (name_error, new_name) = if outcome.renames { (None, said) } else { (said, None) };
    // That it was not fresh is what the page says anyway.
    let error = outcome.error.as_ref().filter(|error| name_error.is_none() && !matches!(error, ApiError::NotFresh(_)));
    let has_passkey = records.iter().any(|record| record.kind == FactorKind::Passkey);
    let passkey = office.passkeys.are_possible().then(|| passkey_form(is_fresh, &csrf));
    Ok(SecurityPage {
        product: &office.mail.settings.product,
        here: "security",
        passkey: passkey.filter(|_| is_fresh || has_passkey),
        email: account.email,
        is_fresh,
        codes_left: office.store.recovery_codes_left(id).await?,
        factors: records.into_iter().map(Factor::from).collect(),
        codes: outcome.codes.clone(),
        // The secret is for who may begin one, and for nobody who comes by later.
        enrolment: outcome.enrolment.as_ref().filter(|_| is_fresh).map(Enrolment::copy),
        alert: new_name.map(|said| format!("Name {said}.")).or_else(|| error.map(|error| error.detail().into_owned())),
        name_error,
        csrf,
    })
}

fn passkey_form<'a>(is_fresh: bool, csrf: &str) -> PasskeyForm<'a> {
    let hidden = vec![("csrf", csrf.to_owned())];
    if is_fresh {
        let action = "/account/security/passkeys";
        return PasskeyForm { ask: "/auth/mfa/passkeys", action, hidden, submit: "Add a passkey", makes: true };
    }
    let action = "/account/security/confirm-passkey";
    PasskeyForm { ask: "/auth/reauthenticate/passkey", action, hidden, submit: "Use a passkey", makes: false }
}

// === impl Outcome ===

impl Outcome {
    fn refused(error: ApiError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

// === impl Enrolment ===

impl Enrolment {
    fn new(secret: String, uri: String) -> Self {
        Self { code: QrCode::of(&uri), secret, uri }
    }

    fn copy(&self) -> Self {
        Self::new(self.secret.clone(), self.uri.clone())
    }
}

// === impl Factor ===

impl From<FactorRecord> for Factor {
    fn from(record: FactorRecord) -> Self {
        Self {
            id: record.id().uuid().to_string(),
            kind: match record.kind {
                FactorKind::Totp => "Authenticator",
                FactorKind::Passkey => "Passkey",
            },
            name: record.name,
            made: record.created_at.into(),
            used: record.last_used_at.map(Moment::from),
        }
    }
}
