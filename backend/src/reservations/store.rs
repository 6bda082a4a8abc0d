//! Reservations in the database, which alone decides whether a place is left.

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};
use crate::reservations::model::Reservation;
use crate::reservations::occupancy::Taken;
use crate::{read, within, write};

/// SQLite's extended result code of `RAISE` in a trigger: SQLITE_CONSTRAINT_TRIGGER.
const RAISED_BY_TRIGGER: &str = "1811";

/// A booking lasts this long at most; the schema holds it.
const MAX_DURATION_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a booking wasn't stored.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// At some instant of it fewer places are left than it takes.
    #[error("not enough places are left")]
    SlotTaken,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for InsertError {
    fn from(error: sqlx::Error) -> Self {
        let is_taken = error.as_database_error().is_some_and(|error| {
            error.code().as_deref() == Some(RAISED_BY_TRIGGER) && error.message().contains("slot-taken")
        });
        if is_taken { Self::SlotTaken } else { Self::Database(error) }
    }
}

const INSERT: &str = "
    INSERT INTO reservations
        (id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, note, status, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Runs the one statement on a pool or a connection of whichever driver.
macro_rules! run_insert {
    ($reservation:expr, $executor:expr) => {
        sqlx::query(INSERT)
            .bind(&$reservation.id)
            .bind(&$reservation.service_id)
            .bind(&$reservation.vendor_id)
            .bind(&$reservation.user_id)
            .bind($reservation.starts_at)
            .bind($reservation.ends_at)
            .bind($reservation.party_size)
            .bind(&$reservation.note)
            .bind($reservation.status)
            .bind($reservation.created_at)
            .execute($executor)
            .await
            .map(drop)
    };
}

/// Stores a booking, if places are left for all of it: one statement, and a trigger that counts.
pub async fn insert(db: &Db, reservation: &Reservation) -> Result<(), InsertError> {
    write!(db, |pool| run_insert!(reservation, pool))?;
    Ok(())
}

/// The same, as part of a transaction.
pub async fn insert_within(
    transaction: &mut Transaction,
    reservation: &Reservation,
) -> Result<(), InsertError> {
    within!(transaction, |connection| run_insert!(reservation, connection))?;
    Ok(())
}

/// The booking with this id, if this user made it, owns its vendor, or `sees_all`.
pub async fn find_visible(
    db: &Db,
    id: &str,
    user_id: &str,
    sees_all: bool,
) -> sqlx::Result<Option<Reservation>> {
    const SQL: &str = "
        SELECT r.id, r.service_id, r.vendor_id, r.user_id, r.starts_at, r.ends_at, r.party_size, r.note, r.status,
               r.created_at
        FROM reservations r JOIN vendors v ON v.id = r.vendor_id
        WHERE r.id = $1 AND (r.user_id = $2 OR v.owner_id = $2 OR $3)";
    read!(db, |pool| sqlx::query_as(SQL).bind(id).bind(user_id).bind(sees_all).fetch_optional(pool).await)
}

/// Where a page of a user's bookings begins: right after the booking with this start and id.
pub type Position = (EpochMillis, String);

/// At most `limit` bookings of this user, the latest start first.
pub async fn list_of_user(
    db: &Db,
    user_id: &str,
    after: Option<&Position>,
    limit: u32,
) -> sqlx::Result<Vec<Reservation>> {
    const SQL: &str = "
        SELECT id, service_id, vendor_id, user_id, starts_at, ends_at, party_size, note, status, created_at
        FROM reservations
        WHERE user_id = $1 AND (starts_at, id) < ($2, $3)
        ORDER BY starts_at DESC, id DESC LIMIT $4";
    let (starts_at, id) = after.map_or((EpochMillis(i64::MAX), ""), |(starts_at, id)| (*starts_at, id));
    read!(db, |pool| {
        sqlx::query_as(SQL)
            .bind(user_id)
            .bind(starts_at)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })
}

/// The active bookings of this service that lie, in part at least, between the two instants.
pub async fn find_taken(
    db: &Db,
    service_id: &str,
    from: EpochMillis,
    to: EpochMillis,
) -> sqlx::Result<Vec<Taken>> {
    const SQL: &str = "
        SELECT starts_at, ends_at, party_size FROM reservations
        WHERE status IN ('pending', 'confirmed')
          AND service_id = $1 AND starts_at > $2 AND starts_at < $3 AND ends_at > $4";
    read!(db, |pool| {
        sqlx::query_as(SQL)
            .bind(service_id)
            .bind(from.0.saturating_sub(MAX_DURATION_MS))
            .bind(to)
            .bind(from)
            .fetch_all(pool)
            .await
    })
}
