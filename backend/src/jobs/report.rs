//! What the jobs tell Prometheus.

use crate::clock::EpochMillis;
use crate::database::Db;

use super::history;
use super::repository::Claim;

const LAST_SUCCESS: &str = "backend_job_last_success_timestamp_seconds";
const LAST_DURATION: &str = "backend_job_last_duration_seconds";
const LAST_LATENESS: &str = "backend_job_last_lateness_seconds";
const FAILURES: &str = "backend_job_failures_total";
const RETRIES: &str = "backend_job_retries_total";
const TIMERS: &str = "backend_timers_total";

/// Explains the figures; each job's counters begin at nought, so that a first failure is a rise.
pub(super) fn describe(jobs: impl Iterator<Item = &'static str>) {
    metrics::describe_gauge!(LAST_SUCCESS, "When a run of the job last ended well, on any backend");
    metrics::describe_gauge!(LAST_DURATION, "How long the job's last run took, if it ended on this backend");
    metrics::describe_gauge!(LAST_LATENESS, "How long after it was due that run began");
    metrics::describe_counter!(FAILURES, "Runs that failed on this backend and aren't tried again");
    metrics::describe_counter!(RETRIES, "Attempts on this backend that ended in an error and are repeated");
    metrics::describe_counter!(TIMERS, "Timers that went off on this backend, by kind and outcome");
    for job in jobs {
        metrics::counter!(FAILURES, "job" => job).increment(0);
        metrics::counter!(RETRIES, "job" => job).increment(0);
    }
}

/// Notes a run that ended well here.
pub(super) fn done(claim: &Claim, now: EpochMillis) {
    let seconds = |from: EpochMillis, to: EpochMillis| (to.0.saturating_sub(from.0)) as f64 / 1000.0;
    metrics::gauge!(LAST_DURATION, "job" => claim.job.clone()).set(seconds(claim.started_at, now));
    metrics::gauge!(LAST_LATENESS, "job" => claim.job.clone()).set(seconds(claim.due_at, claim.started_at));
    metrics::gauge!(LAST_SUCCESS, "job" => claim.job.clone()).set(now.0 as f64 / 1000.0);
}

/// Notes a run that failed for good.
pub(super) fn failed(job: &str) {
    metrics::counter!(FAILURES, "job" => job.to_owned()).increment(1);
}

/// Notes an attempt that will be repeated.
pub(super) fn retried(job: &str) {
    metrics::counter!(RETRIES, "job" => job.to_owned()).increment(1);
}

/// Notes timers that went off.
pub(super) fn timers(kind: &'static str, outcome: &'static str, count: u64) {
    metrics::counter!(TIMERS, "kind" => kind, "outcome" => outcome).increment(count);
}

/// Tells of successes on other backends too, and of those before this process began.
pub(super) async fn refresh(db: &Db) -> sqlx::Result<()> {
    for (job, ended_at) in history::last_successes(db).await? {
        metrics::gauge!(LAST_SUCCESS, "job" => job).set(ended_at.0 as f64 / 1000.0);
    }
    Ok(())
}
