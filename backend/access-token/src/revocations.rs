//! What was revoked lately, in memory and bounded. A token ends by itself after [`MAX_LIFETIME`], so what is older
//! needs no remembering.
//!
//! When more is revoked than there is room for, the oldest entries are forgotten, and with them every token counts as
//! revoked that was issued before the newest of them: who holds such a token must refresh it, and who was revoked stays
//! so. Nobody gets in by a flood of revocations.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::verifier::{LEEWAY, MAX_LIFETIME, now};
use crate::{Claims, Revocation};

/// How long a revocation is remembered: as long as the youngest token that it may concern lives, by either clock.
pub const KEEP: Duration = Duration::from_secs(MAX_LIFETIME.as_secs() + 3 * LEEWAY.as_secs());

/// Thirty-odd bytes each.
const MOST: usize = 65_536;
const SHARDS: usize = 16;

/// The revocations of the last minutes. Readers of different users seldom meet; while there are none, they meet nothing.
pub struct Revocations {
    shards: [RwLock<HashMap<u64, Mark>>; SHARDS],
    /// Ids are kept as keyed hashes. Two that fall together are both revoked, one chance in 2⁴⁸ with a full table;
    /// none is ever missed.
    hasher: RandomState,
    most_of_a_shard: usize,
    len: AtomicUsize,
    /// What was issued before, in milliseconds, doesn't count: the place of entries that were forgotten too soon.
    floor_ms: AtomicU64,
    /// What was issued before, in milliseconds, was revoked.
    epoch_ms: AtomicU64,
}

/// What is known of an id.
#[derive(Clone, Copy)]
struct Mark {
    /// When it was revoked, in milliseconds.
    at_ms: u64,
    /// Which tokens are meant: those that were issued before.
    not_before_ms: u64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::with_room_for(MOST)
    }
}

impl Revocations {
    /// An empty list that remembers about so many.
    pub fn with_room_for(most: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            most_of_a_shard: (most / SHARDS).max(2),
            len: AtomicUsize::new(0),
            floor_ms: AtomicU64::new(0),
            epoch_ms: AtomicU64::new(0),
        }
    }

    /// Takes a revocation into force that was just made.
    pub fn revoke(&self, revocation: &Revocation) {
        self.revoke_at(revocation, millis(now()));
    }

    /// Takes a revocation into force that was made at a time, in milliseconds since the Unix epoch.
    pub fn revoke_at(&self, revocation: &Revocation, at_ms: u64) {
        let (key, not_before_ms) = match revocation {
            Revocation::Session { id } => (self.session(id), u64::MAX),
            Revocation::User { id, not_before_ms } => (self.user(id), *not_before_ms),
            Revocation::All { not_before_ms } => {
                self.epoch_ms.fetch_max(*not_before_ms, Ordering::SeqCst);
                return;
            }
        };
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.len();
        let mark = shard.entry(key).or_insert(Mark { at_ms, not_before_ms });
        mark.at_ms = mark.at_ms.max(at_ms);
        mark.not_before_ms = mark.not_before_ms.max(not_before_ms);
        if shard.len() > self.most_of_a_shard {
            // First, so that no token slips through in between.
            self.floor_ms.fetch_max(newest_of_older_half(&shard).saturating_add(1), Ordering::SeqCst);
            let floor = self.floor_ms.load(Ordering::SeqCst);
            shard.retain(|_, mark| mark.at_ms >= floor);
        }
        self.count(before, shard.len());
    }

    /// Whether a token with these claims was revoked.
    pub fn is_revoked(&self, claims: &Claims) -> bool {
        self.are_revoked(&claims.sid, &claims.sub, claims.issued_ms())
    }

    /// Whether the tokens of this session and user were revoked that were issued at a time, in milliseconds since the Unix
    /// epoch.
    pub fn are_revoked(&self, session: &str, user: &str, issued_ms: u64) -> bool {
        if issued_ms < self.epoch_ms.load(Ordering::Relaxed) {
            return true;
        }
        let is_listed = |key: u64| {
            let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
            shard.get(&key).is_some_and(|mark| issued_ms < mark.not_before_ms)
        };
        if !self.is_empty() && (is_listed(self.session(session)) || is_listed(self.user(user))) {
            return true;
        }
        // Afterwards: what was forgotten a moment ago has raised the floor before. Clocks differ: a token that is as old
        // as what was forgotten may say a time a little later.
        let floor_ms = self.floor_ms.load(Ordering::SeqCst);
        floor_ms > 0 && issued_ms < floor_ms.saturating_add(millis(LEEWAY))
    }

    /// Forgets what concerns no token that may still live.
    pub fn prune(&self) {
        self.prune_at(now());
    }

    /// The same at another time, given since the Unix epoch.
    pub fn prune_at(&self, now: Duration) {
        let oldest_ms = millis(now).saturating_sub(millis(KEEP));
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, mark| mark.at_ms >= oldest_ms);
            let left = shard.len();
            if left < shard.capacity() / 4 {
                shard.shrink_to(left * 2);
            }
            self.count(before, left);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn session(&self, id: &str) -> u64 {
        self.hasher.hash_one((0_u8, id))
    }

    fn user(&self, id: &str) -> u64 {
        self.hasher.hash_one((1_u8, id))
    }

    fn shard(&self, key: u64) -> &RwLock<HashMap<u64, Mark>> {
        &self.shards[(key >> 32) as usize % SHARDS]
    }

    fn count(&self, before: usize, after: usize) {
        if after > before {
            self.len.fetch_add(after - before, Ordering::SeqCst);
        } else {
            self.len.fetch_sub(before - after, Ordering::SeqCst);
        }
    }
}

/// The time up to which the older half of the marks was made.
fn newest_of_older_half(shard: &HashMap<u64, Mark>) -> u64 {
    let mut times: Vec<u64> = shard.values().map(|mark| mark.at_ms).collect();
    let middle = (times.len() - 1) / 2;
    *times.select_nth_unstable(middle).1
}

/// Since the Unix epoch.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn claims(sid: &str, sub: &str, iat: u64) -> Claims {
        Claims {
            iss: "daemun".into(),
            aud: "daemun".into(),
            sub: sub.into(),
            sid: sid.into(),
            role: Role::User,
            iat,
            exp: iat + 900,
            nbf: None,
            jti: "t".into(),
        }
    }

    fn session(id: &str) -> Revocation {
        Revocation::Session { id: id.into() }
    }

    #[test]
    fn a_sessions_tokens_are_revoked_and_no_others() {
        let list = Revocations::default();
        assert!(!list.is_revoked(&claims("s", "u", 100)));
        list.revoke_at(&session("s"), 100_000);
        assert!(list.is_revoked(&claims("s", "u", 100)));
        assert!(list.is_revoked(&claims("s", "u", 10_000)), "also what was issued by a race afterwards");
        assert!(!list.is_revoked(&claims("u", "s", 100)), "a user's id is no session's");
    }

    #[test]
    fn a_users_tokens_are_revoked_up_to_a_time() {
        let list = Revocations::default();
        let revoke = |not_before_ms| {
            list.revoke_at(&Revocation::User { id: "u".into(), not_before_ms }, 100_500);
        };
        revoke(100_500);
        assert!(list.is_revoked(&claims("s", "u", 99)));
        assert!(list.is_revoked(&claims("s", "u", 100)), "the second of the revocation is not trusted");
        assert!(!list.is_revoked(&claims("s", "u", 101)));
        revoke(50_000);
        assert!(list.is_revoked(&claims("s", "u", 100)), "an older word takes nothing back");
    }

    #[test]
    fn all_tokens_are_revoked_up_to_a_time() {
        let list = Revocations::default();
        list.revoke(&Revocation::All { not_before_ms: 100_500 });
        list.revoke(&Revocation::All { not_before_ms: 50_000 });
        assert!(list.is_revoked(&claims("s", "u", 100)));
        assert!(!list.is_revoked(&claims("s", "u", 101)));
        assert!(list.is_empty(), "it takes no room");
    }

    #[test]
    fn what_no_living_token_can_be_concerned_by_is_forgotten() {
        let list = Revocations::default();
        list.revoke_at(&session("old"), 1_000_000);
        list.revoke_at(&session("new"), 1_500_000);
        list.prune_at(Duration::from_secs(1_000) + KEEP);
        assert_eq!(list.len(), 2);
        list.prune_at(Duration::from_secs(1_001) + KEEP);
        assert_eq!(list.len(), 1);
        assert!(list.is_revoked(&claims("new", "u", 1_400)));
    }

    #[test]
    fn a_full_list_lets_nobody_in_whom_it_has_forgotten() {
        let list = Revocations::with_room_for(1024);
        for number in 0..100_000_u64 {
            list.revoke_at(&session(&number.to_string()), 1_000_000 + number);
        }
        assert!(list.len() <= 1024, "{}", list.len());
        for number in (0..100_000_u64).step_by(97) {
            // The token was issued before its session was revoked.
            let iat = (1_000_000 + number) / 1000;
            assert!(list.is_revoked(&claims(&number.to_string(), "u", iat)), "{number}");
        }
        assert!(!list.is_revoked(&claims("another", "u", 1_110)), "a token of afterwards counts");
        let slots: usize = list.shards.iter().map(|shard| shard.read().expect("whole").capacity()).sum();
        assert!(slots <= 4096, "{slots}");
    }

    #[test]
    fn a_list_that_is_told_the_newest_first_is_as_safe() {
        let list = Revocations::with_room_for(64);
        for number in (0..1000_u64).rev() {
            list.revoke_at(&session(&number.to_string()), 1_000_000 + number * 1000);
        }
        assert!((0..1000).all(|number| list.is_revoked(&claims(&number.to_string(), "u", 1000 + number))));
        assert!(!list.is_revoked(&claims("another", "u", 2010)));
    }
}
