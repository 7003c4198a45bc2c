//! If a path is forwarded, its canonical spelling was judged, and no careless backend reads another path in it.

use std::{borrow::Cow, sync::LazyLock};

use crate::{PathPattern, Rewrite, Route, RouteTable, normalise};

/// Everything is public but what is below `/admin` and `/v1/models:run`; two prefixes are rewritten.
#[expect(clippy::unwrap_used, reason = "the table is known to be good")]
static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let route = |name: &str, path: &str| Route::new(name, "u", vec![PathPattern::parse(path).unwrap()]);
    let mut rewritten = route("rewritten", "/api/auth/*");
    rewritten.rewrite = Rewrite::parse([("/api/auth", "/auth"), ("/api/auth/bare", "/")]).unwrap();
    let mut stripped = route("stripped", "/strip/*");
    stripped.rewrite = Rewrite::parse([("/strip", "/")]).unwrap();
    let mut routes = vec![route("public", "/*"), route("admin", "/admin/*"), route("action", "/v1/models:run/*")];
    routes.extend([rewritten, stripped]);
    RouteTable::build(routes).unwrap()
});

/// The path of a request.
///
/// # Panics
/// When a path that is let through is not canonical, is judged differently in another spelling, reads as another path to a
/// backend that decodes too often, or is forwarded in a spelling that would not be let through.
pub fn canonical_path(data: &[u8]) {
    let Ok(raw) = str::from_utf8(data) else { return };
    let Ok(path) = normalise(raw) else { return };
    assert!(matches!(normalise(&path), Ok(Cow::Borrowed(again)) if again == path), "{path:?} is no fixed point");
    assert!(matches!(path, Cow::Owned(_)) || path == raw, "{raw:?} was changed and is called unchanged");
    let seen = decoded_to_the_end(path.as_bytes());
    read_carelessly(&path, &seen);
    let judged = owner(&path);
    judged_alike(&path, judged);
    for (prefix, name) in [("/admin", "admin"), ("/v1/models:run", "action")] {
        let below = seen.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        assert_eq!(judged == name, below, "{path:?} is {judged}");
    }
    forwarded(&path);
}

fn owner(path: &str) -> &'static str {
    match TABLE.find("host", "GET", path).map(|route| &*route.name) {
        Ok("admin") => "admin",
        Ok("action") => "action",
        Ok("rewritten") => "rewritten",
        Ok("stripped") => "stripped",
        Ok("public") => "public",
        other => panic!("{path:?} belongs to {other:?}"),
    }
}

/// Every escape decoded, again and again.
fn decoded_to_the_end(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = path.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let escape = match bytes[at..] {
            [b'%', high, low, ..] => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match escape {
            // What is decoded may complete an escape that began before it.
            Some(byte) => {
                bytes.splice(at..at + 3, [byte]);
                at = at.saturating_sub(2);
            }
            None => at += 1,
        }
    }
    bytes
}

fn read_carelessly(path: &str, seen: &[u8]) {
    assert!(seen.starts_with(b"/"), "{path:?}");
    assert!(!seen.iter().any(|byte| byte.is_ascii_control() || b"\\;#?".contains(byte)), "{path:?}");
    let segments: Vec<_> = seen[1..].split(|byte| *byte == b'/').collect();
    assert_eq!(segments.len(), path[1..].split('/').count(), "{path:?} has other segments once decoded");
    assert!(segments.iter().all(|segment| *segment != b"." && *segment != b".."), "{path:?}");
    assert!(segments.iter().rev().skip(1).all(|segment| !segment.is_empty()), "{path:?}");
    assert!(str::from_utf8(seen).is_ok(), "{path:?}");
}

/// Another spelling of the same path belongs to the same route, or is refused.
fn judged_alike(path: &str, judged: &str) {
    let hidden: String = path
        .bytes()
        .map(|byte| if matches!(byte, b'/' | b'%') { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect();
    let slash = if path.ends_with('/') { path.trim_end_matches('/').to_owned() } else { format!("{path}/") };
    let shouted = path.replace("%2b", "%2B").replace('+', "%2B");
    for other in [hidden, slash, shouted] {
        if let Ok(canonical) = normalise(&other) {
            assert_eq!(owner(&canonical), judged, "{path:?} as {other:?}");
        }
    }
}

fn forwarded(path: &str) {
    let Ok(route) = TABLE.find("host", "GET", path) else { panic!("{path:?} lost its route") };
    let sent = route.forward_path(path);
    assert!(matches!(normalise(&sent), Ok(Cow::Borrowed(_))), "{path:?} is forwarded as {sent:?}");
    if !matches!(&*route.name, "rewritten" | "stripped") {
        assert_eq!(sent, path, "nothing is rewritten here");
    }
}
