//! GitHub: OAuth 2 with PKCE, and who it is by an interface of its own. The id is the number, since names are given away again; the address
//! is the one that is both primary and verified.

use admin_api::{Answered, Asked, Identified, ProviderFault};
use identity::{Email, SecretText};
use serde_json::Value;

use super::wire::{ClientProof, Failed, Wire, way_to};
use crate::config::login::LoginProvider;

/// Where GitHub itself is, whose interface has a host of its own; an Enterprise Server has it below `/api/v3`.
const GITHUB: &str = "https://github.com";
const API: &str = "https://api.github.com";

pub(super) struct Github {
    wire: Wire,
    base: String,
    api: String,
    scope: String,
}

// === impl Github ===

impl Github {
    pub(super) fn new(provider: &LoginProvider) -> anyhow::Result<Self> {
        let base = provider.issuer.clone();
        let api = if base == GITHUB { API.to_owned() } else { format!("{base}/api/v3") };
        Ok(Self { wire: Wire::new(provider)?, base, api, scope: provider.scope.clone() })
    }

    pub(super) fn begin(&self, asked: Asked<'_>) -> String {
        way_to(
            &format!("{}/login/oauth/authorize", self.base),
            &[
                ("client_id", self.wire.client_id()),
                ("redirect_uri", asked.redirect_uri),
                ("scope", &self.scope),
                ("state", asked.state),
                ("code_challenge", asked.challenge),
                ("code_challenge_method", "S256"),
            ],
        )
    }

    pub(super) async fn redeem(&self, answered: Answered<'_>) -> Result<Identified, Failed> {
        // Where it names itself (RFC 9207) it does so under this name.
        if answered.issuer.is_some_and(|issuer| issuer != format!("{}/login/oauth", self.base)) {
            return Err(Failed::new(ProviderFault::WrongIssuer, "the answer names another issuer"));
        }
        let shown = (answered.code, answered.verifier.expose(), answered.redirect_uri);
        let endpoint = format!("{}/login/oauth/access_token", self.base);
        let said = self.wire.redeem(&endpoint, ClientProof::Post, shown).await?.redeemed()?;
        let access = said.text("access_token").ok_or_else(|| Failed::broken("there is no access token"))?;
        let access = SecretText::from(access.to_owned());
        let user = self.wire.get(&format!("{}/user", self.api), Some(&access)).await?.good()?;
        let id = user.body.get("id").and_then(Value::as_u64).ok_or_else(|| Failed::broken("the user has no id"))?;
        let emails = self.wire.get(&format!("{}/user/emails", self.api), Some(&access)).await?.good()?;
        let emails = emails.body.as_array().ok_or_else(|| Failed::broken("the addresses are no list"))?;
        let is = |email: &Value, what: &str| email.get(what) == Some(&Value::Bool(true));
        let primary = emails.iter().find(|email| is(email, "primary") && is(email, "verified"));
        Ok(Identified {
            subject: id.to_string(),
            verified_email: primary.and_then(|email| Email::parse(email.get("email")?.as_str()?).ok()),
            name: user.text("name").map(str::to_owned),
            seen_at: None,
        })
    }
}
