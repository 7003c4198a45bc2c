//! The API's document: what the endpoints say of themselves, plus what is true of all of them.
//!
//! Endpoints name only the refusals that are theirs; here each refusal gets its body and each operation the refusals that
//! every operation of its kind has, so that no file repeats them.

use identity::CookieNames;
use serde::Serialize;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Components, Content, OpenApi as Document, Ref, RefOr, Response,
        path::{Operation, ParameterIn, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::still::{CHANGED, UNASKED};

/// By what callers are known, as the endpoints name it.
const TOKEN: &str = "access_token";
const COOKIE: &str = "session_cookie";
const CSRF: &str = "csrf_token";

/// A refusal that operations of a kind have in common.
#[derive(Clone, Copy)]
struct Common {
    status: &'static str,
    code: &'static str,
    words: &'static str,
}

const fn common(status: &'static str, code: &'static str, words: &'static str) -> Common {
    Common { status, code, words }
}

const OF_EVERY_ONE: [Common; 4] = [
    common("400", "malformed", "not a request that has one meaning"),
    common("429", "rate_limited", "a quota of requests is spent; see `Retry-After`"),
    common("503", "directory_unavailable", "accounts cannot be reached; see `Retry-After`"),
    common("503", "overloaded", "there is too much to do; see `Retry-After`"),
];
const WITH_A_BODY: [Common; 2] =
    [common("408", "body_timeout", "it did not arrive in time"), common("413", "body_too_large", "")];
const WITH_JSON: [Common; 3] = [
    common("400", "malformed_json", "not JSON, nested too deeply, or a member given twice"),
    common("415", "unsupported_media_type", "send `application/json`"),
    common("422", "invalid_fields", "`errors` names each field that is missing, unknown or wrong"),
];
const WITH_A_QUERY: Common = common("400", "invalid_query", "`errors` names each parameter that is unknown or wrong");
const WITH_A_CALLER: [Common; 11] = [
    common("400", "ambiguous_credentials", "more than one was shown"),
    common("401", "missing_credential", ""),
    common("401", "unsupported_credential", ""),
    common("401", "invalid_token", ""),
    common("401", "expired", ""),
    common("401", "revoked", ""),
    common(
        "401",
        "insufficient_user_authentication",
        "the caller's role, or the route, wants a second factor or a fresh one",
    ),
    common("403", "forbidden", "the caller's role, or the scopes of its key, do not reach as far"),
    common("403", "account_disabled", ""),
    common("403", "tenant_disabled", "that in which the caller acts"),
    common("429", "too_many_refusals", "this address has shown too many bad credentials; see `Retry-After`"),
];
const BY_COOKIE: Common = common("403", "csrf", "a cookie came along, and nothing shows that its user meant it");
/// What whoever acts as somebody else may do besides reading: end that, and ask for what they cannot sign.
const ALSO_ACTING: [&str; 2] = ["logout", "ask_own_passkey"];
/// What is said to whoever has other rights by then, but for what is done by those who may ([`UNASKED`]).
const STILL: Common = common("409", "conflict", CHANGED);
const BY_THE_OWNER: Common = common("403", "impersonated", "whoever acts as somebody else changes nothing");

/// Why a request was not served (RFC 9457); what `policies::problem` writes, which knows nothing of this document.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemShape {
    /// `urn:portcullis:problem:` and the code.
    r#type: String,
    title: String,
    status: u16,
    /// Stable; programs decide by it.
    code: String,
    /// A sentence that helps.
    detail: String,
    /// To find the request in the logs.
    request_id: Option<String>,
    /// Which fields or parameters are wrong, if that is what is wrong.
    errors: Option<Vec<FieldShape>>,
}

/// What is wrong with one field.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldError)]
pub(crate) struct FieldShape {
    /// Empty: the body as a whole.
    field: String,
    message: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portcullis accounts",
        description = "Accounts, sessions and API keys of the platform, as the gateway exposes them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemShape, FieldShape)),
    tags(
        (name = "auth", description = "Registration, sessions and one's own account"),
        (name = "keys", description = "API keys for programs"),
        (name = "tenants", description = "Organisations, who belongs to them, and in which the caller acts"),
        (name = "administration", description = "Other people's accounts, and the configuration"),
        (name = "service", description = "For machines"),
        (name = "teams", description = "Teams and domains of the organisation in which the caller acts"),
        (name = "agents", description = "Agents that developers make, and people's own instances of them"),
        (name = "integrations", description = "Keys at providers, sealed, which the door shows in the caller's name"),
        (name = "usage", description = "What was used, and what of it is left"),
        (name = "billing", description = "What a month has cost, and whether it is paid"),
    )
)]
pub(crate) struct Outline;

/// Adds to every operation what its own file does not say.
pub(crate) fn complete(document: &mut Document, cookies: CookieNames) {
    add_schemes(document.components.get_or_insert_with(Components::new), cookies);
    for item in document.paths.paths.values_mut() {
        item.get.iter_mut().for_each(|operation| also_by_cookie(operation, &[COOKIE]));
        // As with a token, if the page that asks shows what only a page of this host can read.
        for operation in operations(item).filter(|operation| operation.security.is_some()) {
            also_by_cookie(operation, &[COOKIE, CSRF]);
        }
        operations(item).for_each(complete_operation);
    }
}

/// The operations of one path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

fn add_schemes(components: &mut Components, cookies: CookieNames) {
    let cookie = ApiKeyValue::with_description(
        cookies.session,
        "Of whoever has logged in with `session` = `cookie`, or on a page",
    );
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let csrf = ApiKeyValue::with_description(
        "X-CSRF-Token",
        "What the cookie beside it holds, which scripts of this host can read",
    );
    components.add_security_scheme(CSRF, SecurityScheme::ApiKey(ApiKey::Header(csrf)));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
}

fn holds(one: &SecurityRequirement, scheme: &str) -> bool {
    serde_json::to_value(one).is_ok_and(|one| one.get(scheme).is_some())
}

/// Whoever may show an access token may show a session's cookie.
fn also_by_cookie(operation: &mut Operation, schemes: &[&str]) {
    let Some(shown) = &mut operation.security else { return };
    if shown.iter().any(|one| holds(one, TOKEN)) && !shown.iter().any(|one| holds(one, COOKIE)) {
        let none = || Vec::<String>::new();
        shown.push(schemes.iter().fold(SecurityRequirement::default(), |all, name| all.add(*name, none())));
    }
}

fn complete_operation(operation: &mut Operation) {
    let common = common_to(operation);
    let responses = &mut operation.responses.responses;
    for Common { status, code, words } in common {
        let code = format!("`{code}`");
        let said = if words.is_empty() { code.clone() } else { format!("{code}: {words}") };
        match responses.entry(status.to_owned()).or_insert_with(|| Response::new("").into()) {
            RefOr::T(response) if response.description.is_empty() => response.description = said,
            RefOr::T(response) if !response.description.contains(&code) => {
                response.description = format!("{}; {said}", response.description);
            }
            // Its own words for the same, which say more.
            _ => {}
        }
    }
    for (status, response) in responses.iter_mut() {
        if let (RefOr::T(response), true) = (response, status.starts_with(['4', '5'])) {
            let schema = Ref::from_schema_name("Problem");
            response
                .content
                .entry("application/problem+json".to_owned())
                .or_insert_with(|| Content::new(Some(schema)).into());
        }
    }
}

/// Every refusal that comes of what an operation takes, whatever it does.
fn common_to(operation: &Operation) -> Vec<Common> {
    let has = |place: &ParameterIn| {
        operation.parameters.iter().flatten().any(|one| matches!(one, RefOr::T(one) if one.parameter_in == *place))
    };
    let body =
        operation.request_body.as_ref().and_then(|body| if let RefOr::T(body) = body { Some(body) } else { None });
    let security = operation.security.as_deref();
    let mut common = OF_EVERY_ONE.to_vec();
    if let Some(body) = body {
        common.extend(WITH_A_BODY);
        // A form is answered by the words of RFC 6749, which its own file says.
        common.extend(body.content.contains_key("application/json").then_some(WITH_JSON).into_iter().flatten());
    }
    if let Some(shown) = security {
        common.extend(WITH_A_CALLER);
        // Where none is needed, providers send browsers back with parameters of all kinds; what nobody knows is ignored there.
        common.extend(has(&ParameterIn::Query).then_some(WITH_A_QUERY));
        if shown.iter().any(|one| holds(one, CSRF)) {
            common.push(BY_COOKIE);
            let is_of = |listed: &[&str]| operation.operation_id.as_deref().is_some_and(|id| listed.contains(&id));
            if !is_of(&UNASKED) {
                common.push(STILL);
                // It is waited for, also where there should be none.
                common.extend(body.is_none().then_some(WITH_A_BODY).into_iter().flatten());
            }
            common.extend((!is_of(&ALSO_ACTING)).then_some(BY_THE_OWNER));
        }
    }
    common
}
