//! Runs, and what is known about them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::EpochMillis;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// It is due, or will be tried again.
    Waiting,
    /// A backend holds its lease; or held it, and is gone.
    Running,
    /// All steps are through.
    Done,
    /// It can't go on, or was tried too often.
    Failed,
    /// Somebody stopped it.
    Stopped,
    /// Its period was missed, and the job doesn't make up for that.
    Skipped,
}

impl Status {
    /// Whether nothing more happens unless somebody asks for it.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }

    /// Its name, as it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }
}

/// One period of a job, and what became of it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Run {
    /// The run's id.
    pub id: String,
    /// The job's name.
    pub job: String,
    /// The beginning of the time that the run is for.
    pub period: EpochMillis,
    /// When it was to begin.
    pub due_at: EpochMillis,
    /// How it stands.
    pub status: Status,
    /// How often a backend has claimed it.
    pub epoch: i64,
    /// The process that runs it.
    pub owner: Option<String>,
    /// When it first began, since it was asked for.
    pub started_at: Option<EpochMillis>,
    /// When it ended.
    pub ended_at: Option<EpochMillis>,
    /// From its first beginning to its end.
    pub duration_ms: Option<i64>,
    /// What it has looked at.
    pub read: i64,
    /// What it has written or removed.
    pub written: i64,
    /// What it has left out.
    pub skipped: i64,
    /// How often it was tried again.
    pub retried: i64,
    /// What last went wrong; of a run that is done, what it was tried again for.
    pub error: Option<String>,
}

impl Run {
    /// From its first beginning to its end.
    pub fn duration(&self) -> Option<Duration> {
        self.duration_ms.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis)
    }
}

/// An item that a run left out.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SkippedItem {
    /// The step that came upon it.
    pub step: String,
    /// Which.
    pub item: String,
    /// Why.
    pub reason: String,
}

/// A job as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct JobSummary {
    /// The job's name.
    pub name: &'static str,
    /// When it runs: five fields of cron and a time zone.
    pub schedule: String,
    /// When it is due next.
    pub next_due_at: Option<EpochMillis>,
    /// The run of its newest period.
    pub last_run: Option<Run>,
}
