//! How many connections are open, in all and from each network, so that nobody can take every place.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one server.
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_one_network_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that no network has taken yet.
pub(super) type FreePlace = OwnedSemaphorePermit;

/// A place of one connection; free again when dropped.
pub(super) struct Place {
    _free: FreePlace,
    of: Option<(Arc<Places>, IpAddr)>,
}

impl Places {
    pub(super) fn new(all_max: usize, of_one_network_max: usize) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(all_max)), of_one_network_max, taken: Mutex::default() })
    }

    /// Waits for a free place. Taken before a connection is accepted, so that further ones wait in the kernel.
    pub(super) async fn free(&self) -> io::Result<FreePlace> {
        Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)
    }

    /// Gives the place to a connection from `peer`; `None` when its network has taken all it may. `trusted` peers,
    /// which speak for many, are not counted.
    pub(super) fn take(self: &Arc<Self>, free: FreePlace, peer: IpAddr, trusted: bool) -> Option<Place> {
        if trusted {
            return Some(Place { _free: free, of: None });
        }
        let network = network_of(peer);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(network).or_insert(0);
        if *count >= self.of_one_network_max {
            return None;
        }
        *count += 1;
        Some(Place { _free: free, of: Some((Arc::clone(self), network)) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, network)) = &self.of else { return };
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(network);
            }
        }
    }
}

/// What one subscriber has: an IPv4 address, or the 64 bits that an IPv6 network is told apart by.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_network_gets_its_share_and_has_it_again_when_it_leaves() {
        let places = Places::new(10, 1);
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        let first = places.take(places.free().await.unwrap(), peer, false).unwrap();
        assert!(places.take(places.free().await.unwrap(), neighbour, false).is_none());
        assert!(places.take(places.free().await.unwrap(), neighbour, true).is_some());
        assert!(places.take(places.free().await.unwrap(), other, false).is_some());
        drop(first);
        assert!(places.take(places.free().await.unwrap(), neighbour, false).is_some());
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is remembered of those who left");
        assert_eq!(places.all.available_permits(), 10);
    }
}
