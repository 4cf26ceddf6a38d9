//! How many connections there are, in all and from one network.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Connections;

/// What a cap per address counts by: an IPv4 address, or an IPv6 /64, which is what one subscriber gets (RFC 6177)
/// and can take any address from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

pub(super) struct Slots {
    all: Arc<Semaphore>,
    total: u32,
    per_network: usize,
    taken: Mutex<HashMap<Network, usize>>,
    connections: Connections,
}

/// The right to accept one connection, from whomever.
#[derive(Debug)]
pub(super) struct Opening {
    _permit: OwnedSemaphorePermit,
}

/// The right to hold one connection; given back when dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    network: Network,
    _opening: Opening,
}

impl Opening {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

impl Slots {
    pub fn new(max: usize, max_per_network: usize, connections: Connections) -> Arc<Self> {
        let total = u32::try_from(max).unwrap_or(u32::MAX);
        Arc::new(Self {
            all: Arc::new(Semaphore::new(total as usize)),
            total,
            per_network: max_per_network,
            taken: Mutex::default(),
            connections,
        })
    }

    /// An opening, if there is one now.
    pub fn try_open(&self) -> Option<Opening> {
        Arc::clone(&self.all).try_acquire_owned().ok().map(Opening::new)
    }

    /// Waits until fewer connections stand than the cap allows.
    pub async fn open(&self) -> Option<Opening> {
        // An error means that the semaphore was closed, which nobody does.
        Arc::clone(&self.all).acquire_owned().await.ok().map(Opening::new)
    }

    /// Turns an opening into a slot, or `None` where the peer's network holds its share already.
    pub fn take(self: &Arc<Self>, opening: Opening, peer: IpAddr) -> Option<Slot> {
        let network = Network::from(peer);
        let mut taken = self.by_network();
        let count = taken.entry(network).or_default();
        if *count >= self.per_network {
            if *count == 0 {
                taken.remove(&network);
            }
            self.connections.refused.inc();
            return None;
        }
        *count += 1;
        self.connections.open.inc();
        Some(Slot { slots: Arc::clone(self), network, _opening: opening })
    }

    /// How many connections stand. Exact once nobody accepts any more.
    pub fn taken(&self) -> usize {
        (self.total as usize).saturating_sub(self.all.available_permits())
    }

    /// Waits until no connection stands.
    pub async fn all_free(&self) {
        let _ = self.all.acquire_many(self.total).await;
    }

    fn by_network(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.connections.open.dec();
        let mut taken = self.slots.by_network();
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<Network> {
        address.parse::<IpAddr>().ok().map(Network::from)
    }

    #[test]
    fn an_ipv6_network_is_a_64_and_an_ipv4_one_an_address() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
    }

    #[test]
    fn slots_are_given_back() {
        let slots = Slots::new(3, 2, Connections::default());
        let peer = IpAddr::from([192, 0, 2, 1]);
        let take = |peer| slots.try_open().and_then(|opening| slots.take(opening, peer));
        let first = take(peer);
        let second = take(peer);
        assert!(first.is_some() && second.is_some());
        assert!(take(peer).is_none(), "its share is 2");
        assert_eq!(slots.taken(), 2, "the refused one holds nothing");
        assert_eq!((slots.connections.open.get(), slots.connections.refused.get()), (2, 1));
        let other = take(IpAddr::from([192, 0, 2, 2]));
        assert!(other.is_some() && slots.try_open().is_none(), "3 in all");
        drop((first, other));
        assert!(take(peer).is_some());
        drop(second);
        assert!(slots.taken() == 0 && slots.by_network().is_empty(), "nothing is remembered of who left");
    }
}
