//! The job that forgets who waited for what is over.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::EpochMillis;
use crate::jobs::Work;
use crate::jobs::job::{Chunk, Job, JobError, Missed};

use super::waitlist;

/// Whoever still looks at what was waited for does so soon.
const KEPT: Duration = Duration::from_secs(24 * 3600);

const CHUNK: i64 = 500;

/// Forgets entries of the waitlist a day after their slot began.
pub struct PurgeWaitlist;

#[async_trait]
impl Job for PurgeWaitlist {
    fn name(&self) -> &'static str {
        "purge-waitlist"
    }

    fn cron(&self) -> &'static str {
        "25 4 * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["purge"]
    }

    fn missed(&self) -> Missed {
        Missed::Skip
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let before = EpochMillis::now().minus(KEPT);
        let count = waitlist::delete_older(work.transaction().await?, before, CHUNK).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let next = (count == CHUNK).then(String::new);
        Ok(Chunk { read: count, written: count, next, ..Chunk::default() })
    }
}
