//! Turns schedules into runs, claims what is due, and works it off chunk by chunk.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::config;
use crate::database::Db;

use super::job::{Job, JobError, Missed};
use super::report;
use super::repository::{self, Claim, Planned};
use super::schedule::Schedule;
use super::work::Work;

/// Periods that one pass plans at most; after a long outage the next passes plan the rest.
const MAX_PLANNED: usize = 100;

/// A period that is taken up this much after it was due was not missed.
const PUNCTUAL: SignedDuration = SignedDuration::from_secs(60);

/// A chunk takes a moment; one that takes this long hangs.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

/// Others get this much between two chunks at most: no waiting writer looks less often.
const MAX_GIVEN: Duration = Duration::from_millis(100);

/// A job and when it runs.
pub(super) struct Registered {
    pub(super) job: Box<dyn Job>,
    pub(super) schedule: Schedule,
}

/// Works jobs off in this process, under a name of its own.
pub(super) struct Runner {
    db: Db,
    owner: String,
    lease: Duration,
}

/// How working on a run came to an end without an error.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    /// This process was told to stop.
    Released,
}

impl Runner {
    pub(super) fn new(db: Db, config: &config::Jobs) -> Self {
        let owner = format!("{}-{}", std::process::id(), Uuid::now_v7());
        Self { db, owner, lease: config.lease }
    }

    /// Makes a run of each period that has become due by `now`. Several backends may do so at once.
    pub(super) async fn plan(&self, registered: &Registered, now: Timestamp) -> sqlx::Result<()> {
        let Registered { job, schedule } = registered;
        let planned_until = repository::planned_until(&self.db, job.name(), now.into()).await?;
        let after = Timestamp::from_millisecond(planned_until.0).unwrap_or(now);
        let due = schedule.between(after, now, MAX_PLANNED);
        let Some(last) = due.last() else { return Ok(()) };
        let runs: Vec<_> = due
            .iter()
            .map(|due| Planned {
                period: job.period_due_at(*due).into(),
                due_at: (*due).into(),
                is_skipped: job.missed() == Missed::Skip && now.duration_since(*due) > PUNCTUAL,
            })
            .collect();
        repository::plan(&self.db, job.name(), planned_until, (*last).into(), &runs).await
    }

    /// Works off what is due, one run after the other, until nothing is left or `stop` is cancelled; how many runs
    /// it took up.
    pub(super) async fn work_off(&self, job: &dyn Job, stop: &CancellationToken) -> sqlx::Result<u64> {
        let mut count = 0;
        while !stop.is_cancelled() {
            let (now, lease_end) = (EpochMillis::now(), self.lease_end());
            let claimed = repository::claim(&self.db, job.name(), &self.owner, now, lease_end).await?;
            let Some(claim) = claimed else { break };
            self.execute(job, &claim, stop).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn execute(&self, job: &dyn Job, claim: &Claim, stop: &CancellationToken) -> sqlx::Result<()> {
        let (name, run) = (job.name(), &claim.id);
        tracing::info!(job = name, run, period = %claim.period, epoch = claim.epoch, "running a job");
        let mut failures = claim.failures;
        let outcome = if failures > job.limits().retries {
            Err(JobError::Failed("given up: the backends that ran it were lost, one after the other".into()))
        } else {
            let chunks = AssertUnwindSafe(self.run_chunks(job, claim, &mut failures, stop)).catch_unwind();
            tokio::select! {
                outcome = chunks => outcome.unwrap_or_else(|_| Err(JobError::Failed("it panicked".into()))),
                () = self.lose(claim) => Err(JobError::Lost),
            }
        };
        let now = EpochMillis::now();
        match outcome {
            Ok(End::Done) => {
                report::done(claim, now);
                tracing::info!(job = name, run, "job done");
                Ok(())
            }
            Ok(End::Released) => repository::release(&self.db, claim, now).await,
            Err(JobError::Lost) => {
                tracing::warn!(
                    job = name,
                    run,
                    epoch = claim.epoch,
                    "the run was taken away: nothing more is written"
                );
                Ok(())
            }
            Err(error) if error.is_transient() && failures < job.limits().retries => {
                tracing::warn!(job = name, run, %error, "the job will be tried again");
                report::retried(name);
                let at = now.plus(backoff(failures));
                repository::retry(&self.db, claim, at, &error.to_string()).await
            }
            Err(error) => {
                tracing::error!(job = name, run, %error, "the job failed");
                report::failed(name);
                repository::set_failed(&self.db, claim, now, &error.to_string()).await
            }
        }
    }

    /// Goes on where the run stands. `failures` counts on from the last chunk that was committed.
    async fn run_chunks(
        &self,
        job: &dyn Job,
        claim: &Claim,
        failures: &mut i64,
        stop: &CancellationToken,
    ) -> Result<End, JobError> {
        let steps = job.steps();
        let lease_end = || self.lease_end();
        while let Some((position, cursor)) = repository::find_position(&self.db, claim, steps).await? {
            if stop.is_cancelled() {
                return Ok(End::Released);
            }
            let mut work = Work::new(&self.db, claim, steps[position], cursor, &lease_end);
            let chunk = tokio::time::timeout(CHUNK_TIMEOUT, job.chunk(&mut work)).await;
            let chunk = chunk.map_err(|_| JobError::TooSlow(CHUNK_TIMEOUT))??;
            let ends = position + 1 == steps.len() && chunk.next.is_none();
            let held = work.finish(chunk, job.limits(), ends).await?;
            *failures = 0;
            if ends {
                return Ok(End::Done);
            }
            give_way(held).await;
        }
        // All steps are through, and it wasn't this claim that went through the last: either another backend ended
        // the run, or the last step is one that the job has no longer.
        self.end(claim).await
    }

    async fn end(&self, claim: &Claim) -> Result<End, JobError> {
        let mut transaction = self.db.begin().await?;
        if !repository::hold(&mut transaction, claim, self.lease_end()).await? {
            return Err(JobError::Lost);
        }
        repository::set_done(&mut transaction, claim, EpochMillis::now()).await?;
        transaction.commit().await?;
        Ok(End::Done)
    }

    /// Keeps the lease, and returns once it is another's.
    async fn lose(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match repository::extend(&self.db, claim, self.lease_end()).await {
                Ok(true) => {}
                Ok(false) => return,
                // The lease may end; then the chunk's own transaction finds out.
                Err(error) => tracing::warn!(%error, job = claim.job, "the lease couldn't be kept"),
            }
        }
    }

    fn lease_end(&self) -> EpochMillis {
        EpochMillis::now().plus(self.lease)
    }
}

/// Leaves the database to others for as long as it was `held`. Whoever waits for SQLite's write lock looks for it now
/// and then: one who takes it again at once, chunk after chunk, starves them.
pub(super) async fn give_way(held: Duration) {
    tokio::time::sleep(held.min(MAX_GIVEN)).await;
}

/// 1, 4, 16, 64, 256 seconds.
fn backoff(failures: i64) -> Duration {
    Duration::from_secs(4_u64.saturating_pow(u32::try_from(failures.clamp(0, 4)).unwrap_or(0)))
}
