//! What an upstream is told: nothing that the client said in our name, then what we know.
//!
//! Pingora has removed hop-by-hop headers and those that `Connection` names before this runs, so what is set here cannot
//! be named away (SECURITY §2.2). Stripping is unconditional, on public routes too; only then are our headers set.

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::PathAndQuery};
use identity::Grant;
use pingora::{Error, ErrorType, OrErr, Result, http::RequestHeader};
use policies::{
    Permit, Roles,
    header::{Reserved, Verdict},
};

use crate::{
    assertions::Minter, config::IdentityHeader, directory::Known, inbound::Inbound, journey::Journey,
    upstream::Upstream,
};

/// Everything an injection needs besides the request itself.
struct Injection<'a> {
    inbound: &'a Inbound,
    permit: &'a Permit,
    roles: &'a Roles,
    upstream: &'a Upstream,
    known: Option<&'a Known>,
    minter: &'a Minter,
    now: DateTime<Utc>,
}

/// The way of a request before it came to us.
#[derive(Default)]
struct Forwarded {
    hops: Option<String>,
    secure: bool,
}

/// Makes the request that leaves out of the request that came.
pub(crate) fn rewrite(
    request: &mut RequestHeader,
    journey: &Journey,
    minter: &Minter,
    now: DateTime<Utc>,
) -> Result<()> {
    let (upstream, permit) = journey.destination()?;
    let inbound =
        journey.inbound.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "nothing was read"))?;
    let roles = &journey.rules.policy.roles;
    let injection =
        Injection { inbound, permit, roles, upstream: &upstream, known: journey.known.as_deref(), minter, now };
    injection.target(request)?;
    let traceparent = inbound.request_id.traceparent(&request.headers).into_owned();
    let forwarded = injection.forwarded(&request.headers);
    strip(request, &journey.rules.reserved, permit.route().forward_credential);
    injection.forwarding(request, forwarded, &traceparent)?;
    injection.identify(request)
}

/// Removes every header that a client might speak in our name with, and the credential that was meant for us.
fn strip(request: &mut RequestHeader, reserved: &Reserved, forward_credential: bool) {
    let is_credential = |name: &HeaderName| *name == header::AUTHORIZATION || name.as_str() == "x-api-key";
    let dropped: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| {
            if is_credential(name) { !forward_credential } else { reserved.verdict(name.as_str()) == Verdict::Drop }
        })
        .cloned()
        .collect();
    for name in &dropped {
        request.remove_header(name);
    }
}

// === impl Injection ===

impl Injection<'_> {
    /// What was matched is what is sent: the normalised path, with the route's prefix rewritten.
    fn target(&self, request: &mut RequestHeader) -> Result<()> {
        let path = self.permit.route().forward_path(&self.inbound.path);
        if !self.inbound.path_changed && *path == *self.inbound.path {
            return Ok(());
        }
        let target = match request.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        let target = PathAndQuery::try_from(target).or_err(ErrorType::InternalError, "a normalised path is a path")?;
        request.set_uri(Uri::from(target));
        Ok(())
    }

    /// What a trusted proxy says of the way before it; from anybody else it counts for nothing.
    fn forwarded(&self, headers: &HeaderMap) -> Forwarded {
        if !self.inbound.via_trusted_proxy {
            return Forwarded::default();
        }
        let hops: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Forwarded { hops: (!hops.is_empty()).then(|| hops.join(", ")), secure }
    }

    /// Sets what every upstream is told of the way the request came.
    fn forwarding(&self, request: &mut RequestHeader, forwarded: Forwarded, traceparent: &str) -> Result<()> {
        let peer = self.inbound.peer;
        let hops = forwarded.hops.map_or_else(|| peer.to_string(), |hops| format!("{hops}, {peer}"));
        request.insert_header("X-Forwarded-For", hops)?;
        request.insert_header("X-Forwarded-Proto", if forwarded.secure { "https" } else { "http" })?;
        if !self.inbound.host.is_empty() {
            request.insert_header("X-Forwarded-Host", &*self.inbound.host)?;
        }
        request.insert_header("traceparent", traceparent)
    }

    /// Sets the identity headers that the upstream asked for.
    fn identify(&self, request: &mut RequestHeader) -> Result<()> {
        for wanted in &self.upstream.headers {
            if *wanted == IdentityHeader::XRequestId {
                request.insert_header("X-Request-Id", self.inbound.request_id.as_str())?;
            } else if let Some((name, value)) = self.known.and_then(|known| self.value_of(*wanted, known)) {
                request.insert_header(name, value)?;
            }
        }
        Ok(())
    }

    /// Name and value of one header, if there is something to say. Names and addresses may be UTF-8, which is opaque data
    /// to HTTP (RFC 9110 §5.5); they can hold no control character.
    fn value_of(&self, wanted: IdentityHeader, known: &Known) -> Option<(&'static str, HeaderValue)> {
        let principal = &*known.principal;
        let text = |name, text: &str| HeaderValue::from_bytes(text.as_bytes()).ok().map(|value| (name, value));
        match wanted {
            IdentityHeader::XUserId => text("X-User-Id", &principal.account.to_string()),
            IdentityHeader::XUserEmail => text("X-User-Email", &principal.email),
            IdentityHeader::XUserName => text("X-User-Name", principal.name.as_deref()?),
            IdentityHeader::XUserRole => text("X-User-Role", &principal.role),
            IdentityHeader::XUserPermissions => text("X-User-Permissions", &self.roles.held_by(principal).join(",")),
            IdentityHeader::XUserTier => text("X-User-Tier", &principal.tier),
            // Nobody has teams or domains yet; an empty list is said by an absent header.
            IdentityHeader::XUserTeams | IdentityHeader::XUserDomains | IdentityHeader::XRequestId => None,
            IdentityHeader::XTenantId => text("X-Tenant-Id", &principal.tenant?.to_string()),
            IdentityHeader::XAuthMethod => text("X-Auth-Method", principal.grant.method()),
            IdentityHeader::XSessionId => match principal.grant {
                Grant::Session(id) => text("X-Session-Id", &id.to_string()),
                Grant::Key(id) => text("X-Key-Id", &id.to_string()),
            },
            IdentityHeader::XGatewayAssertion => Some((
                "X-Gateway-Assertion",
                known.assertions.header(self.minter, principal, &self.upstream.name, self.now),
            )),
        }
    }
}
