//! `OpenID` Connect: found by the issuer's metadata (Discovery 1.0), by the authorization code flow with PKCE (Core 1.0 §3.1, RFC 9700 §2.1).
//!
//! The ID token is read by the verifier that reads every token of others, with keys that are fetched as those of `[[issuers]]` are. An
//! address that it does not hold is asked for at the userinfo endpoint, which has to speak of the same subject.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use admin_api::{Answered, Asked, Identified, ProviderFault};
use anyhow::ensure;
use arc_swap::ArcSwapOption;
use chrono::DateTime;
use http::Uri;
use identity::{Email, ForeignClaims, ForeignRules, LEEWAY, SecretText, Unverified};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::wire::{ClientProof, Failed, Said, Wire, way_to};
use crate::{
    config::{issuers::is_safe_url, login::LoginProvider},
    jwks_client::JwksClient,
};

/// How long metadata are good, and how long those that cannot be had anew.
const FRESH: Duration = Duration::from_hours(1);
const STALE: Duration = Duration::from_hours(24);
/// After a failure the provider is left alone so long, however many ask.
const PAUSE: Duration = Duration::from_secs(1);
/// How old an ID token may be: it was made a moment ago, for us.
const OLDEST: i64 = 5 * 60;

pub(super) struct Oidc {
    wire: Wire,
    issuer: String,
    scope: String,
    /// Seconds for which a login there is good. Who is asked for it has to say in the ID token when it was (Core §3.1.2.1); not all do.
    max_age: i64,
    says_when: bool,
    rules: ForeignRules,
    keys: Arc<JwksClient>,
    metadata: ArcSwapOption<Known>,
    /// One question at a time; what it holds is when the last one failed.
    turn: Mutex<Option<Instant>>,
}

struct Known {
    metadata: Metadata,
    since: Instant,
}

/// What of `OpenID` Connect Discovery 1.0 §3 and RFC 9207 §3 matters here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

// === impl Oidc ===

impl Oidc {
    pub(super) fn new(provider: &LoginProvider, keys: Arc<JwksClient>) -> anyhow::Result<Self> {
        Ok(Self {
            wire: Wire::new(provider)?,
            issuer: provider.issuer.clone(),
            scope: provider.scope.clone(),
            max_age: i64::try_from(provider.max_age.as_secs()).unwrap_or(i64::MAX),
            says_when: provider.says_when,
            rules: ForeignRules {
                issuer: Some(provider.issuer.as_str().into()),
                audience: Some(("aud".into(), provider.client_id.as_str().into())),
                required: Box::default(),
                id_tokens: true,
                leeway: LEEWAY,
            },
            keys,
            metadata: ArcSwapOption::empty(),
            turn: Mutex::new(None),
        })
    }

    pub(super) fn keys(&self) -> &Arc<JwksClient> {
        &self.keys
    }

    pub(super) async fn begin(&self, asked: Asked<'_>) -> Result<String, Failed> {
        let known = self.known().await?;
        let max_age = if asked.is_fresh { "0".to_owned() } else { self.max_age.to_string() };
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", self.wire.client_id()),
            ("redirect_uri", asked.redirect_uri),
            ("scope", &self.scope),
            ("state", asked.state),
            ("nonce", asked.nonce),
            ("code_challenge", asked.challenge),
            ("code_challenge_method", "S256"),
            ("max_age", &max_age),
        ];
        if asked.is_fresh {
            query.push(("prompt", "login"));
        }
        Ok(way_to(&known.metadata.authorization_endpoint, &query))
    }

    pub(super) async fn redeem(&self, answered: Answered<'_>) -> Result<Identified, Failed> {
        let known = self.known().await?;
        let metadata = &known.metadata;
        // Before the code goes anywhere: it may be one of another provider's (RFC 9207 §2.4).
        match answered.issuer {
            Some(issuer) if issuer != self.issuer => {
                return Err(Failed::new(ProviderFault::WrongIssuer, "the answer names another issuer"));
            }
            None if metadata.authorization_response_iss_parameter_supported => {
                return Err(Failed::new(
                    ProviderFault::WrongIssuer,
                    "the answer names no issuer, though it always does",
                ));
            }
            _ => {}
        }
        let shown = (answered.code, answered.verifier.expose(), answered.redirect_uri);
        let said = self.wire.redeem(&metadata.token_endpoint, metadata.client_proof(), shown).await?.redeemed()?;
        let token = said.text("id_token").ok_or_else(|| Failed::broken("there is no ID token"))?;
        let claims = self.prove(token, &answered).await?;
        self.check(&claims, &answered)?;
        let seen_at = claims.authenticated_at().and_then(|at| DateTime::from_timestamp(at, 0));
        let identified = Identified {
            subject: claims.subject().to_owned(),
            verified_email: None,
            name: claims.text("name").map(str::to_owned),
            seen_at: seen_at.map(|at| at.min(answered.now)),
        };
        if let Some(email) = claims.text("email") {
            let verified_email = claims.is_true("email_verified").then(|| Email::parse(email).ok()).flatten();
            return Ok(Identified { verified_email, ..identified });
        }
        let access = said.text("access_token").map(|token| SecretText::from(token.to_owned()));
        match (&metadata.userinfo_endpoint, access) {
            (Some(endpoint), Some(access)) => self.userinfo(endpoint, &access, identified).await,
            _ => Ok(identified),
        }
    }

    /// Checks an ID token's signature and what every token says.
    async fn prove(&self, token: &str, answered: &Answered<'_>) -> Result<ForeignClaims, Failed> {
        let kid = Unverified::read(token).and_then(|said| said.kid);
        let client = answered.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let checked = self.keys.verify(token, kid.as_deref(), &self.rules, client, answered.now).await;
        checked.ok_or_else(|| Failed::away("its keys cannot be fetched"))?.map_err(Failed::untrue)
    }

    /// What only an ID token says (Core §3.1.3.7).
    fn check(&self, claims: &ForeignClaims, answered: &Answered<'_>) -> Result<(), Failed> {
        let (said, wanted) = (claims.text("nonce").unwrap_or_default(), answered.nonce);
        if SecretText::from(said.to_owned()) != SecretText::from(wanted.to_owned()) {
            return Err(Failed::untrue("the ID token's nonce is another's"));
        }
        let azp = claims.text("azp");
        if azp.is_some_and(|azp| azp != self.wire.client_id()) || (azp.is_none() && claims.audiences() > 1) {
            return Err(Failed::untrue("the ID token was made for somebody else"));
        }
        let age = claims.issued_at().map(|at| answered.now.timestamp() - at);
        if age.is_none_or(|age| age > OLDEST) {
            return Err(Failed::untrue("the ID token is too old, or does not say how old it is"));
        }
        // Not every provider heeds what it was asked (Core §3.1.3.7, 12).
        match claims.authenticated_at() {
            Some(at)
                if answered.now.timestamp().saturating_sub(at)
                    > self.max_age.saturating_add(LEEWAY.as_secs().cast_signed()) =>
            {
                Err(Failed::new(ProviderFault::TooLongAgo, "somebody has logged in there longer ago than `max_age`"))
            }
            None if self.says_when => {
                Err(Failed::untrue("the ID token does not say when somebody has logged in there"))
            }
            _ => Ok(()),
        }
    }

    async fn userinfo(
        &self,
        endpoint: &str,
        access: &SecretText,
        identified: Identified,
    ) -> Result<Identified, Failed> {
        let said = self.wire.get(endpoint, Some(access)).await?.good()?;
        // Else it could be a token of somebody else that was slipped in (Core §5.3.2).
        if said.text("sub") != Some(&identified.subject) {
            return Err(Failed::untrue("the userinfo is somebody else's"));
        }
        let is_verified = said.body.get("email_verified").is_some_and(|value| *value == true || *value == "true");
        let verified_email = said.text("email").filter(|_| is_verified).and_then(|email| Email::parse(email).ok());
        let name = identified.name.clone().or_else(|| said.text("name").map(str::to_owned));
        Ok(Identified { verified_email, name, ..identified })
    }

    /// What the provider says of itself: as it was, if it was asked lately, or cannot be asked.
    async fn known(&self) -> Result<Arc<Known>, Failed> {
        let at_hand = || self.metadata.load_full();
        let is_fresh = |known: &Arc<Known>| known.since.elapsed() < FRESH;
        if let Some(known) = at_hand().filter(is_fresh) {
            return Ok(known);
        }
        let mut failed = self.turn.lock().await;
        if let Some(known) = at_hand().filter(is_fresh) {
            return Ok(known);
        }
        let asked = match *failed {
            Some(at) if at.elapsed() < PAUSE => Err(Failed::away("it could not be asked a moment ago")),
            _ => self.ask().await,
        };
        match asked {
            Ok(metadata) => {
                *failed = None;
                let known = Arc::new(Known { metadata, since: Instant::now() });
                self.metadata.store(Some(Arc::clone(&known)));
                Ok(known)
            }
            Err(error) => {
                *failed = Some(failed.filter(|at| at.elapsed() < PAUSE).unwrap_or_else(Instant::now));
                at_hand().filter(|known| known.since.elapsed() < STALE).ok_or(error)
            }
        }
    }

    async fn ask(&self) -> Result<Metadata, Failed> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let said: Said = self.wire.get(&url, None).await?.good()?;
        said.object()?;
        let metadata: Metadata =
            serde_json::from_value(said.body).map_err(|error| Failed::broken(format!("its metadata: {error}")))?;
        metadata.check(&self.issuer).map_err(|error| Failed::broken(format!("its metadata: {error}")))?;
        Ok(metadata)
    }
}

// === impl Metadata ===

impl Metadata {
    fn check(&self, issuer: &str) -> anyhow::Result<()> {
        // Else one issuer could speak for another (Discovery §4.3).
        ensure!(self.issuer == issuer, "they are those of another issuer");
        let endpoints =
            [Some(&self.authorization_endpoint), Some(&self.token_endpoint), self.userinfo_endpoint.as_ref()];
        let is_https = |url: &str| url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
        // What is on this machine may be reached in clear only where the provider itself is.
        let is_safe = |url: &String| is_safe_url(url) && (is_https(url) || !is_https(issuer));
        ensure!(endpoints.into_iter().flatten().all(is_safe), "an endpoint is not reached by https");
        Ok(())
    }

    /// As the provider takes it; by default the former (Discovery §3).
    fn client_proof(&self) -> ClientProof {
        let takes = |method: &str| {
            self.token_endpoint_auth_methods_supported
                .as_ref()
                .is_none_or(|methods| methods.iter().any(|one| one == method))
        };
        if takes("client_secret_basic") || !takes("client_secret_post") {
            ClientProof::Basic
        } else {
            ClientProof::Post
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Metadata;

    #[test]
    fn only_a_provider_on_this_machine_has_endpoints_in_clear() {
        let is_good = |issuer: &str, endpoint: &str| {
            let metadata = json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/a"), "token_endpoint": endpoint,
            });
            serde_json::from_value::<Metadata>(metadata).is_ok_and(|metadata| metadata.check(issuer).is_ok())
        };
        assert!(is_good("https://id.example.com", "https://login.example.com/token"));
        assert!(is_good("http://127.0.0.1:9", "http://127.0.0.1:9/token"));
        assert!(is_good("http://127.0.0.1:9", "https://id.example.com/token"));
        assert!(!is_good("https://id.example.com", "http://127.0.0.1:9/token"));
        assert!(!is_good("https://id.example.com", "http://id.example.com/token"));
    }
}
