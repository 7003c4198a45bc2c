//! The content: which claims a token must have, and what ours say.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{TokenError, TokenType, jws, keys::KeySet};
use crate::{
    AccountId, CertificateId, ExternalId, Grant, KeyId, Principal, SessionId, TenantId, TenantRole, Voucher, json,
};

/// The last second of the year 9999, where RFC 3339 ends.
const LAST: i64 = 253_402_300_799;

/// How far the clocks of those who sign and of those who read may differ (DESIGN §3).
pub const LEEWAY: Duration = Duration::from_secs(30);

/// What a token must be to be accepted.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// `iss`.
    pub issuer: Box<str>,
    /// `aud`, or one of several; empty: there must be none.
    pub audience: Box<str>,
    /// What it must be for.
    pub typ: TokenType,
    /// How far clocks may differ for `nbf` and `iat`. `exp` is taken at its word.
    pub leeway: Duration,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenClaims", into = "WrittenClaims")]
pub struct AccessClaims {
    /// Who signed.
    pub iss: String,
    /// For whom; empty: it says nothing of that.
    pub aud: String,
    /// Whose.
    pub sub: AccountId,
    /// What stands in `sub` for others to read, if that is not the account's id: its address. Here it means nothing.
    pub email: Option<String>,
    /// By which login.
    pub sid: SessionId,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// The token's own id.
    pub jti: Uuid,
    /// How often the person behind the login had shown anew who they are. A token of an earlier time is worth nothing.
    pub generation: u32,
}

/// An access token as it is written. Whose it is says `uid`, if it is there, and else `sub`.
#[derive(Serialize, Deserialize)]
struct WrittenClaims {
    iss: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    aud: String,
    #[serde(flatten)]
    whose: Whose,
    sid: SessionId,
    iat: i64,
    exp: i64,
    jti: Uuid,
    #[serde(rename = "gen", skip_serializing_if = "is_first", default)]
    generation: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_first(generation: &u32) -> bool {
    *generation == 0
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Whose {
    /// For services that know people by their addresses.
    Address {
        sub: String,
        uid: AccountId,
    },
    Account {
        sub: AccountId,
    },
}

/// What an assertion says: a caller, to one upstream. Not how to reach them: an upstream that wants the address or the name asks
/// for their headers, and an assertion is kept for every cached caller, so that each byte counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionClaims {
    /// Who signed.
    pub iss: String,
    /// The upstream's name.
    pub aud: String,
    /// The account.
    pub sub: AccountId,
    /// Its role.
    pub role: String,
    /// Its tier.
    pub tier: String,
    /// Its customer organisation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<TenantId>,
    /// As what the account belongs to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_role: Option<TenantRole>,
    /// Who acts as the account's owner, if it is somebody else (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Box<Actor>>,
    /// Is it a service account?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub service: bool,
    /// The login's id, if it was one (`OpenID` Connect Front-Channel Logout 1.0 §3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sid: Option<SessionId>,
    /// Was the login's cookie shown, and not one of its tokens?
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cookie: bool,
    /// The API key's id, if it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_id: Option<KeyId>,
    /// The id of what a machine has bought with its key, if it was that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub machine_id: Option<SessionId>,
    /// The certificate holder's id, if it was a client certificate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_id: Option<CertificateId>,
    /// The id by which somebody else vouches for the caller, if that is how the caller is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_id: Option<ExternalId>,
    /// Who that is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vouched_by: Option<Voucher>,
    /// What an API key is restricted to, separated by spaces (RFC 8693 §4.2).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// How often the person behind the login had shown anew who they are, as in its tokens: what was let in before is not raised with them.
    #[serde(rename = "gen", skip_serializing_if = "is_first", default)]
    pub generation: u32,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
}

/// Who acts for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The account.
    pub sub: AccountId,
}

/// Verifies a token and reads its claims: signature first, then the rules, then the shape.
pub fn verify<C: DeserializeOwned>(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: DateTime<Utc>,
) -> Result<C, TokenError> {
    let verified = jws::open(token, keys)?;
    if !verified.typ.as_deref().is_some_and(|typ| rules.typ.is(typ)) {
        return Err(TokenError::Type);
    }
    let mut claims = json::object(&verified.payload).ok_or(TokenError::Malformed)?;
    whole_seconds(&mut claims)?;
    check(&claims, rules, now)?;
    serde_json::from_value(Value::Object(claims)).map_err(|_| TokenError::Malformed)
}

fn check(claims: &Map<String, Value>, rules: &TokenRules, now: DateTime<Utc>) -> Result<(), TokenError> {
    match claims.get("iss") {
        Some(Value::String(issuer)) if **issuer == *rules.issuer => {}
        Some(Value::String(_)) => return Err(TokenError::Issuer),
        _ => return Err(TokenError::MissingClaim("iss")),
    }
    match (&*rules.audience, claims.get("aud")) {
        ("", None) => {}
        ("", Some(_)) => return Err(TokenError::Audience),
        (wanted, said) => audience(said, wanted)?,
    }
    if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(TokenError::MissingClaim("sub"));
    }
    check_times(claims, rules.leeway, now)
}

/// `exp`, `nbf` and `iat`, once they are whole seconds.
pub(super) fn check_times(claims: &Map<String, Value>, leeway: Duration, now: DateTime<Utc>) -> Result<(), TokenError> {
    let (now, leeway) = (now.timestamp(), i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX));
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    if seconds("exp").ok_or(TokenError::MissingClaim("exp"))? <= now {
        return Err(TokenError::Expired);
    }
    let begun = |name| seconds(name).is_none_or(|from| from <= now.saturating_add(leeway));
    if begun("nbf") && begun("iat") { Ok(()) } else { Err(TokenError::NotYetValid) }
}

/// A text, or an array of nothing but texts (RFC 7519 §4.1.3).
pub(super) fn audience(aud: Option<&Value>, wanted: &str) -> Result<(), TokenError> {
    let several = match aud {
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => several,
        _ => return Err(TokenError::MissingClaim("aud")),
    };
    if several.iter().any(|one| one == wanted) { Ok(()) } else { Err(TokenError::Audience) }
}

/// Makes every time a whole number of seconds. A `NumericDate` (RFC 7519 §2) may have a fraction, which is cut off; anything
/// that is no number or out of range is refused and never taken for absent (jsonwebtoken CVE-2026-25537).
pub(super) fn whole_seconds(claims: &mut Map<String, Value>) -> Result<(), TokenError> {
    for name in ["exp", "nbf", "iat"] {
        if let Some(value) = claims.get_mut(name) {
            let fraction =
                || value.as_f64().filter(|float| (0.0..=LAST as f64).contains(float)).map(|float| float as i64);
            let whole = value.as_i64().or_else(fraction).filter(|seconds| (0..=LAST).contains(seconds));
            *value = whole.ok_or(TokenError::MissingClaim(name))?.into();
        }
    }
    Ok(())
}

// === impl AccessClaims ===

impl From<AccessClaims> for WrittenClaims {
    fn from(claims: AccessClaims) -> Self {
        let AccessClaims { iss, aud, sub, email, sid, iat, exp, jti, generation } = claims;
        let whose = match email {
            Some(email) => Whose::Address { sub: email, uid: sub },
            None => Whose::Account { sub },
        };
        Self { iss, aud, whose, sid, iat, exp, jti, generation }
    }
}

impl From<WrittenClaims> for AccessClaims {
    fn from(claims: WrittenClaims) -> Self {
        let WrittenClaims { iss, aud, whose, sid, iat, exp, jti, generation } = claims;
        let (sub, email) = match whose {
            Whose::Address { sub, uid } => (uid, Some(sub)),
            Whose::Account { sub } => (sub, None),
        };
        Self { iss, aud, sub, email, sid, iat, exp, jti, generation }
    }
}

// === impl AssertionClaims ===

impl AssertionClaims {
    /// What there is to say of `principal` to the upstream `audience`.
    #[must_use]
    pub fn of(principal: &Principal, issuer: &str, audience: &str, now: DateTime<Utc>, ttl: TimeDelta) -> Self {
        Self {
            iss: issuer.to_owned(),
            aud: audience.to_owned(),
            sub: principal.account,
            role: principal.role.to_string(),
            tier: principal.tier.to_string(),
            tenant: principal.tenant,
            tenant_role: principal.tenant_role,
            act: principal.actor.as_deref().map(|actor| Box::new(Actor { sub: *actor })),
            service: principal.is_service,
            sid: principal.grant.session(),
            cookie: matches!(principal.grant, Grant::Cookie(_)),
            key_id: if let Grant::Key(id) = principal.grant { Some(id) } else { None },
            machine_id: if let Grant::Machine(id) = principal.grant { Some(id) } else { None },
            certificate_id: if let Grant::Certificate(id) = principal.grant { Some(id) } else { None },
            external_id: if let Grant::External(id, _) = principal.grant { Some(id) } else { None },
            vouched_by: if let Grant::External(_, by) = principal.grant { Some(by) } else { None },
            scope: principal.scopes.as_deref().map(scope),
            generation: principal.generation,
            iat: now.timestamp(),
            exp: (now + ttl).timestamp(),
        }
    }
}

/// Scopes as one text. One that has a space in it would be read back as several, which its key was never given; it is left
/// out, and takes rights away instead.
fn scope(scopes: &[Box<str>]) -> String {
    let whole = scopes.iter().map(AsRef::as_ref).filter(|scope: &&str| !scope.contains(char::is_whitespace));
    whole.collect::<Vec<_>>().join(" ")
}

impl TryFrom<AssertionClaims> for Principal {
    type Error = TokenError;

    fn try_from(claims: AssertionClaims) -> Result<Self, TokenError> {
        let external = claims.external_id.zip(claims.vouched_by);
        let grant = match (claims.sid, claims.key_id, claims.machine_id, claims.certificate_id, external) {
            (Some(id), None, None, None, None) if claims.cookie => Grant::Cookie(id),
            (Some(id), None, None, None, None) => Grant::Session(id),
            (None, Some(id), None, None, None) => Grant::Key(id),
            (None, None, Some(id), None, None) => Grant::Machine(id),
            (None, None, None, Some(id), None) => Grant::Certificate(id),
            (None, None, None, None, Some((id, by))) => Grant::External(id, by),
            // None of them, or more than one.
            _ => return Err(TokenError::MissingClaim("sid")),
        };
        Ok(Self {
            account: claims.sub,
            role: Arc::from(claims.role),
            tier: Arc::from(claims.tier),
            tenant: claims.tenant,
            tenant_role: claims.tenant_role,
            actor: claims.act.map(|act| Box::new(act.sub)),
            is_service: claims.service,
            grant,
            scopes: claims.scope.map(|scope| scope.split_whitespace().map(Into::into).collect()),
            networks: None,
            authentication: None,
            generation: claims.generation,
        })
    }
}
