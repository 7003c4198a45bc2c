//! `routes.toml`: `[[route]]` → [`RouteTable`].
//!
//! Browsers' rules (`cors`) are built next door; overlaps are looked for when every route stands.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::diagnostic::Placed;
use super::document::{Document, Element};
use super::known::{self, Known};
use super::raw::{RawAuth, RawCsrf, RawRoute, RawTimeouts, Words};
use super::{cors, injection, limits, overlaps, owners, rewrites};
use crate::route::{EXPIRY_GRACE, WEBSOCKET_IDLE};
use crate::{Auth, Cors, Csrf, Demand, HostPattern, Methods, Owner, PathPattern, Route, RouteTable, StepUp, Timeouts};

/// A route and where its paths are written.
pub(super) struct PlacedRoute {
    pub(super) route: Route,
    /// One for each of its paths.
    pub(super) paths: Vec<Range<usize>>,
}

/// Every route. Those whose hosts, methods or paths are wrong are noted and left out.
pub(super) fn build(file: &mut Document<'_>, known: &Known) -> RouteTable {
    let elements = file.elements::<RawRoute>("route");
    check_twice(file, &elements);
    let mut routes = Vec::new();
    for raw in elements.into_iter().filter_map(|element| element.value) {
        let paths = raw.paths.iter().map(Placed::span).collect();
        routes.extend(route(file, known, raw).map(|route| PlacedRoute { route, paths }));
    }
    overlaps::build(file, routes)
}

fn check_twice(file: &mut Document<'_>, elements: &[Element<RawRoute>]) {
    let mut first: BTreeMap<&str, &Placed<String>> = BTreeMap::new();
    for name in elements.iter().filter_map(|element| Some(&element.value.as_ref()?.name)) {
        known::check_name(file, name);
        match first.get(name.as_str()) {
            Some(other) => {
                let place = file.place(&other.span());
                file.note(name.span(), format!("another route is named `{}`, at {place}", **name));
            }
            None => drop(first.insert(name, name)),
        }
    }
}

fn route(file: &mut Document<'_>, known: &Known, raw: RawRoute) -> Option<Route> {
    let demand = demand(file, known, &raw);
    known::check(file, known.upstreams.as_ref().map(|known| &known.names), &raw.upstream, "upstream");
    if raw.auth == RawAuth::Mtls && known.upstreams.as_ref().is_some_and(|known| known.without_client_ca) {
        let message = "auth = \"mtls\" lets nobody in: [tls] of gateway.toml names no client_ca";
        file.note(raw.name.span(), message);
    }
    if raw.auth == RawAuth::None {
        limits::check_strangers(file, &raw.limits);
    }
    let limits = limits::build(file, Owner::Route(&raw.name), raw.limits);
    let inject = injection::build(file, known, raw.inject_credential, raw.auth, raw.forward_credential, &raw.upstream);
    let timeouts = timeouts(file, &raw.timeouts);
    // What a request must look like: without any of these three the route cannot be compared with others.
    let paths = paths(file, &raw.paths);
    let hosts = hosts(file, raw.hosts.as_ref());
    let methods = raw.methods.as_ref().map_or(Some(Methods::ALL), |words| methods(file, words));
    let (paths, hosts, methods) = (paths?, hosts?, methods?);
    let demand = Demand {
        owner: owners::build(
            file,
            raw.auth,
            raw.owner.as_ref(),
            raw.owner_admins.as_ref(),
            paths.iter().zip(&**raw.paths),
        ),
        ..demand
    };
    let rewrite = rewrites::build(file, &raw.rewrite, &paths);
    if let Some(word) = raw.websocket.as_ref().filter(|word| ***word) {
        if !methods.contains("GET") {
            file.note(word.span(), "a WebSocket begins with GET, which this route does not take");
        }
        if known.upstreams.as_ref().is_some_and(|known| known.without_websocket.contains(&*raw.upstream)) {
            let message = format!("`{}` speaks HTTP/2 only; a WebSocket needs HTTP/1.1", *raw.upstream);
            file.note(word.span(), message);
        }
    }
    let websocket = raw.websocket.is_some_and(Placed::into_inner);
    let websocket_idle = length(file, raw.websocket_idle.as_ref(), "a WebSocket that may not be silent cannot be");
    if let Some(idle) = raw.websocket_idle.as_ref().filter(|_| !websocket) {
        file.note(idle.span(), "a route without websocket = true has no WebSockets to close");
    }
    Some(Route {
        hosts,
        methods,
        auth: raw.auth.into(),
        demand,
        rewrite,
        limits,
        tier_limits: raw.tier_limits,
        before_second_factor: raw.before_second_factor,
        in_disabled_tenant: raw.in_disabled_tenant,
        forward_credential: raw.forward_credential,
        inject_credential: inject.map(Box::new),
        max_body: raw.max_body_bytes,
        timeouts,
        cors: match &raw.cors {
            Some(raw) => cors::build(file, raw, methods),
            None => foreign_pages(known, &raw.upstream, methods),
        },
        csrf: match raw.csrf {
            RawCsrf::Token => Csrf::Token,
            RawCsrf::Origin => Csrf::Origin,
        },
        websocket,
        websocket_idle: websocket_idle.unwrap_or(WEBSOCKET_IDLE),
        expiry_grace: raw.expiry_grace.map_or(EXPIRY_GRACE, |grace| grace.0),
        ..Route::new(&raw.name, &raw.upstream, paths)
    })
}

/// What `gateway.toml` says of pages of other origins; it has been checked there.
fn foreign_pages(known: &Known, upstream: &str, methods: Methods) -> Option<Cors> {
    let pages = known.upstreams.as_ref()?.foreign_pages.as_ref()?;
    (pages.upstream == upstream).then(|| pages.rules(methods).ok())?
}

/// Reads each word and notes those that cannot be; `None` if there was one, or none at all.
fn each<T, E: ToString>(
    file: &mut Document<'_>,
    words: &Placed<Words>,
    empty: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Option<Vec<T>> {
    if words.is_empty() {
        file.note(words.span(), empty);
        return None;
    }
    let mut good = Vec::new();
    for word in words.iter() {
        match read(word) {
            Ok(value) => good.push(value),
            Err(error) => file.note(word.span(), error.to_string()),
        }
    }
    (good.len() == words.len()).then_some(good)
}

fn paths(file: &mut Document<'_>, words: &Placed<Words>) -> Option<Vec<PathPattern>> {
    let read =
        |word: &str| PathPattern::parse(word).map_err(|error| format!("\"{word}\" is no path to expose: {error}"));
    each(file, words, "a route without paths exposes nothing", read)
}

fn hosts(file: &mut Document<'_>, words: Option<&Placed<Words>>) -> Option<Vec<HostPattern>> {
    let Some(words) = words else { return Some(Vec::new()) };
    each(file, words, "leave `hosts` out to answer on every host", HostPattern::parse)
}

/// A list of methods, of a route or its `cors`.
pub(super) fn methods(file: &mut Document<'_>, words: &Placed<Words>) -> Option<Methods> {
    let sets = each(file, words, "leave `methods` out to take all of them", |word| Methods::parse([word]))?;
    Some(sets.into_iter().fold(Methods::NONE, Methods::union))
}

fn demand(file: &mut Document<'_>, known: &Known, raw: &RawRoute) -> Demand {
    let roles = demanded(file, raw.auth, raw.roles.as_ref());
    let tiers = demanded(file, raw.auth, raw.tiers.as_ref());
    let features = demanded(file, raw.auth, raw.features.as_ref());
    let permissions = demanded(file, raw.auth, raw.permissions.as_ref());
    for (words, known, what) in [
        (roles, known.roles.as_ref(), "role"),
        (tiers, known.tiers.as_ref(), "tier"),
        (features, known.features.as_ref(), "tier with the feature"),
    ] {
        for word in words {
            known::check(file, known, word, what);
        }
    }
    let names = |words: &[Placed<String>]| words.iter().map(|word| word.as_str().into()).collect();
    Demand {
        roles: names(roles),
        permissions: permissions.iter().filter_map(|word| known::permission(file, known, word)).collect(),
        tiers: names(tiers),
        features: names(features),
        step_up: step_up(file, raw),
        owner: None,
    }
}

fn step_up(file: &mut Document<'_>, raw: &RawRoute) -> Option<StepUp> {
    let place = raw.acr.as_ref().map(Placed::span).or(raw.max_auth_age.as_ref().map(Placed::span))?;
    let objection = match Auth::from(raw.auth) {
        Auth::Required => None,
        Auth::Optional => Some("with auth = \"optional\" strangers come in, who cannot meet a demand"),
        Auth::None => Some("with auth = \"none\" nobody is known, and nobody can meet a demand"),
        Auth::Mtls => Some("with auth = \"mtls\" programs come in, and no person who could show anything"),
    };
    if let Some(objection) = objection {
        file.note(place, objection);
    }
    let acr = raw.acr.as_deref().map(|acr| (*acr).into());
    Some(StepUp {
        acr,
        max_age: length(file, raw.max_auth_age.as_ref(), "nobody can have shown anything at this very moment"),
    })
}

/// The words of one demand. An empty list would demand nothing, which is not how it reads; nor can strangers meet any.
fn demanded<'a>(file: &mut Document<'_>, auth: RawAuth, words: Option<&'a Placed<Words>>) -> &'a [Placed<String>] {
    let Some(words) = words else { return &[] };
    if words.is_empty() {
        file.note(words.span(), "an empty list demands nothing and would let everybody in; leave it out");
    }
    let objection = match Auth::from(auth) {
        Auth::Required | Auth::Mtls => None,
        Auth::Optional => Some("with auth = \"optional\" strangers come in, who cannot meet a demand"),
        Auth::None => Some("with auth = \"none\" nobody is known, and nobody can meet a demand"),
    };
    if let Some(objection) = objection {
        file.note(words.span(), objection);
    }
    words
}

fn timeouts(file: &mut Document<'_>, raw: &RawTimeouts) -> Timeouts {
    let mut read = |text: &Option<Placed<super::DurationText>>| {
        length(file, text.as_ref(), "a timeout of nothing would end every request")
    };
    Timeouts {
        connect: read(&raw.connect),
        response: read(&raw.response),
        first_byte: read(&raw.first_byte),
        total: read(&raw.total),
        idle: read(&raw.idle),
    }
}

/// A length of time that must not be nothing.
fn length(file: &mut Document<'_>, text: Option<&Placed<super::DurationText>>, objection: &str) -> Option<Duration> {
    let text = text?;
    if text.0 == Duration::ZERO {
        file.note(text.span(), objection);
    }
    Some(text.0)
}
