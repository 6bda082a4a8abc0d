//! What is remembered of clients' budgets, in a bounded table: sixteen bytes a client. The arithmetic is governor's (GCRA);
//! a budget is the one instant at which it will be whole again.
//!
//! A full table forgets those whose budget is the most nearly whole, and remembers of all of them together the worst: who
//! isn't known is taken to have spent as much. So nobody gains by being forgotten; a newcomer in the midst of a flood has
//! a request or so less.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

const SHARDS: usize = 64;
/// A client is in one of so many places; among them the one to be forgotten is looked for. A cache line or two.
const WAYS: usize = 8;

/// Budgets of one limit. A clone is the same budgets: a policy that is read again charges them on.
#[derive(Clone)]
pub(super) struct Budgets<C> {
    shards: Arc<[Mutex<Shard>]>,
    /// Nobody outside can tell which clients share a place.
    hasher: RandomState,
    most_groups: usize,
    clock: C,
}

#[derive(Default)]
struct Shard {
    /// In groups of [`WAYS`]; the number of groups is a power of two, or none.
    slots: Vec<Slot>,
    /// The worst of all budgets that were forgotten before they were whole.
    forgotten: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    client: u64,
    /// Nanoseconds on the limiter's clock; past: whole, and as good as empty.
    whole_at: u64,
}

impl<C: Clock<Instant = Duration>> Budgets<C> {
    /// Room for about `most_clients`; nothing is taken before it is needed.
    pub(super) fn new(most_clients: usize, clock: C) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let most_groups = (most_clients / (SHARDS * WAYS)).next_power_of_two().max(1);
        Self { shards, hasher: RandomState::new(), most_groups, clock }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_nanos() as u64
    }

    fn rebuild(&self, shard: &mut Shard, groups: usize, now: u64) {
        let old = std::mem::replace(&mut shard.slots, vec![Slot::default(); groups * WAYS]);
        for slot in old.into_iter().filter(|slot| slot.whole_at > now) {
            let hash = self.hasher.hash_one(slot.client);
            *shard.place(hash, slot.client, now) = slot;
        }
    }
}

impl Shard {
    fn live(&self, now: u64) -> usize {
        self.slots.iter().filter(|slot| slot.whole_at > now).count()
    }

    fn group(&mut self, hash: u64) -> &mut [Slot] {
        let groups = self.slots.len() / WAYS;
        let start = (hash as usize & (groups - 1)) * WAYS;
        &mut self.slots[start..start + WAYS]
    }

    fn find(&mut self, hash: u64, client: u64) -> Option<&mut Slot> {
        if self.slots.is_empty() {
            return None;
        }
        self.group(hash).iter_mut().find(|slot| slot.client == client)
    }

    fn has_room(&mut self, hash: u64, now: u64) -> bool {
        !self.slots.is_empty() && self.group(hash).iter().any(|slot| slot.whole_at <= now)
    }

    /// Where a new client goes: to one whose budget is whole, else to the one that is forgotten for it.
    fn place(&mut self, hash: u64, client: u64, now: u64) -> &mut Slot {
        let group = self.group(hash);
        let (index, slot) =
            group.iter().enumerate().min_by_key(|(_, slot)| slot.whole_at).expect("a group has slots");
        let lost = slot.whole_at;
        if lost > now {
            self.forgotten = self.forgotten.max(lost);
        }
        let slot = &mut self.group(hash)[index];
        slot.client = client;
        slot
    }
}

impl<C: Clock<Instant = Duration>> StateStore for Budgets<C> {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, client: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let hash = self.hasher.hash_one(client);
        // The low bits choose the group.
        let mut shard = lock(&self.shards[(hash >> 58) as usize % SHARDS]);
        if let Some(slot) = shard.find(hash, *client) {
            let (answer, whole_at) = decide(Some(slot.whole_at.into()))?;
            slot.whole_at = whole_at.into();
            return Ok(answer);
        }
        let (answer, whole_at) = decide(Some(shard.forgotten.into()))?;
        let now = self.now();
        while !shard.has_room(hash, now) && shard.slots.len() / WAYS < self.most_groups {
            let groups = (shard.slots.len() / WAYS * 2).max(1);
            self.rebuild(&mut shard, groups, now);
        }
        shard.place(hash, *client, now).whole_at = whole_at.into();
        Ok(answer)
    }
}

impl<C: Clock<Instant = Duration>> ShrinkableKeyedStateStore<u64> for Budgets<C> {
    /// Gives back the room that a flood has left.
    fn retain_recent(&self, _: Nanos) {
        let now = self.now();
        for shard in self.shards.iter() {
            let mut shard = lock(shard);
            let groups = shard.slots.len() / WAYS;
            if shard.live(now) * WAYS < shard.slots.len() && groups > 1 {
                self.rebuild(&mut shard, groups / 2, now);
            }
        }
    }

    /// Clients whose budget isn't whole.
    fn len(&self) -> usize {
        let now = self.now();
        self.shards.iter().map(|shard| lock(shard).live(now)).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing in here panics half-way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time since the limiter began; it doesn't step, whatever becomes of the wall clock.
///
/// A limiter takes the time at which it is made for its zero, and counts budgets from there. Budgets outlive limiters, so
/// that every limiter must have the same zero: until [`SinceStart::run`] is called, the time is that.
#[derive(Clone, Debug)]
pub(super) struct SinceStart {
    start: std::time::Instant,
    is_running: Arc<AtomicBool>,
}

impl SinceStart {
    /// A clock that stands at zero; it began at `start`.
    pub(super) fn standing(start: std::time::Instant) -> Self {
        Self { start, is_running: Arc::default() }
    }

    /// The same clock, standing at zero once more.
    pub(super) fn again(&self) -> Self {
        Self::standing(self.start)
    }

    /// From now on it goes.
    pub(super) fn run(&self) {
        self.is_running.store(true, Ordering::Release);
    }
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        if self.is_running.load(Ordering::Acquire) { self.start.elapsed() } else { Duration::ZERO }
    }
}

/// Seconds, rounded up, until this one of the clock's instants.
pub(super) fn seconds_until(instant: Duration, now: Duration) -> u64 {
    instant.duration_since(now).as_u64().div_ceil(1_000_000_000).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroU32;
    use std::sync::atomic::AtomicU64;

    use governor::middleware::NoOpMiddleware;
    use governor::{Quota, RateLimiter};
    use proptest::prelude::*;

    use super::*;

    /// A clock that is set by hand.
    #[derive(Clone, Default)]
    struct ByHand(Arc<AtomicU64>);

    impl Clock for ByHand {
        type Instant = Duration;

        fn now(&self) -> Duration {
            Duration::from_nanos(self.0.load(Ordering::SeqCst))
        }
    }

    type Limiter = RateLimiter<u64, Budgets<ByHand>, ByHand, NoOpMiddleware<Duration>>;

    /// Ten a minute, of so many clients.
    fn limiter(most_clients: usize) -> (Limiter, ByHand) {
        let clock = ByHand::default();
        let quota = Quota::per_minute(NonZeroU32::new(10).expect("ten"));
        (RateLimiter::new(quota, Budgets::new(most_clients, clock.clone()), clock.clone()), clock)
    }

    fn passed(limiter: &Limiter, client: u64, requests: usize) -> usize {
        (0..requests).filter(|_| limiter.check_key(&client).is_ok()).count()
    }

    #[test]
    fn a_million_clients_take_no_more_than_their_table() {
        let (limiter, clock) = limiter(1 << 18);
        for client in 0..1_000_000 {
            limiter.check_key(&client).ok();
            clock.0.fetch_add(1000, Ordering::SeqCst);
        }
        let slots: usize =
            limiter.into_state_store().shards.iter().map(|shard| lock(shard).slots.len()).sum();
        assert!(slots <= 1 << 18, "{slots} slots");
    }

    #[test]
    fn who_is_forgotten_gains_nothing_and_a_newcomer_loses_next_to_nothing() {
        let (limiter, clock) = limiter(512);
        assert_eq!(passed(&limiter, 7, 20), 10);
        // Others, each with one request, twice as many as the table holds.
        for client in 1000..2000 {
            limiter.check_key(&client).ok();
            clock.0.fetch_add(1, Ordering::SeqCst);
        }
        assert_eq!(passed(&limiter, 7, 20), 0, "the spent budget is still spent");
        let newcomer = passed(&limiter, 99, 20);
        assert!((5..=9).contains(&newcomer), "{newcomer}");
        clock.0.fetch_add(61_000_000_000, Ordering::SeqCst);
        assert_eq!(passed(&limiter, 7, 20), 10);
        assert_eq!(passed(&limiter, 100, 20), 10);
    }

    #[test]
    fn the_room_of_a_flood_is_given_back() {
        let (limiter, clock) = limiter(1 << 16);
        for client in 0..60_000 {
            limiter.check_key(&client).ok();
        }
        assert!(limiter.len() > 50_000);
        clock.0.fetch_add(61_000_000_000, Ordering::SeqCst);
        for _ in 0..12 {
            limiter.retain_recent();
        }
        assert_eq!(limiter.len(), 0);
        let slots: usize =
            limiter.into_state_store().shards.iter().map(|shard| lock(shard).slots.len()).sum();
        assert!(slots <= SHARDS * WAYS, "{slots} slots");
    }

    proptest! {
        /// While the table has room, it is as exact as remembering everything.
        #[test]
        fn a_table_with_room_is_exact(
            steps in prop::collection::vec((0u64..40, 0u64..4_000_000_000), 1..400),
        ) {
            let (limiter, clock) = limiter(1 << 12);
            let mut model: HashMap<u64, u64> = HashMap::new();
            const EACH: u64 = 6_000_000_000;
            for (client, pause) in steps {
                clock.0.fetch_add(pause, Ordering::SeqCst);
                let now = clock.0.load(Ordering::SeqCst);
                let whole_at = model.get(&client).copied().unwrap_or(0).max(now);
                let passes = whole_at <= now + 9 * EACH;
                if passes { model.insert(client, whole_at + EACH); }
                prop_assert_eq!(limiter.check_key(&client).is_ok(), passes);
            }
        }

        /// With little room, nobody passes who wouldn't with much.
        #[test]
        fn a_full_table_never_lets_more_pass(
            steps in prop::collection::vec((0u64..2000, 0u64..100_000_000), 1..3000),
        ) {
            let (limiter, clock) = limiter(1);
            let mut model: HashMap<u64, u64> = HashMap::new();
            const EACH: u64 = 6_000_000_000;
            for (client, pause) in steps {
                clock.0.fetch_add(pause, Ordering::SeqCst);
                let now = clock.0.load(Ordering::SeqCst);
                let whole_at = model.get(&client).copied().unwrap_or(0).max(now);
                if limiter.check_key(&client).is_ok() {
                    prop_assert!(whole_at <= now + 9 * EACH);
                    model.insert(client, whole_at + EACH);
                }
            }
        }
    }
}
