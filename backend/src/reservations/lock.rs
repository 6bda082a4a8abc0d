//! The doorman in front of a place that only one can get: a lock in Redis (`SET NX PX`).
//!
//! It makes the refusal cheap when many want the same place at once; it never makes a booking correct, the
//! database does. So it may be skipped when Redis is gone, and it may end by itself before its holder is done.

use std::time::Duration;

use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::redis::{Redis, RedisError, keys};

/// A lock that takes longer than this costs more than it saves.
const PATIENCE: Duration = Duration::from_millis(100);

/// Deletes the key only while it holds the caller's token: a lock that ended by itself may be another's by now.
const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Locks on starts of services.
#[derive(Clone)]
pub struct SlotLocks {
    redis: Redis,
    ttl: Duration,
}

/// What came of trying to lock.
#[derive(Debug)]
#[must_use]
pub enum Acquisition {
    /// The caller is the only one; to be given to [`SlotLocks::release`].
    Held(Held),
    /// Somebody else is booking this very place.
    Busy,
    /// Redis can't say: go on without. What may have been set by a command whose answer didn't come in time is to
    /// be given to [`SlotLocks::release`] too, so that it isn't in others' way.
    Skipped(Option<Held>),
}

/// A lock that is held, or may be.
#[derive(Debug)]
pub struct Held {
    key: String,
    token: String,
}

impl SlotLocks {
    /// Locks that end by themselves after `ttl`.
    pub fn new(redis: Redis, ttl: Duration) -> Self {
        Self { redis, ttl }
    }

    /// Tries, once, to become the only one who books this start of this service.
    pub async fn acquire(&self, service_id: &str, starts_at: EpochMillis) -> Acquisition {
        let key = keys::slot_lock(service_id, starts_at.0);
        let token = Uuid::now_v7().to_string();
        let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        let mut set = ::redis::cmd("SET");
        set.arg(&key).arg(&token).arg("NX").arg("PX").arg(ttl);
        match self.redis.query_within::<Option<String>>(PATIENCE, &set).await {
            Ok(Some(_)) => Acquisition::Held(Held { key, token }),
            Ok(None) => Acquisition::Busy,
            Err(error) => {
                report(&error);
                let may_be_set = matches!(error, RedisError::TimedOut(_));
                Acquisition::Skipped(may_be_set.then_some(Held { key, token }))
            }
        }
    }

    /// Lets the next one in.
    pub async fn release(&self, held: Held) {
        let mut eval = ::redis::cmd("EVAL");
        eval.arg(COMPARE_AND_DELETE).arg(1).arg(&held.key).arg(&held.token);
        if let Err(error) = self.redis.query_within::<i64>(PATIENCE, &eval).await {
            report(&error);
        }
    }
}

fn report(error: &RedisError) {
    tracing::debug!(%error, "the slot lock is out");
}
