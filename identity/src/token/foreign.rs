//! Tokens that somebody else has signed: external issuers (`OpenID` Connect), and old systems with a shared secret.
//!
//! [`Unverified`] reads what such a token says of itself, for one purpose: to choose by whose rules it is judged. Everything
//! else is read after the signature has been checked with that issuer's keys alone.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    TokenError,
    claims::{audience, check_times, whole_seconds},
    is_type,
    jws::{LONGEST, open},
    keys::KeySet,
};
use crate::json;

/// Types that others give to what may open a door here (RFC 9068 §2.1; most give none, or JWT). Whatever else has a type of its
/// own, such as a logout token, is for another purpose (RFC 8725 §3.12).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Where tokens say what they are for.
const PURPOSE_CLAIMS: [&str; 5] = ["typ", "type", "token_type", "token_use", "purpose"];
/// What opens no door, by a part of its name.
const OTHER_PURPOSES: [&str; 9] =
    ["refresh", "offline", "logout", "reset", "verif", "confirm", "activat", "invit", "magic"];

/// What a token says of itself before anybody has looked at its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// `iss`, if it is there.
    pub issuer: Option<String>,
    /// `kid`, if it is there.
    pub kid: Option<String>,
}

/// What a token of somebody else's must be to be accepted.
#[derive(Clone, Debug)]
pub struct ForeignRules {
    /// `iss`. `None`: a token that names nobody.
    pub issuer: Option<Box<str>>,
    /// The claim that says for whom it is, and who that must be; `None`: nobody in particular, so that
    /// a token which names somebody in `aud` is refused (RFC 7519 §4.1.3).
    pub audience: Option<(Box<str>, Box<str>)>,
    /// Claims that must have this very value, such as Cognito's `token_use`.
    pub required: Box<[(Box<str>, Box<str>)]>,
    /// Is what plainly is an ID token accepted? It says to a client who has logged in there, and opens no door by itself.
    pub id_tokens: bool,
    /// How far clocks may differ for `nbf` and `iat`. `exp` is taken at its word.
    pub leeway: Duration,
}

/// What a token of somebody else's says, now that it is known to be theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignClaims(Map<String, Value>);

// === impl Unverified ===

impl Unverified {
    /// Reads header and payload; `None` if they are not those of a token.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let mut parts = token.split('.');
        let mut part = || json::object(&BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?);
        let (header, payload) = (part()?, part()?);
        let text = |object: &Map<String, Value>, name| match object.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        Some(Self { issuer: text(&payload, "iss")?, kid: text(&header, "kid")? })
    }
}

// === impl ForeignClaims ===

impl ForeignClaims {
    /// Verifies a token: signature first, then the rules.
    pub fn verify(token: &str, keys: &KeySet, rules: &ForeignRules, now: DateTime<Utc>) -> Result<Self, TokenError> {
        let verified = open(token, keys)?;
        if verified.typ.is_some_and(|typ| !TYPES.iter().any(|known| is_type(&typ, known))) {
            return Err(TokenError::Type);
        }
        let mut claims = json::object(&verified.payload).ok_or(TokenError::Malformed)?;
        whole_seconds(&mut claims)?;
        match (claims.get("iss"), &rules.issuer) {
            (None, None) => {}
            (Some(Value::String(named)), Some(trusted)) if **named == **trusted => {}
            (Some(Value::String(_)), _) => return Err(TokenError::Issuer),
            _ => return Err(TokenError::MissingClaim("iss")),
        }
        match &rules.audience {
            Some((claim, wanted)) => audience(claims.get(&**claim), wanted)?,
            None if claims.contains_key("aud") => return Err(TokenError::Audience),
            None => {}
        }
        if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(TokenError::MissingClaim("sub"));
        }
        check_times(&claims, rules.leeway, now)?;
        let claims = Self(claims);
        if claims.are_for_another_purpose() || (!rules.id_tokens && claims.are_an_id_tokens()) {
            return Err(TokenError::Type);
        }
        let has = |(claim, wanted): &(Box<str>, Box<str>)| claims.text(claim) == Some(wanted);
        if rules.required.iter().all(has) { Ok(claims) } else { Err(TokenError::Type) }
    }

    /// Does the token say that it is for something else? Old systems sign refresh tokens and links in mails with the one secret that they have,
    /// and tell them apart by a claim; Keycloak calls its own `Refresh` and `Offline` (RFC 8725 §3.12).
    fn are_for_another_purpose(&self) -> bool {
        PURPOSE_CLAIMS.iter().filter_map(|name| self.0.get(*name)?.as_str()).any(|purpose| {
            let purpose = purpose.to_ascii_lowercase();
            OTHER_PURPOSES.iter().any(|other| purpose.contains(other))
        })
    }

    /// What stands in ID tokens alone (`OpenID` Connect Core §2, §3.3.2.11), and by what Keycloak and Cognito tell theirs.
    fn are_an_id_tokens(&self) -> bool {
        ["nonce", "at_hash", "c_hash"].iter().any(|name| self.0.contains_key(*name))
            || self.text("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("ID"))
            || self.text("token_use") == Some("id")
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text("sub").unwrap_or_default()
    }

    /// `exp` in Unix seconds.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.0.get("exp").and_then(Value::as_i64).unwrap_or_default()
    }

    /// `iat` in Unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<i64> {
        self.0.get("iat").and_then(Value::as_i64)
    }

    /// When somebody has last shown who they are (`auth_time`), in Unix seconds.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<i64> {
        self.0.get("auth_time").and_then(Value::as_i64).filter(|at| *at > 0)
    }

    /// For how many it is meant (`aud`).
    #[must_use]
    pub fn audiences(&self) -> usize {
        self.0.get("aud").map_or(0, |aud| aud.as_array().map_or(1, Vec::len))
    }

    /// A claim by its name, or by a JSON pointer such as `/realm_access/roles`.
    fn claim(&self, name: &str) -> Option<&Value> {
        match name.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((first, _)) => self.0.get(first)?.pointer(&name[first.len() + 1..]),
            None => self.0.get(name.strip_prefix('/').unwrap_or(name)),
        }
    }

    /// Is a claim there? One that is null says nothing.
    #[must_use]
    pub fn says(&self, name: &str) -> bool {
        self.claim(name).is_some_and(|value| !value.is_null())
    }

    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claim(name)?.as_str()
    }

    /// A claim that is true. The text "true" is what some issuers write.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.claim(name).is_some_and(|value| *value == Value::Bool(true) || value == "true")
    }

    /// Does a claim have this value, or is it a list that holds it?
    #[must_use]
    pub fn holds(&self, name: &str, wanted: &str) -> bool {
        match self.claim(name) {
            Some(Value::Array(values)) => values.iter().any(|value| value == wanted),
            Some(value) => value == wanted,
            None => false,
        }
    }

    /// The same, or is it a text in which the value stands between spaces?
    #[must_use]
    pub fn names(&self, name: &str, wanted: &str) -> bool {
        self.holds(name, wanted) || self.text(name).is_some_and(|text| text.split(' ').any(|word| word == wanted))
    }
}
