//! How an issuer's keys come over the wire: over HTTPS (or HTTP from this machine), from the one address that is configured or
//! that the issuer names, without redirects or proxies, in bounded time, and never more than a bounded number of bytes.

use std::time::Duration;

use anyhow::{Context, ensure};
use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use identity::{Algorithm, JwksError, KeySet};
use reqwest::{Certificate, Client, Response, redirect::Policy};
use serde::Deserialize;

use crate::config::issuers::{KeySource, is_safe_url};

/// For everything: the connection, the answer and its body.
const PATIENCE: Duration = Duration::from_secs(5);
/// 64 keys of RSA 4096 with their certificates fit.
const MOST_BYTES: usize = 256 * 1024;
/// The longest `ETag` that is sent back.
const LONGEST_ETAG: usize = 1024;

/// Where one issuer's keys are.
pub(super) struct Source {
    client: Client,
    issuer: String,
    algorithms: Vec<Algorithm>,
    configured: Option<String>,
    /// What the issuer has said of itself; forgotten when it leads nowhere.
    discovered: ArcSwapOption<String>,
}

/// What an issuer says.
pub(super) enum Fetched {
    /// These are its keys.
    New { set: KeySet, etag: Option<HeaderValue>, max_age: Option<Duration> },
    /// They are what they were.
    Same { max_age: Option<Duration> },
}

/// What of `OpenID` Connect Discovery 1.0 §3 matters here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

// === impl Source ===

impl Source {
    pub(super) fn new(issuer: &KeySource) -> anyhow::Result<Self> {
        Ok(Self {
            client: client(issuer.ca.as_deref())?,
            issuer: issuer.issuer.clone(),
            algorithms: issuer.algorithms.clone(),
            configured: issuer.jwks_url.clone(),
            discovered: ArcSwapOption::empty(),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Asks once. `etag`: of the keys at hand.
    pub(super) async fn fetch(&self, etag: Option<&HeaderValue>) -> anyhow::Result<Fetched> {
        let fetched = async { self.keys_at(&self.place().await?, etag).await }.await;
        if fetched.is_err() {
            self.discovered.store(None);
        }
        fetched
    }

    async fn place(&self) -> anyhow::Result<String> {
        if let Some(url) = self.configured.clone().or_else(|| self.discovered.load().as_deref().cloned()) {
            return Ok(url);
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let (status, _, body) = read(self.client.get(url).send().await?).await?;
        ensure!(status == StatusCode::OK, "the issuer's metadata are answered with {status}");
        let metadata: Metadata = serde_json::from_slice(&body).context("the issuer's metadata cannot be read")?;
        // Else one issuer could speak for another (Discovery §4.3).
        ensure!(metadata.issuer == self.issuer, "the metadata are those of another issuer");
        ensure!(is_safe_url(&metadata.jwks_uri), "the issuer names no https address for its keys");
        let is_https = |url: &str| url.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
        // On this machine they may be in clear only where the issuer itself is.
        ensure!(
            is_https(&metadata.jwks_uri) || !is_https(&self.issuer),
            "the issuer names no https address for its keys"
        );
        self.discovered.store(Some(metadata.jwks_uri.clone().into()));
        Ok(metadata.jwks_uri)
    }

    async fn keys_at(&self, url: &str, etag: Option<&HeaderValue>) -> anyhow::Result<Fetched> {
        let mut request = self.client.get(url).header(header::ACCEPT, "application/jwk-set+json, application/json");
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let (status, headers, body) = read(request.send().await?).await?;
        let max_age = max_age(&headers);
        if status == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(Fetched::Same { max_age });
        }
        ensure!(status == StatusCode::OK, "the keys are answered with {status}");
        let set = match KeySet::from_jwks(&body, &self.algorithms) {
            // An issuer that has lost its keys says so like this, and means it: nobody is believed until it has others.
            Err(JwksError::NoneUsable) => {
                tracing::warn!(
                    issuer = self.issuer,
                    "an issuer publishes no key that can be trusted; none of its tokens is believed"
                );
                return Ok(Fetched::New { set: KeySet::default(), etag: None, max_age: Some(Duration::ZERO) });
            }
            read => read?,
        };
        let etag = headers.get(header::ETAG).filter(|etag| etag.len() <= LONGEST_ETAG).cloned();
        Ok(Fetched::New { set, etag, max_age })
    }
}

/// What others are asked with. `ca`: who may have signed their certificates, in PEM; the system's authorities if not given.
pub(crate) fn client(ca: Option<&str>) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        // Once in a while: a connection would be closed meanwhile.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    if let Some(ca) = ca {
        let ca = Certificate::from_pem_bundle(ca.as_bytes()).context("`ca` holds no certificate")?;
        client = client.tls_certs_only(ca);
    }
    client.build().context("no client for what others publish can be made")
}

/// The whole answer, or an error as soon as it is too long.
pub(crate) async fn read(mut answer: Response) -> anyhow::Result<(StatusCode, HeaderMap, Vec<u8>)> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        ensure!(body.len() + piece.len() <= MOST_BYTES, "the answer is longer than {MOST_BYTES} bytes");
        body.extend_from_slice(&piece);
    }
    Ok((answer.status(), std::mem::take(answer.headers_mut()), body))
}

/// How long the keys are good, as their issuer says (RFC 9111 §5.2.2.1); what must not be kept is good for no time at all.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let words: Vec<_> =
        values.flat_map(|value| value.split(',')).map(|word| word.trim().to_ascii_lowercase()).collect();
    if words.iter().any(|word| word == "no-store" || word == "no-cache") {
        return Some(Duration::ZERO);
    }
    words.iter().find_map(|word| word.strip_prefix("max-age=")?.parse().ok()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_what_the_issuer_says() {
        for (said, age) in [
            ("public, max-age=300", Some(300)),
            ("Max-Age=5, must-revalidate", Some(5)),
            ("no-store, max-age=300", Some(0)),
            ("max-age=never", None),
            ("max-age=-1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(said))]);
            assert_eq!(max_age(&headers), age.map(Duration::from_secs), "{said}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
