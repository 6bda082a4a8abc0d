//! The job that forgets old runs.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::EpochMillis;

use super::history;
use super::job::{Chunk, Job, JobError, Missed};
use super::work::Work;

/// Runs that ended longer ago are forgotten.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

const CHUNK: i64 = 500;

/// Forgets runs, with their steps and skips, 90 days after their end.
pub struct TrimRuns;

#[async_trait]
impl Job for TrimRuns {
    fn name(&self) -> &'static str {
        "trim-runs"
    }

    fn cron(&self) -> &'static str {
        "40 4 * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["trim"]
    }

    fn missed(&self) -> Missed {
        Missed::Skip
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let before = EpochMillis::now().minus(KEPT);
        let count = history::delete_ended(work.transaction().await?, before, CHUNK).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let next = (count == CHUNK).then(String::new);
        Ok(Chunk { read: count, written: count, next, ..Chunk::default() })
    }
}
