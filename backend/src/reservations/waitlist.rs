//! The waitlist in the database: who waits for a slot that is full, in the order in which they came.

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::reservations::model::WaitlistEntry;
use crate::{read, within};

/// Entries of one user at most.
pub(super) const MAX_PER_USER: i64 = 20;

/// Those who are asked about one freed place at most: a party that is too large for it is passed over.
const CANDIDATES: i64 = 50;

/// Two buffers: how far what is busy reaches beyond the booking itself, twice.
const REACH_MS: i64 = 2 * 240 * 60 * 1000;

/// A span of time in which places have become free.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Freed {
    pub(super) service_id: String,
    #[sqlx(rename = "busy_from")]
    pub(super) from: EpochMillis,
    #[sqlx(rename = "busy_until")]
    pub(super) until: EpochMillis,
}

/// What came of putting somebody on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Waiting,
    AlreadyWaiting,
    TooMany,
}

/// Puts an entry at the list's end.
pub(super) async fn insert(transaction: &mut Transaction, entry: &WaitlistEntry) -> sqlx::Result<Joined> {
    const COUNT: &str = "SELECT count(*) FROM waitlist WHERE user_id = $1";
    const INSERT: &str = "
        INSERT INTO waitlist (id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let count: i64 = within!(transaction, |connection| {
        sqlx::query_scalar(COUNT).bind(&entry.user_id).fetch_one(connection).await?
    });
    if count >= MAX_PER_USER {
        return Ok(Joined::TooMany);
    }
    let done = within!(transaction, |connection| {
        sqlx::query(INSERT)
            .bind(&entry.id)
            .bind(&entry.service_id)
            .bind(&entry.vendor_id)
            .bind(&entry.user_id)
            .bind(entry.starts_at)
            .bind(entry.ends_at)
            .bind(entry.party_size)
            .bind(entry.created_at)
            .execute(connection)
            .await?
            .rows_affected()
    });
    Ok(if done == 1 { Joined::Waiting } else { Joined::AlreadyWaiting })
}

/// Who waits for something that could be had in the freed span, the first first: those of the same service, and of the
/// services that need the same resource.
pub(super) async fn find_candidates(
    transaction: &mut Transaction,
    freed: &Freed,
    now: EpochMillis,
) -> sqlx::Result<Vec<WaitlistEntry>> {
    const SQL: &str = "
        SELECT w.id, w.service_id, w.vendor_id, w.user_id, w.starts_at, w.ends_at, w.party_size, w.offered_until,
               w.created_at
        FROM waitlist w
        WHERE w.offered_until IS NULL
          AND w.service_id IN (
              SELECT s.id FROM services s JOIN services freed ON freed.id = $1
              WHERE s.id = $1 OR s.resource_id = freed.resource_id)
          AND w.starts_at > $2 AND w.starts_at < $3 AND w.ends_at > $4
        ORDER BY w.id LIMIT $5";
    within!(transaction, |connection| {
        sqlx::query_as(SQL)
            .bind(&freed.service_id)
            .bind(now)
            .bind(freed.until.0.saturating_add(REACH_MS))
            .bind(freed.from.0.saturating_sub(REACH_MS))
            .bind(CANDIDATES)
            .fetch_all(connection)
            .await
    })
}

/// Notes until when a place is kept for whoever waits.
pub(super) async fn set_offered(
    transaction: &mut Transaction,
    id: &str,
    until: EpochMillis,
) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE waitlist SET offered_until = $2 WHERE id = $1";
    within!(transaction, |connection| sqlx::query(SQL)
        .bind(id)
        .bind(until)
        .execute(connection)
        .await?
        .rows_affected());
    Ok(())
}

/// Takes the user off the list for this slot; the entry's id, if there was one.
pub(super) async fn delete_for_slot(
    transaction: &mut Transaction,
    user_id: &str,
    service_id: &str,
    starts_at: EpochMillis,
) -> sqlx::Result<Option<String>> {
    const SQL: &str = "
        DELETE FROM waitlist WHERE user_id = $1 AND service_id = $2 AND starts_at = $3 RETURNING id";
    within!(transaction, |connection| {
        sqlx::query_scalar(SQL)
            .bind(user_id)
            .bind(service_id)
            .bind(starts_at)
            .fetch_optional(connection)
            .await
    })
}

/// Takes an entry off the list; whether it was there.
pub(super) async fn delete(transaction: &mut Transaction, id: &str, user_id: &str) -> sqlx::Result<bool> {
    const SQL: &str = "DELETE FROM waitlist WHERE id = $1 AND user_id = $2";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(id).bind(user_id).execute(connection).await?.rows_affected()
    });
    Ok(done == 1)
}

/// What a user waits for, the earliest first.
pub(super) async fn list_of_user(
    db: &Db,
    user_id: &str,
    now: EpochMillis,
) -> sqlx::Result<Vec<WaitlistEntry>> {
    const SQL: &str = "
        SELECT id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, offered_until, created_at
        FROM waitlist WHERE user_id = $1 AND starts_at > $2 ORDER BY starts_at, id";
    read!(db, |pool| sqlx::query_as(SQL).bind(user_id).bind(now).fetch_all(pool).await)
}

/// Forgets at most `limit` entries whose slot began before a moment; says how many.
pub(super) async fn delete_older(
    transaction: &mut Transaction,
    before: EpochMillis,
    limit: i64,
) -> sqlx::Result<u64> {
    const SQL: &str = "
        DELETE FROM waitlist WHERE id IN (SELECT id FROM waitlist WHERE starts_at < $1 ORDER BY starts_at LIMIT $2)";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(before).bind(limit).execute(connection).await?.rows_affected()
    });
    Ok(done)
}
