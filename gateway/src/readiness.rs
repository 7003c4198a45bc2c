//! Alive and ready: what `/healthz` and `/readyz` say, on the door and on the operators' listener.
//!
//! Alive means that the process answers. Ready means that a request would be served: reasons are named by a word each,
//! without detail, since strangers can ask.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use policies::{Methods, Refusal};
use tokio::sync::Notify;

use crate::answer::LocalAnswer;

/// What stands in the way of serving. Set by those who notice, read by the probes.
#[derive(Default)]
pub(crate) struct Readiness {
    /// The process was told to stop.
    pub(crate) draining: AtomicBool,
    /// The change feed cannot be read: the database is away, known callers are still served.
    pub(crate) store_away: AtomicBool,
    /// Redis does not answer, or passes nothing on: what other gateways change is heard by polling alone.
    pub(crate) shared_away: AtomicBool,
    /// Limits that gateways share cannot be asked for: `on_outage` is in force.
    pub(crate) limits_away: AtomicBool,
    /// The Redis that counts them is younger than the longest window: `on_outage` is in force for those over a longer time.
    pub(crate) limits_young: AtomicBool,
    /// Something that is sealed does not open.
    pub(crate) unreadable: AtomicBool,
    /// Wakes whoever counts what does not open.
    pub(crate) recount: Notify,
    /// Memory is short: requests are shed.
    pub(crate) short_of_memory: AtomicBool,
}

// === impl Readiness ===

impl Readiness {
    /// Somebody, here or in the account service, has met a value that does not open: it is said at once, and all of them are counted.
    pub(crate) fn found_unreadable(&self) {
        self.unreadable.store(true, Ordering::Relaxed);
        self.recount.notify_one();
    }

    /// The answer to a probe, if the path is one, by a method that changes nothing: HAProxy asks by OPTIONS.
    pub(crate) fn probe(&self, method: &Method, path: &str) -> Result<Option<LocalAnswer>, Refusal> {
        let answer = self.at(path);
        if answer.is_some() && !Methods::SAFE.contains(method.as_str()) {
            return Err(Refusal::MethodNotAllowed { allow: Methods::SAFE });
        }
        Ok(answer)
    }

    /// What a probe of the path is told.
    pub(crate) fn at(&self, path: &str) -> Option<LocalAnswer> {
        match path {
            "/healthz" => Some(LocalAnswer::json(200, &serde_json::json!({ "status": "alive" }))),
            "/readyz" => Some(self.ready()),
            _ => None,
        }
    }

    /// A database that is away degrades every node alike; taking them all out of service would turn that into an outage.
    fn ready(&self) -> LocalAnswer {
        let draining = self.draining.load(Ordering::Relaxed);
        let degraded: Vec<_> = self.degraded();
        let (status, word) = match (draining, degraded.is_empty()) {
            (true, _) => (503, "draining"),
            (false, true) => (200, "ready"),
            (false, false) => (200, "degraded"),
        };
        LocalAnswer::json(status, &serde_json::json!({ "status": word, "reasons": degraded }))
    }

    /// What does not work as it should, a word each.
    pub(crate) fn degraded(&self) -> Vec<&'static str> {
        let so = self.reasons().into_iter().filter(|(is_so, _)| is_so.load(Ordering::Relaxed));
        so.map(|(_, word)| word).collect()
    }

    fn reasons(&self) -> [(&AtomicBool, &'static str); 6] {
        [
            (&self.store_away, "store_unavailable"),
            (&self.shared_away, "redis_unavailable"),
            (&self.limits_away, "shared_limits_unavailable"),
            (&self.limits_young, "shared_limits_without_memory"),
            (&self.short_of_memory, "short_of_memory"),
            (&self.unreadable, "sealed_values_unreadable"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_for_operators_has_every_reason() {
        let (readiness, text) = (Readiness::default(), include_str!("../../docs/reference.md"));
        for (is_so, reason) in readiness.reasons() {
            assert!(text.contains(&format!("\n| `{reason}` | ")), "{reason}");
            assert!(readiness.degraded().is_empty(), "before {reason}");
            is_so.store(true, Ordering::Relaxed);
            assert_eq!(readiness.degraded(), [reason]);
            is_so.store(false, Ordering::Relaxed);
        }
    }
}
