//! Timers: what is to happen once, at a time. A reminder, the end of a hold.
//!
//! A timer is a row with its time in an index: those that wait cost nothing. Going off deletes the row in the
//! transaction in which its handler writes, so that it happens once, whichever backend gets there; what came due
//! while none was there goes off late.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, within};

use super::job::JobError;
use super::report;
use super::runner::give_way;

/// Timers that go off in one transaction at most: others wait for its write lock.
const BATCH: i64 = 100;

/// A handler writes a few rows.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A timer whose handler fails this often stays in the table with its error and goes off no more.
const MAX_FAILURES: i64 = 5;

/// How long a timer that failed waits, for each time that it did.
const RETRY: Duration = Duration::from_secs(30);

/// What happens when timers of one kind go off.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The kind that it handles.
    fn kind(&self) -> &'static str;

    /// Does it, in this transaction only. What goes to the outside is written down here and sent afterwards.
    async fn fire(&self, transaction: &mut Transaction, timer: &Timer) -> Result<(), JobError>;
}

/// A timer that goes off.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Timer {
    /// The timer's id.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// When it was to go off.
    pub due_at: EpochMillis,
    /// What whoever set it said.
    pub payload: String,
    failures: i64,
}

/// Sets the timer of this kind and subject, or moves it.
pub async fn set(
    transaction: &mut Transaction,
    kind: &str,
    subject: &str,
    due_at: EpochMillis,
    payload: &str,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO timers (id, kind, subject, due_at, payload, failures)
        VALUES ($1, $2, $3, $4, $5, 0)
        ON CONFLICT (kind, subject) DO UPDATE SET
            due_at = excluded.due_at, payload = excluded.payload, failures = 0, error = NULL";
    within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(Uuid::now_v7().to_string())
            .bind(kind)
            .bind(subject)
            .bind(due_at)
            .bind(payload)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(())
}

/// Takes the timer back; whether it was still waiting.
pub async fn cancel(transaction: &mut Transaction, kind: &str, subject: &str) -> sqlx::Result<bool> {
    const SQL: &str = "DELETE FROM timers WHERE kind = $1 AND subject = $2";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(kind).bind(subject).execute(connection).await?.rows_affected()
    });
    Ok(done == 1)
}

const IS_DUE: &str = "SELECT EXISTS (SELECT 1 FROM timers WHERE kind = $1 AND due_at <= $2)";

const TAKE: &str = "DELETE FROM timers WHERE id IN (
        SELECT id FROM timers WHERE kind = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3)
    RETURNING id, subject, due_at, payload, failures";

/// PostgreSQL lets several backends take at once: each those that no other is about to let go off. An array, since a
/// subquery with a limit may be evaluated again and lock other rows.
const TAKE_FREE: &str = "DELETE FROM timers WHERE id = ANY (ARRAY(
        SELECT id FROM timers WHERE kind = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED))
    RETURNING id, subject, due_at, payload, failures";

/// Lets the handler's timers go off that are due at `now`, a batch at a time, until none is left or another backend is
/// busy with those that are.
pub(super) async fn fire_due(db: &Db, handler: &dyn Handler, now: EpochMillis) -> Result<(), JobError> {
    loop {
        // Only read while nothing is due.
        let is_due: bool = read!(db, |pool| {
            sqlx::query_scalar(IS_DUE).bind(handler.kind()).bind(now).fetch_one(pool).await
        })?;
        if !is_due {
            return Ok(());
        }
        let mut transaction = db.begin().await?;
        let start = Instant::now();
        let batch = fire_batch(&mut transaction, handler, now).await?;
        if batch.fired + batch.failed == 0 {
            return Ok(());
        }
        batch.commit(transaction).await?;
        give_way(start.elapsed()).await;
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Batch {
    kind: &'static str,
    fired: u64,
    failed: u64,
}

impl Batch {
    /// It counts once it lasts.
    async fn commit(self, transaction: Transaction) -> sqlx::Result<()> {
        transaction.commit().await?;
        report::timers(self.kind, "fired", self.fired);
        report::timers(self.kind, "failed", self.failed);
        Ok(())
    }
}

async fn fire_batch(
    transaction: &mut Transaction,
    handler: &dyn Handler,
    now: EpochMillis,
) -> Result<Batch, JobError> {
    let mut batch = Batch { kind: handler.kind(), ..Batch::default() };
    for timer in take(transaction, batch.kind, now).await? {
        execute(transaction, "SAVEPOINT timer").await?;
        match fire(transaction, handler, &timer).await {
            Ok(()) => batch.fired += 1,
            Err(error) => {
                batch.failed += 1;
                tracing::warn!(%error, kind = batch.kind, subject = timer.subject, "a timer's work failed");
                execute(transaction, "ROLLBACK TO SAVEPOINT timer").await?;
                put_back(transaction, batch.kind, &timer, now, &error.to_string()).await?;
            }
        }
        execute(transaction, "RELEASE SAVEPOINT timer").await?;
    }
    Ok(batch)
}

/// One that panics or hangs fails like any other: it holds the write lock, and the others of its batch wait.
async fn fire(transaction: &mut Transaction, handler: &dyn Handler, timer: &Timer) -> Result<(), JobError> {
    let fired = AssertUnwindSafe(handler.fire(transaction, timer)).catch_unwind();
    match tokio::time::timeout(TIMEOUT, fired).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(JobError::Failed("it panicked".into())),
        Err(_) => Err(JobError::TooSlow(TIMEOUT)),
    }
}

/// Takes a batch of due timers out of the table, the oldest first.
async fn take(transaction: &mut Transaction, kind: &str, now: EpochMillis) -> sqlx::Result<Vec<Timer>> {
    let sql = transaction.dialect().pick(TAKE, TAKE_FREE);
    let mut timers: Vec<Timer> = within!(transaction, |connection| {
        sqlx::query_as(sql).bind(kind).bind(now).bind(BATCH).fetch_all(connection).await
    })?;
    timers.sort_by(|a, b| (a.due_at, &a.id).cmp(&(b.due_at, &b.id)));
    Ok(timers)
}

/// Puts a timer back that couldn't be done: to go off later, or, after too many times, for people to look at.
async fn put_back(
    transaction: &mut Transaction,
    kind: &str,
    timer: &Timer,
    now: EpochMillis,
    error: &str,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO timers (id, kind, subject, due_at, payload, failures, error)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let failures = timer.failures + 1;
    let wait = RETRY.saturating_mul(u32::try_from(failures).unwrap_or(u32::MAX));
    let due_at = (failures < MAX_FAILURES).then(|| now.plus(wait));
    within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(&timer.id)
            .bind(kind)
            .bind(&timer.subject)
            .bind(due_at)
            .bind(&timer.payload)
            .bind(failures)
            .bind(error)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(())
}

async fn execute(transaction: &mut Transaction, sql: &'static str) -> sqlx::Result<()> {
    within!(transaction, |connection| sqlx::query(sql).execute(connection).await.map(drop))
}

#[cfg(test)]
mod tests {
    use test_database::TestDatabase;

    use super::*;
    use crate::config;
    use crate::database::Dialect;

    #[tokio::test]
    async fn timers_that_are_due_are_found_by_the_index_alone() {
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        match db.dialect() {
            Dialect::Sqlite => plans_of_sqlite(&db).await,
            Dialect::Postgres => plans_of_postgres(&db).await,
        }
    }

    async fn plans_of_sqlite(db: &Db) {
        for sql in [IS_DUE, TAKE] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let steps: Vec<(i64, i64, i64, String)> =
                read!(db, |pool| sqlx::query_as(explain).fetch_all(pool).await).expect("explained");
            let has = |what: &str| steps.iter().any(|(.., step)| step.contains(what));
            assert!(has("INDEX timers_due (kind=? AND due_at<?)"), "{steps:?}");
            assert!(!has("SCAN timers") && !has("TEMP B-TREE"), "neither all of them, nor sorted: {steps:?}");
        }
    }

    /// With as many timers as make a plan worth while.
    async fn plans_of_postgres(db: &Db) {
        const FILL: &str = "INSERT INTO timers (id, kind, subject, due_at, payload, failures)
            SELECT 't' || i, 'kind ' || i % 3, 's' || i, i, '', 0 FROM generate_series(1, 20000) i";
        read!(db, |pool| sqlx::query(FILL).execute(pool).await.map(drop)).expect("filled");
        read!(db, |pool| sqlx::query("ANALYZE timers").execute(pool).await.map(drop)).expect("analysed");
        // Few are due, or most of them are.
        for (sql, now) in [(IS_DUE, "50"), (TAKE_FREE, "15000")] {
            let sql = sql.replace("$1", "'kind 1'").replace("$2", now).replace("$3", "100");
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"));
            let plan: Vec<String> =
                read!(db, |pool| sqlx::query_scalar(explain).fetch_all(pool).await).expect("explained");
            let has = |what: &str| plan.iter().any(|step| step.contains(what));
            assert!(has("timers_due"), "{plan:#?}");
            assert!(!has("Seq Scan on timers") && !has("Sort"), "neither all of them, nor sorted: {plan:#?}");
        }
    }
}
