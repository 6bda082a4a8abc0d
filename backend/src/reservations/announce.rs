//! What follows when something has become of a booking, in the transaction in which it does: who is told, and the
//! timers that remind its user and end its hold.

use std::time::Duration;

use serde_json::json;

use crate::clock::EpochMillis;
use crate::database::Transaction;
use crate::jobs::timers;
use crate::notifications::model::Kind;
use crate::notifications::outbox;

use super::lifecycle::Side;
use super::model::{Reservation, Status};
use super::store::Booking;

/// Ends holds that nobody decided on; its subject is the booking.
pub(super) const HOLD_TIMER: &str = "reservation-hold";

/// Reminds users of bookings; its subject is the booking.
pub(super) const REMINDER_TIMER: &str = "reservation-reminder";

/// How long before the start a user is reminded.
const REMINDERS: [Duration; 2] = [Duration::from_secs(24 * 3600), Duration::from_secs(2 * 3600)];

/// What has become of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Somebody made it.
    Made,
    /// The vendor accepted.
    Approved,
    /// The vendor declined.
    Rejected,
    /// The vendor didn't decide in time.
    Unanswered,
    /// One side took it back.
    Cancelled(Side),
    /// Its user moved it.
    Rescheduled,
    /// Its user came, or not: nobody needs to be told.
    Over,
}

/// Tells the other side of what has happened.
pub(super) async fn tell(transaction: &mut Transaction, booking: &Booking, event: Event) -> sqlx::Result<()> {
    let (kind, to) = match event {
        Event::Made => (Kind::ReservationMade, Side::Vendor),
        Event::Approved => (Kind::ReservationApproved, Side::Customer),
        Event::Rejected | Event::Unanswered => (Kind::ReservationRejected, Side::Customer),
        Event::Cancelled(Side::Customer) => (Kind::ReservationCancelled, Side::Vendor),
        Event::Cancelled(Side::Vendor) => (Kind::ReservationCancelled, Side::Customer),
        Event::Rescheduled => (Kind::ReservationRescheduled, Side::Vendor),
        Event::Over => return Ok(()),
    };
    let reservation = &booking.reservation;
    let user_id = match to {
        Side::Customer => &reservation.user_id,
        Side::Vendor => match &booking.owner_id {
            Some(owner_id) => owner_id,
            // Admins look after it.
            None => return Ok(()),
        },
    };
    let mut data = subject(booking);
    data["status"] = json!(reservation.status);
    if event == Event::Unanswered {
        data["reason"] = json!("unanswered");
    }
    outbox::enqueue(transaction, user_id, kind, &data).await
}

/// Tells somebody who waits that a place is kept for them, until the end of its hold.
pub(super) async fn tell_offer(
    transaction: &mut Transaction,
    booking: &Booking,
    until: EpochMillis,
) -> sqlx::Result<()> {
    let mut data = subject(booking);
    data["offered_until"] = json!(until);
    // What is offered is no booking yet.
    data["reservation_id"] = serde_json::Value::Null;
    outbox::enqueue(transaction, &booking.reservation.user_id, Kind::WaitlistOffer, &data).await
}

/// Reminds a user, and sets the timer of the next reminder.
pub(super) async fn remind(
    transaction: &mut Transaction,
    booking: &Booking,
    now: EpochMillis,
) -> sqlx::Result<()> {
    let reservation = &booking.reservation;
    outbox::enqueue(transaction, &reservation.user_id, Kind::ReservationReminder, &subject(booking)).await?;
    set_reminder(transaction, reservation, now).await
}

/// Sets the timers that a booking needs as it is now; `was` is what it was before, if anything.
pub(super) async fn set_timers(
    transaction: &mut Transaction,
    reservation: &Reservation,
    was: Option<Status>,
    now: EpochMillis,
) -> sqlx::Result<()> {
    let id = &reservation.id;
    if let Some(hold_until) = reservation.hold_until {
        timers::set(transaction, HOLD_TIMER, id, hold_until, "").await?;
    } else if was == Some(Status::Pending) {
        timers::cancel(transaction, HOLD_TIMER, id).await?;
    }
    if reservation.status == Status::Confirmed {
        set_reminder(transaction, reservation, now).await?;
    } else if was == Some(Status::Confirmed) {
        timers::cancel(transaction, REMINDER_TIMER, id).await?;
    }
    Ok(())
}

/// The timer of the next reminder; none is set, or stays, once the last is due.
async fn set_reminder(
    transaction: &mut Transaction,
    reservation: &Reservation,
    now: EpochMillis,
) -> sqlx::Result<()> {
    match next_reminder(reservation.starts_at, now) {
        Some(due_at) => timers::set(transaction, REMINDER_TIMER, &reservation.id, due_at, "").await,
        None => timers::cancel(transaction, REMINDER_TIMER, &reservation.id).await.map(drop),
    }
}

fn next_reminder(starts_at: EpochMillis, now: EpochMillis) -> Option<EpochMillis> {
    REMINDERS.into_iter().map(|before| starts_at.minus(before)).find(|due_at| *due_at > now)
}

/// What it is about, for a client to show.
fn subject(booking: &Booking) -> serde_json::Value {
    let Reservation { id, vendor_id, service_id, starts_at, ends_at, party_size, .. } = &booking.reservation;
    json!({
        "reservation_id": id,
        "vendor_id": vendor_id,
        "vendor": booking.vendor_name,
        "service_id": service_id,
        "service": booking.service_name,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "party_size": party_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_reminded_a_day_and_two_hours_before() {
        const HOUR: i64 = 3_600_000;
        let at = |hour: i64| EpochMillis(hour * HOUR);
        assert_eq!(next_reminder(at(100), at(0)), Some(at(76)));
        assert_eq!(next_reminder(at(100), at(76)), Some(at(98)), "once the first has gone off");
        assert_eq!(next_reminder(at(100), at(97)), Some(at(98)), "made on the day itself");
        assert_eq!(next_reminder(at(100), at(98)), None);
    }
}
