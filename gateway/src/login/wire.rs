//! How a login provider is asked: over HTTPS (or HTTP on this machine), without redirects or proxies, in bounded time and for a bounded
//! number of bytes, as issuers are asked for their keys.

use std::fmt::Display;

use admin_api::{Provider, ProviderFault};
use http::{StatusCode, header};
use identity::SecretText;
use reqwest::{Client, RequestBuilder};
use serde_json::{Map, Value};

use crate::{config::login::LoginProvider, jwks_client};

/// An answer that was understood as far as being JSON goes.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// Why not, for the caller and for the operator's log. It holds nothing secret: neither code nor token.
#[derive(Debug)]
pub(super) struct Failed {
    fault: ProviderFault,
    cause: String,
}

pub(super) struct Wire {
    client: Client,
    client_id: String,
    secret: SecretText,
}

/// How this platform shows who it is (RFC 6749 §2.3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientProof {
    Basic,
    Post,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(provider: &LoginProvider) -> anyhow::Result<Self> {
        Ok(Self {
            client: jwks_client::client(provider.ca.as_deref())?,
            client_id: provider.client_id.clone(),
            secret: provider.client_secret.clone(),
        })
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) async fn get(&self, url: &str, bearer: Option<&SecretText>) -> Result<Said, Failed> {
        let request = self.client.get(url).header(header::ACCEPT, "application/json");
        ask(match bearer {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
        .await
    }

    /// Shows a code, and who we are.
    pub(super) async fn redeem(
        &self,
        url: &str,
        proof: ClientProof,
        (code, verifier, redirect_uri): (&SecretText, &str, &str),
    ) -> Result<Said, Failed> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
            ("client_id", &self.client_id),
        ];
        if proof == ClientProof::Post {
            fields.push(("client_secret", self.secret.expose()));
        }
        let request = self
            .client
            .post(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encoded(&fields));
        ask(match proof {
            // Each is encoded by itself first, so that a colon in an id is none between the two.
            ClientProof::Basic => request.basic_auth(word(&self.client_id), Some(word(self.secret.expose()))),
            ClientProof::Post => request,
        })
        .await
    }
}

/// A browser's way to somebody, with these parameters besides those that it has.
pub(super) fn way_to(endpoint: &str, parameters: &[(&str, &str)]) -> String {
    let joint = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{joint}{}", encoded(parameters))
}

fn encoded(fields: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(fields).unwrap_or_default()
}

/// One value, as it stands in a form.
fn word(text: &str) -> String {
    encoded(&[("", text)]).trim_start_matches('=').to_owned()
}

async fn ask(request: RequestBuilder) -> Result<Said, Failed> {
    let answer = request.send().await.map_err(|error| Failed::away(error.without_url()))?;
    let (status, _, body) = jwks_client::read(answer).await.map_err(|error| Failed::away(format!("{error:#}")))?;
    if status.is_server_error() {
        return Err(Failed::away(format!("it answers {status}")));
    }
    let body = serde_json::from_slice(&body).map_err(|_| Failed::broken(format!("{status}, and no JSON")))?;
    Ok(Said { status, body })
}

// === impl Said ===

impl Said {
    pub(super) fn object(&self) -> Result<&Map<String, Value>, Failed> {
        self.body.as_object().ok_or_else(|| Failed::broken("no JSON object"))
    }

    /// A text of the object that it is.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// The answer if it is a good one.
    pub(super) fn good(self) -> Result<Self, Failed> {
        if self.status == StatusCode::OK {
            Ok(self)
        } else {
            Err(Failed::broken(format!("it answers {}", self.status)))
        }
    }

    /// The answer to a code; GitHub says 200 where it says no.
    pub(super) fn redeemed(self) -> Result<Self, Failed> {
        match self.text("error") {
            Some("invalid_grant" | "bad_verification_code") => {
                Err(Failed::new(ProviderFault::CodeRefused, "it does not take the code"))
            }
            // What it says is its own, and of any length.
            Some(error) => {
                let said: String = error.chars().take(64).flat_map(char::escape_debug).collect();
                Err(Failed::new(ProviderFault::Refused, format!("it refuses us: {said}")))
            }
            None => self.good(),
        }
    }
}

// === impl Failed ===

impl Failed {
    pub(super) fn new(fault: ProviderFault, cause: impl Display) -> Self {
        Self { fault, cause: cause.to_string() }
    }

    pub(super) fn away(cause: impl Display) -> Self {
        Self::new(ProviderFault::Away, cause)
    }

    pub(super) fn broken(cause: impl Display) -> Self {
        Self::new(ProviderFault::Broken, cause)
    }

    pub(super) fn untrue(cause: impl Display) -> Self {
        Self::new(ProviderFault::IdToken, cause)
    }

    /// Tells the operator.
    pub(super) fn told(self, provider: &Provider) -> ProviderFault {
        let Self { fault, cause } = self;
        tracing::warn!(provider = provider.id, cause, "a login at a provider has failed: {fault}");
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_a_query_or_as_a_name_is_encoded() {
        let to = way_to("https://a.test/authorize?tenant=b", &[("state", "x&y=z"), ("scope", "a b")]);
        assert_eq!(to, "https://a.test/authorize?tenant=b&state=x%26y%3Dz&scope=a+b");
        assert_eq!(way_to("https://a.test/authorize", &[("a", "b")]), "https://a.test/authorize?a=b");
        assert_eq!(word("a:b=c d"), "a%3Ab%3Dc+d");
    }
}
