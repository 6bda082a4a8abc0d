//! How many connections there are, in all and of one address. A full house turns nobody away who has something to ask
//! while others only wait: those who have waited longest for a request make room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// So many make room at once, as a part of all: looking for them costs a walk over all.
const ROOM: usize = 64;

/// The places of a listener.
#[derive(Debug)]
pub struct Capacity {
    max: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    places: HashMap<u64, Arc<Shared>>,
    by_share: HashMap<u64, usize>,
    next: u64,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The address has as many connections as it may.
    #[error("too many connections of one address")]
    Address,
    /// As many connections as there may be are at work.
    #[error("too many connections")]
    Everywhere,
}

impl Full {
    /// The reason's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Everywhere => "total",
        }
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    capacity: Arc<Capacity>,
    number: u64,
    client: IpAddr,
    share: Option<u64>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    must_go: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are being served.
    at_work: usize,
    waiting_since: Instant,
    must_go: bool,
}

impl Capacity {
    /// Room for `max` connections, of one address for `max_per_address`.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, taken: Mutex::default() })
    }

    /// A place for a connection of this client, of its share; `None`: it may have as many as it wants.
    pub fn take(self: &Arc<Self>, client: IpAddr, share: Option<u64>) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        let of_share = share.map_or(0, |share| taken.by_share.get(&share).copied().unwrap_or(0));
        if of_share >= self.max_per_address {
            return Err(Full::Address);
        }
        // Those that must go are gone in an instant; they don't count.
        if taken.places.len() >= self.max && !self.make_room(&taken) {
            return Err(Full::Everywhere);
        }
        let number = taken.next;
        taken.next += 1;
        let state = State { at_work: 0, waiting_since: Instant::now(), must_go: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), must_go: Notify::new() });
        taken.places.insert(number, Arc::clone(&shared));
        if let Some(share) = share {
            *taken.by_share.entry(share).or_insert(0) += 1;
        }
        Ok(Place { capacity: Arc::clone(self), number, client, share, shared })
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        lock(&self.taken).places.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some must go, now or already.
    fn make_room(&self, taken: &Taken) -> bool {
        let mut going = 0;
        let mut waiting = Vec::new();
        for shared in taken.places.values() {
            let state = lock(&shared.state);
            match (state.must_go, state.at_work) {
                (true, _) => going += 1,
                (false, 0) => waiting.push((state.waiting_since, shared)),
                _ => {}
            }
        }
        if taken.places.len() - going < self.max {
            return true;
        }
        let count = (self.max / ROOM).max(1).min(waiting.len());
        if count == 0 {
            return false;
        }
        waiting.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        for (_, shared) in &waiting[..count] {
            let mut state = lock(&shared.state);
            // It may have begun to work meanwhile.
            if state.at_work == 0 {
                state.must_go = true;
                shared.must_go.notify_one();
            }
        }
        metrics::counter!("edge_connections_evicted_total").increment(count as u64);
        true
    }
}

impl Place {
    /// Who has it.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// A request has come in whole. `false`: too late, the place is given away already.
    pub fn begin_request(&self) -> bool {
        let mut state = lock(&self.shared.state);
        if !state.must_go {
            state.at_work += 1;
        }
        !state.must_go
    }

    /// A request that had begun is done.
    pub fn end_request(&self) {
        let mut state = lock(&self.shared.state);
        state.at_work -= 1;
        state.waiting_since = Instant::now();
    }

    /// Ends when the place is needed by another.
    pub async fn given_away(&self) {
        self.shared.must_go.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.capacity.taken);
        taken.places.remove(&self.number);
        let Some(share) = self.share else { return };
        if let Some(count) = taken.by_share.get_mut(&share) {
            *count -= 1;
            if *count == 0 {
                taken.by_share.remove(&share);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn must_go(place: &Place) -> bool {
        lock(&place.shared.state).must_go
    }

    fn take(capacity: &Arc<Capacity>, share: Option<u64>) -> Result<Place, Full> {
        capacity.take([127, 0, 0, 1].into(), share)
    }

    #[test]
    fn an_address_has_no_more_than_its_share_and_gets_it_back() {
        let capacity = Capacity::new(10, 2);
        let first = take(&capacity, Some(1)).expect("a place");
        let _second = take(&capacity, Some(1)).expect("a place");
        assert_eq!(take(&capacity, Some(1)).err(), Some(Full::Address));
        assert!(take(&capacity, Some(2)).is_ok());
        drop(first);
        assert!(take(&capacity, Some(1)).is_ok());
        assert_eq!(capacity.len(), 1);
        assert_eq!(lock(&capacity.taken).by_share.len(), 1);
    }

    #[test]
    fn an_address_without_a_share_has_only_the_bound_of_all() {
        let capacity = Capacity::new(5, 2);
        let places: Vec<_> = (0..5).map(|_| take(&capacity, None).expect("a place")).collect();
        assert!(places.iter().all(Place::begin_request));
        assert_eq!(take(&capacity, None).err(), Some(Full::Everywhere));
    }

    #[test]
    fn who_has_waited_longest_makes_room_and_who_works_stays() {
        let capacity = Capacity::new(3, 3);
        let [works, waits, waits_less] = [1, 2, 3].map(|address| {
            std::thread::sleep(Duration::from_millis(2));
            take(&capacity, Some(address)).expect("a place")
        });
        assert!(works.begin_request());
        let newcomer = take(&capacity, Some(4)).expect("a place");
        assert!(must_go(&waits) && !must_go(&works) && !must_go(&waits_less) && !must_go(&newcomer));
        assert!(!waits.begin_request(), "its place is given away");
        // While that one is going, its place is the newcomer's: the next one needs another.
        let another = take(&capacity, Some(5)).expect("a place");
        assert!(must_go(&waits_less) && !must_go(&another));
    }

    #[test]
    fn a_house_full_of_work_turns_away() {
        let capacity = Capacity::new(2, 2);
        let places = [1, 2].map(|address| take(&capacity, Some(address)).expect("a place"));
        assert!(places.iter().all(Place::begin_request));
        assert_eq!(take(&capacity, Some(3)).err(), Some(Full::Everywhere));
        places[0].end_request();
        assert!(take(&capacity, Some(3)).is_ok());
    }
}
