//! The login providers, reached: where a browser is sent, and what a provider says of whoever comes back.
//!
//! What the account service wants to know ([`admin_api::Providers`]) is asked here, since it reaches nobody itself. Whose account somebody is,
//! and whether a session begins, is decided there.

mod github;
mod oidc;
mod wire;

use std::sync::Arc;

use admin_api::{Answered, Asked, Identified, Provider, ProviderFault, Providers};
use anyhow::Context;
use async_trait::async_trait;
use prometheus::IntCounterVec;
use tokio::sync::Semaphore;

use self::{github::Github, oidc::Oidc};
use crate::{
    config::login::{LoginProvider, Speaks},
    jwks_client::{Bucket, JwksClient},
    limiter::Limiter,
};

/// Questions to one provider at once; who comes when there are more is told to come again, so that a silent provider keeps nothing
/// else waiting.
const AT_ONCE: usize = 64;

/// All of them.
pub(crate) struct Logins {
    list: Vec<Provider>,
    /// In the same order.
    sources: Vec<Source>,
}

struct Source {
    speaks: Language,
    turns: Semaphore,
}

enum Language {
    Oidc(Oidc),
    Github(Github),
}

// === impl Logins ===

impl Logins {
    pub(crate) fn new(
        settings: &[LoginProvider],
        limiter: &Arc<Limiter>,
        outcomes: &IntCounterVec,
    ) -> anyhow::Result<Self> {
        let everybody = Bucket::of_everybody();
        let source = |one: &LoginProvider| {
            let made = match one.speaks {
                Speaks::Oidc => {
                    let keys =
                        JwksClient::new(&one.keys(), Arc::clone(&everybody), Arc::clone(limiter), outcomes.clone());
                    keys.and_then(|keys| Oidc::new(one, Arc::new(keys))).map(Language::Oidc)
                }
                Speaks::Github => Github::new(one).map(Language::Github),
            };
            let speaks = made.with_context(|| format!("the login provider {}", one.id))?;
            anyhow::Ok(Source { speaks, turns: Semaphore::new(AT_ONCE) })
        };
        let known = |one: &LoginProvider| Provider {
            id: one.id.clone(),
            label: one.label.clone(),
            issuer: one.issuer.clone(),
            sign_up: one.sign_up,
        };
        Ok(Self {
            list: settings.iter().map(known).collect(),
            sources: settings.iter().map(source).collect::<anyhow::Result<_>>()?,
        })
    }

    /// The keys of every provider that has some, to be kept fresh.
    pub(crate) fn clients(&self) -> impl Iterator<Item = Arc<JwksClient>> {
        self.sources.iter().filter_map(|source| match &source.speaks {
            Language::Oidc(oidc) => Some(Arc::clone(oidc.keys())),
            Language::Github(_) => None,
        })
    }

    fn source(&self, provider: &Provider) -> Result<&Source, ProviderFault> {
        let named = self.list.iter().zip(&self.sources).find(|(one, _)| one.id == provider.id);
        named.map(|(_, source)| source).ok_or(ProviderFault::Away)
    }
}

#[async_trait]
impl Providers for Logins {
    fn list(&self) -> &[Provider] {
        &self.list
    }

    async fn begin(&self, provider: &Provider, asked: Asked<'_>) -> Result<String, ProviderFault> {
        let source = self.source(provider)?;
        let _turn = source.turns.try_acquire().map_err(|_| ProviderFault::Away)?;
        let begun = match &source.speaks {
            Language::Oidc(oidc) => oidc.begin(asked).await,
            Language::Github(github) => Ok(github.begin(asked)),
        };
        begun.map_err(|failed| failed.told(provider))
    }

    async fn redeem(&self, provider: &Provider, answered: Answered<'_>) -> Result<Identified, ProviderFault> {
        let source = self.source(provider)?;
        let _turn = source.turns.try_acquire().map_err(|_| ProviderFault::Away)?;
        let redeemed = match &source.speaks {
            Language::Oidc(oidc) => oidc.redeem(answered).await,
            Language::Github(github) => github.redeem(answered).await,
        };
        redeemed.map_err(|failed| failed.told(provider))
    }
}
