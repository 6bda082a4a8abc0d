//! How many connections there are, in all and of one address, and what they and their requests take. A full house turns
//! nobody away who asks for little: who asks for very much at once makes room, then those who only wait, longest first, then
//! who asks for much.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// What a waiting connection takes, with TLS: measured with 1,500 of them.
pub const CONNECTION_BYTES: usize = 14 * 1024;
/// What a request takes besides its header, from its first byte to its answer's last, or as a WebSocket: Pingora's state.
/// Measured with 10,000 of them.
pub const REQUEST_BYTES: usize = 27 * 1024;

/// So many make room at once, as a part of all: looking for them costs a walk over all.
const ROOM: usize = 64;
/// Whoever has fewer requests at once is never let go for the sake of others.
const MANY_REQUESTS: usize = 16;
/// Whoever has as many goes before those that only wait: a browser comes to a few dozen.
const TOO_MANY_REQUESTS: usize = 64;

/// The places of a listener.
#[derive(Debug)]
pub struct Capacity {
    bounds: Bounds,
    taken_bytes: AtomicUsize,
    taken: Mutex<Taken>,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections in all.
    pub connections: usize,
    /// Of one share: an address, or an IPv6 /64.
    pub of_one_share: usize,
    /// Taken by connections and requests together.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Taken {
    places: HashMap<u64, Arc<Shared>>,
    by_share: HashMap<u64, usize>,
    next: u64,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The address has as many connections as it may.
    #[error("too many connections of one address")]
    Address,
    /// All that there may be is at work.
    #[error("too much is at work")]
    Everywhere,
    /// The place of this connection was given to another.
    #[error("the place is given away")]
    GivenAway,
}

impl Full {
    /// The reason's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Everywhere => "total",
            Self::GivenAway => "given-away",
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

/// A request at work on a place, until it is dropped.
#[derive(Debug)]
pub struct AtWork<'a> {
    place: &'a Place,
    bytes: usize,
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
    /// Room for as much.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, taken_bytes: AtomicUsize::new(0), taken: Mutex::default() })
    }

    /// A place for a connection of this client, of its share; `None`: it may have as many as it wants.
    pub fn take(self: &Arc<Self>, client: IpAddr, share: Option<u64>) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        let of_share = share.map_or(0, |share| taken.by_share.get(&share).copied().unwrap_or(0));
        if of_share >= self.bounds.of_one_share {
            return Err(Full::Address);
        }
        let is_full = taken.places.len() >= self.bounds.connections || self.lacks(CONNECTION_BYTES);
        if is_full && !self.make_room(&taken, None) {
            return Err(Full::Everywhere);
        }
        self.taken_bytes.fetch_add(CONNECTION_BYTES, Ordering::Relaxed);
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

    /// What connections and requests are taken to take.
    pub fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    fn lacks(&self, bytes: usize) -> bool {
        self.taken_bytes().saturating_add(bytes) > self.bounds.bytes
    }

    /// Whether there is room in an instant: some are going already, or must go now. Who asks isn't let go for its own sake.
    fn make_room(&self, taken: &Taken, asking: Option<&Arc<Shared>>) -> bool {
        let mut going = 0;
        let mut waiting = Vec::new();
        let mut busiest: Option<(usize, &Arc<Shared>)> = None;
        for shared in taken.places.values() {
            let state = lock(&shared.state);
            match (state.must_go, state.at_work) {
                (true, _) => going += 1,
                (false, 0) => waiting.push((state.waiting_since, shared)),
                (false, requests) if busiest.is_none_or(|(most, _)| requests > most) => {
                    busiest = Some((requests, shared));
                }
                _ => {}
            }
        }
        if going > 0 && taken.places.len() - going < self.bounds.connections && !self.lacks(0) {
            return true;
        }
        let busiest = busiest.filter(|(_, shared)| !asking.is_some_and(|asking| Arc::ptr_eq(asking, shared)));
        let let_busiest_go = |least| {
            let goes = busiest.is_some_and(|(_, shared)| shared.let_go_if(|requests| requests >= least));
            metrics::counter!("edge_connections_evicted_total", "was" => "busy").increment(goes.into());
            goes
        };
        // Where a request asks, it is requests that take the room.
        (asking.is_some() && let_busiest_go(TOO_MANY_REQUESTS))
            || self.let_waiting_go(waiting)
            || let_busiest_go(MANY_REQUESTS)
    }

    fn let_waiting_go(&self, mut waiting: Vec<(Instant, &Arc<Shared>)>) -> bool {
        let count = (self.bounds.connections / ROOM).max(1).min(waiting.len());
        if count == 0 {
            return false;
        }
        waiting.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        // One that has begun to work meanwhile stays.
        let let_go = waiting[..count].iter().filter(|(_, shared)| shared.let_go_if(|requests| requests == 0));
        metrics::counter!("edge_connections_evicted_total", "was" => "waiting")
            .increment(let_go.count() as u64);
        true
    }
}

impl Shared {
    fn let_go_if(&self, may_go: impl Fn(usize) -> bool) -> bool {
        let mut state = lock(&self.state);
        let goes = !state.must_go && may_go(state.at_work);
        if goes {
            state.must_go = true;
            self.must_go.notify_one();
        }
        goes
    }
}

impl Place {
    /// Who has it.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// A request has come in whole, with a header of so many bytes.
    pub fn begin_request(&self, header_bytes: usize) -> Result<AtWork<'_>, Full> {
        let bytes = REQUEST_BYTES + header_bytes;
        {
            // At work before room is made: it must not be its own place that is given away as one that waits.
            let mut state = lock(&self.shared.state);
            if state.must_go {
                return Err(Full::GivenAway);
            }
            state.at_work += 1;
        }
        let at_work = AtWork { place: self, bytes };
        let before = self.capacity.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        let capacity = &self.capacity;
        let fits = before + bytes <= capacity.bounds.bytes;
        if fits || capacity.make_room(&lock(&capacity.taken), Some(&self.shared)) {
            return Ok(at_work);
        }
        Err(Full::Everywhere)
    }

    /// Ends when the place is needed by another.
    pub async fn given_away(&self) {
        self.shared.must_go.notified().await;
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.place.capacity.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        let mut state = lock(&self.place.shared.state);
        state.at_work -= 1;
        state.waiting_since = Instant::now();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.capacity.taken_bytes.fetch_sub(CONNECTION_BYTES, Ordering::Relaxed);
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

    fn house(connections: usize, of_one_share: usize) -> Arc<Capacity> {
        Capacity::new(Bounds { connections, of_one_share, bytes: usize::MAX })
    }

    fn take(capacity: &Arc<Capacity>, share: Option<u64>) -> Result<Place, Full> {
        capacity.take([127, 0, 0, 1].into(), share)
    }

    fn must_go(place: &Place) -> bool {
        lock(&place.shared.state).must_go
    }

    #[test]
    fn an_address_has_no_more_than_its_share_and_gets_it_back() {
        let capacity = house(10, 2);
        let first = take(&capacity, Some(1)).expect("a place");
        let _second = take(&capacity, Some(1)).expect("a place");
        assert_eq!(take(&capacity, Some(1)).err(), Some(Full::Address));
        assert!(take(&capacity, Some(2)).is_ok());
        drop(first);
        assert!(take(&capacity, Some(1)).is_ok());
        assert_eq!((capacity.len(), capacity.taken_bytes()), (1, CONNECTION_BYTES));
        assert_eq!(lock(&capacity.taken).by_share.len(), 1);
    }

    #[test]
    fn an_address_without_a_share_has_only_the_bound_of_all() {
        let capacity = house(5, 2);
        let places: Vec<_> = (0..5).map(|_| take(&capacity, None).expect("a place")).collect();
        let _work: Vec<_> = places.iter().map(|place| place.begin_request(0).expect("work")).collect();
        assert_eq!(take(&capacity, None).err(), Some(Full::Everywhere));
    }

    #[test]
    fn who_has_waited_longest_makes_room_and_who_works_stays() {
        let capacity = house(3, 3);
        let [works, waits, waits_less] = [1, 2, 3].map(|address| {
            std::thread::sleep(Duration::from_millis(2));
            take(&capacity, Some(address)).expect("a place")
        });
        let _work = works.begin_request(0).expect("work");
        let newcomer = take(&capacity, Some(4)).expect("a place");
        assert!(must_go(&waits) && !must_go(&works) && !must_go(&waits_less) && !must_go(&newcomer));
        assert_eq!(waits.begin_request(0).err(), Some(Full::GivenAway));
        // While that one is going, its place is the newcomer's: the next one needs another.
        let another = take(&capacity, Some(5)).expect("a place");
        assert!(must_go(&waits_less) && !must_go(&another));
    }

    #[test]
    fn a_house_full_of_work_turns_away() {
        let capacity = house(2, 2);
        let places = [1, 2].map(|address| take(&capacity, Some(address)).expect("a place"));
        let mut work: Vec<_> = places.iter().map(|place| place.begin_request(0).expect("work")).collect();
        assert_eq!(take(&capacity, Some(3)).err(), Some(Full::Everywhere));
        work.pop();
        assert!(take(&capacity, Some(3)).is_ok());
    }

    #[test]
    fn requests_take_the_room_of_those_who_wait_and_then_of_who_asks_for_most() {
        let bytes = 3 * CONNECTION_BYTES + 21 * REQUEST_BYTES;
        let capacity = Capacity::new(Bounds { connections: 100, of_one_share: 100, bytes });
        let [greedy, modest, waits] =
            [1, 2, 3].map(|address| take(&capacity, Some(address)).expect("a place"));
        let work: Vec<_> = (0..20).map(|_| greedy.begin_request(0).expect("work")).collect();
        let _modest = modest.begin_request(0).expect("work");
        assert!(![&greedy, &modest, &waits].map(must_go).contains(&true));
        let _more = modest.begin_request(0).expect("room is made");
        assert!(must_go(&waits) && !must_go(&greedy));
        drop(waits);
        assert_eq!(greedy.begin_request(0).err(), Some(Full::Everywhere), "not for its own sake");
        let _even_more = modest.begin_request(0).expect("room is made");
        assert!(must_go(&greedy) && !must_go(&modest));
        drop(work);
        drop(greedy);
        assert!(modest.begin_request(0).is_ok() && !must_go(&modest));
    }

    #[test]
    fn a_request_that_finds_no_room_is_not_at_work() {
        let capacity = Capacity::new(Bounds {
            connections: 9,
            of_one_share: 9,
            bytes: CONNECTION_BYTES + REQUEST_BYTES,
        });
        let place = take(&capacity, None).expect("a place");
        assert_eq!(place.begin_request(1).err(), Some(Full::Everywhere));
        assert_eq!((capacity.taken_bytes(), lock(&place.shared.state).at_work), (CONNECTION_BYTES, 0));
        assert!(place.begin_request(0).is_ok());
    }
}
