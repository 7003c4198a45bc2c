//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

/// Counts connections while they live. One lock for each connection that begins or ends; requests do not come here.
pub(crate) struct Gate {
    most: usize,
    most_of_one: usize,
    total: AtomicUsize,
    addresses: Mutex<HashMap<[u8; 16], usize>>,
}

/// A connection that is counted until it is dropped.
pub(crate) struct Entered {
    gate: Arc<Gate>,
    network: Option<[u8; 16]>,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, total: AtomicUsize::new(0), addresses: Mutex::default() })
    }

    /// Counts a connection, if there is room for one more.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let entered = Entered { gate: Arc::clone(self), network: None };
        (self.total.fetch_add(1, Ordering::Relaxed) < self.most).then_some(entered)
    }
}

// === impl Entered ===

impl Entered {
    /// Counts it for its address too, once that is known; `false` if that address has enough.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> bool {
        let network = crate::limiter::network(address);
        let mut addresses = self.gate.addresses.lock();
        let count = addresses.entry(network).or_default();
        if *count >= self.gate.most_of_one {
            return false;
        }
        *count += 1;
        self.network = Some(network);
        true
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.gate.total.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut addresses = self.gate.addresses.lock();
        if let Some(count) = addresses.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn no_more_enter_than_may_and_who_leaves_makes_room() {
        let gate = Gate::new(2, 9);
        let first = gate.enter().expect("room");
        let _second = gate.enter().expect("room");
        assert!(gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
        assert_eq!(gate.total.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_address_has_a_share_of_its_own() {
        let gate = Gate::new(9, 1);
        let mut first = gate.enter().expect("room");
        assert!(first.count_for(ONE));
        assert!(!gate.enter().expect("room").count_for(ONE));
        assert!(gate.enter().expect("room").count_for(OTHER));
        drop(first);
        assert!(gate.enter().expect("room").count_for(ONE));
        assert!(gate.addresses.lock().is_empty());
    }
}
