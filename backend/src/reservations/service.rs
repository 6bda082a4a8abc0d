//! Booking, and what can be booked.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::config;
use crate::database::Db;
use crate::redis::Redis;
use crate::reservations::idempotency::{self, IdempotencyKey, Known};
use crate::reservations::lock::{Acquisition, SlotLocks};
use crate::reservations::model::{AvailableSlot, Reservation, Status};
use crate::reservations::occupancy::Occupancy;
use crate::reservations::slots::{Schedule, Slot};
use crate::reservations::store::{self, InsertError, Position};
use crate::vendors::model::BookableService;
use crate::vendors::service::Vendors;

/// What a user may tell the vendor, in characters.
pub(crate) const MAX_NOTE_CHARS: usize = 500;

/// The reservations. Cloning it is cheap.
#[derive(Clone)]
pub struct Reservations {
    db: Db,
    vendors: Vendors,
    locks: SlotLocks,
    /// Bookings that are being stored.
    tasks: TaskTracker,
}

/// What a user wants to book.
#[derive(Debug)]
pub struct Request {
    /// The service.
    pub service_id: Uuid,
    /// When it should begin.
    pub starts_at: Timestamp,
    /// How many places.
    pub party_size: i64,
    /// What the vendor should know.
    pub note: Option<String>,
}

/// Why a booking was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// There is no such service.
    #[error("there is no such service")]
    NoSuchService,
    /// The party has nobody in it, or more than there ever are places for.
    #[error("party_size goes from 1 to {capacity}")]
    PartySize {
        /// The service's places.
        capacity: i64,
    },
    /// The note is longer than 500 characters.
    #[error("the note is too long")]
    NoteTooLong,
    /// It begins in the past.
    #[error("this lies in the past")]
    InThePast,
    /// No slot begins then: outside opening hours, or not on a step.
    #[error("no slot begins then")]
    NoSuchSlot,
    /// Fewer places are left than the party takes.
    #[error("not enough places are left")]
    SlotTaken,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Somebody else is booking the only place this instant.
    #[error("somebody is booking this place right now")]
    SlotBusy,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The booking's task ended before it was done.
    #[error("the booking was not finished: {0}")]
    Aborted(#[from] tokio::task::JoinError),
}

impl From<InsertError> for ReserveError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::SlotTaken => Self::SlotTaken,
            InsertError::Database(error) => Self::Database(error),
        }
    }
}

impl Reservations {
    /// Reservations in this database at these vendors, contested places locked in this Redis.
    pub fn new(db: Db, redis: Redis, vendors: Vendors, config: config::Reservations) -> Self {
        Self { db, vendors, locks: SlotLocks::new(redis, config.lock), tasks: TaskTracker::new() }
    }

    /// Waits for the bookings that are being stored.
    pub async fn stop(&self, grace: Duration) {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "bookings were cut off");
        }
    }

    /// Books; with a key, once only, and says the same again to whoever asks the same again. The answer is the
    /// booking as JSON text, as it was when it was made.
    pub async fn reserve_once(
        &self,
        user_id: &str,
        request: Request,
        key: Option<IdempotencyKey>,
    ) -> Result<String, ReserveError> {
        let Some(key) = key else {
            return self.reserve(user_id, request, None).await.map(|made| made.to_json());
        };
        match idempotency::find(&self.db, user_id, &key).await? {
            Some(Known::Answered(answer)) => return Ok(answer),
            Some(Known::UsedForAnother) => return Err(ReserveError::KeyReused),
            None => {}
        }
        match self.reserve(user_id, request, Some(key.clone())).await {
            Ok(made) => Ok(made.to_json()),
            // Whoever asked the same at the same moment may have been faster, and have taken the place or the key.
            Err(refused @ (ReserveError::KeyReused | ReserveError::SlotTaken)) => {
                match idempotency::find(&self.db, user_id, &key).await? {
                    Some(Known::Answered(answer)) => Ok(answer),
                    _ => Err(refused),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn reserve(
        &self,
        user_id: &str,
        request: Request,
        key: Option<IdempotencyKey>,
    ) -> Result<Reservation, ReserveError> {
        if request.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE_CHARS) {
            return Err(ReserveError::NoteTooLong);
        }
        let service_id = request.service_id.to_string();
        let bookable = self.vendors.find_bookable(&service_id).await?.ok_or(ReserveError::NoSuchService)?;
        let capacity = bookable.service.capacity;
        if !(1..=capacity).contains(&request.party_size) {
            return Err(ReserveError::PartySize { capacity });
        }
        if request.starts_at <= Timestamp::now() {
            return Err(ReserveError::InThePast);
        }
        let slot = schedule(&bookable).slot_at(request.starts_at).ok_or(ReserveError::NoSuchSlot)?;
        let reservation = Reservation {
            id: Uuid::now_v7().to_string(),
            service_id,
            vendor_id: bookable.vendor_id,
            user_id: user_id.to_owned(),
            starts_at: slot.starts_at.into(),
            ends_at: slot.ends_at.into(),
            party_size: request.party_size,
            note: request.note,
            status: Status::Confirmed,
            created_at: EpochMillis::now(),
        };
        // Once begun it is finished, whatever becomes of the request: whoever takes the lock gives it back.
        let this = self.clone();
        let task =
            async move { this.store(&reservation, capacity, key.as_ref()).await.map(|()| reservation) };
        self.tasks.spawn(task).await?
    }

    /// Where only one can win, whoever comes second is told so at once. Where there are more places nobody waits
    /// or is turned away for another's sake: the database counts them.
    async fn store(
        &self,
        reservation: &Reservation,
        capacity: i64,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), ReserveError> {
        if capacity > 1 {
            return self.insert(reservation, key).await;
        }
        match self.locks.acquire(&reservation.service_id, reservation.starts_at).await {
            Acquisition::Busy => Err(ReserveError::SlotBusy),
            Acquisition::Skipped(may_be_set) => {
                if let Some(held) = may_be_set {
                    let locks = self.locks.clone();
                    self.tasks.spawn(async move { locks.release(held).await });
                }
                self.insert(reservation, key).await
            }
            Acquisition::Held(held) => {
                let outcome = self.insert(reservation, key).await;
                self.locks.release(held).await;
                outcome
            }
        }
    }

    /// The booking, and with a key its answer: both or neither.
    async fn insert(
        &self,
        reservation: &Reservation,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), ReserveError> {
        let Some(key) = key else { return Ok(store::insert(&self.db, reservation).await?) };
        let mut transaction = self.db.begin().await?;
        let answer = reservation.to_json();
        if !idempotency::insert(&mut transaction, &reservation.user_id, key, &answer).await? {
            return Err(ReserveError::KeyReused);
        }
        store::insert_within(&mut transaction, reservation).await?;
        Ok(transaction.commit().await?)
    }

    /// The booking, if this user may see it: the one who made it, the vendor's owner, whoever `sees_all`.
    pub async fn find(&self, id: Uuid, user_id: &str, sees_all: bool) -> sqlx::Result<Option<Reservation>> {
        store::find_visible(&self.db, &id.to_string(), user_id, sees_all).await
    }

    /// At most `limit` of this user's bookings, the latest start first.
    pub async fn list(
        &self,
        user_id: &str,
        after: Option<&Position>,
        limit: u32,
    ) -> sqlx::Result<Vec<Reservation>> {
        store::list_of_user(&self.db, user_id, after, limit).await
    }

    /// The slots of a vendor's service that begin on `days` local days from `from` on, or from today on, and
    /// haven't begun; full ones too. `None` if the vendor has no such service.
    pub async fn availability(
        &self,
        vendor_id: Uuid,
        service_id: Uuid,
        from: Option<Date>,
        days: i64,
    ) -> sqlx::Result<Option<Vec<AvailableSlot>>> {
        let bookable = self.vendors.find_bookable(&service_id.to_string()).await?;
        let Some(bookable) = bookable.filter(|found| found.vendor_id == vendor_id.to_string()) else {
            return Ok(None);
        };
        let now = Timestamp::now();
        let from = from.unwrap_or_else(|| bookable.time_zone.to_datetime(now).date());
        let schedule = schedule(&bookable);
        let slots: Vec<Slot> = (0..days)
            .filter_map(|day| from.checked_add(day.days()).ok())
            .flat_map(|day| schedule.slots_on(day))
            .filter(|slot| slot.starts_at > now)
            .collect();
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Ok(Some(Vec::new())) };

        let service = &bookable.service;
        let taken =
            store::find_taken(&self.db, &service.id, first.starts_at.into(), last.ends_at.into()).await?;
        let occupancy = Occupancy::of(&taken);
        Ok(Some(slots.into_iter().map(|slot| available(slot, service.capacity, &occupancy)).collect()))
    }
}

fn schedule(bookable: &BookableService) -> Schedule<'_> {
    Schedule {
        hours: &bookable.hours,
        zone: &bookable.time_zone,
        duration: bookable.service.duration(),
        step: bookable.service.step(),
    }
}

fn available(slot: Slot, capacity: i64, occupancy: &Occupancy) -> AvailableSlot {
    let (starts_at, ends_at) = (slot.starts_at.into(), slot.ends_at.into());
    let remaining = (capacity - occupancy.peak(starts_at, ends_at)).max(0);
    AvailableSlot { starts_at, ends_at, remaining }
}
