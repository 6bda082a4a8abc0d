//! How many connections there are, in all and of one address, and what they and their requests take. A full house turns
//! nobody away who asks for little: who asks for very much at once makes room, then those who only wait, longest first, then
//! who asks for much.

mod place;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use self::place::{AtWork, Held, Place};

/// What a waiting connection takes, with TLS: measured with 1,500 of them.
pub const CONNECTION_BYTES: usize = 14 * 1024;
/// What a request takes besides its header, from its first byte to its answer's last. Measured with 1,500 requests that wait
/// for a server (14 KiB) and, as long as it lasts, a WebSocket's handshake (36 KiB). A long answer of a server's that its
/// client doesn't take comes to 67 KiB, most of it in TLS, until the client is let go for it.
pub const REQUEST_BYTES: usize = 36 * 1024;
/// What a WebSocket takes besides its connection, for as long as it is open: measured with 400 and 2,000 of them, 22 and 18
/// KiB with the connection.
pub const TUNNEL_BYTES: usize = 8 * 1024;

/// What a body may keep for each of its bytes, up to a bound: Pingora's buffer, and its copy for another try.
const BODY_COPIES: usize = 2;
const MOST_BODY_BYTES: usize = 64 * 1024;

/// So many make room at once, as a part of all: looking for them costs a walk over all.
const ROOM: usize = 64;
/// Where that walk has found nobody, it isn't made again for so long.
const NOBODY: Duration = Duration::from_millis(10);
/// Whoever has fewer requests at once is never let go for the sake of others.
const MANY_REQUESTS: usize = 16;
/// Whoever has as many goes before those that only wait: a browser comes to a few dozen.
const TOO_MANY_REQUESTS: usize = 64;

/// The places of a listener.
#[derive(Debug)]
pub struct Capacity {
    bounds: ArcSwap<Bounds>,
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
    by_share: HashMap<u64, Arc<Share>>,
    next: u64,
    /// Nobody can go before this.
    nobody_until: Option<Instant>,
}

/// What one address has.
#[derive(Debug, Default)]
struct Share {
    connections: AtomicUsize,
    bytes: AtomicUsize,
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

/// What a request with a header and a body of so many bytes counts for; of a body nobody may have said how long it is.
pub fn weight(header_bytes: usize, body_bytes: Option<u64>) -> usize {
    let body = body_bytes.map_or(MOST_BODY_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    REQUEST_BYTES + header_bytes + BODY_COPIES * body.min(MOST_BODY_BYTES)
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
        Arc::new(Self {
            bounds: ArcSwap::from_pointee(bounds),
            taken_bytes: AtomicUsize::new(0),
            taken: Mutex::default(),
        })
    }

    /// From now on there may be as much. What is more than that stays until it ends.
    pub fn change(&self, bounds: Bounds) {
        self.bounds.store(Arc::new(bounds));
    }

    /// A place for a connection of this client, of its share; `None`: it may have as many as it wants.
    pub fn take(self: &Arc<Self>, client: IpAddr, share: Option<u64>) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        let share = share.map(|key| (key, Arc::clone(taken.by_share.entry(key).or_default())));
        let result = self.take_in(&mut taken, client, share.clone());
        if result.is_err() {
            taken.forget(share.as_ref());
        }
        result
    }

    fn take_in(
        self: &Arc<Self>,
        taken: &mut Taken,
        client: IpAddr,
        share: Option<(u64, Arc<Share>)>,
    ) -> Result<Place, Full> {
        if share.as_ref().is_some_and(|(_, share)| {
            share.connections.load(Ordering::Relaxed) >= self.bounds.load().of_one_share
                || share.bytes.load(Ordering::Relaxed) + CONNECTION_BYTES > self.share_bytes()
        }) {
            return Err(Full::Address);
        }
        let is_full = taken.places.len() >= self.bounds.load().connections || self.lacks(CONNECTION_BYTES);
        if is_full && !self.make_room(taken, None) {
            return Err(Full::Everywhere);
        }
        self.taken_bytes.fetch_add(CONNECTION_BYTES, Ordering::Relaxed);
        if let Some((_, share)) = &share {
            share.connections.fetch_add(1, Ordering::Relaxed);
            share.bytes.fetch_add(CONNECTION_BYTES, Ordering::Relaxed);
        }
        let number = taken.next;
        taken.next += 1;
        let state = State { at_work: 0, waiting_since: Instant::now(), must_go: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), must_go: Notify::new() });
        taken.places.insert(number, Arc::clone(&shared));
        Ok(Place { capacity: Arc::clone(self), number, client, share, shared })
    }

    /// What one address may have of all: a browser's neighbours have the rest.
    fn share_bytes(&self) -> usize {
        self.bounds.load().bytes / 4 * 3
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
        self.taken_bytes().saturating_add(bytes) > self.bounds.load().bytes
    }

    /// Whether there is room in an instant: some are going already, or must go now. Who asks isn't let go for its own sake.
    fn make_room(&self, taken: &mut Taken, asking: Option<&Arc<Shared>>) -> bool {
        let now = Instant::now();
        if taken.nobody_until.is_some_and(|until| now < until) {
            return false;
        }
        let (mut going, mut going_bytes) = (0, 0);
        let mut waiting = Vec::new();
        let mut busiest: Option<(usize, &Arc<Shared>)> = None;
        let mut asking_for = 0;
        for shared in taken.places.values() {
            let state = lock(&shared.state);
            let is_asking = asking.is_some_and(|asking| Arc::ptr_eq(asking, shared));
            match (state.must_go, state.at_work) {
                (true, requests) => {
                    going += 1;
                    going_bytes += CONNECTION_BYTES + requests * REQUEST_BYTES;
                }
                (false, requests) if is_asking => asking_for = requests,
                (false, 0) => waiting.push((state.waiting_since, shared)),
                (false, requests) if busiest.is_none_or(|(most, _)| requests > most) => {
                    busiest = Some((requests, shared));
                }
                _ => {}
            }
        }
        let left = self.taken_bytes().saturating_sub(going_bytes);
        if going > 0
            && taken.places.len() - going < self.bounds.load().connections
            && left <= self.bounds.load().bytes
        {
            return true;
        }
        // Who has very much already isn't given what others have.
        if asking_for > TOO_MANY_REQUESTS {
            return false;
        }
        let let_busiest_go = |least| {
            let goes = busiest.is_some_and(|(_, shared)| shared.let_go_if(|requests| requests >= least));
            metrics::counter!("edge_connections_evicted_total", "was" => "busy").increment(goes.into());
            goes
        };
        // Where a request asks, it is requests that take the room.
        let goes = (asking.is_some() && let_busiest_go(TOO_MANY_REQUESTS))
            || self.let_waiting_go(waiting)
            || let_busiest_go(MANY_REQUESTS);
        // For another, who asks now might have had to go.
        if !goes && asking_for < MANY_REQUESTS {
            taken.nobody_until = Some(now + NOBODY);
        }
        goes
    }

    fn let_waiting_go(&self, mut waiting: Vec<(Instant, &Arc<Shared>)>) -> bool {
        let count = (self.bounds.load().connections / ROOM).max(1).min(waiting.len());
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

impl Taken {
    /// Addresses without a connection aren't remembered.
    fn forget(&mut self, share: Option<&(u64, Arc<Share>)>) {
        if let Some((key, share)) = share
            && share.connections.load(Ordering::Relaxed) == 0
        {
            self.by_share.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
