//! What becomes of a booking after it was made.

use std::time::Duration;

use access_token::Role;
use jiff::Timestamp;
use uuid::Uuid;

use super::waiting::offer;
use super::{Request, Reservations, ReserveError};
use crate::auth::current_user::CurrentUser;
use crate::clock::EpochMillis;
use crate::database::Transaction;
use crate::reservations::announce::{self, Event};
use crate::reservations::lifecycle::{self, Action, Side, Times};
use crate::reservations::model::{Reservation, Status};
use crate::reservations::store::{self, Booking};
use crate::reservations::waitlist::{self, Freed};
use crate::vendors::model::Approval;

/// Who asks for something.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Caller {
    pub(in crate::reservations) user_id: String,
    pub(in crate::reservations) is_admin: bool,
}

impl From<CurrentUser> for Caller {
    fn from(user: CurrentUser) -> Self {
        Self { is_admin: user.role >= Role::Admin, user_id: user.id }
    }
}

impl Reservations {
    /// Approves, rejects, cancels, completes: whatever leaves a booking where it is. The booking afterwards.
    pub(in crate::reservations) async fn change(
        &self,
        id: Uuid,
        caller: &Caller,
        action: Action,
    ) -> Result<Reservation, ReserveError> {
        let mut transaction = self.db.begin().await?;
        let booking = find(&mut transaction, id, caller).await?;
        let now = EpochMillis::now();
        let side = side(&booking, caller);
        let was = booking.reservation.status;
        let status = lifecycle::after(was, action, side, times(&booking), now)?;
        if !store::set_status(&mut transaction, &booking.reservation.id, was, status).await? {
            return Err(ReserveError::Changed);
        }
        let event = match action {
            Action::Approve => Event::Approved,
            Action::Reject => Event::Rejected,
            Action::Cancel => Event::Cancelled(side),
            Action::Reschedule { .. } | Action::Complete | Action::NoShow => Event::Over,
        };
        let changed = settle(&mut transaction, booking, status, event, now, self.config.offer).await?;
        transaction.commit().await?;
        self.notifications.wake();
        Ok(changed)
    }

    /// Moves a booking to another slot of its service: it has the new one, or keeps the old one.
    pub(in crate::reservations) async fn reschedule(
        &self,
        id: Uuid,
        caller: &Caller,
        starts_at: Timestamp,
    ) -> Result<Reservation, ReserveError> {
        let found = self.find(id, caller).await?.ok_or(ReserveError::NoSuchReservation)?;
        let service_id = Uuid::try_parse(&found.service_id).map_err(|_| ReserveError::NoSuchService)?;
        let bookable = self.find_bookable(&found.service_id).await?;
        let request = Request { service_id, starts_at, party_size: found.party_size, note: None };
        let slot = self.slot(&bookable, &request)?;
        let needs_approval = bookable.service.approval == Approval::Manual;
        let (_, hold_until) = self.first_status(&bookable, starts_at);
        let moved = Reservation {
            starts_at: slot.starts_at.into(),
            ends_at: slot.ends_at.into(),
            hold_until,
            ..found
        };
        let (this, caller) = (self.clone(), caller.clone());
        self.tasks
            .spawn(async move {
                let (service_id, starts_at) = (moved.service_id.clone(), moved.starts_at);
                let work = this.store_move(id, &caller, moved, Action::Reschedule { needs_approval });
                this.alone(&service_id, starts_at, bookable.service.capacity, work).await
            })
            .await?
    }

    async fn store_move(
        &self,
        id: Uuid,
        caller: &Caller,
        mut moved: Reservation,
        action: Action,
    ) -> Result<Reservation, ReserveError> {
        let mut transaction = self.db.begin().await?;
        let booking = find(&mut transaction, id, caller).await?;
        let now = EpochMillis::now();
        let was = &booking.reservation;
        moved.status = lifecycle::after(was.status, action, side(&booking, caller), times(&booking), now)?;
        if moved.starts_at == was.starts_at {
            // It is there already: asked again, or moved nowhere.
            return Ok(booking.reservation);
        }
        let entry =
            waitlist::delete_for_slot(&mut transaction, &was.user_id, &was.service_id, moved.starts_at)
                .await?;
        if let Some(entry_id) = entry {
            store::delete_offer(&mut transaction, &entry_id).await?;
        }
        if !store::set_times(&mut transaction, was, &moved).await? {
            return Err(ReserveError::Changed);
        }
        announce::set_timers(&mut transaction, &moved, Some(was.status), now).await?;
        let freed = freed(&booking);
        let after = Booking { reservation: moved, ..booking };
        announce::tell(&mut transaction, &after, Event::Rescheduled).await?;
        offer(&mut transaction, &freed, now, self.config.offer).await?;
        transaction.commit().await?;
        self.notifications.wake();
        Ok(after.reservation)
    }

    /// Ends holds that have run out and may be in the way of a booking of this service; whether there were any.
    pub(super) async fn expire_overdue(&self, service_id: &str) -> Result<bool, ReserveError> {
        let now = EpochMillis::now();
        let overdue = store::find_overdue(&self.db, service_id, now).await?;
        for id in &overdue {
            let mut transaction = self.db.begin().await?;
            expire(&mut transaction, id, now, self.config.offer).await?;
            transaction.commit().await?;
        }
        Ok(!overdue.is_empty())
    }
}

/// Ends a hold that has run out: a booking that nobody decided on, or an offer that nobody took. Does nothing to what
/// has become something else meanwhile.
pub(in crate::reservations) async fn expire(
    transaction: &mut Transaction,
    id: &str,
    now: EpochMillis,
    offer_time: Duration,
) -> Result<(), ReserveError> {
    let Some(booking) = store::find_booking(transaction, id).await? else { return Ok(()) };
    let Booking { reservation, waitlist_id, .. } = &booking;
    let is_over = reservation.hold_until.is_some_and(|until| until <= now);
    if reservation.status != Status::Pending || !is_over {
        return Ok(());
    }
    if let Some(entry_id) = waitlist_id {
        store::delete_offer(transaction, entry_id).await?;
        waitlist::delete(transaction, entry_id, &reservation.user_id).await?;
        return offer(transaction, &freed(&booking), now, offer_time).await;
    }
    if store::set_status(transaction, id, Status::Pending, Status::Rejected).await? {
        settle(transaction, booking, Status::Rejected, Event::Unanswered, now, offer_time).await?;
    }
    Ok(())
}

/// What follows once a booking has another status: timers, who is told, who gets the place.
async fn settle(
    transaction: &mut Transaction,
    booking: Booking,
    status: Status,
    event: Event,
    now: EpochMillis,
    offer_time: Duration,
) -> Result<Reservation, ReserveError> {
    let was = booking.reservation.status;
    let freed = freed(&booking);
    let reservation = Reservation { status, hold_until: None, ..booking.reservation };
    announce::set_timers(transaction, &reservation, Some(was), now).await?;
    let after = Booking { reservation, ..booking };
    announce::tell(transaction, &after, event).await?;
    if matches!(status, Status::Cancelled | Status::Rejected) {
        offer(transaction, &freed, now, offer_time).await?;
    }
    Ok(after.reservation)
}

/// The booking, if the caller has anything to do with it.
async fn find(transaction: &mut Transaction, id: Uuid, caller: &Caller) -> Result<Booking, ReserveError> {
    let found = store::find_booking(transaction, &id.to_string()).await?;
    let booking = found.filter(|booking| booking.waitlist_id.is_none());
    let booking = booking.ok_or(ReserveError::NoSuchReservation)?;
    let is_theirs = booking.reservation.user_id == caller.user_id || side(&booking, caller) == Side::Vendor;
    if is_theirs { Ok(booking) } else { Err(ReserveError::NoSuchReservation) }
}

/// The vendor's owner and admins act for the vendor, whoever made the booking.
fn side(booking: &Booking, caller: &Caller) -> Side {
    let is_owner = booking.owner_id.as_ref() == Some(&caller.user_id);
    if caller.is_admin || is_owner { Side::Vendor } else { Side::Customer }
}

fn times(booking: &Booking) -> Times {
    let Reservation { starts_at, ends_at, .. } = booking.reservation;
    let minutes = u64::try_from(booking.cancel_minutes).unwrap_or(0);
    Times { starts_at, ends_at, cancellation_limit: Duration::from_secs(minutes * 60) }
}

fn freed(booking: &Booking) -> Freed {
    Freed {
        service_id: booking.reservation.service_id.clone(),
        from: booking.busy_from,
        until: booking.busy_until,
    }
}

impl From<ReserveError> for crate::jobs::job::JobError {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Database(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}
