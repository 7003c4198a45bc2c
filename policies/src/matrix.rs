//! The table of who may call what: route × role × tier → answer, as `portcullis check` prints it.
//!
//! Tiers between which a role's answers do not differ share a column. Columns that do not fit beside each other follow below.

use std::sync::Arc;
use std::time::Duration;

use identity::Assurance;

use crate::cases::{Caller, NOW};
use crate::{Auth, Methods, Policy, Refusal, Route, decide_about};

/// Characters in a line, unless a single column needs more.
const WIDTH: usize = 160;
const GAP: usize = 2;

/// One kind of caller.
struct Column {
    /// Top down: the role, then the tiers.
    heading: Vec<String>,
    /// By route.
    answers: Vec<&'static str>,
}

/// What the lines of a heading are. Tiers that share a column stand below each other.
const LEGEND: [&str; 2] = ["role", "tiers"];
/// What it takes beside the role and the tier, as the table has it, and in words.
const MORE: [(&str, &str); 4] = [
    ("mfa", "with a second factor"),
    ("phr", "with a passkey"),
    ("fresh", "whoever has shown lately who they are"),
    ("cert", "by a client certificate"),
];
/// Longer ago than any route allows.
const LONG_AGO: Duration = Duration::from_hours(24 * 3650);

/// The whole table: `yes`, what it takes besides, or the status that the caller gets.
#[must_use]
pub fn table(policy: &Policy) -> String {
    let columns = columns(policy);
    let rows = Rows::of(policy);
    let mut text = String::new();
    let mut rest = &columns[..];
    while !rest.is_empty() {
        let (fitting, others) = rest.split_at(rows.fitting(rest));
        let parting = if text.is_empty() { "" } else { "\n" };
        text = text + parting + &rows.with(fitting);
        rest = others;
    }
    let is_there = |word: &str| columns.iter().any(|column| column.answers.contains(&word));
    let told = MORE.iter().filter(|(word, _)| is_there(word)).map(|(word, meaning)| format!("{word}: {meaning}"));
    let told = told.collect::<Vec<_>>().join("; ");
    if told.is_empty() { text } else { format!("{text}\n{told}\n") }
}

fn columns(policy: &Policy) -> Vec<Column> {
    let stranger = Column { heading: vec!["stranger".to_owned()], answers: answers(policy, None) };
    let of_roles = policy.roles.names().flat_map(|role| columns_of(policy, role));
    std::iter::once(stranger).chain(of_roles).collect()
}

fn columns_of(policy: &Policy, role: &str) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for tier in policy.tiers.names() {
        // Who has just shown all there is: the table tells who may, not how they log in.
        let (acr, auth_age) = (Some(Assurance::PhishingResistant), Duration::ZERO);
        let caller = Caller { role: role.into(), tier: tier.into(), scopes: None, acr, auth_age, owns: true };
        let answers = answers(policy, Some(&caller));
        match columns.iter_mut().find(|column| column.answers == answers) {
            Some(same) => same.heading.push(tier.to_owned()),
            None => columns.push(Column { heading: vec![role.to_owned(), tier.to_owned()], answers }),
        }
    }
    // One column for all tiers needs no names of tiers.
    if let [column] = &mut columns[..] {
        column.heading.truncate(1);
    }
    columns
}

fn answers(policy: &Policy, caller: Option<&Caller>) -> Vec<&'static str> {
    policy.routes.routes().iter().map(|route| answer(policy, route, caller)).collect()
}

fn answer(policy: &Policy, route: &Arc<Route>, caller: Option<&Caller>) -> &'static str {
    let decided = |caller: Option<&Caller>| {
        let whose = caller.and_then(Caller::possession);
        decide_about(policy, route, caller.map(|caller| caller.principal(policy, route)), whose, NOW)
    };
    match decided(caller).map_err(|refusal| refusal.status()) {
        Ok(_) if route.auth == Auth::Mtls => "cert",
        Ok(_) => {
            // By a password, long ago.
            let bare =
                caller.cloned().map(|caller| Caller { acr: Some(Assurance::Single), auth_age: LONG_AGO, ..caller });
            match decided(bare.as_ref()) {
                Err(Refusal::InsufficientAuthentication(wanted)) => match wanted.acr {
                    Some(Assurance::PhishingResistant) => "phr",
                    Some(Assurance::Multi) => "mfa",
                    Some(Assurance::Single) | None => "fresh",
                },
                _ => "yes",
            }
        }
        Err(401) => "401",
        Err(403) => "403",
        Err(_) => "no",
    }
}

// === impl Column ===

impl Column {
    fn width(&self) -> usize {
        let answers = self.answers.iter().map(|answer| answer.len());
        self.heading.iter().map(String::len).chain(answers).max().unwrap_or_default()
    }
}

/// The left side: names, methods and paths. Only the first path of a route has answers beside it.
struct Rows {
    /// The route, for its first path; the text.
    lines: Vec<(Option<usize>, String)>,
    width: usize,
}

// === impl Rows ===

impl Rows {
    fn of(policy: &Policy) -> Self {
        let routes = policy.routes.routes();
        let names = routes.iter().map(|route| route.name.len()).max().unwrap_or_default();
        let methods = routes.iter().map(|route| methods_of(route).len()).max().unwrap_or_default();
        let line = |name: &str, takes: &str, place: &str| format!("{name:names$}  {takes:methods$}  {place}");
        let mut lines = Vec::new();
        for route in routes {
            let mut places = places(route).into_iter();
            lines.extend(places.next().map(|place| (Some(route.id), line(&route.name, &methods_of(route), &place))));
            lines.extend(places.map(|place| (None, line("", "", &place))));
        }
        let width = lines.iter().map(|(_, text)| text.len()).chain(LEGEND.map(str::len)).max().unwrap_or_default();
        Self { lines, width }
    }

    /// How many of the columns go beside the rows; at least one.
    fn fitting(&self, columns: &[Column]) -> usize {
        let mut width = self.width;
        let fits = |column: &&Column| {
            width += GAP + column.width();
            width <= WIDTH
        };
        columns.iter().take_while(fits).count().max(1)
    }

    fn with(&self, columns: &[Column]) -> String {
        let height = columns.iter().map(|column| column.heading.len()).max().unwrap_or_default();
        let mut text = String::new();
        for line in 0..height {
            let legend = LEGEND.get(line).copied().unwrap_or_default();
            self.write(&mut text, legend, columns, |column| column.heading.get(line).map_or("", String::as_str));
        }
        for (route, left) in &self.lines {
            self.write(&mut text, left, columns, |column| route.map_or("", |route| column.answers[route]));
        }
        text
    }

    fn write<'a>(&self, text: &mut String, left: &str, columns: &'a [Column], cell: impl Fn(&'a Column) -> &'a str) {
        let cells = columns.iter().map(|column| format!("{:GAP$}{:width$}", "", cell(column), width = column.width()));
        let line = format!("{left:width$}", width = self.width) + &cells.collect::<String>();
        *text += line.trim_end();
        text.push('\n');
    }
}

/// A route that takes nearly all is told by the few that it does not take, so that the column stays narrow.
fn methods_of(route: &Route) -> String {
    let refused: Vec<_> = Methods::ALL.names().filter(|name| !route.methods.contains(name)).collect();
    match refused.len() {
        0 => "any".to_owned(),
        1 | 2 => format!("any but {}", refused.join(", ")),
        _ => route.methods.to_string(),
    }
}

/// Every host with every path, and what of it has to be the caller's, as it is of those in the table.
fn places(route: &Route) -> Vec<String> {
    let own = route.demand.owner.as_ref();
    let own = own.map(|own| format!(" (own {}:{{{}}})", own.kind.word(), own.parameter)).unwrap_or_default();
    let hosts = route.hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let hosts = if hosts.is_empty() { vec![String::new()] } else { hosts };
    let own = own.as_str();
    hosts.iter().flat_map(|host| route.paths.iter().map(move |path| format!("{host}{path}{own}"))).collect()
}

#[cfg(test)]
mod tests;
