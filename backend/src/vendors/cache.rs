//! The cache in front of vendors' pages: cache-aside in Redis. It makes pages cheap and is never needed: without
//! it, or when it is slow, the database answers the same.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;

use crate::redis::{Redis, RedisError, keys};

/// A cache that takes longer than this is slower than what it caches.
const PATIENCE: Duration = Duration::from_millis(100);

/// Serialised pages by vendor.
#[derive(Clone)]
pub(crate) struct PageCache {
    redis: Redis,
    ttl: Duration,
}

/// What the cache says.
pub(crate) enum Lookup {
    /// The page.
    Hit(Bytes),
    /// It isn't there: whoever makes it should store it.
    Miss,
    /// Redis doesn't answer: asking it again in this request would only cost more time.
    Down,
}

impl PageCache {
    /// Pages stay for `ttl` at most.
    pub(crate) fn new(redis: Redis, ttl: Duration) -> Self {
        Self { redis, ttl }
    }

    /// The page of this vendor.
    pub(crate) async fn find(&self, vendor_id: &str) -> Lookup {
        let mut get = ::redis::cmd("GET");
        get.arg(keys::vendor(vendor_id));
        match self.redis.query_within::<Option<Vec<u8>>>(PATIENCE, &get).await {
            Ok(Some(page)) => Lookup::Hit(Bytes::from(page)),
            Ok(None) => Lookup::Miss,
            Err(error) => {
                report(&error);
                Lookup::Down
            }
        }
    }

    /// Keeps the page of this vendor for a while.
    pub(crate) async fn insert(&self, vendor_id: &str, page: &[u8]) {
        let mut set = ::redis::cmd("SET");
        set.arg(keys::vendor(vendor_id)).arg(page).arg("PX").arg(jittered_millis(self.ttl));
        if let Err(error) = self.redis.query_within::<()>(PATIENCE, &set).await {
            report(&error);
        }
    }
}

/// Up to a tenth less than `ttl`: pages that were cached together don't all expire together.
fn jittered_millis(ttl: Duration) -> u64 {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
    rand::rng().random_range(millis - millis / 10..=millis)
}

fn report(error: &RedisError) {
    tracing::debug!(%error, "the vendor cache is out");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens() {
        for _ in 0..1000 {
            assert!((270_000..=300_000).contains(&jittered_millis(Duration::from_secs(300))));
        }
        assert_eq!(jittered_millis(Duration::ZERO), 1);
    }
}
