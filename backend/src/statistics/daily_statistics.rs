//! The job that counts a day when it is over.

use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::clock::EpochMillis;
use crate::config::Config;
use crate::jobs::Work;
use crate::jobs::job::{Chunk, Job, JobError};

use super::store::{self, SOURCES};

/// Rows that one chunk counts, about.
const CHUNK: i64 = 1000;

/// Sign-ins are noted for the statistics alone; those of so long before the counted day are forgotten.
const SIGN_INS_KEPT: Duration = Duration::from_secs(35 * 24 * 3600);

/// Counts reservations, cancellations, messages and sign-ins of a day, for each vendor and on the whole. Days begin
/// at midnight in the time zone of the jobs.
///
/// Each chunk adds what it counted, in the transaction that moves the cursor: a count is neither lost nor made twice.
pub struct DailyStatistics {
    zone: TimeZone,
}

impl DailyStatistics {
    /// Counts days of the configured time zone.
    pub fn new(config: &Config) -> Self {
        Self { zone: config.jobs.time_zone.clone() }
    }

    fn date_of(&self, moment: Timestamp) -> Date {
        moment.to_zoned(self.zone.clone()).date()
    }

    fn start_of(&self, date: Date) -> Option<Timestamp> {
        date.to_zoned(self.zone.clone()).ok().map(|start| start.timestamp())
    }

    async fn count(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let date = self.date_of(work.period());
        let out_of_range = || JobError::Failed(format!("{date} can't be counted"));
        let start = self.start_of(date).ok_or_else(out_of_range)?;
        let end = date.checked_add(1.day()).ok().and_then(|next| self.start_of(next));
        // The last millisecond that still belongs to the day.
        let last = EpochMillis(EpochMillis::from(end.ok_or_else(out_of_range)?).0 - 1);
        let after = match work.cursor() {
            Some(cursor) => EpochMillis(cursor.parse().map_err(|_| out_of_range())?),
            None => EpochMillis(EpochMillis::from(start).0 - 1),
        };
        let step = work.step();
        let source = SOURCES.iter().find(|source| source.step == step);
        let source = source.ok_or_else(|| JobError::Failed(format!("there is no step `{step}`")))?;
        let chunk_end = source.find_end(work.db(), after, last, CHUNK).await?;
        let counts = source.count(work.db(), after, chunk_end.unwrap_or(last)).await?;

        let day = date.to_string();
        let transaction = work.transaction().await?;
        let (mut total, mut rows) = (0, 0);
        for (vendor_id, count) in counts.iter().filter(|(_, count)| *count > 0) {
            total += count;
            if !vendor_id.is_empty() {
                source.add(transaction, &day, vendor_id, *count).await?;
                rows += 1;
            }
        }
        if total > 0 {
            source.add(transaction, &day, "", total).await?;
            rows += 1;
        }
        let next = chunk_end.map(|end| end.0.to_string());
        Ok(Chunk { read: total, written: rows, next, ..Chunk::default() })
    }
}

#[async_trait]
impl Job for DailyStatistics {
    fn name(&self) -> &'static str {
        "daily-statistics"
    }

    fn cron(&self) -> &'static str {
        "15 0 * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["clear", "reservations", "cancellations", "messages", "sign-ins", "trim"]
    }

    /// The day before the one on which it is due.
    fn period_due_at(&self, due: Timestamp) -> Timestamp {
        let yesterday = self.date_of(due).checked_sub(1.day()).ok();
        yesterday.and_then(|date| self.start_of(date)).unwrap_or(due)
    }

    fn period_of(&self, moment: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let date = self.date_of(moment);
        self.start_of(date).filter(|_| date < self.date_of(now))
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        match work.step() {
            "clear" => {
                let day = self.date_of(work.period()).to_string();
                store::clear(work.transaction().await?, &day).await?;
                Ok(Chunk::default())
            }
            "trim" => {
                let before = EpochMillis::from(work.period()).minus(SIGN_INS_KEPT);
                let count = store::delete_sign_ins(work.transaction().await?, before, CHUNK).await?;
                let written = i64::try_from(count).unwrap_or(i64::MAX);
                let next = (written == CHUNK).then(String::new);
                Ok(Chunk { read: written, written, next, ..Chunk::default() })
            }
            _ => self.count(work).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_the_day_before_in_the_zone_of_the_jobs() {
        let job = DailyStatistics { zone: TimeZone::get("Asia/Seoul").expect("a zone") };
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        // A quarter past midnight on the 22nd in Seoul.
        let due = moment("2026-11-21T15:15:00Z");
        assert_eq!(job.period_due_at(due), moment("2026-11-20T15:00:00Z"));
        assert_eq!(job.period_of(moment("2026-11-21T03:00:00Z"), due), Some(moment("2026-11-20T15:00:00Z")));
        assert_eq!(job.period_of(due, due), None, "the day isn't over");
    }
}
