//! The outbox: what users are to be told is written in the transaction of what it tells of, and brought to Redis from
//! there, once, however often Redis or a backend fails in between.
//!
//! Whoever brings a row claims it for a while first, so that two backends don't bring the same; and Redis remembers the
//! row's id together with what it wrote, for the case that a backend ends before it could delete the row.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::{read, within, write};

use super::model::Kind;
use super::service::{Notifications, NotifyError};

/// Rows that are claimed at once.
const BATCH: i64 = 50;

/// How long a backend has a claimed row to itself: long enough to bring a batch, or to give up.
const CLAIM: Duration = Duration::from_secs(30);

/// How often a backend looks for rows that another one left, or that were left to themselves by a failure.
const LOOK: Duration = Duration::from_secs(2);

/// What couldn't be brought for so long is of no use any more.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Writes down what a user is to be told once the transaction is committed. Who commits it calls
/// [`Notifications::wake`], so that it is told at once.
pub async fn enqueue(
    transaction: &mut Transaction,
    user_id: &str,
    kind: Kind,
    data: &Value,
) -> sqlx::Result<()> {
    const SQL: &str = "
        INSERT INTO notification_outbox (id, user_id, kind, data, created_at) VALUES ($1, $2, $3, $4, $5)";
    within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(Uuid::now_v7().to_string())
            .bind(user_id)
            .bind(kind.as_str())
            .bind(data.to_string())
            .bind(EpochMillis::now())
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Somebody waits to be told of something.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<Notify>);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

/// Brings what is in the outbox to Redis, until it is stopped.
pub struct Relay {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relay {
    /// Begins to.
    pub fn start(db: Db, notifications: Notifications) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(db, notifications, stop.clone()));
        Self { stop, task }
    }

    /// Finishes the batch that is on its way; the rest is the other backend's, or waits.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if (&mut self.task).await.is_err() {
            tracing::error!("the relay of notifications broke off");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn run(db: Db, notifications: Notifications, stop: CancellationToken) {
    let bell = notifications.bell().clone();
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match bring(&db, &notifications).await {
            // There may be more.
            Ok(true) => continue,
            Ok(false) => is_failing = false,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "notifications wait in the outbox");
                }
                is_failing = true;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // While it fails the bell would only make it fail more often.
            () = bell.0.notified(), if !is_failing => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BringError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: String,
    user_id: String,
    kind: String,
    data: String,
    created_at: EpochMillis,
}

/// Brings a batch; whether it was a full one. What failed waits until its claim has ended.
async fn bring(db: &Db, notifications: &Notifications) -> Result<bool, BringError> {
    let now = EpochMillis::now();
    let mut rows = claim(db, now).await?;
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= BATCH;
    let mut outcome = Ok(());
    let mut done = Vec::new();
    for row in rows {
        if row.created_at < now.minus(KEPT) {
            tracing::warn!(user = row.user_id, kind = row.kind, "a notification became too old");
            done.push(row.id);
            continue;
        }
        let data = serde_json::from_str(&row.data).unwrap_or(Value::Null);
        match notifications.notify_once(&row.id, &row.user_id, &row.kind, data).await {
            Ok(()) => done.push(row.id),
            Err(error @ NotifyError::TooLong) => {
                tracing::error!(%error, kind = row.kind, "a notification is left out");
                done.push(row.id);
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    delete(db, &done).await?;
    outcome?;
    Ok(is_full)
}

async fn claim(db: &Db, now: EpochMillis) -> sqlx::Result<Vec<Row>> {
    const ANY: &str = "SELECT EXISTS (SELECT 1 FROM notification_outbox WHERE claimed_until <= $1)";
    const CLAIM_ONE_WRITER: &str = "
        UPDATE notification_outbox SET claimed_until = $2
        WHERE id IN (SELECT id FROM notification_outbox WHERE claimed_until <= $1 ORDER BY id LIMIT $3)
        RETURNING id, user_id, kind, data, created_at";
    const CLAIM_FREE: &str = "
        UPDATE notification_outbox SET claimed_until = $2
        WHERE id = ANY (ARRAY(
            SELECT id FROM notification_outbox WHERE claimed_until <= $1 ORDER BY id LIMIT $3
            FOR UPDATE SKIP LOCKED))
        RETURNING id, user_id, kind, data, created_at";
    // Only read while there is nothing.
    let is_any: bool = read!(db, |pool| sqlx::query_scalar(ANY).bind(now).fetch_one(pool).await)?;
    if !is_any {
        return Ok(Vec::new());
    }
    let sql = db.dialect().pick(CLAIM_ONE_WRITER, CLAIM_FREE);
    write!(db, |pool| {
        sqlx::query_as(sql).bind(now).bind(now.plus(CLAIM)).bind(BATCH).fetch_all(pool).await
    })
}

async fn delete(db: &Db, ids: &[String]) -> sqlx::Result<()> {
    const ONE: &str = "DELETE FROM notification_outbox WHERE id = $1";
    if ids.is_empty() {
        return Ok(());
    }
    let mut transaction = db.begin().await?;
    for id in ids {
        within!(&mut transaction, |connection| {
            sqlx::query(ONE).bind(id).execute(connection).await.map(drop)
        })?;
    }
    transaction.commit().await
}
