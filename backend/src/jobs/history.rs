//! What has run, read from the database.

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, within};

use super::model::{Run, SkippedItem};

/// Where a page of runs begins: right after the run that was due then, with this id.
pub type Position = (EpochMillis, String);

/// Counts are those of the run's steps together.
macro_rules! select_runs {
    ($condition:literal) => {
        concat!(
            "SELECT r.id, r.job, r.period, r.due_at, r.status, r.epoch, r.owner, r.started_at, r.ended_at,
                r.ended_at - r.started_at AS duration_ms,
                (SELECT CAST(coalesce(sum(s.read), 0) AS BIGINT) FROM job_steps s WHERE s.run_id = r.id) AS read,
                (SELECT CAST(coalesce(sum(s.written), 0) AS BIGINT) FROM job_steps s WHERE s.run_id = r.id)
                    AS written,
                (SELECT CAST(coalesce(sum(s.skipped), 0) AS BIGINT) FROM job_steps s WHERE s.run_id = r.id)
                    AS skipped,
                r.retried, r.error
            FROM job_runs r ",
            $condition
        )
    };
}

/// The run of this period.
pub(super) async fn find(db: &Db, job: &str, period: EpochMillis) -> sqlx::Result<Option<Run>> {
    const SQL: &str = select_runs!("WHERE r.job = $1 AND r.period = $2");
    read!(db, |pool| sqlx::query_as(SQL).bind(job).bind(period).fetch_optional(pool).await)
}

/// The run of the job's newest period.
pub(super) async fn find_newest(db: &Db, job: &str) -> sqlx::Result<Option<Run>> {
    const SQL: &str = select_runs!("WHERE r.job = $1 ORDER BY r.period DESC LIMIT 1");
    read!(db, |pool| sqlx::query_as(SQL).bind(job).fetch_optional(pool).await)
}

/// At most `limit` runs, of all jobs or of one, those due last first.
pub(super) async fn list(
    db: &Db,
    job: Option<&str>,
    after: Option<&Position>,
    limit: u32,
) -> sqlx::Result<Vec<Run>> {
    const SQL: &str = select_runs!(
        "WHERE (r.due_at, r.id) < ($1, $2) AND ($3 = '' OR r.job = $3)
        ORDER BY r.due_at DESC, r.id DESC LIMIT $4"
    );
    let (due_at, id) = after.map_or((EpochMillis(i64::MAX), ""), |(due_at, id)| (*due_at, id));
    read!(db, |pool| {
        sqlx::query_as(SQL)
            .bind(due_at)
            .bind(id)
            .bind(job.unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })
}

/// What a run left out, at most `limit` items.
pub(super) async fn skips(db: &Db, run_id: &str, limit: u32) -> sqlx::Result<Vec<SkippedItem>> {
    const SQL: &str =
        "SELECT step, item, reason FROM job_skips WHERE run_id = $1 ORDER BY step, item LIMIT $2";
    read!(db, |pool| sqlx::query_as(SQL).bind(run_id).bind(i64::from(limit)).fetch_all(pool).await)
}

/// When each job last ended well.
pub(super) async fn last_successes(db: &Db) -> sqlx::Result<Vec<(String, EpochMillis)>> {
    const SQL: &str = "SELECT job, max(ended_at) FROM job_runs WHERE status = 'done' GROUP BY job";
    read!(db, |pool| sqlx::query_as(SQL).fetch_all(pool).await)
}

/// Forgets at most `limit` runs that ended before `before`; how many there were.
pub(super) async fn delete_ended(
    transaction: &mut Transaction,
    before: EpochMillis,
    limit: i64,
) -> sqlx::Result<u64> {
    const SQL: &str = "DELETE FROM job_runs WHERE id IN (
            SELECT id FROM job_runs
            WHERE status IN ('done', 'failed', 'stopped', 'skipped') AND ended_at < $1 LIMIT $2)";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(before).bind(limit).execute(connection).await?.rows_affected()
    });
    Ok(done)
}
