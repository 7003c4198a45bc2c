//! The section `[tokens]`: what our own tokens and assertions say, by which algorithm they are signed, and how long they live.

use std::time::Duration;

use admin_api::TokenSubject;
use identity::Algorithm;
use policies::config::{Placed, Value};

use super::Reader;
use crate::config::{Tokens, raw};

/// An assertion is a word for the moment (DESIGN §2).
const LONGEST_ASSERTION: Duration = Duration::from_mins(5);

impl Reader<'_, '_> {
    pub(super) fn tokens(&mut self) -> Tokens {
        let raw: raw::Tokens = self.document.section("tokens").unwrap_or_default();
        let assertion_ttl = self.seconds(raw.assertion_ttl.as_ref(), 300);
        if let Some(given) = &raw.assertion_ttl
            && assertion_ttl > LONGEST_ASSERTION
        {
            self.document.note(given.span(), "an assertion lives at most 5m");
        }
        let algorithm = self.algorithm(raw.algorithm.as_ref());
        let (algorithm, shared_secret) = match &raw.shared_secret {
            None => self.secret_of_old(algorithm, raw.algorithm.as_ref()),
            given => (algorithm, self.shared_secret(given.as_ref())),
        };
        let access_ttl = self.seconds(raw.access_ttl.as_ref(), 30 * 60);
        let refresh_ttl = self.seconds(raw.refresh_ttl.as_ref(), 7 * 86_400);
        if let Some(given) = raw.access_ttl.as_ref().or(raw.refresh_ttl.as_ref()).filter(|_| access_ttl > refresh_ttl) {
            // Its session would be over, and in no list, and it would still open the door.
            self.document.note(
                given.span(),
                "an access token must not outlive its session: `access_ttl` is longer than `refresh_ttl`",
            );
        }
        Tokens {
            issuer: self.text(raw.issuer.as_ref(), "portcullis"),
            audience: self.text(raw.audience.as_ref(), "portcullis"),
            subject: match raw.subject.as_deref() {
                None | Some(raw::Subject::Id) => TokenSubject::Id,
                Some(raw::Subject::Email) => TokenSubject::Email,
            },
            algorithm,
            access_ttl,
            refresh_ttl,
            // A token that lives longer than its session would end without having been told to.
            session_life: self.seconds(raw.session_life.as_ref(), 30 * 86_400).max(refresh_ttl),
            assertion_ttl,
            shared_secret,
        }
    }

    fn algorithm(&mut self, given: Option<&Placed<Value<String>>>) -> Algorithm {
        let name = self.text(given, "EdDSA");
        Algorithm::from_name(&name).unwrap_or_else(|| {
            let message = format!("\"{name}\" is not an algorithm that we sign with: EdDSA, ES256, RS256 or HS256");
            self.document.note(given.map_or(0..0, Placed::span), message);
            Algorithm::EdDsa
        })
    }

    pub(super) fn shared_secret(
        &mut self,
        given: Option<&Placed<policies::config::Secret>>,
    ) -> Option<identity::SecretText> {
        let given = given?;
        let secret = self.document.resolve_secret(given, self.folder)?;
        if secret.expose().len() < 32 {
            self.document.note(
                given.span(),
                "a shared secret under 32 bytes can be guessed; `portcullis keys generate` makes one",
            );
        }
        Some(secret)
    }
}
