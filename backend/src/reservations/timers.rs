//! The timers of bookings: the end of a hold, and reminders.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::EpochMillis;
use crate::config;
use crate::database::Transaction;
use crate::jobs::job::JobError;
use crate::jobs::timers::{Handler, Timer};

use super::announce::{self, HOLD_TIMER, REMINDER_TIMER};
use super::model::Status;
use super::service::expire;
use super::store;

/// Ends bookings that nobody decided on, and offers that nobody took.
pub struct EndHold {
    offer: Duration,
}

impl EndHold {
    /// What becomes free is offered to others for as long as configured.
    pub fn new(config: config::Reservations) -> Self {
        Self { offer: config.offer }
    }
}

#[async_trait]
impl Handler for EndHold {
    fn kind(&self) -> &'static str {
        HOLD_TIMER
    }

    async fn fire(&self, transaction: &mut Transaction, timer: &Timer) -> Result<(), JobError> {
        Ok(expire(transaction, &timer.subject, EpochMillis::now(), self.offer).await?)
    }
}

/// Reminds users of what they booked, a day and two hours before.
pub struct Remind;

#[async_trait]
impl Handler for Remind {
    fn kind(&self) -> &'static str {
        REMINDER_TIMER
    }

    async fn fire(&self, transaction: &mut Transaction, timer: &Timer) -> Result<(), JobError> {
        let Some(booking) = store::find_booking(transaction, &timer.subject).await? else { return Ok(()) };
        let now = EpochMillis::now();
        let reservation = &booking.reservation;
        if reservation.status == Status::Confirmed && reservation.starts_at > now {
            announce::remind(transaction, &booking, now).await?;
        }
        Ok(())
    }
}
