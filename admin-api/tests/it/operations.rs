//! What the API's document says of ids: the operations that take one in a path, in a query or in a body, and those that take none.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::house::{House, Shown};

/// Where who is somebody else by then is served all the same: `admin_api::still` says why. What is added there has to be added here.
pub(crate) const UNASKED: [&str; 1] = ["POST /auth/logout"];

/// In whose paths is a name that is everybody's, and no id.
const TAKES_A_NAME: [&str; 2] = ["GET /auth/oauth/{provider}", "GET /auth/oauth/{provider}/callback"];

/// With which nobody's thing can be named: they are about the caller, about something new, about everything, or about whose secret is shown.
const TAKES_NO_ID: [&str; 56] = [
    "DELETE /auth/me",
    "DELETE /auth/sessions",
    "GET /.well-known/jwks.json",
    "GET /admin/limits",
    "GET /admin/status",
    "GET /admin/tenants",
    "GET /admin/users",
    "GET /auth/api-keys",
    "GET /auth/identities",
    "GET /auth/invitations",
    "GET /auth/me",
    "GET /auth/me/export",
    "GET /auth/mfa",
    "GET /auth/sessions",
    "GET /domains",
    "GET /domains/all",
    "GET /health",
    "GET /integrations",
    "GET /teams",
    "GET /teams/all",
    "GET /tenants",
    "PATCH /auth/me",
    "POST /admin/config/reload",
    "POST /admin/users",
    "POST /agents",
    "POST /auth/accept-invite",
    "POST /auth/api-keys",
    "POST /auth/change-email",
    "POST /auth/change-password",
    "POST /auth/confirm-email",
    "POST /auth/login",
    "POST /auth/logout",
    "POST /auth/magic-link",
    "POST /auth/magic-link/consume",
    "POST /auth/mfa/passkeys",
    "POST /auth/mfa/passkeys/confirm",
    "POST /auth/mfa/passkeys/options",
    "POST /auth/mfa/recovery-codes",
    "POST /auth/mfa/totp",
    "POST /auth/mfa/totp/confirm",
    "POST /auth/mfa/verify",
    "POST /auth/passkey/login",
    "POST /auth/passkey/options",
    "POST /auth/reauthenticate",
    "POST /auth/reauthenticate/passkey",
    "POST /auth/refresh",
    "POST /auth/register",
    "POST /auth/request-password-reset",
    "POST /auth/resend-verification",
    "POST /auth/reset-password",
    "POST /auth/validate",
    "POST /auth/verify-email",
    "POST /billing/webhook",
    "POST /integrations",
    "POST /teams",
    "POST /tenants",
];

/// The operations of the document.
pub(crate) struct Document(Value);

// === impl Document ===

impl Document {
    pub(crate) async fn of(house: &House) -> Self {
        Self(house.get("/openapi.json", Shown::Nothing).await.body)
    }

    /// Method, path, and what is said of the operation.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
        })
    }

    /// Method and path of every operation that takes an id in its path.
    pub(crate) fn with_ids(&self) -> Vec<(String, String)> {
        let all = self.all().filter(|(_, path, _)| path.contains('{'));
        let all = all.filter(|(method, path, _)| !TAKES_A_NAME.contains(&&*format!("{method} {path}")));
        all.map(|(method, path, _)| (method, path.to_owned())).collect()
    }

    /// Every path that can be read without an id in it.
    pub(crate) fn lists(&self) -> Vec<String> {
        let all = self.all().filter(|(method, path, _)| method == "GET" && !path.contains('{'));
        all.map(|(_, path, _)| path.to_owned()).collect()
    }

    /// Every id that stands in a query or a body: the operation and the id's name.
    pub(crate) fn named(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (method, path, operation) in self.all() {
            let in_query = operation["parameters"].as_array().into_iter().flatten();
            let in_query = in_query.filter(|parameter| parameter["in"] == "query");
            let in_query = in_query.map(|parameter| (parameter["name"].as_str().unwrap(), &parameter["schema"]));
            let mut ids: Vec<String> =
                in_query.filter(|(name, schema)| is_id(name, schema)).map(|(name, _)| name.to_owned()).collect();
            for (_, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                self.collect(&content["schema"], &mut ids, 0);
            }
            found.extend(ids.into_iter().map(|id| (format!("{method} {path}"), id)));
        }
        found
    }

    /// The ids among a schema's properties, and those within them.
    fn collect(&self, schema: &Value, ids: &mut Vec<String>, depth: usize) {
        assert!(depth < 20, "a schema that holds itself");
        if let Some(place) = schema["$ref"].as_str() {
            return self.collect(self.0.pointer(place.trim_start_matches('#')).unwrap(), ids, depth + 1);
        }
        for word in ["allOf", "oneOf", "anyOf"] {
            for part in schema[word].as_array().into_iter().flatten() {
                self.collect(part, ids, depth + 1);
            }
        }
        if schema["items"].is_object() {
            self.collect(&schema["items"], ids, depth + 1);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if is_id(name, property) {
                ids.push(name.clone());
            }
            self.collect(property, ids, depth + 1);
        }
    }
}

/// `actor` and `subject` are those of the audit trail.
fn is_id(name: &str, schema: &Value) -> bool {
    let ends_so = name.ends_with("_id") || name.ends_with("_ids");
    ends_so || schema["format"] == "uuid" || ["actor", "subject"].contains(&name)
}

/// A path with ids in it.
pub(crate) fn filled(template: &str, ids: &[String]) -> String {
    let mut ids = ids.iter();
    let segments = template.split('/').map(|segment| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        ids.next().unwrap_or_else(|| panic!("{template} has more ids than are listed")).clone()
    });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_takes_an_id_or_is_listed_as_one_that_takes_none() {
    let document = Document::of(&House::open().await).await;
    let takes_ids = document.with_ids().into_iter().map(|(method, path)| format!("{method} {path}"));
    let takes_ids: BTreeSet<String> = takes_ids.chain(document.named().into_iter().map(|(name, _)| name)).collect();
    let all = document.all().map(|(method, path, _)| format!("{method} {path}"));
    let others: BTreeSet<String> = all.filter(|name| !takes_ids.contains(name)).collect();
    let listed: BTreeSet<String> = TAKES_NO_ID.into_iter().chain(TAKES_A_NAME).map(str::to_owned).collect();
    assert_eq!(others, listed);
}
