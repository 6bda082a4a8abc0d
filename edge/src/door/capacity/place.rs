//! What a connection has taken, and its requests: it is given back when these are dropped.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{CONNECTION_BYTES, Capacity, Full, Share, Shared, lock};

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    pub(super) capacity: Arc<Capacity>,
    pub(super) number: u64,
    pub(super) client: IpAddr,
    pub(super) share: Option<(u64, Arc<Share>)>,
    pub(super) shared: Arc<Shared>,
}

/// A request at work on a place, until it is dropped.
#[derive(Debug)]
pub struct AtWork {
    place: Arc<Place>,
    held: Held,
}

/// Bytes that are taken for a place, until it is dropped.
#[derive(Debug)]
pub struct Held {
    place: Arc<Place>,
    bytes: usize,
}

impl Place {
    /// Who has it.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// A request has come in whole; what it counts for, [`weight`](super::weight) says.
    pub fn begin_request(self: &Arc<Self>, bytes: usize) -> Result<AtWork, Full> {
        {
            // At work before room is made: it must not be its own place that is given away as one that waits.
            let mut state = lock(&self.shared.state);
            if state.must_go {
                return Err(Full::GivenAway);
            }
            state.at_work += 1;
        }
        match self.hold(bytes) {
            Ok(held) => Ok(AtWork { place: Arc::clone(self), held }),
            Err(full) => {
                self.end_work();
                Err(full)
            }
        }
    }

    /// Takes bytes for a while.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Full> {
        let capacity = &self.capacity;
        let before = capacity.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        let of_share =
            self.share.as_ref().map_or(0, |(_, share)| share.bytes.fetch_add(bytes, Ordering::Relaxed));
        let held = Held { place: Arc::clone(self), bytes };
        if of_share + bytes > capacity.share_bytes() {
            return Err(Full::Address);
        }
        let fits = before + bytes <= capacity.bounds.load().bytes;
        if fits || capacity.make_room(&mut lock(&capacity.taken), Some(&self.shared)) {
            return Ok(held);
        }
        Err(Full::Everywhere)
    }

    /// Ends when the place is needed by another.
    pub async fn given_away(&self) {
        self.shared.must_go.notified().await;
    }

    fn end_work(&self) {
        let mut state = lock(&self.shared.state);
        state.at_work -= 1;
        state.waiting_since = Instant::now();
    }
}

impl AtWork {
    /// It takes so many bytes from now on, if these are fewer.
    pub fn lower_to(&mut self, bytes: usize) {
        self.held.give_back(self.held.bytes.saturating_sub(bytes));
    }
}

impl Held {
    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.place.capacity.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some((_, share)) = &self.place.share {
            share.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.place.end_work();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.capacity.taken_bytes.fetch_sub(CONNECTION_BYTES, Ordering::Relaxed);
        if let Some((_, share)) = &self.share {
            share.connections.fetch_sub(1, Ordering::Relaxed);
            share.bytes.fetch_sub(CONNECTION_BYTES, Ordering::Relaxed);
        }
        let mut taken = lock(&self.capacity.taken);
        taken.places.remove(&self.number);
        taken.nobody_until = None;
        taken.forget(self.share.as_ref());
    }
}
