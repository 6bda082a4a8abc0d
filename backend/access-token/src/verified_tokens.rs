//! Tokens that were verified before, so that a signature is computed once and not at each request.
//!
//! What is remembered is that a key signed these very bytes, and what they say. Whether they still count is asked each
//! time: the times, the revocations, and whether the set still holds that key. So an answer never differs from a plain
//! check's. A token that no key has signed, or whose claims or times are wrong, leaves nothing behind; a revoked one is
//! refused the cheaper the more often it comes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::verifier::{check_times, now};
use crate::{Claims, KeySet, MAX_TOKEN_BYTES, Revocations, TokenError, Verifier};

const SHARDS: usize = 16;
/// A token is in one of so many places; among them the one to be forgotten is looked for.
const WAYS: usize = 8;

/// A verifier that remembers what it has verified; about 1 KiB a token, of a bounded number.
pub struct VerifiedTokens {
    verifier: Verifier,
    shards: [Mutex<Shard>; SHARDS],
    groups: usize,
    /// Nobody outside can tell which tokens share a place.
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    /// In groups of [`WAYS`]; empty until the first token comes.
    slots: Vec<Option<Slot>>,
    /// Counts the uses.
    clock: u64,
}

struct Slot {
    hash: u64,
    last_use: u64,
    token: Arc<Verified>,
}

/// A token that a key has signed.
struct Verified {
    /// All of it: a hash would have to be trusted.
    token: Box<str>,
    kid: String,
    key: [u8; 32],
    claims: Arc<Claims>,
}

impl VerifiedTokens {
    /// Remembers about `most` tokens that `verifier` accepts.
    pub fn new(verifier: Verifier, most: usize) -> Self {
        let groups = most.div_ceil(SHARDS * WAYS).max(1);
        Self { verifier, shards: Default::default(), groups, hasher: RandomState::new() }
    }

    /// The token's claims, if a key of the set signed it, every claim holds now, and it wasn't revoked.
    pub fn verify(
        &self,
        keys: &KeySet,
        revocations: &Revocations,
        token: &str,
    ) -> Result<Arc<Claims>, TokenError> {
        self.verify_at(keys, revocations, token, now())
    }

    /// The same at another time, given since the Unix epoch.
    pub fn verify_at(
        &self,
        keys: &KeySet,
        revocations: &Revocations,
        token: &str,
        now: Duration,
    ) -> Result<Arc<Claims>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let hash = self.hasher.hash_one(token);
        let known = self.shard(hash).find(hash, self.groups, token);
        let claims = match known.filter(|known| keys.holds(&known.kid, &known.key)) {
            Some(known) => {
                check_times(&known.claims, now)?;
                Arc::clone(&known.claims)
            }
            None => {
                let proven = self.verifier.prove(keys, token)?;
                check_times(&proven.claims, now)?;
                let claims = Arc::new(proven.claims);
                let known = Verified {
                    token: token.into(),
                    kid: proven.kid,
                    key: proven.key,
                    claims: Arc::clone(&claims),
                };
                self.shard(hash).insert(hash, self.groups, Arc::new(known), now);
                claims
            }
        };
        if revocations.is_revoked(&claims) { Err(TokenError::Revoked) } else { Ok(claims) }
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.iter().flatten().count()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(hash >> 60) as usize % SHARDS])
    }
}

impl Shard {
    fn group(&mut self, hash: u64, groups: usize) -> &mut [Option<Slot>] {
        if self.slots.is_empty() {
            self.slots.resize_with(groups * WAYS, || None);
        }
        let start = (hash as u32 as usize % groups) * WAYS;
        &mut self.slots[start..start + WAYS]
    }

    fn find(&mut self, hash: u64, groups: usize, token: &str) -> Option<Arc<Verified>> {
        self.clock += 1;
        let clock = self.clock;
        let is_it = |slot: &&mut Slot| slot.hash == hash && *slot.token.token == *token;
        let slot = self.group(hash, groups).iter_mut().flatten().find(is_it)?;
        slot.last_use = clock;
        Some(Arc::clone(&slot.token))
    }

    /// Puts a token in the place of its own older word, else of one that has ended or of none, else of the one that
    /// was not used for longest.
    fn insert(&mut self, hash: u64, groups: usize, token: Arc<Verified>, now: Duration) {
        self.clock += 1;
        let last_use = self.clock;
        let worth = |slot: &Option<Slot>| match slot {
            Some(slot) if slot.hash == hash && slot.token.token == token.token => 0,
            None => 1,
            Some(slot) if check_times(&slot.token.claims, now).is_err() => 2,
            Some(slot) => slot.last_use + 2,
        };
        let place = self.group(hash, groups).iter_mut().min_by_key(|slot| worth(slot));
        *place.expect("a group has slots") = Some(Slot { hash, last_use, token });
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing in here panics half-way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
