//! The table of routes finds what a naive reading of all patterns finds.
//!
//! ```text
//! GET,POST *.example.com /users/{id}/*     a route: methods (or `*`), host pattern (or `*`), path pattern
//! ? GET api.example.com:80 /users/7        a request
//! ```

use crate::path::normalise;
use crate::pattern::{Host, Segment};
use crate::table::NoMatch;
use crate::{HostPattern, Methods, PathPattern, Route, RouteTable};

/// More would only make the fuzzer slow.
const MOST: usize = 24;

/// A list of routes and requests, a line each.
///
/// # Panics
/// When the table and the naive reading differ: in which routes overlap, or in the route that a request belongs to.
pub fn route_matcher(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let lines = || text.lines().take(MOST);
    let routes: Vec<Route> = lines().filter(|line| !line.starts_with('?')).filter_map(route).collect();
    let first = overlap(&routes);
    let table = RouteTable::build(routes.clone());
    assert_eq!(table.is_err(), first, "{routes:?}");
    let Ok(table) = table else { return };
    for request in lines().filter_map(|line| line.strip_prefix("? ")) {
        let mut words = request.split(' ');
        let (Some(method), Some(host), Some(path)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(path) = normalise(path) else { continue };
        let found = match table.find(host, method, &path) {
            Ok(route) => Ok(route.id),
            Err(NoMatch::NotFound) => Err(Methods::NONE),
            Err(NoMatch::MethodNotAllowed { allow }) => Err(allow),
        };
        assert_eq!(found, naive(&routes, host, method, &path), "{request:?} among {routes:?}");
    }
}

fn route(line: &str) -> Option<Route> {
    let mut words = line.split(' ');
    let (methods, host, path) = (words.next()?, words.next()?, words.next()?);
    let mut route = Route::new(line, "u", vec![PathPattern::parse(path).ok()?]);
    route.methods = if methods == "*" { Methods::ALL } else { Methods::parse(methods.split(',')).ok()? };
    route.hosts = if host == "*" { Vec::new() } else { vec![HostPattern::parse(host).ok()?] };
    Some(route)
}

/// Do two routes claim the same host, path and method?
fn overlap(routes: &[Route]) -> bool {
    let same = |one: &Route, other: &Route| {
        one.hosts == other.hosts
            && same_pattern(&one.paths[0], &other.paths[0])
            && one.methods.intersects(other.methods)
    };
    routes.iter().enumerate().any(|(at, one)| routes[..at].iter().any(|other| same(one, other)))
}

fn same_pattern(one: &PathPattern, other: &PathPattern) -> bool {
    one.segments == other.segments && one.is_open == other.is_open
}

/// The route's place, or what its path takes instead (nothing: no pattern matches).
fn naive(routes: &[Route], host: &str, method: &str, path: &str) -> Result<usize, Methods> {
    let host = plain_host(host);
    // How specific is the host: none at all is the least, a name the most, and of suffixes the longer one.
    let rank = |route: &Route| match route.hosts.first().map(|pattern| &pattern.0) {
        None => Some(0),
        Some(Host::Exact(name)) => (**name == *host).then_some(usize::MAX),
        Some(Host::Below(suffix)) => (host.len() > suffix.len() && host.ends_with(&**suffix)).then_some(suffix.len()),
    };
    let candidates = routes
        .iter()
        .enumerate()
        .filter_map(|(id, route)| Some((rank(route)?, specificity(&route.paths[0], path)?, id)));
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let Some((rank, best, _)) = candidates.first().cloned() else { return Err(Methods::NONE) };
    let mut owners = candidates.iter().filter(|(host, path, _)| *host == rank && *path == best).map(|(_, _, id)| *id);
    let allow = owners.clone().fold(Methods::NONE, |all, id| all.union(routes[id].methods));
    owners.find(|id| routes[*id].methods.contains(method)).ok_or(allow)
}

/// Lower case, without port and one final dot.
fn plain_host(host: &str) -> String {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => format!("[{inside}]"),
        None if host.starts_with('[') => host.to_owned(),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    };
    name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase()
}

/// Segment by segment 0 for a literal, 1 for a parameter, and 2 for `*`; less is more specific. `None`: no match.
fn specificity(pattern: &PathPattern, path: &str) -> Option<Vec<u8>> {
    let mut segments: Vec<&str> = path[1..].split('/').collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    let mut kinds = Vec::new();
    for (at, wanted) in pattern.segments.iter().enumerate() {
        let segment = segments.get(at)?;
        match wanted {
            Segment::Literal(text) if **text == plain_segment(segment) => kinds.push(0),
            Segment::Literal(_) => return None,
            Segment::Any => kinds.push(1),
        }
    }
    if pattern.is_open {
        kinds.push(2);
    } else if segments.len() > pattern.segments.len() {
        return None;
    }
    Some(kinds)
}

/// Delimiters may be written as escapes.
fn plain_segment(segment: &str) -> String {
    "!$&'()*+,=:@".chars().fold(segment.to_owned(), |text, delimiter| {
        text.replace(&format!("%{:02X}", u32::from(delimiter)), &delimiter.to_string())
    })
}
