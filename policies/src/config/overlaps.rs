//! Two routes that claim the same requests are refused, both named: which of them answers would be an accident.

use std::ops::Range;

use super::document::Document;
use super::routes::PlacedRoute;
use crate::{Overlap, PathPattern, RouteTable};

/// The table of the routes that do not overlap with an earlier one; those that do are noted.
pub(super) fn build(file: &mut Document<'_>, mut routes: Vec<PlacedRoute>) -> RouteTable {
    for route in &routes {
        check_within(file, route);
    }
    loop {
        match RouteTable::build(routes.iter().map(|placed| placed.route.clone()).collect()) {
            Ok(table) => return table,
            Err(Overlap { first, second }) => {
                let second = routes.remove(second);
                note(file, &routes[first], &second);
            }
        }
    }
}

/// A route that lists one path twice, in whatever spelling.
fn check_within(file: &mut Document<'_>, PlacedRoute { route, paths }: &PlacedRoute) {
    for (index, span) in paths.iter().enumerate() {
        if route.paths[..index].iter().any(|earlier| is_same(earlier, &route.paths[index])) {
            file.note(span.clone(), format!("`{}` is listed twice", route.paths[index]));
        }
    }
}

fn note(file: &mut Document<'_>, first: &PlacedRoute, second: &PlacedRoute) {
    let (there, here) = shared(first, second);
    let place = file.place(there);
    let methods = first.route.methods.names().filter(|method| second.route.methods.contains(method));
    let methods = methods.collect::<Vec<_>>().join(", ");
    let (first, second) = (&first.route.name, &second.route.name);
    file.note(here.clone(), format!("routes `{second}` and `{first}` ({place}) overlap: both take {methods} here"));
}

/// Where both say the same path.
fn shared<'a>(first: &'a PlacedRoute, second: &'a PlacedRoute) -> (&'a Range<usize>, &'a Range<usize>) {
    let same = |path: &PathPattern| second.route.paths.iter().position(|other| is_same(path, other));
    let mut paths = first.route.paths.iter().zip(&first.paths);
    let shared = paths.find_map(|(path, there)| Some((there, &second.paths[same(path)?])));
    shared.expect("the table found a pattern that both routes have")
}

/// Whether both match the same paths: parameters' names do not matter.
fn is_same(one: &PathPattern, other: &PathPattern) -> bool {
    one.segments == other.segments && one.is_open == other.is_open
}
