//! The job that forgets old notifications, which carry no TTL in Redis.

use std::time::Instant;

use async_trait::async_trait;

use crate::jobs::Work;
use crate::jobs::job::{Chunk, Job, JobError, Missed};
use crate::redis::Redis;

use super::store::Store;

/// Users in one script.
const AT_ONCE: i64 = 20;

/// Scripts in one chunk.
const SCRIPTS: usize = 20;

/// Removes notifications after 30 days, by the index of the users' oldest: who has nothing old isn't looked at.
///
/// What was removed isn't found again: a chunk that is repeated goes on with what is left. One script removes and
/// moves the user in the index, so that what is written meanwhile comes before it or after it, and stays.
pub struct TrimNotifications(Store);

impl TrimNotifications {
    /// Trims the notifications in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self(Store::new(redis))
    }
}

#[async_trait]
impl Job for TrimNotifications {
    fn name(&self) -> &'static str {
        "trim-notifications"
    }

    fn cron(&self) -> &'static str {
        "30 4 * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["trim"]
    }

    fn missed(&self) -> Missed {
        Missed::Skip
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let mut chunk = Chunk::default();
        let before: i64 = work.cursor().and_then(|count| count.parse().ok()).unwrap_or(0);
        for _ in 0..SCRIPTS {
            let start = Instant::now();
            let (users, removed) = self.0.trim(AT_ONCE).await?;
            chunk.read += users;
            chunk.written += removed;
            if users == 0 {
                return Ok(chunk);
            }
            // As long for the others as for this.
            tokio::time::sleep(start.elapsed()).await;
        }
        chunk.next = Some((before + chunk.read).to_string());
        Ok(chunk)
    }
}
