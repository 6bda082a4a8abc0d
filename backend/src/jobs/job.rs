//! What a job is: a name, a schedule, steps that work in chunks, and limits.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::database;
use crate::redis::RedisError;

use super::work::Work;

/// PostgreSQL's classes of what an operator can mend while a job waits: no room, an I/O error, data it can't read.
const FULL_OR_BROKEN: [&str; 3] = ["53", "58", "XX"];

/// Work that is done once for each period of its schedule.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Names the job for operators and in the database; it never changes.
    fn name(&self) -> &'static str;

    /// When it runs, as five fields of cron; `jobs.schedules` of the configuration may say otherwise.
    fn cron(&self) -> &'static str;

    /// The names of its steps, in their order.
    fn steps(&self) -> &'static [&'static str];

    /// What becomes of periods that no backend was there for.
    fn missed(&self) -> Missed {
        Missed::RunLate
    }

    /// What it bears.
    fn limits(&self) -> Limits {
        Limits { retries: 5, skips: 0 }
    }

    /// The beginning of the period that a run which is due at `due` is for.
    fn period_due_at(&self, due: Timestamp) -> Timestamp {
        due
    }

    /// The beginning of the period that `moment` lies in; none while it isn't over.
    fn period_of(&self, moment: Timestamp, _now: Timestamp) -> Option<Timestamp> {
        Some(moment)
    }

    /// Does the next piece of a step, small enough that it takes a moment: what others wait for in the meantime is
    /// the database's one write lock. It writes in [`Work::transaction`] only; the answer is committed with that.
    ///
    /// A piece may be repeated when it wasn't committed. What it does outside the database must bear that.
    async fn chunk(&self, work: &mut Work<'_>) -> Result<Chunk, JobError>;
}

/// What becomes of periods that no backend was there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Each is made up for.
    RunLate,
    /// They are noted and left out: the next run does their work too.
    Skip,
}

/// What a job bears before its run fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attempts in a row that may end without a committed chunk: by a [transient](JobError::is_transient) error, or
    /// because the backend was lost.
    pub retries: i64,
    /// Items of one run that may be left out.
    pub skips: i64,
}

/// What a piece of work came to.
#[derive(Debug, Default)]
pub struct Chunk {
    /// How many items it looked at.
    pub read: i64,
    /// How many it wrote or removed.
    pub written: i64,
    /// What it left out.
    pub skipped: Vec<Skip>,
    /// Where the next piece begins; none when the step is through.
    pub next: Option<String>,
}

/// An item that was left out.
#[derive(Debug)]
pub struct Skip {
    /// Which.
    pub item: String,
    /// Why.
    pub reason: String,
}

/// Why a piece of work wasn't done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The run was stopped, or is another backend's by now.
    #[error("the run was taken away")]
    Lost,
    /// More items were left out than the job bears.
    #[error("more than {limit} items were skipped; the last: {reason}")]
    TooManySkips {
        /// What it bears.
        limit: i64,
        /// Why the last one was left out.
        reason: String,
    },
    /// A piece took so long that it will hardly end.
    #[error("a chunk took longer than {0:?}")]
    TooSlow(Duration),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// What the job itself says.
    #[error("{0}")]
    Failed(String),
}

impl JobError {
    /// Whether another attempt may go better: Redis doesn't answer, a chunk hung, or the database is busy, full or out of reach.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Redis(_) | Self::TooSlow(_) => true,
            Self::Database(error) if database::is_transient(error) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                // PostgreSQL's codes have five characters; of SQLite's the lowest byte is the primary one.
                error.code().is_some_and(|code| match code.len() {
                    5 => FULL_OR_BROKEN.iter().any(|class| code.starts_with(class)),
                    _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13)),
                })
            }
            Self::Lost | Self::TooManySkips { .. } | Self::Database(_) | Self::Failed(_) => false,
        }
    }
}
