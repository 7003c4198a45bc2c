//! Names into addresses, again and again and never while a request waits. The last good answer stays until there is a
//! better one.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::config::Endpoint;

/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a failure that lasts is told of again.
const AGAIN: Duration = Duration::from_mins(5);

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// Who knows names. The system, but for tests.
pub(super) trait Lookup: Send + Sync {
    fn look_up(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver, asked on a thread of its own (getaddrinfo blocks).
pub(super) struct System;

/// The endpoints of an upstream, and what was last known of each.
pub(super) struct Book(Vec<(Endpoint, Vec<Target>)>);

/// Failures that have been told of, by name: why, and when. Names that were never found are asked for each second, and the log is for
/// what is new.
#[derive(Default)]
pub(super) struct Told(HashMap<String, (String, Instant)>);

// === impl Target ===

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Lookup for System {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
        found.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?.map(Iterator::collect)
    }
}

// === impl Book ===

impl Book {
    /// What needs no asking is known at once; of names what `before` knew.
    pub(super) fn new(endpoints: &[Endpoint], before: Option<&Self>) -> Self {
        let known = |endpoint: &Endpoint| match endpoint {
            Endpoint::Address(address) => vec![Target::Inet(*address)],
            Endpoint::Unix(path) => vec![Target::Unix(path.clone())],
            Endpoint::Name(..) => before
                .and_then(|before| before.0.iter().find(|(other, _)| other == endpoint))
                .map(|(_, targets)| targets.clone())
                .unwrap_or_default(),
        };
        Self(endpoints.iter().map(|endpoint| (endpoint.clone(), known(endpoint))).collect())
    }

    /// Asks for every name, for all at once: each may take its time. Gives the names without an answer and why.
    pub(super) async fn refresh(&mut self, lookup: &impl Lookup) -> Vec<(String, io::Error)> {
        let ask = async |endpoint: &Endpoint| match endpoint {
            Endpoint::Name(host, port) => Some(lookup.look_up(host, *port).await),
            Endpoint::Address(_) | Endpoint::Unix(_) => None,
        };
        let answers = join_all(self.0.iter().map(|(endpoint, _)| ask(endpoint))).await;
        let mut failed = Vec::new();
        for ((endpoint, known), answer) in self.0.iter_mut().zip(answers) {
            let (Endpoint::Name(host, port), Some(answer)) = (endpoint, answer) else { continue };
            match answer {
                Ok(mut found) if !found.is_empty() => {
                    // Answers come in any order, and another order is no change.
                    found.sort_unstable();
                    *known = found.into_iter().map(Target::Inet).collect();
                }
                Ok(_) => failed.push((format!("{host}:{port}"), io::Error::other("the name has no address"))),
                Err(error) => failed.push((format!("{host}:{port}"), error)),
            }
        }
        failed
    }

    /// Is nothing known of some name?
    pub(super) fn has_gaps(&self) -> bool {
        self.0.iter().any(|(_, targets)| targets.is_empty())
    }

    /// Every server, once.
    pub(super) fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for target in self.0.iter().flat_map(|(_, targets)| targets) {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        targets
    }
}

// === impl Told ===

impl Told {
    /// What of these failures is to be told now. A name that is not among them has been found.
    pub(super) fn news<'f>(&mut self, failed: &'f [(String, io::Error)], now: Instant) -> Vec<&'f (String, io::Error)> {
        self.0.retain(|name, _| failed.iter().any(|(other, _)| other == name));
        let is_new = |(name, error): &&(String, io::Error)| {
            let why = error.to_string();
            let is_old = self.0.get(name).is_some_and(|(before, at)| *before == why && now < *at + AGAIN);
            if !is_old {
                self.0.insert(name.clone(), (why, now));
            }
            !is_old
        };
        failed.iter().filter(is_new).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use super::*;

    #[derive(Default)]
    struct Fake(Mutex<HashMap<String, Vec<SocketAddr>>>);

    impl Fake {
        fn say(&self, host: &str, addresses: &[&str]) {
            let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
            self.0.lock().expect("a lock").insert(host.to_owned(), addresses);
        }
    }

    impl Lookup for Fake {
        async fn look_up(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            let names = self.0.lock().expect("a lock");
            names.get(host).cloned().ok_or_else(|| io::Error::other("no such name"))
        }
    }

    fn texts(book: &Book) -> Vec<String> {
        book.targets().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_name_follows_its_addresses_and_keeps_the_last_good_ones() {
        let names = Fake::default();
        names.say("backend", &["10.0.0.2:80", "10.0.0.1:80"]);
        let fixed = Endpoint::Address("10.0.0.9:80".parse().expect("an address"));
        let mut book = Book::new(&[Endpoint::Name("backend".into(), 80), fixed], None);
        assert!(book.has_gaps());
        assert!(book.refresh(&names).await.is_empty());
        assert_eq!(texts(&book), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80"]);
        // One address goes, another comes, and one that the file names too is no second server.
        names.say("backend", &["10.0.0.9:80", "10.0.0.2:80", "10.0.0.3:80"]);
        assert!(book.refresh(&names).await.is_empty());
        assert_eq!(texts(&book), ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80"]);
        // Neither an error nor an empty answer takes away what was known.
        names.say("backend", &[]);
        assert_eq!(book.refresh(&names).await.len(), 1);
        names.0.lock().expect("a lock").clear();
        assert_eq!(book.refresh(&names).await.len(), 1);
        assert_eq!(texts(&book), ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80"]);
        assert!(!book.has_gaps());
    }

    #[test]
    fn a_failure_is_told_when_it_begins_or_changes_and_then_every_five_minutes() {
        let failed = |why: &str| vec![("a:80".to_owned(), io::Error::other(why.to_owned()))];
        let (mut told, began) = (Told::default(), Instant::now());
        let mut news =
            |failed: &[(String, io::Error)], seconds| told.news(failed, began + Duration::from_secs(seconds)).len();
        assert_eq!([0, 1, 2, 299].map(|at| news(&failed("no such name"), at)), [1, 0, 0, 0]);
        assert_eq!([300, 301].map(|at| news(&failed("no such name"), at)), [1, 0]);
        assert_eq!([302, 303].map(|at| news(&failed("no answer in time"), at)), [1, 0]);
        // Found, and lost again.
        assert_eq!((news(&[], 304), news(&failed("no answer in time"), 305)), (0, 1));
    }

    #[tokio::test]
    async fn a_new_book_knows_what_the_old_one_knew() {
        let names = Fake::default();
        names.say("backend", &["10.0.0.1:80"]);
        let endpoint = Endpoint::Name("backend".into(), 80);
        let mut old = Book::new(std::slice::from_ref(&endpoint), None);
        assert!(old.refresh(&names).await.is_empty());
        let mut new = Book::new(&[endpoint, Endpoint::Name("other".into(), 80)], Some(&old));
        let failed = new.refresh(&Fake::default()).await;
        assert_eq!(failed.len(), 2);
        assert_eq!(texts(&new), ["10.0.0.1:80"]);
        assert!(new.has_gaps());
    }
}
