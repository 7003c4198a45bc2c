//! Which route a request belongs to: host, then path, then method.
//!
//! A trie per host pattern. Finding walks the path's segments and allocates nothing; its cost grows with the depth of the
//! path (and the logarithm of the siblings at each step), not with the number of routes.
//!
//! - **Host**: an exact name before the longest `*.suffix` before routes for every host. A more specific host that knows
//!   nothing of the path hands it to the next one.
//! - **Path**: segment by segment, a literal before `{name}` before `*`. The most specific pattern owns the path alone.
//! - **Method**: one that the owner does not take is 405. It never falls back to a less specific pattern, whose demands may
//!   be weaker.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::path::PlainBytes;
use crate::pattern::{Host, PathPattern, Segment, bare_host};
use crate::{Methods, Refusal, Route};

/// All routes, ready to be found.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    /// Sorted by name.
    exact: Vec<(Box<str>, Trie)>,
    /// `.suffix`, sorted.
    below: Vec<(Box<str>, Trie)>,
    any: Trie,
}

/// Two routes that claim the same host, path and method; their places in the list that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// The earlier one.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

/// Why a request belongs to no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMatch {
    /// No pattern matches host and path.
    NotFound,
    /// The path's owner does not take the method.
    MethodNotAllowed {
        /// What it takes.
        allow: Methods,
    },
}

#[derive(Debug, Clone)]
struct Trie(Vec<Node>);

#[derive(Debug, Clone, Default)]
struct Node {
    /// By literal segment, sorted; the place of the child.
    literals: Vec<(Box<str>, usize)>,
    /// For `{name}`.
    any: Option<usize>,
    /// Patterns that end here.
    here: Claims,
    /// Patterns that end here with `*`.
    open: Claims,
}

/// Who takes which methods on one pattern; disjoint.
#[derive(Debug, Clone, Default)]
struct Claims(Vec<(Methods, usize)>);

// === impl RouteTable ===

impl RouteTable {
    /// Sets each route's `id` to its place and refuses two routes that claim the same request.
    pub fn build(routes: Vec<Route>) -> Result<Self, Overlap> {
        let mut table = Self::default();
        for (id, mut route) in routes.into_iter().enumerate() {
            route.id = id;
            table.insert(&route)?;
            table.routes.push(Arc::new(route));
        }
        Ok(table)
    }

    /// Every route, by `id`.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route that a request belongs to. `host` may carry a port, a trailing dot and any case; `path` is canonical
    /// (`path::normalise`), and its trailing slash means nothing.
    pub fn find(&self, host: &str, method: &str, path: &str) -> Result<&Arc<Route>, NoMatch> {
        let claims = self.claims(bare_host(host), path).ok_or(NoMatch::NotFound)?;
        let route = claims.of(method).and_then(|id| self.routes.get(id));
        route.ok_or_else(|| NoMatch::MethodNotAllowed { allow: claims.methods() })
    }

    fn claims(&self, host: &str, path: &str) -> Option<&Claims> {
        named(&self.exact, host)
            .and_then(|trie| trie.find(path))
            .or_else(|| suffixes(host).filter_map(|suffix| named(&self.below, suffix)).find_map(|trie| trie.find(path)))
            .or_else(|| self.any.find(path))
    }

    fn insert(&mut self, route: &Route) -> Result<(), Overlap> {
        if route.hosts.is_empty() {
            return self.any.insert(route);
        }
        route.hosts.iter().try_for_each(|host| match &host.0 {
            Host::Exact(name) => named_mut(&mut self.exact, name).insert(route),
            Host::Below(suffix) => named_mut(&mut self.below, suffix).insert(route),
        })
    }
}

fn named<'a>(tries: &'a [(Box<str>, Trie)], host: &str) -> Option<&'a Trie> {
    let lower = || host.bytes().map(|byte| byte.to_ascii_lowercase());
    let at = tries.binary_search_by(|(name, _)| name.bytes().cmp(lower())).ok()?;
    tries.get(at).map(|(_, trie)| trie)
}

fn named_mut<'a>(tries: &'a mut Vec<(Box<str>, Trie)>, name: &str) -> &'a mut Trie {
    let at = tries.binary_search_by(|(known, _)| (**known).cmp(name)).unwrap_or_else(|at| {
        tries.insert(at, (name.into(), Trie::default()));
        at
    });
    &mut tries[at].1
}

/// `.b.c` and `.c` of `a.b.c`: the longest first, never the whole name.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.').map(|(at, _)| &host[at..])
}

// === impl Trie ===

impl Default for Trie {
    fn default() -> Self {
        Self(vec![Node::default()])
    }
}

impl Trie {
    fn find(&self, path: &str) -> Option<&Claims> {
        self.walk(0, path.strip_prefix('/')?)
    }

    /// The claims on `rest` below `node`; nothing is left after a trailing slash, as without one. As deep as the deepest pattern at most; each node is visited at most once.
    fn walk(&self, node: usize, rest: &str) -> Option<&Claims> {
        let node = &self.0[node];
        if rest.is_empty() {
            return node.here.some().or_else(|| node.open.some());
        }
        let (segment, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let below = |child: Option<usize>| child.and_then(|child| self.walk(child, rest));
        below(node.literal(segment)).or_else(|| below(node.any)).or_else(|| node.open.some())
    }

    fn insert(&mut self, route: &Route) -> Result<(), Overlap> {
        route.paths.iter().try_for_each(|pattern| self.claims_mut(pattern).add(route))
    }

    fn claims_mut(&mut self, pattern: &PathPattern) -> &mut Claims {
        let node = pattern.segments.iter().fold(0, |node, segment| self.child(node, segment));
        let node = &mut self.0[node];
        if pattern.is_open { &mut node.open } else { &mut node.here }
    }

    fn child(&mut self, parent: usize, segment: &Segment) -> usize {
        let new = self.0.len();
        let node = &mut self.0[parent];
        let child = match segment {
            Segment::Any => *node.any.get_or_insert(new),
            Segment::Literal(text) => match node.position(text) {
                Ok(at) => node.literals[at].1,
                Err(at) => {
                    node.literals.insert(at, (text.clone(), new));
                    new
                }
            },
        };
        if child == new {
            self.0.push(Node::default());
        }
        child
    }
}

impl Node {
    fn literal(&self, segment: &str) -> Option<usize> {
        self.position(segment).ok().map(|at| self.literals[at].1)
    }

    fn position(&self, segment: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(literal, _)| compare(literal, segment))
    }
}

/// Orders a literal against a segment of a canonical path, in which delimiters may be percent-encoded.
fn compare(literal: &str, segment: &str) -> Ordering {
    if segment.contains('%') { literal.bytes().cmp(PlainBytes::of(segment)) } else { literal.cmp(segment) }
}

// === impl Claims ===

impl Claims {
    fn some(&self) -> Option<&Self> {
        (!self.0.is_empty()).then_some(self)
    }

    fn of(&self, method: &str) -> Option<usize> {
        self.0.iter().find(|(methods, _)| methods.contains(method)).map(|(_, id)| *id)
    }

    fn methods(&self) -> Methods {
        self.0.iter().fold(Methods::NONE, |all, (methods, _)| all.union(*methods))
    }

    fn add(&mut self, route: &Route) -> Result<(), Overlap> {
        let other = self.0.iter().find(|(methods, id)| *id != route.id && methods.intersects(route.methods));
        if let Some((_, first)) = other {
            return Err(Overlap { first: *first, second: route.id });
        }
        self.0.push((route.methods, route.id));
        Ok(())
    }
}

// === impl Refusal ===

impl From<NoMatch> for Refusal {
    fn from(no_match: NoMatch) -> Self {
        match no_match {
            NoMatch::NotFound => Self::NoRoute,
            NoMatch::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow },
        }
    }
}

#[cfg(test)]
mod tests;
