//! `[[issuers]]` and `[[legacy_issuers]]` as they are written.

use std::collections::BTreeMap;

use policies::config::{DurationText, Placed, Secret, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Given,
    words::{Newcomers, Published},
};

/// Somebody whose tokens are believed (`OpenID` Connect), by the keys that they publish.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the keys of the file, of which `issuer` is the standard's name")]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Issuer {
    /// `iss`, to the letter. While it is empty nobody is believed.
    pub(in crate::config) issuer: Placed<Value<String>>,
    /// For whom tokens must be: this platform's id there. Required.
    pub(in crate::config) audience: Given<String>,
    /// The claim that says so; aud by default. Access tokens of Cognito have `client_id`.
    pub(in crate::config) audience_claim: Given<String>,
    /// Claims that must have this very text, such as { `token_use` = "access" }; none by default.
    #[serde(default)]
    pub(in crate::config) require: BTreeMap<String, String>,
    /// Is what plainly is an ID token (it has a nonce, or says so) believed too? false by default.
    pub(in crate::config) id_tokens: Option<bool>,
    /// Where the keys are, over HTTPS (or HTTP on this machine). By default the issuer says so, at
    /// /.well-known/openid-configuration.
    pub(in crate::config) jwks_url: Given<String>,
    /// A PEM file of the authority that signed the issuer's certificate, relative to this folder; the system's by default.
    pub(in crate::config) ca: Option<Placed<String>>,
    /// What keys may be for: RS256, ES256, `EdDSA`; all of them by default.
    #[schemars(with = "Option<Vec<Published>>")]
    pub(in crate::config) algorithms: Option<Vec<Placed<String>>>,
    /// How far its clock may differ, for `nbf` and `iat`; 30s by default.
    pub(in crate::config) leeway: Given<DurationText>,
    /// The keys are fetched no more often, whatever the issuer says of their age; 60s by default.
    pub(in crate::config) refresh_min: Given<DurationText>,
    /// And no less often; 10m by default.
    pub(in crate::config) refresh_max: Given<DurationText>,
    /// How long keys are good that cannot be fetched anew; 24h by default.
    pub(in crate::config) max_stale: Given<DurationText>,
    /// What becomes of somebody without an account here: `existing` refuses, `create` makes one. Empty or left out: `create` where `issuer`
    /// is what an environment variable says, else `existing`.
    #[schemars(with = "Option<Value<Newcomers>>")]
    pub(in crate::config) accounts: Given<String>,
    /// Accounts made for callers from one IPv4 address or IPv6 /56; 20/hour by default.
    pub(in crate::config) accounts_per_address: Given<String>,
    /// May an address that the issuer has verified lead to the account that has confirmed it here? false by default.
    pub(in crate::config) link_verified_email: Option<bool>,
    /// The claim that says who somebody is, in a text that is never anybody else's; sub by default. No address, and nothing else that changes
    /// hands.
    pub(in crate::config) subject_claim: Option<Placed<String>>,
    /// The claim with the address; email by default. Claims are names, or pointers such as `/realm_access/roles`.
    pub(in crate::config) email_claim: Option<String>,
    /// The claim that says whether the issuer has verified it; `email_verified` by default.
    pub(in crate::config) email_verified_claim: Option<String>,
    /// The claim with the name; name by default.
    pub(in crate::config) name_claim: Option<String>,
    /// The role of accounts that are made, and of whom `roles` knows no value; user by default.
    pub(in crate::config) role: Option<Placed<String>>,
    /// Their tier; free by default.
    pub(in crate::config) tier: Option<Placed<String>>,
    /// The claim that says the role; by default none does, and roles are given here.
    pub(in crate::config) role_claim: Option<String>,
    /// What its values mean here; the first that fits counts.
    #[serde(default)]
    pub(in crate::config) roles: Vec<RoleOf>,
    /// The claim that says the tier; by default none does.
    pub(in crate::config) tier_claim: Option<String>,
    /// What its values mean here; the first that fits counts.
    #[serde(default)]
    pub(in crate::config) tiers: Vec<TierOf>,
    /// The claim that says for which organisation a token is; by default none does, and a token acts where its account does.
    pub(in crate::config) tenant_claim: Option<String>,
    /// Which organisation here its values mean; the first that fits counts, and a token for any other opens nothing.
    #[serde(default)]
    pub(in crate::config) tenants: Vec<TenantOf>,
    /// Claims whose values say that somebody has shown two factors there, all of them, such as { amr = "mfa" }; by default the issuer is
    /// not taken at its word for that, whatever its tokens say.
    #[serde(default)]
    pub(in crate::config) second_factor: BTreeMap<String, String>,
    /// The claim with what a token was given for: scope, or scp. By default a token may whatever its account may.
    pub(in crate::config) scope_claim: Option<String>,
    /// To which permissions its values limit a token; to none those that are not here.
    #[serde(default)]
    pub(in crate::config) scopes: Vec<ScopeOf>,
}

/// A value of the issuer's and a role here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RoleOf {
    /// There.
    pub(in crate::config) value: String,
    /// Here.
    pub(in crate::config) role: Placed<String>,
}

/// A value of the issuer's and what it permits here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ScopeOf {
    /// There.
    pub(in crate::config) value: String,
    /// Here, as in roles.toml.
    pub(in crate::config) permission: Placed<String>,
}

/// A value of the issuer's and an organisation here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TenantOf {
    /// There, the whole of it.
    pub(in crate::config) value: String,
    /// Here: its id.
    pub(in crate::config) tenant: Placed<String>,
    /// Does an account that is made by such a token belong to it, as a member, and found none of its own? false by default: then whoever
    /// does not belong to it is refused.
    pub(in crate::config) join: Option<bool>,
}

/// A value of the issuer's and a tier here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TierOf {
    /// There.
    pub(in crate::config) value: String,
    /// Here.
    pub(in crate::config) tier: Placed<String>,
}

/// An old system whose tokens (HS256) are believed until a day.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LegacyIssuer {
    /// What it is called here; `portcullis import --system` names it.
    pub(in crate::config) name: Placed<String>,
    /// Its secret, 32 bytes or more.
    pub(in crate::config) secret: Placed<Secret>,
    /// `iss` of its tokens; by default they name nobody.
    pub(in crate::config) issuer: Option<String>,
    /// `aud` of its tokens; by default they name none, and one that does is refused.
    pub(in crate::config) audience: Option<String>,
    /// `kid` of its tokens; by default they name no key.
    pub(in crate::config) kid: Option<Placed<String>>,
    /// What `sub` is: `email` (the default), or the `id` that an imported account had there.
    pub(in crate::config) subject: Option<Subject>,
    /// The day, such as "2027-06-30", with which it ends (UTC). Required.
    pub(in crate::config) until: Placed<String>,
}

/// What `sub` is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Subject {
    /// The address.
    Email,
    /// The id.
    Id,
}
