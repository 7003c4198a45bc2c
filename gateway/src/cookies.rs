//! The session cookie at the door: found among what a browser sends, backed by a page of this host, and kept from upstreams.
//!
//! What the cookie proves is [`crate::directory`]'s to find out.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use identity::{CookieNames, SessionCookie, cookie_pairs};
use pingora::http::RequestHeader;
use policies::{Csrf, Refusal, Route, Said, Sent, csrf::is_safe, refusal::CsrfPart};

use crate::inbound::Inbound;

const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The values of the session cookie. Who sends no cookies pays for one look-up of a field that is not there.
pub(crate) fn shown(headers: &HeaderMap, names: CookieNames) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| cookie_pairs(field.as_bytes()));
    pairs.filter(move |(name, _)| *name == names.session.as_bytes()).map(|(_, value)| value)
}

/// Removes our cookies that are not for whom the request goes to, under every name that they have anywhere; others pass as they are.
/// Those that a browser is known by, and that wait for an owner's word, are the account service's alone.
pub(crate) fn strip(headers: &mut HeaderMap, forward_credential: bool, is_for_office: bool) {
    let is_dropped = |name: &[u8]| {
        if CookieNames::are_credentials(name) {
            !forward_credential
        } else {
            !is_for_office && CookieNames::are_ours(name)
        }
    };
    let pairs = || headers.get_all(header::COOKIE).iter().flat_map(|field| cookie_pairs(field.as_bytes()));
    if !pairs().any(|(name, _)| is_dropped(name)) {
        return;
    }
    let others = headers.get_all(header::COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let kept: Vec<&[u8]> = others
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !cookie_pairs(pair).any(|(name, _)| is_dropped(name)))
        .collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|kept| !kept.is_empty());
    match kept {
        Some(kept) => drop(headers.insert(header::COOKIE, kept)),
        None => drop(headers.remove(header::COOKIE)),
    }
}

/// Removes the token that goes with the session's cookie from what came with that cookie, as the cookie itself. Where the upstream sees to its
/// own forms, the field is the upstream's.
pub(crate) fn strip_token(headers: &mut HeaderMap, route: &Route) {
    if route.csrf == Csrf::Token && !route.forward_credential {
        headers.remove(X_CSRF_TOKEN);
    }
}

/// Removes our cookies from what an upstream gives a browser: it could put its visitors into a session of its choice.
pub(crate) fn keep_to_ourselves(answer: &mut HeaderMap) {
    let is_ours = |set: &HeaderValue| {
        let mut parts = set.as_bytes().split(|byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        // One without a name is sent back as its value alone, which then reads as a name and a value (RFC 6265bis §5.7).
        CookieNames::are_ours(if name.is_empty() { parts.next().unwrap_or_default() } else { name })
    };
    if !answer.get_all(header::SET_COOKIE).iter().any(is_ours) {
        return;
    }
    let kept: Vec<HeaderValue> =
        answer.get_all(header::SET_COOKIE).iter().filter(|set| !is_ours(set)).cloned().collect();
    answer.remove(header::SET_COOKIE);
    for set in kept {
        answer.append(header::SET_COOKIE, set);
    }
}

/// A cookie has come along: was the request meant by whoever uses the browser? It is asked of what may change something, and of
/// WebSockets, which pages of any origin may open and read.
pub(crate) fn check(
    request: &RequestHeader,
    inbound: &Inbound,
    route: &Route,
    is_websocket: bool,
    cookie: &str,
) -> Result<(), Refusal> {
    if !is_websocket && is_safe(inbound.method.as_str()) {
        return Ok(());
    }
    check_page(&sent(request, inbound), route, is_websocket)?;
    if is_websocket {
        return Ok(());
    }
    let token = values(&request.headers, X_CSRF_TOKEN);
    let goes_with = |token: &[u8]| SessionCookie::parse(cookie).is_ok_and(|cookie| cookie.goes_with(token));
    match (route.csrf, token) {
        (Csrf::Origin, _) => Ok(()),
        (Csrf::Token, Said::Once(token)) if goes_with(token) => Ok(()),
        (Csrf::Token, _) => Err(Refusal::Csrf(CsrfPart::Token)),
    }
}

/// A client certificate has come along, which a browser that has one shows by itself as it does a cookie. Programs, for which it is meant, say
/// nothing of where they are from; browsers do with whatever is asked about here ([`policies::csrf`]), so who says nothing is none.
pub(crate) fn check_certificate(
    request: &RequestHeader,
    inbound: &Inbound,
    route: &Route,
    is_websocket: bool,
) -> Result<(), Refusal> {
    let sent = sent(request, inbound);
    let is_by_program = matches!((sent.site, sent.origin), (Said::Not, Said::Not));
    if is_by_program || !is_websocket && is_safe(inbound.method.as_str()) {
        return Ok(());
    }
    check_page(&sent, route, is_websocket)
}

/// Is it from a page that may send it?
fn check_page(sent: &Sent<'_>, route: &Route, is_websocket: bool) -> Result<(), Refusal> {
    let trusts = |origin| route.cors.as_ref().is_some_and(|cors| cors.trusts(origin));
    let is_meant = if is_websocket {
        sent.origin_is_here() || matches!(sent.origin, Said::Once(origin) if trusts(origin))
    } else {
        sent.is_from_here()
    };
    if is_meant { Ok(()) } else { Err(Refusal::Csrf(CsrfPart::Origin)) }
}

fn sent<'a>(request: &'a RequestHeader, inbound: &Inbound) -> Sent<'a> {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 names it elsewhere.
    let host = host.or(request.uri.authority().map(http::uri::Authority::as_str));
    Sent {
        site: values(&request.headers, SEC_FETCH_SITE),
        origin: values(&request.headers, header::ORIGIN),
        is_secure: inbound.is_secure,
        host: host.unwrap_or_default(),
    }
}

fn values(headers: &HeaderMap, name: HeaderName) -> Said<'_> {
    Said::of(headers.get_all(name).iter().map(HeaderValue::as_bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use policies::{Cors, Methods};
    use rand::{SeedableRng, rngs::StdRng};
    use uuid::Uuid;

    use super::*;
    use crate::inbound::RequestId;

    /// What is said of a request to `https://a.test` on a cookie, whose token stands for `TOKEN`.
    fn said(method: &str, fields: &[(&'static str, &str)], is_websocket: bool, route: &Route) -> Result<(), Refusal> {
        let cookie = SessionCookie::generate(Uuid::nil().into(), &mut StdRng::seed_from_u64(1));
        let token = cookie.csrf_token();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.replace("TOKEN", &token))).collect();
        let (request, inbound) = asked(method, &fields);
        check(&request, &inbound, route, is_websocket, cookie.expose())
    }

    /// A request to `https://a.test`.
    fn asked(method: &str, fields: &[(&'static str, String)]) -> (RequestHeader, Inbound) {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, value).unwrap();
        }
        let inbound = Inbound {
            request_id: RequestId::of(1),
            client: Ipv4Addr::LOCALHOST.into(),
            is_client_known: true,
            peer: Ipv4Addr::LOCALHOST.into(),
            via_trusted_proxy: false,
            is_secure: true,
            method: request.method.clone(),
            host: "a.test".into(),
            path: "/".into(),
            path_changed: false,
        };
        (request, inbound)
    }

    const HOST: (&str, &str) = ("host", "a.test");
    const HERE: (&str, &str) = ("origin", "https://a.test");
    const ELSEWHERE: (&str, &str) = ("origin", "https://b.test");
    const TOKEN: (&str, &str) = ("x-csrf-token", "TOKEN");
    const NO_ORIGIN: Result<(), Refusal> = Err(Refusal::Csrf(CsrfPart::Origin));
    const NO_TOKEN: Result<(), Refusal> = Err(Refusal::Csrf(CsrfPart::Token));

    #[test]
    fn what_may_change_something_comes_from_here_with_the_sessions_token() {
        let wants = |csrf| Route { csrf, ..Route::new("r", "u", Vec::new()) };
        let (by_token, by_origin) = (wants(Csrf::Token), wants(Csrf::Origin));
        assert_eq!(said("GET", &[HOST, ELSEWHERE], false, &by_token), Ok(()), "changes nothing");
        for (fields, with_token, with_origin) in [
            (&[HOST, HERE, TOKEN][..], Ok(()), Ok(())),
            (&[HOST, ("sec-fetch-site", "same-origin"), TOKEN], Ok(()), Ok(())),
            (&[HOST, HERE], NO_TOKEN, Ok(())),
            (&[HOST, HERE, ("x-csrf-token", "other")], NO_TOKEN, Ok(())),
            (&[HOST, HERE, TOKEN, TOKEN], NO_TOKEN, Ok(())),
            (&[HOST, ELSEWHERE, TOKEN], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, HERE, ("sec-fetch-site", "cross-site"), TOKEN], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, TOKEN], NO_ORIGIN, NO_ORIGIN),
            (&[HERE, TOKEN], NO_ORIGIN, NO_ORIGIN),
        ] {
            assert_eq!(said("POST", fields, false, &by_token), with_token, "{fields:?}");
            assert_eq!(said("POST", fields, false, &by_origin), with_origin, "{fields:?}");
        }
    }

    #[test]
    fn a_websocket_is_opened_by_pages_of_this_host_and_of_those_whom_the_route_trusts() {
        let trusting = |credentials| {
            let cors = Cors::new(["https://b.test"], Methods::ALL, [], credentials, Duration::ZERO).unwrap();
            Route { cors: Some(cors), ..Route::new("r", "u", Vec::new()) }
        };
        let (trusts, reads, alone) = (trusting(true), trusting(false), Route::new("r", "u", Vec::new()));
        for (fields, by_trusting, by_others) in [
            (&[HOST, HERE][..], Ok(()), Ok(())),
            (&[HOST, ELSEWHERE], Ok(()), NO_ORIGIN),
            (&[HOST, ("origin", "https://c.test")], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, HERE, ELSEWHERE], NO_ORIGIN, NO_ORIGIN),
            (&[HOST], NO_ORIGIN, NO_ORIGIN),
        ] {
            assert_eq!(said("GET", fields, true, &trusts), by_trusting, "{fields:?}");
            assert_eq!(said("GET", fields, true, &reads), by_others, "{fields:?}");
            assert_eq!(said("GET", fields, true, &alone), by_others, "{fields:?}");
        }
    }

    #[test]
    fn a_certificate_is_taken_from_programs_and_from_pages_of_this_host() {
        let cors = Cors::new(["https://b.test"], Methods::ALL, [], true, Duration::ZERO).unwrap();
        let trusting = Route { cors: Some(cors), ..Route::new("r", "u", Vec::new()) };
        let said = |method, fields: &[(&'static str, &str)], is_websocket| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            let (request, inbound) = asked(method, &fields);
            check_certificate(&request, &inbound, &trusting, is_websocket)
        };
        let site = |site| ("sec-fetch-site", site);
        for (fields, changing, opening) in [
            (&[HOST][..], Ok(()), Ok(())),
            (&[HOST, HERE], Ok(()), Ok(())),
            (&[HOST, HERE, site("same-origin")], Ok(()), Ok(())),
            (&[HOST, ELSEWHERE], NO_ORIGIN, Ok(())),
            (&[HOST, ELSEWHERE, site("cross-site")], NO_ORIGIN, Ok(())),
            (&[HOST, ("origin", "null")], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, ("origin", "https://c.test")], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, site("cross-site")], NO_ORIGIN, NO_ORIGIN),
            (&[HOST, HERE, site("same-site")], NO_ORIGIN, Ok(())),
            (&[HOST, HERE, HERE], NO_ORIGIN, NO_ORIGIN),
        ] {
            assert_eq!(said("POST", fields, false), changing, "{fields:?}");
            assert_eq!(said("GET", fields, false), Ok(()), "{fields:?}");
            assert_eq!(said("GET", fields, true), opening, "{fields:?}");
        }
    }

    fn cookies(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (header::COOKIE, HeaderValue::from_str(field).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let found = |fields: &[&str], is_secure| {
            let headers = cookies(fields);
            let names = CookieNames::of(is_secure);
            shown(&headers, names).map(|value| str::from_utf8(value).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found(&["a=b; portcullis=x", "portcullis=y"], false), ["x", "y"]);
        assert_eq!(found(&["__Host-portcullis=x; portcullis=y"], true), ["x"], "there is one name");
        assert_eq!(found(&["__Host-portcullis=x; portcullis=y"], false), ["y"]);
        for other in
            ["Portcullis=x", "xportcullis=x", "portcullis-csrf=x", "portcullis-device=x", "a=portcullis=x", "a"]
        {
            assert_eq!(found(&[other], false), [""; 0], "{other}");
        }
    }

    #[test]
    fn ours_are_kept_from_upstreams_and_others_pass() {
        for (sent, left) in [
            (&["a=1; portcullis=x; b=2"][..], &["a=1; b=2"][..]),
            (&["portcullis=x"], &[]),
            (&["portcullis"], &[]),
            (&["__Host-portcullis=x;portcullis-csrf=y; ;a=\"q; r\""], &["a=\"q; r\""]),
            (&["a=1", "__Host-portcullis-csrf=y", "b=2"], &["a=1; b=2"]),
            (&["a=1;  b", "c"], &["a=1;  b", "c"]),
            (&["a=1;  b", "portcullis-device=x"], &["a=1; b"]),
            (&["__Host-portcullis-device=x; a=1; __Host-portcullis-link=y; portcullis-link=z"], &["a=1"]),
            (&["portcullis-devices=x"], &["portcullis-devices=x"]),
            (&[" portcullis = x ; a=1"], &["a=1"]),
        ] {
            let mut headers = cookies(sent);
            strip(&mut headers, false, false);
            let found: Vec<&str> =
                headers.get_all(header::COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(found, left, "{sent:?}");
        }
        let all = "portcullis=x; portcullis-csrf=y; portcullis-device=z; portcullis-link=w; a=1";
        for (forward_credential, is_for_office, left) in [
            (false, false, "a=1"),
            (true, false, "portcullis=x; portcullis-csrf=y; a=1"),
            (false, true, "portcullis-device=z; portcullis-link=w; a=1"),
            (true, true, all),
        ] {
            let mut headers = cookies(&[all]);
            strip(&mut headers, forward_credential, is_for_office);
            assert_eq!(headers[header::COOKIE], left);
        }
    }

    #[test]
    fn no_upstream_sets_ours() {
        let mut answer = HeaderMap::new();
        for set in
            ["a=1", "portcullis-device=x; Path=/", "__Host-portcullis-link=x", "=portcullis-link=x", "portcullis=x"]
        {
            answer.append(header::SET_COOKIE, HeaderValue::from_static(set));
        }
        keep_to_ourselves(&mut answer);
        assert_eq!(answer.get_all(header::SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1"]);
    }
}
