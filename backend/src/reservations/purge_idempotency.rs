//! The job that forgets idempotency keys.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::EpochMillis;
use crate::jobs::Work;
use crate::jobs::job::{Chunk, Job, JobError, Missed};

use super::idempotency;

/// No client repeats a request for longer.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

const CHUNK: i64 = 500;

/// Forgets the keys of bookings seven days after they were made; the bookings stay.
pub struct PurgeIdempotency;

#[async_trait]
impl Job for PurgeIdempotency {
    fn name(&self) -> &'static str {
        "purge-idempotency"
    }

    fn cron(&self) -> &'static str {
        "20 4 * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["purge"]
    }

    fn missed(&self) -> Missed {
        Missed::Skip
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let before = EpochMillis::now().minus(KEPT);
        let count = idempotency::delete_older(work.transaction().await?, before, CHUNK).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let next = (count == CHUNK).then(String::new);
        Ok(Chunk { read: count, written: count, next, ..Chunk::default() })
    }
}
