//! Booking, what becomes of bookings, and what can be booked.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::config;
use crate::database::Db;
use crate::notifications::service::Notifications;
use crate::redis::Redis;
use crate::reservations::lifecycle::NotPossible;
use crate::reservations::lock::SlotLocks;
use crate::reservations::model::Reservation;
use crate::reservations::slots::Slot;
use crate::reservations::store::{self, InsertError, Position};
use crate::vendors::model::BookableService;
use crate::vendors::service::Vendors;

use availability::{Window, schedule};

mod availability;
mod booking;
mod changes;
mod feeds;
mod vendor_list;
mod waiting;

pub(super) use changes::{Caller, expire};

/// What a user may tell the vendor, in characters.
pub(crate) const MAX_NOTE_CHARS: usize = 500;

/// The reservations. Cloning it is cheap.
#[derive(Clone)]
pub struct Reservations {
    db: Db,
    vendors: Vendors,
    notifications: Notifications,
    locks: SlotLocks,
    config: config::Reservations,
    /// Bookings that are being stored.
    tasks: TaskTracker,
}

/// What a user wants to book, or to wait for.
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

/// Why a booking was refused, or what somebody wanted to do to one.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// There is no such service, or it isn't offered any more.
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
    /// The vendor wants to know earlier.
    #[error("this begins too soon")]
    TooSoon {
        /// How much earlier, in minutes.
        lead_minutes: i64,
    },
    /// The vendor doesn't plan as far.
    #[error("this lies too far ahead")]
    TooFarAhead {
        /// How far it plans, in days.
        max_days_ahead: i64,
    },
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
    /// There is no such vendor.
    #[error("there is no such vendor")]
    NoSuchVendor,
    /// This is for the vendor's owner and admins.
    #[error("only the vendor's owner may see this")]
    NotTheOwner,
    /// The last day lies before the first.
    #[error("the last day lies before the first")]
    NoDays,
    /// There is no such booking, or it is none of the caller's business.
    #[error("there is no such reservation")]
    NoSuchReservation,
    /// This can't be done to it.
    #[error(transparent)]
    NotPossible(#[from] NotPossible),
    /// Others did something to it at the same moment.
    #[error("it was changed at the same moment")]
    Changed,
    /// Nobody needs to wait: there are places.
    #[error("places are left")]
    PlacesLeft,
    /// The user waits for this already.
    #[error("the user waits for this already")]
    AlreadyWaiting,
    /// The user waits for as much as anybody may.
    #[error("the user waits for too much")]
    WaitsForTooMuch,
    /// The user doesn't wait for this.
    #[error("there is no such entry")]
    NoSuchEntry,
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
            InsertError::NoSuchService => Self::NoSuchService,
            InsertError::Database(error) => Self::Database(error),
        }
    }
}

impl Reservations {
    /// Reservations in this database at these vendors, contested places locked in this Redis.
    pub fn new(
        db: Db,
        redis: Redis,
        vendors: Vendors,
        notifications: Notifications,
        config: config::Reservations,
    ) -> Self {
        let locks = SlotLocks::new(redis, config.lock);
        Self { db, vendors, notifications, locks, config, tasks: TaskTracker::new() }
    }

    /// Waits for the bookings that are being stored.
    pub async fn stop(&self, grace: Duration) {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "bookings were cut off");
        }
    }

    /// The booking, if this user may see it: the one who made it, the vendor's owner, an admin.
    pub(super) async fn find(&self, id: Uuid, caller: &Caller) -> sqlx::Result<Option<Reservation>> {
        store::find_visible(&self.db, &id.to_string(), &caller.user_id, caller.is_admin).await
    }

    /// At most `limit` of this user's bookings, the latest start first.
    pub(super) async fn list(
        &self,
        user_id: &str,
        after: Option<&Position>,
        limit: u32,
    ) -> sqlx::Result<Vec<Reservation>> {
        store::list_of_user(&self.db, user_id, after, limit).await
    }

    /// The slot that a request asks for, if the vendor offers it now: whether places are left is another question.
    fn slot(&self, bookable: &BookableService, request: &Request) -> Result<Slot, ReserveError> {
        let service = &bookable.service;
        if !(1..=service.capacity).contains(&request.party_size) {
            return Err(ReserveError::PartySize { capacity: service.capacity });
        }
        let now = Timestamp::now();
        if request.starts_at <= now {
            return Err(ReserveError::InThePast);
        }
        let window = Window::of(bookable, now);
        if request.starts_at < window.first {
            return Err(ReserveError::TooSoon { lead_minutes: service.lead_minutes });
        }
        if bookable.time_zone.to_datetime(request.starts_at).date() > window.last_day {
            return Err(ReserveError::TooFarAhead { max_days_ahead: service.max_days_ahead });
        }
        schedule(bookable).slot_at(request.starts_at).ok_or(ReserveError::NoSuchSlot)
    }

    async fn find_bookable(&self, service_id: &str) -> Result<BookableService, ReserveError> {
        let bookable = self.vendors.find_bookable(service_id).await?;
        bookable.filter(|found| found.service.is_active).ok_or(ReserveError::NoSuchService)
    }
}
