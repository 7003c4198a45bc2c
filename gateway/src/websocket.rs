//! The opening handshake of a WebSocket (RFC 6455 §4): what a client may ask, what a backend may answer, what each is told.
//!
//! Only headers are read and written here. Who talks to whom is [`crate::tunnel`]'s.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use identity::{bearer_protocol, list_members};
use pingora::http::RequestHeader;
use policies::{Refusal, Route};

use crate::connection::head::is_token;

/// What the key is hashed with (RFC 6455 §1.3): nobody answers a handshake by accident.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");
/// Protocols that one request may offer: each is compared with all before it, and that before anybody has shown who they are. A head has
/// room for thousands; browsers offer what a page names, one or two.
const MOST_PROTOCOLS: usize = 32;

/// A well-formed request to become a WebSocket.
pub(crate) struct Handshake {
    /// What the backend must answer to the client's key.
    accept: String,
    /// Protocols that the backend may choose from: those offered, without the credential.
    offered: Vec<Box<[u8]>>,
    /// The protocol that is a credential, as it was offered.
    bearer: Option<HeaderValue>,
    offers_extensions: bool,
}

// === impl Handshake ===

impl Handshake {
    /// Does the request ask for a WebSocket, and may it on this route? A request that names the protocol without nominating
    /// `Upgrade`, or beside others, asks for none (RFC 9110 §7.8) and goes on without it.
    pub(crate) fn read(request: &RequestHeader, route: &Route) -> Result<Option<Self>, Refusal> {
        let headers = &request.headers;
        // Looked up for every request; nearly all end here.
        if !headers.contains_key(header::UPGRADE) || request.version != Version::HTTP_11 || !is_upgrade(headers) {
            return Ok(None);
        }
        if !route.websocket {
            return Err(Refusal::UpgradeNotAllowed);
        }
        if request.method != Method::GET {
            return Err(Refusal::Malformed("a WebSocket begins with GET"));
        }
        let has_length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_length || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Refusal::Malformed("a WebSocket begins without a body"));
        }
        if nominated(headers).any(|name| name.eq_ignore_ascii_case(b"host") || is_ours(name)) {
            return Err(Refusal::Malformed("Connection names what the handshake needs"));
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refusal::WebSocketVersion);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
        let key = key.ok_or(Refusal::Malformed("Sec-WebSocket-Key is not 16 bytes in base64"))?;
        let (offered, bearer) = offers(headers)?;
        let offers_extensions = headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
        Ok(Some(Self { accept: accept_of(key.as_bytes()), offered, bearer, offers_extensions }))
    }

    /// Makes the headers of the request to the backend ask for the WebSocket. To be called last, when what the client said
    /// of its own connection is gone.
    pub(crate) fn ask(headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, WEBSOCKET);
    }

    /// Is this 101 an answer to this handshake? Whatever else it may be, no tunnel is opened on it (Envoy CVE-2024-23326,
    /// Pingora CVE-2026-2833).
    pub(crate) fn is_accepted_by(&self, headers: &HeaderMap) -> bool {
        let accept = only(headers, &header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == *self.accept);
        let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let protocol = match (chosen.next(), chosen.next()) {
            (None, _) => true,
            (Some(one), None) => self.offered.iter().any(|offered| **offered == *one.as_bytes()),
            (Some(_), Some(_)) => false,
        };
        let extensions = self.offers_extensions || !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
        accept && protocol && extensions && is_upgrade(headers)
    }

    /// Makes the headers of an accepted answer those that the client is sent.
    ///
    /// A browser that offered protocols gives up unless one of them is chosen (WHATWG WebSockets, "establish a WebSocket
    /// connection"; RFC 6455 §4.2.2 alone would let the field be absent). If the backend chose none, the one that is left is
    /// the one that was meant for us; it goes back to nobody but whom it came from.
    pub(crate) fn answer(&self, headers: &mut HeaderMap) {
        hop_by_hop(headers);
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(crate::answer::ASSERTION);
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, WEBSOCKET);
        if let Some(bearer) = &self.bearer
            && !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, bearer.clone());
        }
    }
}

/// What is said of one connection and not of the message (RFC 9110 §7.6.1), beside how a body is framed.
static OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Is the field known to belong to one connection?
pub(crate) fn is_of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(name)
}

/// The fields that belong to one connection: those that `Connection` names, and the known ones.
pub(crate) fn of_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = nominated(headers).filter_map(|name| HeaderName::from_bytes(name).ok());
    named.chain(OF_CONNECTION.iter().cloned()).collect()
}

/// Removes what belongs to one connection, and how a body is framed on it.
pub(crate) fn hop_by_hop(headers: &mut HeaderMap) {
    for name in of_connection(headers).into_iter().chain([header::TRAILER, header::TRANSFER_ENCODING]) {
        headers.remove(name);
    }
}

/// Leaves of the protocols that a request offers those that are protocols, and no credential.
pub(crate) fn without_bearer(headers: &mut HeaderMap) {
    let offered = members(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let kept: Vec<&[u8]> = offered.filter(|member| is_token(member) && bearer_protocol(member).is_none()).collect();
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept)),
        _ => drop(headers.remove(header::SEC_WEBSOCKET_PROTOCOL)),
    }
}

type Offers = (Vec<Box<[u8]>>, Option<HeaderValue>);

/// The protocols that are offered, and the credential among them. That there is one credential at most has been seen to.
fn offers(headers: &HeaderMap) -> Result<Offers, Refusal> {
    let (mut offered, mut bearer) = (Vec::<Box<[u8]>>::new(), None);
    for member in members(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        if !is_token(member) || offered.iter().any(|other| **other == *member) {
            return Err(Refusal::Malformed("Sec-WebSocket-Protocol is not a list of different names"));
        }
        if bearer_protocol(member).is_some() {
            bearer = HeaderValue::from_bytes(member).ok();
        } else if offered.len() == MOST_PROTOCOLS {
            return Err(Refusal::Malformed("Sec-WebSocket-Protocol has more than 32 names"));
        } else {
            offered.push(member.into());
        }
    }
    Ok((offered, bearer))
}

/// `Upgrade: websocket` and nothing else, nominated by `Connection`.
fn is_upgrade(headers: &HeaderMap) -> bool {
    only(headers, &header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && nominated(headers).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
}

/// What `Connection` names, in all its lines.
pub(crate) fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    members(headers, &header::CONNECTION)
}

fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().flat_map(|value| list_members(value.as_bytes()))
}

/// The value of a field that must stand there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_ours(name: &[u8]) -> bool {
    name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case(b"sec-websocket-"))
}

fn is_key(key: &HeaderValue) -> bool {
    BASE64_STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

fn accept_of(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.finish())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn route(websocket: bool) -> Route {
        Route { websocket, ..Route::new("r", "u", Vec::new()) }
    }

    fn request(method: &str, fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    /// The example of RFC 6455 §1.3.
    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn shake(fields: &[(&'static str, &'static str)]) -> Handshake {
        Handshake::read(&request("GET", &[&GOOD[..], fields].concat()), &route(true)).unwrap().unwrap()
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        request("GET", fields).headers.clone()
    }

    const ACCEPTED: [(&str, &str); 3] =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];

    #[test]
    fn what_asks_for_no_websocket_goes_on_as_it_is() {
        for fields in [
            &[][..],
            &[("upgrade", "websocket")],
            &[("upgrade", "h2c"), ("connection", "upgrade")],
            &[("upgrade", "websocket, h2c"), ("connection", "upgrade")],
            &[("upgrade", "websocket"), ("upgrade", "h2c"), ("connection", "upgrade")],
        ] {
            assert!(matches!(Handshake::read(&request("GET", fields), &route(true)), Ok(None)), "{fields:?}");
        }
        let mut old = request("GET", &GOOD);
        old.set_version(Version::HTTP_10);
        assert!(matches!(Handshake::read(&old, &route(true)), Ok(None)));
    }

    #[test]
    fn a_faulty_handshake_is_refused_with_what_is_wrong() {
        let refused = |method: &str, change: &[(&'static str, &'static str)]| {
            let kept = GOOD.iter().filter(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
            let fields: Vec<_> = kept.chain(change).copied().filter(|(_, value)| !value.is_empty()).collect();
            Handshake::read(&request(method, &fields), &route(true)).err().map(|refusal| refusal.code())
        };
        assert_eq!(refused("GET", &[]), None);
        for (method, change, code) in [
            ("POST", &[("x", "y")][..], "malformed"),
            ("GET", &[("content-length", "3")], "malformed"),
            ("GET", &[("transfer-encoding", "chunked")], "malformed"),
            ("GET", &[("sec-websocket-key", "")], "malformed"),
            ("GET", &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j")], "malformed"),
            ("GET", &[("sec-websocket-key", "not base64")], "malformed"),
            ("GET", &[("sec-websocket-version", "")], "websocket_version"),
            ("GET", &[("sec-websocket-version", "8")], "websocket_version"),
            ("GET", &[("sec-websocket-version", "13"), ("sec-websocket-version", "13")], "websocket_version"),
            ("GET", &[("connection", "upgrade, Sec-WebSocket-Key")], "malformed"),
            ("GET", &[("connection", "upgrade, host")], "malformed"),
            ("GET", &[("sec-websocket-protocol", "a, a")], "malformed"),
            ("GET", &[("sec-websocket-protocol", "a,,b")], "malformed"),
            ("GET", &[("sec-websocket-protocol", "\"bearer.x\"")], "malformed"),
        ] {
            assert_eq!(refused(method, change), Some(code), "{method} {change:?}");
        }
        let closed = Handshake::read(&request("GET", &GOOD), &route(false)).err();
        assert_eq!(closed, Some(Refusal::UpgradeNotAllowed));
    }

    #[test]
    fn nobody_makes_the_door_compare_thousands_of_protocols() {
        // So many names and the first one again, which is not looked at when there are too many before it.
        let read = |names: usize| {
            let mut request = request("GET", &GOOD);
            let offered: Vec<_> = (0..names).map(|name| format!("p{name}")).collect();
            for half in offered.chunks(names.div_ceil(2)) {
                request.append_header("sec-websocket-protocol", half.join(",")).unwrap();
            }
            request.append_header("sec-websocket-protocol", "p0").unwrap();
            Handshake::read(&request, &route(true)).err()
        };
        let twice = Some(Refusal::Malformed("Sec-WebSocket-Protocol is not a list of different names"));
        let too_many = Some(Refusal::Malformed("Sec-WebSocket-Protocol has more than 32 names"));
        assert_eq!([32, 33, 9600].map(read), [twice, too_many.clone(), too_many]);
        let most: Vec<_> = (0..32).map(|name| format!("p{name}")).collect();
        let mut all = request("GET", &GOOD);
        all.append_header("sec-websocket-protocol", most.join(", ") + ", bearer.secret").unwrap();
        assert_eq!(Handshake::read(&all, &route(true)).unwrap().unwrap().offered.len(), 32);
    }

    #[test]
    fn a_backend_is_asked_for_a_websocket_and_nothing_else() {
        let mut asked = headers(&[("connection", "close"), ("upgrade", "h2c"), ("accept", "a")]);
        Handshake::ask(&mut asked);
        assert_eq!(asked, headers(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("accept", "a")]));
    }

    #[test]
    fn only_the_answer_to_this_handshake_opens_it() {
        let handshake = shake(&[("sec-websocket-protocol", "chat, bearer.secret"), ("sec-websocket-protocol", "v2")]);
        assert!(handshake.is_accepted_by(&headers(&ACCEPTED)));
        assert!(handshake.is_accepted_by(&headers(&[&ACCEPTED[..], &[("sec-websocket-protocol", "v2")]].concat())));
        for more in [
            ("sec-websocket-protocol", "other"),
            ("sec-websocket-protocol", "bearer.secret"),
            ("sec-websocket-protocol", "chat, v2"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("upgrade", "websocket"),
        ] {
            assert!(!handshake.is_accepted_by(&headers(&[&ACCEPTED[..], &[more]].concat())), "{more:?}");
        }
        for (left_out, _) in ACCEPTED {
            let fields: Vec<_> = ACCEPTED.into_iter().filter(|(name, _)| *name != left_out).collect();
            assert!(!handshake.is_accepted_by(&headers(&fields)), "{left_out}");
        }
        let forged = [ACCEPTED[0], ACCEPTED[1], ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
        assert!(!handshake.is_accepted_by(&headers(&forged)));
    }

    #[test]
    fn the_client_is_told_what_the_backend_chose_or_else_the_protocol_that_was_ours() {
        let told = |offered, chosen: &[(&'static str, &'static str)]| {
            let mut headers = headers(&[&ACCEPTED[..], chosen, &[("connection", "x-hop"), ("x-hop", "1")]].concat());
            shake(offered).answer(&mut headers);
            assert!(!headers.contains_key("x-hop"));
            headers.remove("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned())
        };
        let both = &[("sec-websocket-protocol", "chat, bearer.secret")];
        assert_eq!(told(both, &[("sec-websocket-protocol", "chat")]).as_deref(), Some("chat"));
        assert_eq!(told(both, &[]).as_deref(), Some("bearer.secret"));
        assert_eq!(told(&[("sec-websocket-protocol", "chat")], &[]), None);
    }

    #[test]
    fn no_spelling_of_the_credential_is_passed_on() {
        for (offered, kept) in [
            ("chat, bearer.secret, v2", Some("chat, v2")),
            ("BEARER.secret", None),
            ("bearer.a, Bearer.b,\tbearer.c", None),
            ("\"bearer.secret\", chat", Some("chat")),
        ] {
            let mut headers = headers(&[("sec-websocket-protocol", offered)]);
            without_bearer(&mut headers);
            let left = headers.get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
            assert_eq!(left, kept, "{offered}");
        }
    }
}
