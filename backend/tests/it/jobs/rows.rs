//! A job and a timer's handler of the tests' own, which write rows to be counted afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backend::config;
use backend::database::{Db, Transaction};
use backend::jobs::Work;
use backend::jobs::job::{Chunk, Job, JobError, Limits, Missed, Skip};
use backend::jobs::service::Jobs;
use backend::jobs::timers::{Handler, Timer};
use backend::{read, within, write};
use jiff::tz::TimeZone;

use crate::harness::Stack;

/// Writes one row a chunk, as often as it has chunks.
pub struct Rows {
    pub chunks: i64,
    pub missed: Missed,
    pub limits: Limits,
    /// The next so many chunks fail: transiently, or for good.
    pub failures: Arc<AtomicI64>,
    pub is_transient: bool,
    /// Items left out in each chunk.
    pub skips: i64,
}

impl Rows {
    pub fn new(chunks: i64) -> Self {
        Self {
            chunks,
            missed: Missed::RunLate,
            limits: Limits { retries: 2, skips: 3 },
            failures: Arc::default(),
            is_transient: true,
            skips: 0,
        }
    }
}

#[async_trait]
impl Job for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn cron(&self) -> &'static str {
        "* * * * *"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["first", "second"]
    }

    fn missed(&self) -> Missed {
        self.missed
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError> {
        let number: i64 = work.cursor().map_or(0, |cursor| cursor.parse().expect("a number"));
        let row = format!("{} {} {number}", work.period(), work.step());
        insert(work.transaction().await?, &row).await?;
        if self.failures.fetch_sub(1, Ordering::AcqRel) > 0 {
            let error = if self.is_transient {
                JobError::TooSlow(Duration::ZERO)
            } else {
                JobError::Failed("out of paper".into())
            };
            return Err(error);
        }
        let skip = |item| Skip { item: format!("{number}.{item}"), reason: "unreadable".into() };
        let next = (number + 1 < self.chunks).then(|| (number + 1).to_string());
        Ok(Chunk { read: 1, written: 1, skipped: (0..self.skips).map(skip).collect(), next })
    }
}

/// Writes a row for each timer, and fails, panics or hangs for those whose payload says so.
pub struct Bell;

#[async_trait]
impl Handler for Bell {
    fn kind(&self) -> &'static str {
        "bell"
    }

    async fn fire(&self, transaction: &mut Transaction, timer: &Timer) -> Result<(), JobError> {
        insert(transaction, &format!("{} {}", timer.subject, timer.payload)).await?;
        match timer.payload.as_str() {
            "broken" => Err(JobError::Failed("no clapper".into())),
            "panics" => panic!("a bell that panics"),
            "hangs" => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

async fn insert(transaction: &mut Transaction, row: &str) -> sqlx::Result<()> {
    within!(transaction, |connection| {
        sqlx::query("INSERT INTO test_rows (row) VALUES ($1)")
            .bind(row)
            .execute(connection)
            .await
            .map(drop)?
    });
    Ok(())
}

/// Jobs of a process of their own, on a database of their own pools.
pub async fn jobs_on(stack: &Stack, job: Rows) -> Jobs {
    let db = stack.another_db().await;
    write!(&db, |pool| {
        sqlx::query("CREATE TABLE IF NOT EXISTS test_rows (row TEXT NOT NULL)")
            .execute(pool)
            .await
            .expect("made");
    });
    let config = config::Jobs {
        time_zone: TimeZone::UTC,
        poll: Duration::from_millis(20),
        lease: Duration::from_secs(5),
        schedules: [].into(),
    };
    Jobs::new(&config, db, vec![Box::new(job)], vec![Box::new(Bell)]).expect("a schedule")
}

/// All rows written, sorted.
pub async fn written(db: &Db) -> Vec<String> {
    read!(db, |pool| sqlx::query_scalar("SELECT row FROM test_rows ORDER BY row").fetch_all(pool).await)
        .expect("read")
}
