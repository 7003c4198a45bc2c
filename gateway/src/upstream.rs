//! Upstreams: named pools of servers, and which server the next request goes to.
//!
//! ```text
//! pick ──► circuit: is the pool left alone? ──► balance: which server? ──► peer: how to connect ──► an [`Attempt`]
//!                                                                         whose outcome server and circuit are told
//! ```
//! Picking a server takes a [`Permit`]: forwarding without a decision does not compile. It takes no lock and allocates
//! nothing but the peer. `health` looks after the servers and `resolve` after their names, in the background; `retry` is
//! what one request may try again. Who is told what of a caller is [`crate::inject`]'s.

mod attempt;
mod balance;
mod circuit;
mod health;
mod peer;
mod resolve;
mod retry;
mod scout;
mod server;

use std::{
    net::IpAddr,
    sync::{Arc, Weak, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::uri::Scheme;
use parking_lot::Mutex;
use pingora::upstreams::peer::{ALPN, HttpPeer};
use policies::{Permit, Refusal};
use tokio::task::JoinHandle;

pub(crate) use self::{
    attempt::{Attempt, Break, Failure},
    retry::Tries,
};
use self::{
    circuit::Circuit,
    peer::Mould,
    resolve::{Book, Lookup, System, Target, Told},
    retry::Budget,
    server::{GENERATIONS, Server, Vitals, now},
};
use crate::{
    config::{Endpoint, IdentityHeader, Place, Protocol, UpstreamSettings},
    metrics::UpstreamMetrics,
    streams::cut,
};

/// A named pool.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    /// Which identity headers its servers are sent.
    pub(crate) headers: Box<[IdentityHeader]>,
    /// Are there any among them that tell the caller's teams or domains, or its tenant's quotas, which have to be looked up?
    pub(crate) asks_for_groups: bool,
    /// What health checks call it.
    host: Box<str>,
    settings: UpstreamSettings,
    mould: Mould,
    servers: ArcSwap<Box<[Arc<Server>]>>,
    turn: AtomicUsize,
    circuit: Arc<Circuit>,
    budget: Budget,
    /// Held while somebody asks for names; requests never do.
    book: tokio::sync::Mutex<Book>,
    /// One ejection at a time, so that the bound on them holds.
    ejecting: Mutex<()>,
    metrics: UpstreamMetrics,
    /// The one of this name that is in force, whose servers the gauges tell of.
    in_force: Arc<Mutex<Weak<Self>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("{at}upstream `{upstream}`: `{server}` cannot be resolved: {source}")]
    Resolve { at: Place, upstream: Arc<str>, server: String, source: std::io::Error },
    #[error("{at}upstream `{upstream}`: `{server}` cannot be connected to: {reason}")]
    Server { at: Place, upstream: Arc<str>, server: String, reason: String },
}

/// What is asked again soon: a name that has never been resolved.
const SOON: Duration = Duration::from_secs(1);

// === impl Upstream ===

impl Upstream {
    /// Makes the pool, with what `before` knew of the same servers; the very same one if nothing has changed.
    ///
    /// A name without an address is refused at a reload, when the old configuration stays. At a start (`is_first`) the pool
    /// begins without it and asks again each second: one service whose name is not there yet must not keep the door to all
    /// others shut.
    pub(crate) async fn make(
        name: &str,
        settings: &UpstreamSettings,
        before: Option<&Arc<Self>>,
        is_first: bool,
        metrics: UpstreamMetrics,
    ) -> Result<Arc<Self>, UpstreamError> {
        if let Some(before) = before
            && before.settings == *settings
        {
            return Ok(Arc::clone(before));
        }
        let name: Arc<str> = name.into();
        let mut book = match before {
            Some(before) => Book::new(&settings.servers, Some(&*before.book.lock().await)),
            None => Book::new(&settings.servers, None),
        };
        let unresolved = book.refresh(&System).await;
        if book.has_gaps()
            && let Some((server, source)) = unresolved.into_iter().next()
        {
            let at = settings.servers_at.clone();
            let error = UpstreamError::Resolve { at, upstream: Arc::clone(&name), server, source };
            if !is_first {
                return Err(error);
            }
            tracing::error!(%error, "an upstream begins without a server; its name is asked for again each second");
        }
        let upstream = Self {
            headers: settings.headers.clone(),
            asks_for_groups: settings.headers.iter().any(|header| header.is_about_groups()),
            host: host(settings),
            mould: Mould::new(&name, settings),
            servers: ArcSwap::from_pointee(Box::default()),
            turn: AtomicUsize::new(0),
            circuit: before.map_or_else(Arc::default, |before| Arc::clone(&before.circuit)),
            budget: Budget::new(settings.retry),
            ejecting: Mutex::new(()),
            in_force: before.map_or_else(Arc::default, |before| Arc::clone(&before.in_force)),
            tasks: Mutex::new(Vec::new()),
            settings: settings.clone(),
            metrics,
            name,
            book: tokio::sync::Mutex::new(book),
        };
        let targets = upstream.book.lock().await.targets();
        let known = before.map(|before| before.servers.load_full());
        upstream.set_servers(targets, known.as_deref().map_or(&[], |known| known))?;
        Ok(Arc::new(upstream))
    }

    /// It is in force: begins to look after servers and names, once.
    pub(crate) fn begin(self: &Arc<Self>) {
        if self.settings.health.is_none() {
            // Nobody would ever find out that one is well again.
            self.servers.load().iter().for_each(|server| server.vitals.forget_checks());
        }
        *self.in_force.lock() = Arc::downgrade(self);
        self.count_well();
        let mut tasks = self.tasks.lock();
        if !tasks.is_empty() {
            return;
        }
        if let Some(health) = &self.settings.health {
            tasks.push(tokio::spawn(health::look_after(Arc::clone(self), health.clone())));
        }
        if self.settings.servers.iter().any(|server| matches!(server, Endpoint::Name(..))) {
            tasks.push(tokio::spawn(Arc::clone(self).follow_names(System)));
        }
    }

    /// Ends what [`Self::begin`] began: another one has taken its place. Requests under way are finished here.
    pub(crate) fn retire(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }

    /// The server for the next attempt of a request, with the timeouts of the permitted route.
    pub(crate) fn pick(
        self: &Arc<Self>,
        permit: &Permit,
        client: IpAddr,
        tries: &mut Tries,
    ) -> Result<(Box<HttpPeer>, Attempt), Refusal> {
        let timeouts = &permit.route().timeouts;
        let deadline = self.mould.total(timeouts).map(|total| tries.began + total);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Refusal::UpstreamTimeout);
        }
        let probe = self.circuit.enter(now).map_err(|retry_after| Refusal::UpstreamCircuitOpen { retry_after })?;
        let servers = self.servers.load();
        let key = || balance::key(permit, client);
        let Some((server, trial)) = balance::choose(self.settings.balance, &servers, &self.turn, key, &tries.failed)
        else {
            if let Some(errand) = &probe {
                self.circuit.give_back(errand);
            }
            return Err(if servers.is_empty() { Refusal::UpstreamConnect } else { Refusal::UpstreamUnavailable });
        };
        if tries.made == 0 {
            self.budget.deposit();
        }
        tries.made += 1;
        let mut peer = server.peer.clone();
        let patience = self.mould.patience(timeouts);
        peer::adapt(&mut peer.options, timeouts, left);
        if tries.by_http1 {
            // Else Pingora takes the connection of HTTP/2 up again on which that was said.
            peer.options.alpn = ALPN::H1;
        }
        let generation = server.vitals.generation();
        if self.settings.protocol != Protocol::Http1 {
            peer.group_key = peer.group_key.wrapping_add(generation % GENERATIONS);
        }
        cut::end_by(deadline);
        let (upstream, server) = (Arc::clone(self), Arc::clone(server));
        let mut attempt =
            Attempt { upstream, server, probe, trial, told: false, generation, shares: None, deadline, patience };
        attempt.stay(patience.connect);
        Ok((peer, attempt))
    }

    /// May a request be tried once more, at a server that has not failed it? Spends from the budget if so; a connection that was
    /// stale when it was taken up again costs the server no work, and so no budget.
    pub(crate) fn may_retry(&self, tries: &Tries, broke: Break) -> bool {
        if tries.made >= self.settings.retry.tries || self.circuit.is_open() {
            return false;
        }
        let is_left = |server: &Arc<Server>| !tries.failed.contains(&server.vitals.id) && server.vitals.is_open();
        if !self.servers.load().iter().any(is_left) {
            return false;
        }
        if broke != Break::Stale && !self.budget.withdraw(now()) {
            self.metrics.retries_withheld.inc();
            return false;
        }
        self.metrics.retries.inc();
        true
    }

    /// Puts servers in place; what is known of those that stay stays.
    fn set_servers(&self, targets: Vec<Target>, known: &[Arc<Server>]) -> Result<(), UpstreamError> {
        let server = |target: Target| {
            let before = known.iter().find(|server| server.target == target);
            let vitals = before.map_or_else(|| Arc::new(Vitals::new()), |before| Arc::clone(&before.vitals));
            let peer = self.mould.cast(&target).map_err(|error| UpstreamError::Server {
                at: self.settings.servers_at.clone(),
                upstream: Arc::clone(&self.name),
                server: target.to_string(),
                reason: error.to_string(),
            })?;
            Ok(Arc::new(Server::new(target, peer, vitals)))
        };
        let servers = targets.into_iter().map(server).collect::<Result<Box<[_]>, _>>()?;
        self.servers.store(Arc::new(servers));
        Ok(())
    }

    /// Asks for names, again and again.
    async fn follow_names(self: Arc<Self>, names: impl Lookup) {
        let (interval, mut told) = (self.settings.resolve_interval, Told::default());
        loop {
            let has_gaps = self.book.lock().await.has_gaps();
            tokio::time::sleep(if has_gaps { SOON.min(interval) } else { interval }).await;
            let mut book = self.book.lock().await;
            let before = book.targets();
            let failed = book.refresh(&names).await;
            self.metrics.unresolved.inc_by(failed.len() as u64);
            for (name, error) in told.news(&failed, Instant::now()) {
                tracing::warn!(upstream = &*self.name, name, %error, "a name cannot be resolved; what was known of it stays");
            }
            let targets = book.targets();
            if targets == before {
                continue;
            }
            tracing::info!(upstream = &*self.name, servers = ?targets, "names have changed");
            match self.set_servers(targets, &self.servers.load_full()) {
                Ok(()) => self.count_well(),
                Err(error) => tracing::error!(%error, "the servers stay as they were"),
            }
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.settings.protocol
    }

    /// What is spoken to its servers.
    pub(crate) fn scheme(&self) -> &'static Scheme {
        static SCHEMES: [Scheme; 2] = [Scheme::HTTP, Scheme::HTTPS];
        &SCHEMES[usize::from(self.settings.tls.is_some())]
    }

    /// Brings the gauges up to date, after a change. A request that is finished at a pool which another has replaced may be what changes its
    /// servers.
    fn count_well(&self) {
        let one_at_a_time = self.in_force.lock();
        let in_force = one_at_a_time.upgrade();
        let servers = in_force.as_deref().unwrap_or(self).servers.load();
        let well = servers.iter().filter(|server| server.vitals.is_well()).count();
        self.metrics.servers.set(i64::try_from(servers.len()).unwrap_or(i64::MAX));
        self.metrics.usable.set(i64::try_from(well).unwrap_or(i64::MAX));
    }

    /// Leaves a server out, unless half of the pool is out already: the rest would break under the load of all.
    fn eject(&self, server: &Server, trial: bool) {
        let _one_at_a_time = self.ejecting.lock();
        let servers = self.servers.load();
        let out = servers.iter().filter(|server| !server.vitals.is_well()).count();
        // One that was out and stays out takes no further place.
        if !trial && (out + 1) * 2 > servers.len() {
            return;
        }
        server.vitals.eject(self.settings.ejection);
        self.metrics.ejections.inc();
        tracing::warn!(
            upstream = &*self.name,
            server = &*server.name,
            "a server keeps failing and is left out for a while"
        );
    }
}

/// What a health check asks for: the name in the certificate, or the first server's.
fn host(settings: &UpstreamSettings) -> Box<str> {
    match (&settings.tls, settings.servers.first()) {
        (Some(tls), _) => tls.sni.as_str().into(),
        (None, Some(Endpoint::Name(host, _))) => host.clone(),
        (None, Some(Endpoint::Address(address))) => address.to_string().into(),
        (None, Some(Endpoint::Unix(_)) | None) => "localhost".into(),
    }
}

#[cfg(test)]
mod tests;
