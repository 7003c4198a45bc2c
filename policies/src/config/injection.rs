//! `inject_credential` of a route → [`Injection`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::Placed;
use super::document::Document;
use super::known::{ADMIN_API, Known};
use super::raw::RawAuth;
use crate::Injection;
use crate::injection::InjectionError;

/// Which key at a provider an upstream is shown, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInjection {
    /// The integration's service: "openai", "claude" … The account's own is used, else its tenant's; without one the answer is 403.
    pub(super) service: Placed<String>,
    /// The header that carries the key, such as "Authorization".
    pub(super) header: Placed<String>,
    /// What the header says, with `{key}` where the key belongs: "Bearer {key}". Left out: the key alone.
    pub(super) format: Option<Placed<String>>,
}

pub(super) fn build(
    file: &mut Document<'_>,
    known: &Known,
    raw: Option<Placed<RawInjection>>,
    auth: RawAuth,
    forward_credential: bool,
    upstream: &str,
) -> Option<Injection> {
    let raw = raw?;
    let objection = match auth {
        RawAuth::Required if upstream == ADMIN_API => Some("the account service has no use for a provider's key"),
        RawAuth::Required if forward_credential => {
            Some("with forward_credential = true a provider would be shown the caller's credential as well")
        }
        RawAuth::Required => None,
        RawAuth::Optional | RawAuth::None => Some("only whoever is known has keys at providers: auth = \"required\""),
        RawAuth::Mtls => Some("holders of client certificates have no keys at providers: auth = \"required\""),
    };
    if let Some(objection) = objection {
        file.note(raw.span(), objection);
    }
    check_upstream(file, known, &raw, upstream);
    let RawInjection { service, header, format } = raw.into_inner();
    let text = format.as_ref().map_or("{key}", |format| format.as_str());
    Injection::parse(&service, &header, text)
        .map_err(|error| {
            let place = match error {
                InjectionError::Service => service.span(),
                InjectionError::Name | InjectionError::Reserved => header.span(),
                InjectionError::Format => format.as_ref().map_or(header.span(), Placed::span),
            };
            file.note(place, error.to_string());
        })
        .ok()
}

/// A provider is somebody else: it is told of the caller what the operator says, and keys travel to it where nobody reads along.
fn check_upstream(file: &mut Document<'_>, known: &Known, raw: &Placed<RawInjection>, upstream: &str) {
    let Some(upstreams) = &known.upstreams else { return };
    if upstreams.without_headers.contains(upstream) {
        let message = format!(
            "`{upstream}` would be sent every caller's id, address and a signed assertion: say in [upstreams.{upstream}] what it may know, \
             such as headers = [\"x-request-id\"]"
        );
        file.note(raw.span(), message);
    }
    if upstreams.in_clear.contains(upstream) {
        let message = format!(
            "keys at providers would travel to `{upstream}` in clear: give it a `tls` table, or servers on this machine"
        );
        file.note(raw.span(), message);
    }
}
