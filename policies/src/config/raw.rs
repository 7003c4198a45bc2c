//! The files as they are written, key by key; each key's comment is also its description in the editors' schema.
//!
//! What the types cannot say is said where they are built into a policy: `routes`, `roles`, `tiers`, `expectations`.

use std::collections::BTreeMap;
use std::fmt;

use identity::Assurance;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::amount::AmountText;
use super::diagnostic::Placed;
use super::injection::RawInjection;
use super::value::DurationText;
use crate::{Auth, Per};

/// Words that are looked up or parsed later, each with its place.
pub(super) type Words = Vec<Placed<String>>;

/// What is exposed, to whom, and to which upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of routes.toml")]
pub(super) struct RawRoute {
    /// Unique; a label of metrics and the access log.
    pub(super) name: Placed<String>,
    /// Hosts it answers on: "api.example.com", or "*.example.com" for every name below. Left out: every host.
    pub(super) hosts: Option<Placed<Words>>,
    /// GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. Left out: all of these.
    pub(super) methods: Option<Placed<Words>>,
    /// "/users/{id}" has any one segment in braces; "/files/*" is "/files" and everything below.
    pub(super) paths: Placed<Words>,
    /// The pool of servers, as gateway.toml names it, or "admin-api".
    pub(super) upstream: Placed<String>,
    /// Whether a caller must be known: "required", "optional", "none" or "mtls".
    #[serde(default)]
    pub(super) auth: RawAuth,
    /// The caller has one of these roles.
    pub(super) roles: Option<Placed<Words>>,
    /// The caller's role holds all of these permissions.
    pub(super) permissions: Option<Placed<Words>>,
    /// The caller has one of these tiers.
    pub(super) tiers: Option<Placed<Words>>,
    /// The caller's tier has all of these features.
    pub(super) features: Option<Placed<Words>>,
    /// The person behind the caller's session has shown by two factors who they are: "mfa"; by a passkey: "phr".
    pub(super) acr: Option<Placed<RawAcr>>,
    /// The person behind the caller's session has shown who they are within this time, such as "5m". API keys never have.
    pub(super) max_auth_age: Option<Placed<DurationText>>,
    /// The caller owns what the path names, such as `"agent_instance:{id}"`: a kind of thing, and the parameter of the path that holds its id.
    /// Whatever is not the caller's is not there (404). Kinds: "agent", `"agent_instance"`.
    pub(super) owner: Option<Placed<String>>,
    /// Whether administrators pass too, of the organisation to which it belongs and of the platform. Left out: false.
    pub(super) owner_admins: Option<Placed<bool>>,
    /// Whether those whose role needs a second factor (`[mfa] required_roles` of gateway.toml) may use it before they have shown one, to add one.
    #[serde(default)]
    pub(super) before_second_factor: bool,
    /// Whether people of a disabled organisation may use it, as nothing else, with the session by which they act there: to end it.
    #[serde(default)]
    pub(super) in_disabled_tenant: bool,
    /// Path prefixes and what replaces them on the way to the upstream; the longest that matches is used.
    #[serde(default)]
    pub(super) rewrite: BTreeMap<Placed<String>, Placed<String>>,
    /// Limits of this route's own.
    #[serde(default)]
    pub(super) limits: Vec<Placed<RawLimit>>,
    /// Whether requests count against the limits of the caller's tier too.
    #[serde(default = "super::value::yes")]
    pub(super) tier_limits: bool,
    /// Whether the upstream sees the caller's credential.
    #[serde(default)]
    pub(super) forward_credential: bool,
    /// A key of the caller's at a provider (an integration) that the upstream is shown in the place of the caller's credential. Left out: none.
    pub(super) inject_credential: Option<Placed<RawInjection>>,
    /// Bytes of request body; more is refused with 413. Left out: `max_body_bytes` of gateway.toml.
    pub(super) max_body_bytes: Option<u64>,
    /// What differs from the upstream's timeouts in gateway.toml.
    #[serde(default)]
    pub(super) timeouts: RawTimeouts,
    /// Which foreign pages may call this route from a browser. Left out: none.
    pub(super) cors: Option<RawCors>,
    /// What a request that may change something has to show beside a session cookie: "token" or "origin".
    #[serde(default)]
    pub(super) csrf: RawCsrf,
    /// Whether requests may become WebSockets; without it they are refused with 403.
    pub(super) websocket: Option<Placed<bool>>,
    /// A WebSocket on which nothing is sent either way for so long is closed. Left out: "10m".
    pub(super) websocket_idle: Option<Placed<DurationText>>,
    /// How long a stream (WebSocket, events, gRPC) may go on after the credential that opened it has expired. Left out: "30s".
    pub(super) expiry_grace: Option<Placed<DurationText>>,
}

/// How sure the door is of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawAcr {
    /// Two factors.
    Mfa,
    /// A passkey, which nobody can be talked into giving away.
    Phr,
}

/// How sure the door is of a caller that a case invents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawShownAcr {
    /// One factor.
    Single,
    /// Two factors.
    Mfa,
    /// A passkey.
    Phr,
}

/// Whether a caller must be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawAuth {
    /// A valid credential, or 401.
    #[default]
    Required,
    /// A valid credential is used, none is fine, a bad one is refused.
    Optional,
    /// Credentials are not looked at.
    None,
    /// A client certificate whose holder `[[tls.clients]]` of gateway.toml names, or 401.
    Mtls,
}

/// What a request that may change something has to show beside a session cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawCsrf {
    /// That it comes from a page of this host, and the session's token in X-CSRF-Token.
    #[default]
    Token,
    /// That it comes from a page of this host; for upstreams whose forms carry a token that they check.
    Origin,
}

/// How much.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    /// Whose use is added up: "user", "tenant", "key" (one API key or session) or "ip" (one IPv4 address or IPv6 /56).
    pub(super) per: RawPer,
    /// "100/minute", "20/second", "5/30s", "1000/hour", "unlimited", or a list of these that all hold.
    pub(super) requests: Option<Placed<Texts>>,
    /// Requests in flight at one moment, at least 1. Left out: no such limit.
    pub(super) concurrent: Option<Placed<i64>>,
    /// Requests beyond each of `requests` that all gateways together may let through in a window, each its part of them, rather than
    /// wait for Redis; 0 by default.
    pub(super) max_overshoot: Option<Placed<i64>>,
}

/// Whose use is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawPer {
    /// One account, whichever credential it shows.
    User,
    /// All accounts of one customer organisation.
    Tenant,
    /// One API key or one session.
    Key,
    /// One client address (IPv6: one /56).
    Ip,
}

/// A route's own timeouts: "250ms", "30s", "5m".
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeouts {
    /// Until the connection to a server stands.
    pub(super) connect: Option<Placed<DurationText>>,
    /// The longest silence, between two pieces of the answer or while the server takes nothing of the request.
    pub(super) response: Option<Placed<DurationText>>,
    /// From the request's last byte to the last of the answer's head. Left out: as `response`.
    pub(super) first_byte: Option<Placed<DurationText>>,
    /// The whole request, from its header to the end of the answer.
    pub(super) total: Option<Placed<DurationText>>,
    /// How long an unused connection to a server is kept.
    pub(super) idle: Option<Placed<DurationText>>,
}

/// Which foreign pages may call a route from a browser.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCors {
    /// Each as browsers write it: `"https://app.example.com"`; or `"*"` alone for every page.
    pub(super) origins: Placed<Words>,
    /// Left out: the methods of the route.
    pub(super) methods: Option<Placed<Words>>,
    /// Headers that pages may set, such as "authorization" and "content-type".
    #[serde(default)]
    pub(super) headers: Words,
    /// Whether browsers may send cookies and client certificates along; not with "*".
    pub(super) credentials: Option<Placed<bool>>,
    /// How long browsers may remember the answer.
    #[serde(default = "ten_minutes")]
    #[schemars(default = "ten_minutes_text")]
    pub(super) max_age: DurationText,
}

const fn ten_minutes() -> DurationText {
    DurationText(std::time::Duration::from_mins(10))
}

const fn ten_minutes_text() -> &'static str {
    "10m"
}

/// What a role may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRole {
    /// "agents:publish", "agents:*" for everything below `agents:`, "*" for everything.
    pub(super) permissions: Words,
}

/// What a tier includes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTier {
    /// "29 USD/month" or "299.90 EUR/year". Left out: by agreement.
    pub(super) price: Option<Placed<String>>,
    /// Spent by every request of the tier's accounts, except on routes with `tier_limits = false`.
    #[serde(default)]
    pub(super) limits: Vec<Placed<RawLimit>>,
    /// What routes may demand by `features`.
    #[serde(default)]
    pub(super) features: Words,
    /// Amounts for the services behind the door: whole numbers, or "unlimited".
    #[serde(default)]
    pub(super) quotas: BTreeMap<Placed<String>, AmountText>,
}

/// One expectation: this caller, these requests, this answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    /// What is expected, as a sentence.
    pub(super) name: Placed<String>,
    /// Who asks. Left out: a stranger, without any credential.
    pub(super) caller: Option<RawCaller>,
    /// "GET /path", or a list of such requests that are all answered so.
    pub(super) request: Placed<Texts>,
    /// The host that is asked for.
    #[serde(default = "any_host")]
    pub(super) host: String,
    /// "permit", or the refusal: "malformed", `"no_route"`, `"method_not_allowed"`, `"missing_credential"`, "forbidden",
    /// `"insufficient_user_authentication"`, `"not_found"`.
    pub(super) answer: Placed<String>,
    /// The route that must have permitted it. Left out: any.
    pub(super) route: Option<Placed<String>>,
    /// The path that must arrive at the upstream. Left out: any.
    pub(super) forwards: Option<Placed<String>>,
}

fn any_host() -> String {
    "localhost".to_owned()
}

/// An account that might be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCaller {
    /// Its role.
    pub(super) role: Placed<String>,
    /// Its tier.
    pub(super) tier: Placed<String>,
    /// It shows an API key that is restricted to these permissions. Left out: whatever the account may do.
    pub(super) scopes: Option<Words>,
    /// "mfa": its owner has shown two factors; "phr": a passkey; "single": one. Left out: two if its role needs two (`[mfa]` of
    /// gateway.toml), else one.
    pub(super) acr: Option<Placed<RawShownAcr>>,
    /// How long ago its owner has shown who they are, such as "10m". Left out: just now.
    pub(super) auth_age: Option<Placed<DurationText>>,
    /// Whether what the path names is its own, where a route demands that. Left out: false.
    pub(super) owns: Option<bool>,
}

/// One text or several.
#[derive(Debug)]
pub(super) enum Texts {
    One(String),
    Several(Words),
}

// === impl Placed<Texts> ===

impl Placed<Texts> {
    /// Each with its place.
    pub(super) fn into_words(self) -> Words {
        let span = self.span();
        match self.into_inner() {
            Texts::One(text) => vec![Placed::new(span, text)],
            Texts::Several(texts) => texts,
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// serde's own untagged enums forget places.
struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Texts, A::Error> {
        Words::deserialize(SeqAccessDeserializer::new(texts)).map(Texts::Several)
    }
}

impl JsonSchema for Texts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

// === impl RawAuth, RawAcr, RawShownAcr, RawPer ===

impl From<RawAcr> for Assurance {
    fn from(raw: RawAcr) -> Self {
        match raw {
            RawAcr::Mfa => Self::Multi,
            RawAcr::Phr => Self::PhishingResistant,
        }
    }
}

impl From<RawShownAcr> for Assurance {
    fn from(raw: RawShownAcr) -> Self {
        match raw {
            RawShownAcr::Single => Self::Single,
            RawShownAcr::Mfa => Self::Multi,
            RawShownAcr::Phr => Self::PhishingResistant,
        }
    }
}

impl From<RawAuth> for Auth {
    fn from(raw: RawAuth) -> Self {
        match raw {
            RawAuth::Required => Self::Required,
            RawAuth::Optional => Self::Optional,
            RawAuth::None => Self::None,
            RawAuth::Mtls => Self::Mtls,
        }
    }
}

impl From<RawPer> for Per {
    fn from(raw: RawPer) -> Self {
        match raw {
            RawPer::User => Self::User,
            RawPer::Tenant => Self::Tenant,
            RawPer::Key => Self::Key,
            RawPer::Ip => Self::Ip,
        }
    }
}
