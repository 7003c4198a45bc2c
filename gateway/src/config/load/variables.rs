//! Variables that the systems before us had, under each of the names that they had for one thing: secrets, Redis, foreign pages.

use identity::{Algorithm, MasterKey, SecretText};
use policies::{
    Methods,
    config::{ForeignPages, Names, Placed, Surroundings as _, Value},
};

use super::Reader;
use crate::{
    config::{MasterKeySource, raw},
    snapshot::ADMIN_API,
};

/// Where the secret is that services share.
const SECRETS: [&str; 2] = ["AUTH_JWT_SECRET_KEY", "JWT_SECRET_KEY"];
/// Where the key is that seals.
const MASTER_KEYS: [&str; 2] = ["MASTER_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY"];
/// What pages set of their own accord.
const HEADERS: [&str; 3] = ["authorization", "content-type", "x-api-key"];
/// And where they say who is calling. Not for every page of the web, which a developer's browser may come to.
const DEV_HEADERS: [&str; 2] = ["x-user-email", "x-user-name"];

impl Reader<'_, '_> {
    /// The secret of HS256 in the environment, and the algorithm. Whoever shares a secret with services, and names no algorithm, signs
    /// by it, as the systems before us did; not where it is there to believe such a system's tokens.
    pub(super) fn secret_of_old(
        &mut self,
        algorithm: Algorithm,
        given: Option<&Placed<Value<String>>>,
    ) -> (Algorithm, Option<SecretText>) {
        let is_unsaid = !self.is_said(given) && !self.document.has("legacy_issuers");
        let place = given.map_or(0..0, Placed::span);
        // Asked for first: two that disagree are a mistake also where we sign otherwise.
        let secret = self.variable(&several(SECRETS), place.clone());
        let Some((name, secret)) = secret.filter(|_| algorithm == Algorithm::Hs256 || is_unsaid) else {
            return (algorithm, None);
        };
        if secret.len() < 32 {
            let message = format!("{name} has under 32 bytes and can be guessed; `portcullis keys generate` makes one");
            self.document.note(place, message);
        }
        (Algorithm::Hs256, Some(secret.into()))
    }

    /// Is a value more than the default of a variable that is not set?
    fn is_said(&self, given: Option<&Placed<Value<String>>>) -> bool {
        given.is_some_and(|value| !matches!(**value, Value::Env { .. })) || self.is_of_variable(given)
    }

    /// Is it what a variable is set to?
    pub(super) fn is_of_variable<T>(&self, given: Option<&Placed<Value<T>>>) -> bool {
        match given.map(|given| &**given) {
            Some(Value::Env { env, .. }) => env.ask(self.folder, None).is_ok_and(|set| set.is_some()),
            _ => false,
        }
    }

    /// A sentence is not hashed into a key: that would not make it hard to guess, and would make another key of a misspelt one.
    pub(super) fn master_key(&mut self) -> MasterKeySource {
        let raw: raw::Secrets = self.document.section("secrets").unwrap_or_default();
        let names = raw.master_key_env.as_deref().cloned().unwrap_or_else(|| several(MASTER_KEYS));
        let place = raw.master_key_env.as_ref().map_or(0..0, Placed::span);
        let set = self.variable(&names, place.clone());
        if let Some((name, Err(error))) = set.as_ref().map(|(name, text)| (name, MasterKey::parse(text))) {
            // Of the database nothing is known yet.
            let advice = "put back the one that has sealed what the database holds, or, where it holds nothing yet, take one of \
                          `portcullis keys generate`";
            self.document.note(place, format!("{name}: {error}; {advice}"));
        }
        MasterKeySource {
            env: set.map_or_else(|| names.first().to_owned(), |(name, _)| name),
            file: raw.master_key_file.unwrap_or_else(|| "master.key".to_owned()).into(),
        }
    }

    /// A Redis that the file does not speak of.
    pub(super) fn redis_of_old(&mut self) -> Option<String> {
        let ask = |name: &str| self.folder.variable(name).filter(|text| !text.is_empty());
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        let port = ask("REDIS_PORT");
        // A port alone is one of this machine. In Kubernetes a service that is called redis sets it to `tcp://…`, of which nobody has spoken.
        let host =
            ask("REDIS_HOST").or_else(|| port.as_ref().filter(|text| is_port(text)).map(|_| "localhost".to_owned()))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        // Whatever a password holds, in a URL it is percent-encoded (RFC 3986 §2.1).
        let encoded = |text: String| text.bytes().fold(String::new(), |url, byte| format!("{url}%{byte:02x}"));
        let password = ask("REDIS_PASSWORD").map(encoded);
        let password = password.map_or_else(String::new, |password| format!(":{password}@"));
        let port = port.unwrap_or_else(|| "6379".to_owned());
        if !is_port(&port) {
            self.document.note(0..0, "the environment variable REDIS_PORT is not a port such as 6379");
            return None;
        }
        Some(format!("redis://{password}{host}:{port}"))
    }

    /// Notes a host in the environment beside an address that is from there, too, and leads elsewhere.
    pub(super) fn check_redis_of_old(&mut self, given: &Placed<Value<String>>, url: &str) {
        let Value::Env { env, .. } = &**given else { return };
        if self.folder.variable("REDIS_HOST").is_none_or(|host| host.is_empty()) {
            return;
        }
        let Some(old) = self.redis_of_old() else { return };
        if let Ok(Some((name, _))) = env.ask(self.folder, None)
            && authority(&old) != authority(url)
        {
            let message =
                format!("{name} and REDIS_HOST (with REDIS_PORT) are two names for one thing, and do not agree");
            self.document.note(given.span(), message);
        }
    }

    /// The section `[cors]`.
    pub(super) fn foreign_pages(&mut self, dev_headers: bool) -> Option<ForeignPages> {
        let raw: raw::Cors = self.document.section("cors").unwrap_or_default();
        let given = raw.origins?;
        let text = self.text(Some(&given), "");
        let origins: Vec<_> =
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        if origins.is_empty() {
            return None;
        }
        let is_for_some = origins != ["*"];
        let developers = DEV_HEADERS.into_iter().filter(|_| dev_headers && is_for_some);
        let pages = ForeignPages {
            upstream: ADMIN_API.to_owned(),
            origins,
            headers: HEADERS.into_iter().chain(developers).collect(),
        };
        if let Err(error) = pages.rules(Methods::ALL) {
            self.document.note(given.span(), error.to_string());
        }
        Some(pages)
    }

    /// The one of these that is set, and what it holds; notes those that do not agree.
    fn variable(&mut self, names: &Names, place: std::ops::Range<usize>) -> Option<(String, String)> {
        match names.ask(self.folder, None) {
            Ok(set) => set.map(|(name, text)| (name.to_owned(), text)),
            Err(error) => {
                self.document.note(place, error.to_string());
                None
            }
        }
    }
}

fn several(names: [&str; 2]) -> Names {
    Names::Several(names.map(str::to_owned).into())
}

/// Host and port of `redis://user:password@host:port/0`.
fn authority(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { place.to_owned() } else { format!("{place}:6379") }
}
