//! The job that takes expired sessions out of Redis, where they carry no TTL.

use std::time::Instant;

use async_trait::async_trait;

use crate::config::Config;
use crate::jobs::Work;
use crate::jobs::job::{Chunk, Job, JobError, Missed};
use crate::redis::Redis;

use super::sessions::Sessions;

/// Sessions in one script: for as long, about half a millisecond, Redis serves nobody else.
const AT_ONCE: i64 = 50;

/// Scripts in one chunk.
const SCRIPTS: usize = 20;

/// Ends sessions that have lain unused for too long, by the index of their last use. What was taken out isn't found
/// again: a chunk that is repeated goes on with what is left.
pub struct PurgeSessions(Sessions);

impl PurgeSessions {
    /// Purges the sessions in this Redis.
    pub fn new(config: &Config, redis: Redis) -> Self {
        Self(Sessions::new(redis, config.tokens.refresh_idle))
    }
}

#[async_trait]
impl Job for PurgeSessions {
    fn name(&self) -> &'static str {
        "purge-sessions"
    }

    fn cron(&self) -> &'static str {
        "7 * * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["purge"]
    }

    fn missed(&self) -> Missed {
        Missed::Skip
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let mut chunk = Chunk::default();
        let before: i64 = work.cursor().and_then(|count| count.parse().ok()).unwrap_or(0);
        for _ in 0..SCRIPTS {
            let start = Instant::now();
            let (read, ended) = self.0.purge(AT_ONCE).await?;
            chunk.read += read;
            chunk.written += ended;
            if read < AT_ONCE {
                return Ok(chunk);
            }
            // As long for the others as for this.
            tokio::time::sleep(start.elapsed()).await;
        }
        chunk.next = Some((before + chunk.read).to_string());
        Ok(chunk)
    }
}
