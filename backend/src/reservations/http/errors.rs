//! What clients are told when something can't be done.

use std::time::Duration;

use crate::problem::Problem;
use crate::reservations::lifecycle::{NotPossible, name};
use crate::reservations::service::{MAX_NOTE_CHARS, ReserveError};

/// After this long whoever holds a place's lock has usually got the place, or left it.
const BUSY_RETRY: Duration = Duration::from_secs(1);

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::NoSuchService => Self::not_found("There is no such service."),
            ReserveError::NoSuchVendor => Self::not_found("There is no such vendor."),
            ReserveError::NotTheOwner => Self::forbidden("This is for the vendor's owner."),
            ReserveError::NoDays => Self::unprocessable("invalid-days", "`to` lies before `from`."),
            ReserveError::NoSuchReservation => Self::not_found("There is no such reservation."),
            ReserveError::NoSuchEntry => Self::not_found("There is no such entry."),
            ReserveError::PartySize { capacity } => {
                Self::unprocessable("invalid-party-size", format!("`party_size` goes from 1 to {capacity}."))
            }
            ReserveError::NoteTooLong => Self::unprocessable(
                "note-too-long",
                format!("`note` has {MAX_NOTE_CHARS} characters at most."),
            ),
            ReserveError::InThePast => Self::unprocessable("in-the-past", "`starts_at` has passed."),
            ReserveError::TooSoon { lead_minutes } => Self::unprocessable(
                "too-soon",
                format!("This is booked {lead_minutes} minutes before it begins, at the latest."),
            ),
            ReserveError::TooFarAhead { max_days_ahead } => Self::unprocessable(
                "too-far-ahead",
                format!("This is booked {max_days_ahead} days before it begins, at the earliest."),
            ),
            ReserveError::NoSuchSlot => Self::unprocessable(
                "no-such-slot",
                "No slot begins then: it lies outside the opening hours, or not on a step.",
            ),
            ReserveError::KeyReused => Self::unprocessable(
                "idempotency-key-reused",
                "This `Idempotency-Key` was used for another request.",
            ),
            ReserveError::SlotTaken => Self::conflict("slot-taken", "Not enough places are left."),
            ReserveError::SlotBusy => {
                Self::conflict("slot-busy", "Somebody is booking this place right now; it may become free.")
                    .with_retry_after(BUSY_RETRY)
            }
            ReserveError::NotPossible(reason) => reason.into(),
            ReserveError::Changed => {
                Self::conflict("changed", "Somebody changed this reservation at the same moment.")
                    .with_retry_after(BUSY_RETRY)
            }
            ReserveError::PlacesLeft => Self::conflict("places-left", "Places are left: book one."),
            ReserveError::AlreadyWaiting => {
                Self::conflict("already-waiting", "You are on the waitlist of this slot.")
            }
            ReserveError::WaitsForTooMuch => {
                Self::conflict("waitlist-full", "You are on as many waitlists as one may be.")
            }
            ReserveError::Database(error) => error.into(),
            cause @ ReserveError::Aborted(_) => Self::internal(&cause),
        }
    }
}

impl From<NotPossible> for Problem {
    fn from(reason: NotPossible) -> Self {
        match reason {
            NotPossible::Status(status) => Self::conflict(
                "wrong-status",
                format!("The reservation is {}: this can't be done to it.", name(&status)),
            ),
            NotPossible::NotYours => Self::forbidden("Only the vendor may do this."),
            NotPossible::PastLimit => Self::conflict(
                "past-cancellation-limit",
                "The reservation begins too soon to be cancelled or moved.",
            ),
            NotPossible::WrongTime => Self::conflict("wrong-time", "This can't be done at this time."),
        }
    }
}
