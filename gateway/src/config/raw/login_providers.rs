//! `[[login_providers]]` as they are written.

use policies::config::{DurationText, Placed, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Given;

/// Somebody at whom people can log in: any `OpenID` Connect provider, or GitHub.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LoginProvider {
    /// What it is called in addresses: small letters, digits and hyphens. The redirect URI to be registered there is
    /// `public_url` + `/auth/oauth/ID/callback`.
    pub(in crate::config) id: Placed<String>,
    /// What people call it; by default that of the preset, else the id.
    pub(in crate::config) label: Option<Placed<String>>,
    /// What is known of it: `google` or `github`. Without one it is found by its issuer's metadata.
    pub(in crate::config) preset: Option<Preset>,
    /// Its issuer, over HTTPS (or HTTP on this machine), to the letter; required without a preset. With `github`: the address of a GitHub
    /// Enterprise Server.
    pub(in crate::config) issuer: Given<String>,
    /// This platform's id there. Required.
    pub(in crate::config) client_id: Given<String>,
    /// And its secret. Required.
    pub(in crate::config) client_secret: Placed<Secret>,
    /// What is asked for; openid, email and profile by default.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// Do people whom nobody here knows get an account? true by default; their address has to be verified there.
    pub(in crate::config) sign_up: Option<bool>,
    /// How long ago somebody may have logged in there, 12h by default, as long as a session of a browser lasts here. Where it is given, a
    /// provider that does not say when that was (`auth_time`) lets in nobody; by default it is believed all the same.
    pub(in crate::config) max_age: Given<DurationText>,
    /// A PEM file of the authority that signed its certificate, relative to this folder; the system's by default.
    pub(in crate::config) ca: Option<Placed<String>>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Preset {
    /// accounts.google.com.
    Google,
    /// github.com, which speaks OAuth 2 and an interface of its own.
    Github,
}
