//! Every refusal once, as it is sent.

use std::collections::BTreeSet;

use super::*;
use crate::{NoMatch, path::PathError};

const STEP_UP: StepUp = StepUp { acr: Some(identity::Assurance::Multi), max_age: Some(Duration::from_mins(5)) };

/// The variant after this one. A new variant does not compile until it has a place, and so a line in the snapshot.
fn after(refusal: &Refusal) -> Option<Refusal> {
    let free = || Arc::from("free-user-minute");
    Some(match refusal {
        Refusal::Malformed(_) => Refusal::UriTooLong,
        Refusal::UriTooLong => Refusal::HeadersTooLarge,
        Refusal::HeadersTooLarge => Refusal::BodyTooLarge { limit: 1024 },
        Refusal::BodyTooLarge { .. } => Refusal::RequestTimeout,
        Refusal::RequestTimeout => Refusal::ExpectationFailed,
        Refusal::ExpectationFailed => Refusal::NoRoute,
        Refusal::NoRoute => Refusal::NotFound,
        Refusal::NotFound => Refusal::MethodNotAllowed { allow: Methods::ALL },
        Refusal::MethodNotAllowed { .. } => Refusal::CorsRefused(CorsPart::Origin),
        Refusal::CorsRefused(CorsPart::Origin) => Refusal::CorsRefused(CorsPart::Method),
        Refusal::CorsRefused(CorsPart::Method) => Refusal::CorsRefused(CorsPart::Header),
        Refusal::CorsRefused(CorsPart::Header) => Refusal::Csrf(CsrfPart::Origin),
        Refusal::Csrf(CsrfPart::Origin) => Refusal::Csrf(CsrfPart::Token),
        Refusal::Csrf(CsrfPart::Token) => Refusal::UpgradeNotAllowed,
        Refusal::UpgradeNotAllowed => Refusal::WebSocketVersion,
        Refusal::WebSocketVersion => Refusal::AmbiguousCredentials,
        Refusal::AmbiguousCredentials => Refusal::MissingCredential(Auth::Required),
        Refusal::MissingCredential(Auth::Required) => Refusal::MissingCredential(Auth::Mtls),
        Refusal::MissingCredential(_) => Refusal::UnsupportedCredential,
        Refusal::UnsupportedCredential => Refusal::InvalidToken,
        Refusal::InvalidToken => Refusal::Expired,
        Refusal::Expired => Refusal::Revoked,
        Refusal::Revoked => Refusal::InsufficientAuthentication(STEP_UP),
        Refusal::InsufficientAuthentication(_) => Refusal::AccountDisabled,
        Refusal::AccountDisabled => Refusal::TenantDisabled,
        Refusal::TenantDisabled => Refusal::UnknownAccount,
        Refusal::UnknownAccount => Refusal::TooManyRefusals { retry_after: Duration::from_millis(1500) },
        Refusal::TooManyRefusals { .. } => Refusal::DirectoryUnavailable,
        Refusal::DirectoryUnavailable => Refusal::IssuerUnavailable,
        Refusal::IssuerUnavailable => Refusal::Forbidden { missing: "role admin".to_owned() },
        Refusal::Forbidden { .. } => Refusal::IntegrationMissing { service: "openai".into() },
        Refusal::IntegrationMissing { .. } => Refusal::IntegrationUnreadable { service: "openai".into() },
        Refusal::IntegrationUnreadable { .. } => Refusal::RateLimited { limit: free(), retry_after: Duration::ZERO },
        Refusal::RateLimited { .. } => Refusal::TooManyConcurrent { limit: free() },
        Refusal::TooManyConcurrent { .. } => Refusal::LimiterUnavailable { retry_after: None },
        Refusal::LimiterUnavailable { .. } => Refusal::UpstreamConnect,
        Refusal::UpstreamConnect => Refusal::UpstreamTimeout,
        Refusal::UpstreamTimeout => Refusal::UpstreamClosed,
        Refusal::UpstreamClosed => Refusal::UpstreamInvalid,
        Refusal::UpstreamInvalid => Refusal::UpstreamUnavailable,
        Refusal::UpstreamUnavailable => Refusal::UpstreamCircuitOpen { retry_after: Duration::from_millis(1500) },
        Refusal::UpstreamCircuitOpen { .. } => Refusal::Overloaded,
        Refusal::Overloaded => Refusal::ShuttingDown,
        Refusal::ShuttingDown => Refusal::Internal,
        Refusal::Internal => return None,
    })
}

fn every() -> impl Iterator<Item = Refusal> {
    std::iter::successors(Some(Refusal::Malformed("the path holds a `;`")), after)
}

#[test]
fn who_comes_before_the_limits_are_counted_again_is_told_when_they_will_be() {
    let refusal = |retry_after| Refusal::LimiterUnavailable { retry_after }.retry_after();
    assert_eq!(refusal(Some(Duration::from_millis(3_600_001))), Some(3601));
    assert_eq!(refusal(None), Some(5));
}

#[test]
fn every_refusal_says_what_it_says() {
    let line = |refusal: Refusal| {
        let retry = refusal.retry_after().map(|seconds| format!(" [retry after {seconds}]")).unwrap_or_default();
        format!("{} {} | {} | {}{retry}", refusal.status(), refusal.code(), refusal.title(), refusal.detail())
    };
    let table = every().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @r"
    400 malformed | Malformed request | The request is ambiguous or malformed: the path holds a `;`.
    414 uri_too_long | URI too long | The path and query are too long.
    431 headers_too_large | Header fields too large | The header fields are too large.
    413 body_too_large | Body too large | The body may hold at most 1024 bytes here.
    408 request_timeout | Request timed out | The request came too slowly; send it again on a new connection.
    417 expectation_failed | Expectation failed | Nothing but `Expect: 100-continue` is understood.
    404 no_route | Not found | Nothing is exposed at this host and path.
    404 not_found | Not found | There is no such thing here, or it is not the caller's.
    405 method_not_allowed | Method not allowed | This path takes GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS.
    403 cors_refused | Cross-origin request refused | Pages of this origin may not call this path.
    403 cors_refused | Cross-origin request refused | Pages of other origins may not use this method here.
    403 cors_refused | Cross-origin request refused | Pages of other origins may not send one of these headers here.
    403 csrf | Cross-site request refused | A cookie or certificate alone is not enough: a page of this host has to send the request.
    403 csrf | Cross-site request refused | A cookie alone is not enough: show the session's token in X-CSRF-Token.
    403 upgrade_not_allowed | Upgrade not allowed | WebSockets are not allowed on this path.
    426 websocket_version | WebSocket version not supported | Only version 13 of the WebSocket protocol is spoken here.
    400 ambiguous_credentials | Ambiguous credentials | Send exactly one credential: Authorization, X-API-Key, the session cookie or the WebSocket protocol `bearer.<token>`, once.
    401 missing_credential | Credential required | Send `Authorization: Bearer <access token or API key>` or `X-API-Key: <API key>`.
    401 missing_credential | Credential required | Show a client certificate that this gateway knows; nothing else counts here.
    401 unsupported_credential | Unsupported credential | The Authorization scheme is not supported; use Bearer.
    401 invalid_token | Invalid credential | The credential is not valid here; log in again or check the API key.
    401 expired | Expired credential | The credential has expired; refresh it or log in again.
    401 revoked | Revoked credential | The credential was revoked; log in again or use another key.
    401 insufficient_user_authentication | Stronger authentication required | This needs a session with a second factor, whose owner has shown who they are within 300 seconds.
    403 account_disabled | Account disabled | This account is disabled; ask an administrator.
    403 tenant_disabled | Tenant disabled | The organisation in which you act is disabled; log in again to act in another one of yours, or ask an administrator.
    403 unknown_account | Unknown account | Your account at the issuer of this credential is none here, or not in the organisation that it names; ask an administrator, or sign in here first.
    429 too_many_refusals | Too many bad credentials | Too many bad credentials came from this address; try again in 2 seconds. [retry after 2]
    503 directory_unavailable | Accounts unavailable | Accounts cannot be looked up right now; nothing is wrong with the credential. [retry after 5]
    503 issuer_unavailable | Issuer unavailable | The issuer of this credential cannot be asked for its keys right now; nothing is wrong with the credential. [retry after 5]
    403 forbidden | Forbidden | This needs role admin.
    403 integration_missing | Integration missing | This needs a key for openai: give one at POST /integrations, or ask your tenant's administrator.
    503 integration_unreadable | Integration unreadable | The key for openai that is kept here cannot be used; give it again at PATCH /integrations/{id}.
    429 rate_limited | Too many requests | The quota free-user-minute is used up; try again in 1 second. [retry after 1]
    429 concurrency_limited | Too many concurrent requests | As many requests as free-user-minute allows are in flight; wait for one to end. [retry after 1]
    503 limiter_unavailable | Limits unavailable | Quotas cannot be counted right now. [retry after 5]
    502 upstream_unreachable | Upstream unreachable | The service behind this path cannot be reached.
    504 upstream_timeout | Upstream timed out | The service behind this path did not answer in time.
    502 upstream_closed | Upstream closed the connection | The service behind this path closed the connection before it answered.
    502 upstream_invalid | Invalid upstream response | The service behind this path sent an answer that is not valid HTTP.
    503 upstream_unavailable | Upstream unavailable | The service behind this path is not healthy right now. [retry after 2]
    503 upstream_circuit_open | Upstream left alone | The service behind this path has failed too often; try again in 2 seconds. [retry after 2]
    503 overloaded | Overloaded | This gateway is too busy; try again. [retry after 1]
    503 shutting_down | Shutting down | This gateway is shutting down; try again. [retry after 1]
    500 internal | Internal error | Something went wrong here; the request id helps to find it.
    ");
}

#[test]
fn the_codes_are_all_listed() {
    let codes: BTreeSet<_> = every().map(|refusal| refusal.code()).collect();
    assert_eq!(codes, Refusal::CODES.into_iter().collect());
}

#[test]
fn the_reference_for_operators_has_every_code_with_its_status() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let text = std::fs::read_to_string(path).expect("the reference");
    for refusal in every() {
        let row = format!("\n| `{}` | {} | ", refusal.code(), refusal.status());
        assert_eq!(text.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn what_refuses_a_path_or_a_route_becomes_a_refusal() {
    assert_eq!(Refusal::from(PathError::DotSegment).code(), "malformed");
    assert_eq!(Refusal::from(NoMatch::NotFound), Refusal::NoRoute);
    let allow = Methods::NONE;
    assert_eq!(Refusal::from(NoMatch::MethodNotAllowed { allow }), Refusal::MethodNotAllowed { allow });
}
