//! What becomes an event of the audit trail: every request that could change something, by the operation it asked for.
//!
//! A new endpoint is written down without a word of its own. What only its handler knows (which account, which role) it adds by
//! [`about`], [`by`] and [`detail`]. Requests that were not understood are no events, unless something of them was written before; neither is
//! what only reads.

use std::{cell::RefCell, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};
use store::{AuditEvent, noticing_writes};
use uuid::Uuid;

use crate::{answer::REQUEST_ID, error::ApiError, office::Office, operations::Operations, visitor::CLIENT};

/// Reads by their method alone: what a browser is sent back to from somebody else's.
const CHANGING: &str = "oauth_callback";
/// Asked by machines all day (what they report is a record of its own), or only a question to an authenticator, whose answer is written
/// down: they prove nothing about a person.
const UNWRITTEN: [&str; 5] = ["validate", "report_usage", "ask_passkey", "ask_second_passkey", "ask_own_passkey"];

/// Below these somebody acts on their own account, for programs and on pages.
const OWN: [&str; 2] = ["/auth/", "/account/"];

tokio::task_local! {
    static NOTED: RefCell<Noted>;
}

/// What handlers know of the request under way.
#[derive(Default)]
struct Noted {
    actor: Option<Uuid>,
    caller: Option<Uuid>,
    subject: Option<Uuid>,
    details: Map<String, Value>,
}

/// Where it is written down, and what.
pub(crate) struct Trail {
    office: Arc<Office>,
    operations: Arc<Operations>,
}

/// It is done to this account, key or session.
pub(crate) fn about(subject: Uuid) {
    note(|noted| noted.subject = Some(subject));
}

/// This account does it.
pub(crate) fn by(actor: Uuid) {
    note(|noted| noted.actor = Some(actor));
}

/// This account is calling: whatever under a path of its own names nothing else is done to it.
pub(crate) fn called_by(account: Uuid) {
    note(|noted| noted.caller = Some(account));
}

/// What else there is to know. Nothing that opens anything, and no address of mail.
pub(crate) fn detail(name: &str, value: impl Into<Value>) {
    note(|noted| drop(noted.details.insert(name.to_owned(), value.into())));
}

/// Outside of a request, as in the tests of a function, nothing is written down.
fn note(act: impl FnOnce(&mut Noted)) {
    NOTED.try_with(|noted| act(&mut noted.borrow_mut())).ok();
}

// === impl Trail ===

impl Trail {
    pub(crate) fn new(office: Arc<Office>, operations: Arc<Operations>) -> Self {
        Self { office, operations }
    }

    /// What a request asks for, if that is ever written down.
    fn operation(&self, request: &Request) -> Option<&str> {
        let operation = self.operations.asked(request.method(), request.extensions())?;
        let is_written = request.method() != Method::GET || operation == CHANGING;
        (is_written && !UNWRITTEN.contains(&operation)).then_some(operation)
    }
}

/// Serves a request, and writes down what came of it before anybody is told, also if whoever asked has left meanwhile.
pub(crate) async fn written_down(State(trail): State<Arc<Trail>>, request: Request, next: Next) -> Response {
    let Some(event) = trail.operation(&request).map(str::to_owned) else { return next.run(request).await };
    let served = tokio::spawn(serve(trail, event, request, next)).await;
    served.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => ApiError::Internal(error.to_string()).into_response(),
    })
}

async fn serve(trail: Arc<Trail>, event: String, request: Request, next: Next) -> Response {
    let text = |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (address, request_id) = (text(request.headers(), CLIENT), text(request.headers(), REQUEST_ID));
    let path = request.uri().path();
    let named = path.split('/').find_map(|segment| Uuid::try_parse(segment).ok());
    let is_own = OWN.iter().any(|prefix| path.starts_with(prefix));
    let done = NOTED.scope(RefCell::default(), async {
        let response = next.run(request).await;
        (response, NOTED.with(RefCell::take))
    });
    let ((response, mut noted), has_written) = noticing_writes(done).await;
    let Some(outcome) = outcome(&response, has_written, &mut noted.details) else { return response };
    let event = AuditEvent {
        id: Uuid::now_v7(),
        at: trail.office.now(),
        event,
        outcome,
        actor: noted.actor,
        subject: noted.subject.or(named).or(noted.caller.filter(|_| is_own)),
        address,
        request_id,
        details: (!noted.details.is_empty()).then(|| Value::Object(noted.details).to_string()),
    };
    if let Err(error) = trail.office.audit.add(event).await {
        trail.office.metrics.unwritten.inc();
        tracing::error!(%error, "an event is missing in the audit trail");
    }
    response
}

/// What a page says of an [`ApiError`], which it shows in words of its own.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    code: &'static str,
    is_event: bool,
}

// === impl Refused ===

impl Refused {
    pub(crate) fn by(error: &ApiError) -> Self {
        let face = error.face();
        let is_refusal = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        // Where nothing is configured anybody finds nothing, and nothing happens.
        let is_refusal = is_refusal.contains(&face.status) && !matches!(error, ApiError::NoSuchPath);
        let others = matches!(error, ApiError::LinkRefused | ApiError::Oauth(_) | ApiError::ConfigRefused(_));
        Self { code: face.code, is_event: is_refusal || others }
    }
}

/// `ok`, or why not; `None` where nothing happened that anybody would ask for. What failed after something of it was written, whosever fault
/// it was, is `failed`, and why stands in the details: it may be done, or have used up what was shown.
fn outcome(response: &Response, has_written: bool, details: &mut Map<String, Value>) -> Option<String> {
    let of_error = response.extensions().get::<Arc<ApiError>>().map(|error| Refused::by(error));
    let status = response.status();
    match of_error.or_else(|| response.extensions().get().copied()) {
        Some(Refused { code, is_event: true }) => Some(code.to_owned()),
        Some(Refused { code, is_event: false }) => has_written.then(|| {
            details.insert("code".to_owned(), code.into());
            "failed".to_owned()
        }),
        None if status.is_success() || status.is_redirection() => Some("ok".to_owned()),
        None => has_written.then(|| "failed".to_owned()),
    }
}
