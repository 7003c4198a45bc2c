//! `[[login_providers]]`: at whom people can log in.

use identity::readable_name_of;
use policies::config::Placed;

use super::Reader;
use crate::config::{
    issuers::is_safe_url,
    login::{LoginProvider, Speaks},
    raw,
};

/// The longest id.
const LONGEST_ID: usize = 32;
/// The longest label: it stands on a button.
const LONGEST_LABEL: usize = 40;
/// Seconds: as long as the cookie of a session lasts by default, so that no session follows another without somebody showing who they are.
const MAX_AGE: u64 = 12 * 3600;
const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://github.com";

impl Reader<'_, '_> {
    pub(super) fn login_providers(&mut self) -> Vec<LoginProvider> {
        let mut all: Vec<LoginProvider> = Vec::new();
        for element in self.document.elements::<raw::LoginProvider>("login_providers") {
            let Some(raw) = element.value else { continue };
            let place = raw.id.span();
            let Some(provider) = self.login_provider(raw) else { continue };
            if all.iter().any(|other| other.id == provider.id || other.issuer == provider.issuer) {
                // Two of one issuer could not be told apart by what they say of people.
                self.document.note(place, "there is a login provider of this id, or of this issuer, already");
            }
            all.push(provider);
        }
        all
    }

    fn login_provider(&mut self, raw: raw::LoginProvider) -> Option<LoginProvider> {
        let (issuer, label, scopes) = match raw.preset {
            Some(raw::Preset::Google) => (GOOGLE, "Google", ["openid", "email", "profile"].as_slice()),
            Some(raw::Preset::Github) => (GITHUB, "GitHub", ["read:user", "user:email"].as_slice()),
            None => ("", &**raw.id, ["openid", "email", "profile"].as_slice()),
        };
        let speaks = if raw.preset == Some(raw::Preset::Github) { Speaks::Github } else { Speaks::Oidc };
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=LONGEST_ID).contains(&raw.id.len()) || !raw.id.bytes().all(is_plain) {
            let message = format!("an id is 1 to {LONGEST_ID} small letters, digits and hyphens");
            self.document.note(raw.id.span(), message);
        }
        let label = raw.label.as_deref().map_or(label, String::as_str).trim().to_owned();
        if let Err(fault) = readable_name_of(&label, LONGEST_LABEL) {
            let place = raw.label.as_ref().map_or(raw.id.span(), Placed::span);
            self.document.note(place, format!("a label {fault}"));
        }
        let mut issuer = self.text(raw.issuer.as_ref(), issuer);
        if speaks == Speaks::Github {
            issuer.truncate(issuer.trim_end_matches('/').len());
        }
        if !is_safe_url(&issuer) {
            let place = raw.issuer.as_ref().map_or(raw.id.span(), Placed::span);
            self.document.note(place, "`issuer` is an address over https, or over http on this machine");
        }
        let client_id = self.text(raw.client_id.as_ref(), "");
        if client_id.is_empty() {
            let place = raw.client_id.as_ref().map_or(raw.id.span(), Placed::span);
            self.document.note(place, "`client_id` is missing: what this platform is called there");
        }
        if let Some(given) = raw.max_age.as_ref().filter(|_| speaks == Speaks::Github) {
            self.document.note(given.span(), "GitHub does not say when somebody has logged in there");
        }
        let client_secret = self.document.resolve_secret(&raw.client_secret, self.folder)?;
        let scopes = raw.scopes.unwrap_or_else(|| scopes.iter().map(|&scope| scope.to_owned()).collect());
        let lacks_openid = speaks == Speaks::Oidc && !scopes.iter().any(|scope| scope == "openid");
        let openid = lacks_openid.then(|| "openid".to_owned());
        Some(LoginProvider {
            label,
            speaks,
            issuer,
            client_id,
            client_secret,
            // Without it there is no ID token.
            scope: openid.into_iter().chain(scopes).collect::<Vec<_>>().join(" "),
            sign_up: raw.sign_up.unwrap_or(true),
            says_when: raw.max_age.is_some(),
            max_age: self.duration(raw.max_age.as_ref(), MAX_AGE),
            ca: raw.ca.and_then(|path| self.authority(&path)),
            id: raw.id.into_inner(),
        })
    }
}
