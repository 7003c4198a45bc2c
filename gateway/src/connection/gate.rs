//! How many connections there may be, in all and from one address, and what an address has under way on all of its own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

/// Counts connections while they live. One lock for each that begins, and one for each address of which nothing is left; a request takes none
/// while its connection lives.
pub(crate) struct Gate {
    most: usize,
    most_of_one: usize,
    total: AtomicUsize,
    addresses: Mutex<HashMap<[u8; 16], Weak<Address>>>,
}

/// A connection that is counted until it is dropped.
pub(crate) struct Entered {
    gate: Arc<Gate>,
    address: Option<Arc<Address>>,
}

/// What one IPv4 address or IPv6 /56 has. Requests keep it as connections do, since those of HTTP/2 may outlive theirs: else whoever
/// connects anew would begin with none.
pub(crate) struct Address {
    gate: Arc<Gate>,
    network: [u8; 16],
    connections: AtomicUsize,
    requests: AtomicUsize,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, total: AtomicUsize::new(0), addresses: Mutex::default() })
    }

    /// Counts a connection, if there is room for one more.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let entered = Entered { gate: Arc::clone(self), address: None };
        (self.total.fetch_add(1, Ordering::Relaxed) < self.most).then_some(entered)
    }

    fn address(self: &Arc<Self>, network: [u8; 16]) -> Arc<Address> {
        let mut addresses = self.addresses.lock();
        let known = addresses.entry(network).or_default();
        known.upgrade().unwrap_or_else(|| {
            let (connections, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let address = Arc::new(Address { gate: Arc::clone(self), network, connections, requests });
            *known = Arc::downgrade(&address);
            address
        })
    }
}

// === impl Entered ===

impl Entered {
    /// Counts it for its address too, once that is known; none if that address has enough.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Option<Arc<Address>> {
        let address = self.address.insert(self.gate.address(crate::limiter::network(address)));
        (address.connections.fetch_add(1, Ordering::Relaxed) < self.gate.most_of_one).then(|| Arc::clone(address))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.gate.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = &self.address {
            address.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// === impl Address ===

impl Address {
    /// Counts a request. So many are under way with it.
    pub(crate) fn request_begins(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn request_ends(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let mut addresses = self.gate.addresses.lock();
        // Whoever connects meanwhile has begun another.
        if addresses.get(&self.network).is_some_and(|known| known.strong_count() == 0) {
            addresses.remove(&self.network);
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
        assert!(first.count_for(ONE).is_some());
        assert!(gate.enter().expect("room").count_for(ONE).is_none());
        assert!(gate.enter().expect("room").count_for(OTHER).is_some());
        drop(first);
        assert!(gate.enter().expect("room").count_for(ONE).is_some());
        assert!(gate.addresses.lock().is_empty());
    }

    #[test]
    fn requests_that_outlive_their_connection_are_counted_with_those_of_the_next() {
        let gate = Gate::new(9, 9);
        let mut first = gate.enter().expect("room");
        let address = first.count_for(ONE).expect("room");
        assert_eq!(address.request_begins(), 1);
        drop(first);
        let mut next = gate.enter().expect("room");
        let again = next.count_for(ONE).expect("room");
        assert_eq!(again.request_begins(), 2);
        address.request_ends();
        assert_eq!(again.request_begins(), 2);
        drop((address, again, next));
        assert!(gate.addresses.lock().is_empty());
    }
}
