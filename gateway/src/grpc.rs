//! gRPC: what its clients are told when the door says no.
//!
//! A gRPC client looks at `grpc-status` and at no HTTP status. A refusal is an answer without a message, its status in the
//! only block of headers ("Trailers-Only" of the protocol's description); a call that ends after it has begun gets it in
//! its trailers.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
    protocols::http::{HttpTask, ServerSession},
    proxy::Session,
};
use policies::Refusal;

use crate::{answer, journey::Journey};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The codes of gRPC that the door says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Is this a call by gRPC itself? That is a POST over HTTP/2 and nothing else, whatever its type says: who speaks HTTP/1 reads
/// a status. `application/grpc-web` is plain HTTP, and reads plain answers.
pub(crate) fn is_call(request: &RequestHeader) -> bool {
    if request.version != Version::HTTP_2 || request.method != Method::POST {
        return false;
    }
    let kind = request.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.split_at_checked(16).is_some_and(|(grpc, rest)| {
        grpc.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// Answers a call with a refusal and nothing else.
pub(crate) async fn refuse(session: &mut ServerSession, refusal: &Refusal, journey: &Journey) -> Result<()> {
    let mut response = ResponseHeader::build(200, Some(12))?;
    response.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    for (name, value) in told(refusal) {
        response.insert_header(name, value)?;
    }
    answer::dress(&mut response, journey.readers(session.req_header()), journey);
    // Only as a task can a header be the last of a stream.
    let whole = vec![HttpTask::Header(Box::new(response), true)];
    session.response_duplex_vec(whole).await.map(drop)
}

/// Ends a call that has been answered in part.
pub(crate) async fn end(session: &mut Session, refusal: &Refusal) -> Result<()> {
    session.downstream_session.write_response_trailers(HeaderMap::from_iter(told(refusal))).await
}

/// The metadata of a refusal.
fn told(refusal: &Refusal) -> Vec<(HeaderName, HeaderValue)> {
    let status = (GRPC_STATUS, HeaderValue::from(status_of(refusal) as u16));
    let message = HeaderValue::try_from(percent_encoded(&refusal.detail())).ok().map(|text| (GRPC_MESSAGE, text));
    let retry_after = refusal.retry_after().map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds)));
    std::iter::once(status).chain(message).chain(retry_after).collect()
}

/// One code per refusal. Where HTTP's status says enough, it is the code that gRPC itself reads from it ("HTTP to gRPC
/// Status Code Mapping"); what a client of the platform can act on has its own.
fn status_of(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Malformed(_)
        | Refusal::UriTooLong
        | Refusal::HeadersTooLarge
        | Refusal::ExpectationFailed
        | Refusal::WebSocketVersion
        | Refusal::AmbiguousCredentials => Status::InvalidArgument,
        Refusal::NoRoute | Refusal::MethodNotAllowed { .. } => Status::Unimplemented,
        Refusal::NotFound => Status::NotFound,
        Refusal::MissingCredential(_)
        | Refusal::UnsupportedCredential
        | Refusal::InvalidToken
        | Refusal::Expired
        | Refusal::Revoked
        | Refusal::InsufficientAuthentication(_) => Status::Unauthenticated,
        Refusal::CorsRefused(_)
        | Refusal::Csrf(_)
        | Refusal::UpgradeNotAllowed
        | Refusal::AccountDisabled
        | Refusal::TenantDisabled
        | Refusal::UnknownAccount
        | Refusal::IntegrationMissing { .. }
        | Refusal::Forbidden { .. } => Status::PermissionDenied,
        Refusal::BodyTooLarge { .. }
        | Refusal::TooManyRefusals { .. }
        | Refusal::RateLimited { .. }
        | Refusal::TooManyConcurrent { .. } => Status::ResourceExhausted,
        Refusal::DirectoryUnavailable
        | Refusal::IssuerUnavailable
        | Refusal::IntegrationUnreadable { .. }
        | Refusal::LimiterUnavailable { .. }
        | Refusal::UpstreamConnect
        | Refusal::UpstreamTimeout
        | Refusal::UpstreamClosed
        | Refusal::UpstreamInvalid
        | Refusal::UpstreamUnavailable
        | Refusal::UpstreamCircuitOpen { .. }
        | Refusal::Overloaded
        | Refusal::ShuttingDown => Status::Unavailable,
        Refusal::RequestTimeout => Status::DeadlineExceeded,
        Refusal::Internal => Status::Internal,
    }
}

/// `Status-Message` of the protocol's description: printable ASCII without `%`, everything else as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use policies::Auth;

    use super::*;

    fn asking(method: Method, version: Version, kind: &str) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).expect("a request");
        request.set_version(version);
        request.insert_header(header::CONTENT_TYPE, kind).expect("a type");
        request
    }

    #[test]
    fn only_grpc_itself_is_a_call() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
        ] {
            let mut request = asking(Method::POST, Version::HTTP_2, kind);
            assert_eq!(is_call(&request), is, "{kind}");
            request.remove_header(&header::CONTENT_TYPE);
            assert!(!is_call(&request));
        }
        assert!(!is_call(&asking(Method::GET, Version::HTTP_2, "application/grpc")));
        assert!(!is_call(&asking(Method::POST, Version::HTTP_11, "application/grpc")));
    }

    #[test]
    fn a_message_is_printable() {
        assert_eq!(percent_encoded("50 % of ü\n"), "50 %25 of %C3%BC%0A");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_grpc() {
        let limited =
            Refusal::RateLimited { limit: "free".into(), retry_after: std::time::Duration::from_millis(1500) };
        let told = HeaderMap::from_iter(told(&limited));
        assert_eq!(told["grpc-status"], "8");
        assert_eq!(told["grpc-message"], "The quota free is used up; try again in 2 seconds.");
        assert_eq!(told["retry-after"], "2");
        for (refusal, status) in [
            (Refusal::MissingCredential(Auth::Required), 16),
            (Refusal::Forbidden { missing: String::new() }, 7),
            (Refusal::UpstreamConnect, 14),
            (Refusal::NoRoute, 12),
            (Refusal::Malformed(""), 3),
            (Refusal::Internal, 13),
        ] {
            assert_eq!(status_of(&refusal) as u8, status, "{refusal:?}");
        }
    }
}
