//! What must hold whatever is sent: the same functions are run by cargo-fuzz (`fuzz/`) and, over its corpora, by the unit tests.
//!
//! Each takes bytes, makes of them what it needs, and panics when the rule is broken. Not part of the crate's interface: only
//! there under test or with the feature `properties`.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;
use policies::{
    PathPattern, Refusal, Route, RouteTable,
    header::{Folding, Reserved, fold},
};

use crate::{
    config,
    connection::{head::HeadLimits, http1::Http1, proxy_protocol},
    inbound, inject,
};

/// A `gateway.toml`.
///
/// # Panics
/// When a diagnostic has no place or no text, or when what is read without a complaint cannot be used.
pub fn gateway_file(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // What another file holds is not the reader's matter, and not every file of a machine has an end.
    if text.contains("file") {
        return;
    }
    let (settings, wrong) = config::read(text);
    let lines = text.matches('\n').count() + 1;
    for told in &wrong {
        assert!((1..=lines).contains(&told.line) && told.column >= 1 && !told.message.is_empty(), "{told}");
    }
    if wrong.is_empty() {
        let server = &settings.server;
        assert!(Reserved::new(server.reserved_headers.iter().map(String::as_str), server.underscore_headers).is_ok());
        assert!(server.refusals.units > 0 && !server.keepalive.is_zero() && server.max_header_bytes > 0);
        let mut headers = HeaderMap::from_iter([(header::SERVER, HeaderValue::from_static("x"))]);
        settings.browser.tell(&mut headers, true);
        assert!(headers.get(header::SERVER).is_none() && headers.iter().all(|(_, value)| value.to_str().is_ok()));
    }
}

/// A header as it came: the first byte says whether the credential is passed on, then `name: value`, a line each.
///
/// # Panics
/// When something arrives under a name that a backend could read as ours, or something else does not arrive as it was.
pub fn header_strip(data: &[u8]) {
    let Some((first, lines)) = data.split_first() else { return };
    let forward_credential = first % 2 == 1;
    let Ok(reserved) = Reserved::new(["x-team-*"], Folding::Drop) else { return };
    let mut sent = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            sent.append(name, value);
        }
    }
    let mut arrives = sent.clone();
    inject::strip(&mut arrives, &reserved, forward_credential, true);
    for name in sent.keys() {
        let (plain, folded) = (name.as_str(), fold(name.as_str()));
        let ours = ["x-user", "x-tenant", "x-auth", "x-gateway", "x-session", "x-key", "x-forwarded", "x-team"];
        let is_ours = ours.iter().any(|ours| folded == *ours || folded.starts_with(&format!("{ours}-")));
        let is_credential = matches!(plain, "authorization" | "x-api-key");
        let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        if is_credential && forward_credential {
            assert_eq!(values(&arrives), values(&sent), "{name}");
        } else if is_ours || is_credential || folded != plain || matches!(&*folded, "forwarded" | "x-api-key") {
            assert!(!arrives.contains_key(name), "{name} arrives");
        } else if arrives.contains_key(name) {
            assert_eq!(values(&arrives), values(&sent), "{name}");
        } else {
            assert!(reserved.is_reserved(plain), "{name} is lost");
        }
    }
}

/// A `Host`.
///
/// # Panics
/// When the name that is judged and told on is not in its one spelling, or is not the one that the table reads.
pub fn request_host(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let read = |value: HeaderValue| {
        let mut request = RequestHeader::build("GET", b"/", None).ok()?;
        request.insert_header(header::HOST, value).ok()?;
        inbound::host_of(&request).ok()
    };
    let Some(name) = read(value) else { return };
    let again = HeaderValue::try_from(&*name).ok().and_then(read);
    assert_eq!(again.as_deref(), Some(&*name), "the name is not in its one spelling");
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
    assert!(name.starts_with('[') || !name.contains([':', '[', ']']), "{name} is read in two ways");
    let sent = str::from_utf8(data).unwrap_or_default();
    let rest = sent.get(name.len()..).map_or("?", |rest| rest.strip_prefix('.').unwrap_or(rest));
    let port = rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(rest.is_empty() || port, "{sent:?} is {name} and more");
    let (Ok(host), Ok(path)) = (policies::HostPattern::parse(&name), PathPattern::parse("/*")) else { return };
    let route = Route { hosts: vec![host], ..Route::new("own", "u", vec![path]) };
    let Ok(table) = RouteTable::build(vec![route]) else { return };
    assert!(table.find(sent, "GET", "/").is_ok() == table.find(&name, "GET", "/").is_ok(), "{sent:?} and {name:?}");
}

/// The bytes of an HTTP/1 connection; the first one says in which pieces the others arrive.
///
/// # Panics
/// When what is passed on, or refused, depends on how the bytes arrive.
pub fn http1_connection(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let (one, other) = (read_connection(bytes, bytes.len().max(1)), read_connection(bytes, usize::from(*piece).max(1)));
    assert_eq!(one, other, "in one piece, and in pieces of {piece}");
}

/// How many bytes are passed on, and why no more. Of a body that cannot be read, as many as had come before it was seen.
fn read_connection(bytes: &[u8], piece: usize) -> (Option<usize>, Option<Refusal>) {
    let mut http1 = Http1::new(HeadLimits { bytes: 1024, fields: 16 });
    let (mut passed, mut answered, mut arrived) = (0, 0, 0);
    loop {
        let skipped = http1.skip(&bytes[passed..arrived]);
        (passed, answered) = (passed + skipped, answered + skipped);
        match http1.judge(&bytes[passed..arrived]) {
            Err(misread) => return ((!misread.in_body).then_some(passed + misread.passed), Some(misread.refusal)),
            Ok(0) if arrived < bytes.len() => arrived = bytes.len().min(arrived + piece),
            // Everything has come: the request before is answered, and the next one may follow.
            Ok(0) if passed > answered && http1.next_request(false) => answered = passed,
            Ok(0) => return (Some(passed), None),
            Ok(more) => passed += more,
        }
    }
}

/// What a connection behind a balancer begins with.
///
/// # Panics
/// When a header is read differently once more bytes follow it, or is longer than it was said to be.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy_protocol::read(data);
    if let Ok(Some(announced)) = whole {
        assert!(announced.len <= data.len());
        assert_eq!(proxy_protocol::read(&data[..announced.len]), whole, "what follows the header decides");
        let before = proxy_protocol::read(&data[..announced.len - 1]);
        assert_eq!(before, Ok(None), "the header is shorter than it says");
    }
    assert!(whole != Ok(None) || proxy_protocol::missing(data) > 0, "nothing is missing, and it is not whole");
}

#[cfg(test)]
#[path = "../../fuzz/hold.rs"]
mod hold;

#[cfg(test)]
mod tests {
    use super::hold::hold;

    #[test]
    fn whatever_the_file_says_it_is_read_or_told_what_is_wrong() {
        hold("gateway_file", super::gateway_file);
    }

    #[test]
    fn nothing_arrives_under_a_name_that_is_ours_and_nothing_else_is_lost() {
        hold("header_strip", super::header_strip);
    }

    #[test]
    fn a_host_has_one_spelling_and_means_the_same_to_the_table() {
        hold("request_host", super::request_host);
    }

    #[test]
    fn a_connection_is_read_the_same_however_its_bytes_arrive() {
        hold("http1_connection", super::http1_connection);
    }

    #[test]
    fn what_a_balancer_announces_ends_where_it_says() {
        hold("proxy_header", super::proxy_header);
    }
}
