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
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// By what callers are known, as the endpoints name it.
const TOKEN: &str = "access_token";
const COOKIE: &str = "session_cookie";
const CSRF: &str = "csrf_token";

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

/// Whoever may show an access token may show a session's cookie.
fn also_by_cookie(operation: &mut Operation, schemes: &[&str]) {
    let Some(shown) = &mut operation.security else { return };
    let holds =
        |one: &SecurityRequirement, name: &str| serde_json::to_value(one).is_ok_and(|one| one.get(name).is_some());
    if shown.iter().any(|one| holds(one, TOKEN)) && !shown.iter().any(|one| holds(one, COOKIE)) {
        let none = || Vec::<String>::new();
        shown.push(schemes.iter().fold(SecurityRequirement::default(), |all, name| all.add(*name, none())));
    }
}

fn complete_operation(operation: &mut Operation) {
    let takes_a_body = operation.request_body.is_some();
    let mut common = vec![("503", "`directory_unavailable`: accounts cannot be reached; see `Retry-After`")];
    if takes_a_body {
        common.push(("400", "`malformed_json`: not JSON, nested too deeply, or a member given twice"));
        common.push(("413", "`body_too_large`"));
        common.push(("415", "`unsupported_media_type`: send `application/json`"));
        common.push(("422", "`invalid_fields`: `errors` names each field that is missing, unknown or wrong"));
    }
    if operation.security.is_some() {
        common.push(("401", "`missing_credential`, `invalid_token`, `expired` or `revoked`"));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in common {
        responses.entry(status.to_owned()).or_insert_with(|| Response::new(description).into());
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
