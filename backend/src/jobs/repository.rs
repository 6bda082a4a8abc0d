//! Runs in the database: planned, claimed, held, ended.
//!
//! Every statement that changes a claimed run names its epoch. One that changes no row says: the run is another's.

use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, transaction, within, write};

use super::job::{Chunk, Skip};
use super::model::Status;

/// A run that this process may work on, for as long as the row has this epoch.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) job: String,
    pub(super) period: EpochMillis,
    pub(super) due_at: EpochMillis,
    pub(super) started_at: EpochMillis,
    pub(super) epoch: i64,
    pub(super) failures: i64,
}

/// A run to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) period: EpochMillis,
    pub(super) due_at: EpochMillis,
    /// Whether it was missed, and is only noted.
    pub(super) is_skipped: bool,
}

/// Up to when the job's schedule has been turned into runs; a job that is seen for the first time begins now.
pub(super) async fn planned_until(db: &Db, job: &str, now: EpochMillis) -> sqlx::Result<EpochMillis> {
    let find = "SELECT planned_until FROM jobs WHERE name = $1";
    let known: Option<EpochMillis> =
        read!(db, |pool| sqlx::query_scalar(find).bind(job).fetch_optional(pool).await)?;
    if let Some(known) = known {
        return Ok(known);
    }
    let insert = "INSERT INTO jobs (name, planned_until) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    write!(db, |pool| sqlx::query(insert).bind(job).bind(now).execute(pool).await.map(drop))?;
    read!(db, |pool| sqlx::query_scalar(find).bind(job).fetch_one(pool).await)
}

/// Turns due times into runs, unless another backend has done so since `planned_until` was read.
pub(super) async fn plan(
    db: &Db,
    job: &str,
    planned_until: EpochMillis,
    until: EpochMillis,
    runs: &[Planned],
) -> sqlx::Result<()> {
    const ADVANCE: &str = "UPDATE jobs SET planned_until = $1 WHERE name = $2 AND planned_until = $3";
    transaction!(db, |tx| {
        let advance = sqlx::query(ADVANCE).bind(until).bind(job).bind(planned_until);
        if advance.execute(&mut *tx).await?.rows_affected() == 1 {
            for run in runs {
                let status = if run.is_skipped { Status::Skipped } else { Status::Waiting };
                sqlx::query(INSERT)
                    .bind(Uuid::now_v7().to_string())
                    .bind(job)
                    .bind(run.period)
                    .bind(run.due_at)
                    .bind(status)
                    .bind(run.is_skipped.then(EpochMillis::now))
                    .execute(&mut *tx)
                    .await?;
            }
        }
    });
    Ok(())
}

const INSERT: &str =
    "INSERT INTO job_runs (id, job, period, due_at, status, claimable_at, epoch, failures, retried, ended_at)
    VALUES ($1, $2, $3, $4, $5, $4, 0, 0, 0, $6) ON CONFLICT (job, period) DO NOTHING";

/// Asks for a run of this period: a new one, or the one that was stopped, failed or skipped, from where it stands.
/// Whether there is something to do; a run that is done stays so.
pub(super) async fn request(db: &Db, job: &str, period: EpochMillis, now: EpochMillis) -> sqlx::Result<bool> {
    const AGAIN: &str = "UPDATE job_runs
        SET status = 'waiting', claimable_at = $1, due_at = $1, failures = 0, started_at = NULL, ended_at = NULL,
            error = NULL
        WHERE job = $2 AND period = $3 AND status IN ('stopped', 'failed', 'skipped')";
    const IS_DONE: &str = "SELECT count(*) FROM job_runs WHERE job = $1 AND period = $2 AND status = 'done'";
    let done: i64 = transaction!(db, |tx| {
        sqlx::query(INSERT)
            .bind(Uuid::now_v7().to_string())
            .bind(job)
            .bind(period)
            .bind(now)
            .bind(Status::Waiting)
            .bind(None::<EpochMillis>)
            .execute(&mut *tx)
            .await?;
        sqlx::query(AGAIN).bind(now).bind(job).bind(period).execute(&mut *tx).await?;
        sqlx::query_scalar(IS_DONE).bind(job).bind(period).fetch_one(&mut *tx).await?
    });
    Ok(done == 0)
}

/// Claims the job's oldest run that is due, or whose backend let its lease end.
pub(super) async fn claim(
    db: &Db,
    job: &str,
    owner: &str,
    now: EpochMillis,
    lease_end: EpochMillis,
) -> sqlx::Result<Option<Claim>> {
    const FIND: &str = "SELECT r.id, r.epoch FROM job_runs r
        WHERE r.job = $1 AND r.status IN ('waiting', 'running') AND r.claimable_at <= $2
          AND (r.status = 'running'
               OR NOT EXISTS (SELECT 1 FROM job_runs o WHERE o.job = r.job AND o.status = 'running'))
        ORDER BY r.period LIMIT 1";
    const CLAIM: &str = "UPDATE job_runs SET
            failures = failures + CASE status WHEN 'running' THEN 1 ELSE 0 END,
            retried = retried + CASE status WHEN 'running' THEN 1 ELSE 0 END,
            error = CASE status WHEN 'running' THEN 'the backend that ran it was lost' ELSE error END,
            status = 'running', owner = $1, epoch = epoch + 1, claimable_at = $2,
            started_at = coalesce(started_at, $3)
        WHERE id = $4 AND epoch = $5 AND status IN ('waiting', 'running') AND claimable_at <= $3
        RETURNING id, job, period, due_at, started_at, epoch, failures";
    // Only read while nothing is due: a backend at rest takes no write lock.
    let found: Option<(String, i64)> =
        read!(db, |pool| sqlx::query_as(FIND).bind(job).bind(now).fetch_optional(pool).await)?;
    let Some((id, epoch)) = found else { return Ok(None) };
    let claimed = write!(db, |pool| {
        let claim = sqlx::query_as(CLAIM).bind(owner).bind(lease_end).bind(now).bind(&id).bind(epoch);
        claim.fetch_optional(pool).await
    });
    match claimed {
        Ok(claim) => Ok(claim),
        // Another run of the job has begun in the meantime; the index on running ones lets one in.
        Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Proves in a transaction that the run is still claimed, and keeps it so. A chunk that comes this far is progress:
/// once it is committed, earlier failures are forgotten.
pub(super) async fn hold(
    transaction: &mut Transaction,
    claim: &Claim,
    lease_end: EpochMillis,
) -> sqlx::Result<bool> {
    const SQL: &str = "UPDATE job_runs SET claimable_at = $1, failures = 0
        WHERE id = $2 AND epoch = $3 AND status = 'running'";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(lease_end)
            .bind(&claim.id)
            .bind(claim.epoch)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(done == 1)
}

/// Keeps the lease while a chunk takes its time; whether the run is still this backend's.
pub(super) async fn extend(db: &Db, claim: &Claim, lease_end: EpochMillis) -> sqlx::Result<bool> {
    const SQL: &str = "UPDATE job_runs SET claimable_at = $1
        WHERE id = $2 AND epoch = $3 AND status = 'running'";
    let done = write!(db, |pool| {
        sqlx::query(SQL)
            .bind(lease_end)
            .bind(&claim.id)
            .bind(claim.epoch)
            .execute(pool)
            .await?
            .rows_affected()
    });
    Ok(done == 1)
}

/// The run's first of these steps that isn't through, as an index, and its cursor.
pub(super) async fn find_position(
    db: &Db,
    claim: &Claim,
    steps: &[&str],
) -> sqlx::Result<Option<(usize, Option<String>)>> {
    const SQL: &str = "SELECT step, cursor, is_done FROM job_steps WHERE run_id = $1";
    let known: Vec<(String, Option<String>, bool)> =
        read!(db, |pool| sqlx::query_as(SQL).bind(&claim.id).fetch_all(pool).await)?;
    let state = |step: &str| known.iter().find(|(name, ..)| name == step);
    let position = steps.iter().position(|step| !state(step).is_some_and(|(.., is_done)| *is_done));
    Ok(position.map(|position| (position, state(steps[position]).and_then(|(_, cursor, _)| cursor.clone()))))
}

/// Adds a chunk to its step's counts, and moves the cursor behind it.
pub(super) async fn save_step(
    transaction: &mut Transaction,
    claim: &Claim,
    step: &str,
    chunk: &Chunk,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO job_steps (run_id, step, cursor, is_done, read, written, skipped)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (run_id, step) DO UPDATE SET
            cursor = excluded.cursor, is_done = excluded.is_done, read = job_steps.read + excluded.read,
            written = job_steps.written + excluded.written, skipped = job_steps.skipped + excluded.skipped";
    within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(&claim.id)
            .bind(step)
            .bind(&chunk.next)
            .bind(chunk.next.is_none())
            .bind(chunk.read)
            .bind(chunk.written)
            .bind(i64::try_from(chunk.skipped.len()).unwrap_or(i64::MAX))
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(())
}

/// Notes what a chunk left out; how many items the run has left out by now.
pub(super) async fn insert_skips(
    transaction: &mut Transaction,
    claim: &Claim,
    step: &str,
    skips: &[Skip],
) -> sqlx::Result<i64> {
    const INSERT: &str = "INSERT INTO job_skips (run_id, step, item, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (run_id, step, item) DO NOTHING";
    const COUNT: &str = "SELECT count(*) FROM job_skips WHERE run_id = $1";
    if skips.is_empty() {
        return Ok(0);
    }
    within!(transaction, |connection| {
        for skip in skips {
            let insert = sqlx::query(INSERT).bind(&claim.id).bind(step).bind(&skip.item).bind(&skip.reason);
            insert.execute(&mut *connection).await?;
        }
        sqlx::query_scalar(COUNT).bind(&claim.id).fetch_one(connection).await
    })
}

/// Ends the run well, in the transaction of its last chunk. The error stays that it was tried again for.
pub(super) async fn set_done(
    transaction: &mut Transaction,
    claim: &Claim,
    now: EpochMillis,
) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE job_runs SET status = 'done', ended_at = $1, owner = NULL
        WHERE id = $2 AND epoch = $3";
    within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(now)
            .bind(&claim.id)
            .bind(claim.epoch)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(())
}

/// Gives the run back, for any backend to go on with at once.
pub(super) async fn release(db: &Db, claim: &Claim, now: EpochMillis) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE job_runs SET status = 'waiting', owner = NULL, claimable_at = $1
        WHERE id = $2 AND epoch = $3 AND status = 'running'";
    write!(db, |pool| {
        sqlx::query(SQL).bind(now).bind(&claim.id).bind(claim.epoch).execute(pool).await?;
    });
    Ok(())
}

/// Gives the run back after an attempt that failed, for any backend to try again at `at`.
pub(super) async fn retry(db: &Db, claim: &Claim, at: EpochMillis, error: &str) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE job_runs SET status = 'waiting', owner = NULL, claimable_at = $1,
            failures = failures + 1, retried = retried + 1, error = $2
        WHERE id = $3 AND epoch = $4 AND status = 'running'";
    write!(db, |pool| {
        sqlx::query(SQL).bind(at).bind(error).bind(&claim.id).bind(claim.epoch).execute(pool).await?;
    });
    Ok(())
}

/// Ends the run badly.
pub(super) async fn set_failed(db: &Db, claim: &Claim, now: EpochMillis, error: &str) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE job_runs SET status = 'failed', ended_at = $1, owner = NULL, error = $2
        WHERE id = $3 AND epoch = $4 AND status = 'running'";
    write!(db, |pool| {
        sqlx::query(SQL).bind(now).bind(error).bind(&claim.id).bind(claim.epoch).execute(pool).await?;
    });
    Ok(())
}

/// Stops the job's open runs; how many there were. Whoever runs one finds out at its next chunk.
pub(super) async fn stop(db: &Db, job: &str, now: EpochMillis) -> sqlx::Result<u64> {
    const SQL: &str = "UPDATE job_runs SET status = 'stopped', ended_at = $1, owner = NULL, epoch = epoch + 1
        WHERE job = $2 AND status IN ('waiting', 'running')";
    let done = write!(db, |pool| sqlx::query(SQL).bind(now).bind(job).execute(pool).await?.rows_affected());
    Ok(done)
}
