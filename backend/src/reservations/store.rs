//! Reservations in the database, which alone decides whether a place is left.

use crate::clock::EpochMillis;
use crate::database::{Db, Dialect, Transaction};
use crate::reservations::model::{Reservation, Status};
use crate::reservations::occupancy::Busy;
use crate::reservations::waitlist::Freed;
use crate::{read, within, write};

/// SQLite's extended result code of `RAISE` in a trigger: SQLITE_CONSTRAINT_TRIGGER.
const RAISED_BY_TRIGGER: &str = "1811";

/// What PostgreSQL calls the rule.
const CAPACITY_RULE: &str = "reservations_capacity";

/// Something is busy for this long at most, a day and two buffers; the schema holds it.
const MAX_BUSY_MS: i64 = 32 * 60 * 60 * 1000;

/// Why a booking wasn't stored.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// At some instant of it fewer places are left than it takes.
    #[error("not enough places are left")]
    SlotTaken,
    /// The service is not there any more, or isn't offered.
    #[error("there is no such service")]
    NoSuchService,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for InsertError {
    fn from(error: sqlx::Error) -> Self {
        let is_taken = error.as_database_error().is_some_and(|error| {
            error.constraint() == Some(CAPACITY_RULE)
                || error.code().as_deref() == Some(RAISED_BY_TRIGGER)
                    && error.message().contains("slot-taken")
        });
        if is_taken { Self::SlotTaken } else { Self::Database(error) }
    }
}

/// One statement takes the service as it is at this instant, its buffer and its resource; a trigger counts.
const INSERT: &str = "
    INSERT INTO reservations
        (id, service_id, vendor_id, user_id, starts_at, ends_at, busy_from, busy_until, resource_id, party_size, note,
         status, hold_until, waitlist_id, created_at)
    SELECT $1, s.id, s.vendor_id, $3, $4, $5, $4 - s.buffer_minutes * 60000, $5 + s.buffer_minutes * 60000,
           s.resource_id, $6, $7, $8, $9, $10, $11
    FROM services s WHERE s.id = $2 AND s.is_active";

/// Runs the one statement on a pool or a connection of whichever driver.
macro_rules! run_insert {
    ($reservation:expr, $waitlist_id:expr, $executor:expr) => {
        sqlx::query(INSERT)
            .bind(&$reservation.id)
            .bind(&$reservation.service_id)
            .bind(&$reservation.user_id)
            .bind($reservation.starts_at)
            .bind($reservation.ends_at)
            .bind($reservation.party_size)
            .bind(&$reservation.note)
            .bind($reservation.status)
            .bind($reservation.hold_until)
            .bind($waitlist_id)
            .bind($reservation.created_at)
            .execute($executor)
            .await
            .map(|done| done.rows_affected() == 1)
    };
}

/// Stores a booking, if places are left for all of it.
pub async fn insert(db: &Db, reservation: &Reservation) -> Result<(), InsertError> {
    let is_there = write!(db, |pool| run_insert!(reservation, None::<&str>, pool))?;
    if is_there { Ok(()) } else { Err(InsertError::NoSuchService) }
}

/// The same, as part of a transaction; with `waitlist_id` it only keeps the place for whoever waits.
pub(super) async fn insert_within(
    transaction: &mut Transaction,
    reservation: &Reservation,
    waitlist_id: Option<&str>,
) -> Result<(), InsertError> {
    let is_there = within!(transaction, |connection| run_insert!(reservation, waitlist_id, connection))?;
    if is_there { Ok(()) } else { Err(InsertError::NoSuchService) }
}

/// Makes it another thing, if it still is what it was; whether it was.
pub(super) async fn set_status(
    transaction: &mut Transaction,
    id: &str,
    from: Status,
    to: Status,
) -> sqlx::Result<bool> {
    const SQL: &str = "UPDATE reservations SET status = $3, hold_until = NULL WHERE id = $1 AND status = $2";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL).bind(id).bind(from).bind(to).execute(connection).await?.rows_affected()
    });
    Ok(done == 1)
}

/// Moves a booking to `moved`'s times and status, if it still is as it `was` and places are left; whether it was.
pub(super) async fn set_times(
    transaction: &mut Transaction,
    was: &Reservation,
    moved: &Reservation,
) -> Result<bool, InsertError> {
    const SQL: &str = "
        UPDATE reservations SET
            starts_at = $4, ends_at = $5, status = $6, hold_until = $7,
            busy_from = $4 - (SELECT s.buffer_minutes FROM services s WHERE s.id = reservations.service_id) * 60000,
            busy_until = $5 + (SELECT s.buffer_minutes FROM services s WHERE s.id = reservations.service_id) * 60000,
            resource_id = (SELECT s.resource_id FROM services s WHERE s.id = reservations.service_id)
        WHERE id = $1 AND status = $2 AND starts_at = $3";
    let done = within!(transaction, |connection| {
        sqlx::query(SQL)
            .bind(&was.id)
            .bind(was.status)
            .bind(was.starts_at)
            .bind(moved.starts_at)
            .bind(moved.ends_at)
            .bind(moved.status)
            .bind(moved.hold_until)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(done == 1)
}

/// Lets go of a place that was kept for somebody on the waitlist.
pub(super) async fn delete_offer(transaction: &mut Transaction, waitlist_id: &str) -> sqlx::Result<()> {
    const SQL: &str = "DELETE FROM reservations WHERE waitlist_id = $1 AND status = 'pending'";
    within!(transaction, |connection| sqlx::query(SQL)
        .bind(waitlist_id)
        .execute(connection)
        .await?
        .rows_affected());
    Ok(())
}

/// Makes this transaction, until its end, the only one that books this service or one that excludes it. The database's
/// rule takes the same turns by itself.
pub(super) async fn take_turns(transaction: &mut Transaction, service_id: &str) -> sqlx::Result<()> {
    const SQL: &str = "SELECT coalesce(resource_id, id) FROM services WHERE id = $1";
    if transaction.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let matter: Option<String> = within!(transaction, |connection| {
        sqlx::query_scalar(SQL).bind(service_id).fetch_optional(connection).await?
    });
    transaction.take_turns(matter.as_deref().unwrap_or(service_id)).await
}

/// The span that is kept for an entry of the waitlist, if a place was offered.
pub(super) async fn find_offer(
    transaction: &mut Transaction,
    waitlist_id: &str,
) -> sqlx::Result<Option<Freed>> {
    const SQL: &str = "
        SELECT service_id, busy_from, busy_until FROM reservations WHERE waitlist_id = $1 AND status = 'pending'";
    within!(transaction, |connection| sqlx::query_as(SQL).bind(waitlist_id).fetch_optional(connection).await)
}

/// A booking with all that decides what may be done to it, and what follows.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Booking {
    #[sqlx(flatten)]
    pub(super) reservation: Reservation,
    pub(super) waitlist_id: Option<String>,
    /// What it keeps busy.
    pub(super) busy_from: EpochMillis,
    pub(super) busy_until: EpochMillis,
    pub(super) owner_id: Option<String>,
    pub(super) vendor_name: String,
    pub(super) service_name: String,
    pub(super) cancel_minutes: i64,
}

/// The booking with this id, to be changed.
pub(super) async fn find_booking(transaction: &mut Transaction, id: &str) -> sqlx::Result<Option<Booking>> {
    const SQL: &str = "
        SELECT r.id, r.service_id, r.vendor_id, r.user_id, r.starts_at, r.ends_at, r.party_size, r.note, r.status,
               r.hold_until, r.created_at, r.waitlist_id, r.busy_from, r.busy_until,
               v.owner_id, v.name AS vendor_name, s.name AS service_name, s.cancel_minutes
        FROM reservations r JOIN vendors v ON v.id = r.vendor_id JOIN services s ON s.id = r.service_id
        WHERE r.id = $1";
    within!(transaction, |connection| sqlx::query_as(SQL).bind(id).fetch_optional(connection).await)
}

/// Pending bookings of this service, or of those that exclude it, whose time to be decided on is over.
pub(super) async fn find_overdue(db: &Db, service_id: &str, now: EpochMillis) -> sqlx::Result<Vec<String>> {
    const SQL: &str = "
        SELECT id FROM reservations
        WHERE status = 'pending' AND hold_until <= $2
          AND service_id IN (
              SELECT s.id FROM services s JOIN services wanted ON wanted.id = $1
              WHERE s.id = $1 OR s.resource_id = wanted.resource_id)
        LIMIT 20";
    read!(db, |pool| sqlx::query_scalar(SQL).bind(service_id).bind(now).fetch_all(pool).await)
}

/// A query of bookings, called `r`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.service_id, r.vendor_id, r.user_id, r.starts_at, r.ends_at, r.party_size, r.note, r.status,
                    r.hold_until, r.created_at
            FROM reservations r ",
            $rest
        )
    };
}

/// The booking with this id, if this user made it, owns its vendor, or `sees_all`.
pub(super) async fn find_visible(
    db: &Db,
    id: &str,
    user_id: &str,
    sees_all: bool,
) -> sqlx::Result<Option<Reservation>> {
    const SQL: &str = select!(
        "JOIN vendors v ON v.id = r.vendor_id
        WHERE r.id = $1 AND (r.user_id = $2 OR v.owner_id = $2 OR $3) AND r.waitlist_id IS NULL"
    );
    read!(db, |pool| sqlx::query_as(SQL).bind(id).bind(user_id).bind(sees_all).fetch_optional(pool).await)
}

/// Where a page of bookings begins: right after the booking with this start and id.
pub(super) type Position = (EpochMillis, String);

/// At most `limit` bookings of this user, the latest start first.
pub(super) async fn list_of_user(
    db: &Db,
    user_id: &str,
    after: Option<&Position>,
    limit: u32,
) -> sqlx::Result<Vec<Reservation>> {
    const SQL: &str = select!(
        "WHERE user_id = $1 AND (starts_at, id) < ($2, $3) AND waitlist_id IS NULL
        ORDER BY starts_at DESC, id DESC LIMIT $4"
    );
    let (starts_at, id) = after.map_or((EpochMillis(i64::MAX), ""), |(starts_at, id)| (*starts_at, id));
    let limit = i64::from(limit);
    read!(db, |pool| {
        sqlx::query_as(SQL).bind(user_id).bind(starts_at).bind(id).bind(limit).fetch_all(pool).await
    })
}

/// At most `limit` bookings of this vendor that begin from `from` up to, and not including, `to`, in that order.
pub(super) async fn list_of_vendor(
    db: &Db,
    vendor_id: &str,
    (from, to): (EpochMillis, EpochMillis),
    after: Option<&Position>,
    limit: u32,
) -> sqlx::Result<Vec<Reservation>> {
    const SQL: &str = select!(
        "WHERE vendor_id = $1 AND (starts_at, id) > ($2, $3) AND starts_at < $4 AND waitlist_id IS NULL
        ORDER BY starts_at, id LIMIT $5"
    );
    // Every id is greater than the empty text.
    let (starts_at, id) = after.map_or((from, ""), |(starts_at, id)| (*starts_at, id));
    let limit = i64::from(limit);
    read!(db, |pool| {
        let query = sqlx::query_as(SQL).bind(vendor_id).bind(starts_at).bind(id).bind(to).bind(limit);
        query.fetch_all(pool).await
    })
}

/// Whose a vendor is, and where its clock hangs.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Place {
    pub(super) owner_id: Option<String>,
    pub(super) time_zone: String,
}

/// Where this vendor is, and whose.
pub(super) async fn find_vendor(db: &Db, vendor_id: &str) -> sqlx::Result<Option<Place>> {
    const SQL: &str = "SELECT owner_id, time_zone FROM vendors WHERE id = $1";
    read!(db, |pool| sqlx::query_as(SQL).bind(vendor_id).fetch_optional(pool).await)
}

/// What is busy at this vendor, in part at least, between the two instants: of all its services in one answer.
pub async fn find_busy(
    db: &Db,
    vendor_id: &str,
    from: EpochMillis,
    to: EpochMillis,
) -> sqlx::Result<Vec<Busy>> {
    const SQL: &str = "
        SELECT service_id, resource_id, busy_from, busy_until, party_size FROM reservations
        WHERE status IN ('pending', 'confirmed')
          AND service_id IN (SELECT id FROM services WHERE vendor_id = $1)
          AND busy_from > $2 AND busy_from < $3 AND busy_until > $4";
    read!(db, |pool| {
        sqlx::query_as(SQL)
            .bind(vendor_id)
            .bind(from.0.saturating_sub(MAX_BUSY_MS))
            .bind(to)
            .bind(from)
            .fetch_all(pool)
            .await
    })
}
