//! Making a booking.

use jiff::Timestamp;
use uuid::Uuid;

use super::{MAX_NOTE_CHARS, Request, Reservations, ReserveError};
use crate::clock::EpochMillis;
use crate::reservations::announce::{self, Event};
use crate::reservations::idempotency::{self, IdempotencyKey, Known};
use crate::reservations::lock::Acquisition;
use crate::reservations::model::{Reservation, Status};
use crate::reservations::{store, waitlist};
use crate::vendors::model::{Approval, BookableService};

impl Reservations {
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
        let bookable = self.find_bookable(&request.service_id.to_string()).await?;
        let slot = self.slot(&bookable, &request)?;
        let (status, hold_until) = self.first_status(&bookable, slot.starts_at);
        let capacity = bookable.service.capacity;
        let reservation = Reservation {
            id: Uuid::now_v7().to_string(),
            service_id: bookable.service.id,
            vendor_id: bookable.vendor_id,
            user_id: user_id.to_owned(),
            starts_at: slot.starts_at.into(),
            ends_at: slot.ends_at.into(),
            party_size: request.party_size,
            note: request.note,
            status,
            hold_until,
            created_at: EpochMillis::now(),
        };
        // Once begun it is finished, whatever becomes of the request: whoever takes the lock gives it back.
        let this = self.clone();
        self.tasks
            .spawn(async move {
                let (service_id, starts_at) = (&reservation.service_id, reservation.starts_at);
                let work = this.store(&reservation, key.as_ref());
                this.alone(service_id, starts_at, capacity, work).await?;
                Ok(reservation)
            })
            .await?
    }

    /// What a booking is at first, and how long it may stay undecided: not beyond its start.
    pub(super) fn first_status(
        &self,
        bookable: &BookableService,
        starts_at: Timestamp,
    ) -> (Status, Option<EpochMillis>) {
        match bookable.service.approval {
            Approval::Instant => (Status::Confirmed, None),
            Approval::Manual => {
                let hold_until = EpochMillis::now().plus(self.config.hold);
                (Status::Pending, Some(hold_until.min(starts_at.into())))
            }
        }
    }

    /// Does `work`, which takes a place of this slot. Where only one can win, whoever comes second is told so at once.
    /// Where there are more places nobody waits or is turned away for another's sake: the database counts them.
    pub(super) async fn alone<T>(
        &self,
        service_id: &str,
        starts_at: EpochMillis,
        capacity: i64,
        work: impl Future<Output = Result<T, ReserveError>>,
    ) -> Result<T, ReserveError> {
        if capacity > 1 {
            return work.await;
        }
        match self.locks.acquire(service_id, starts_at).await {
            Acquisition::Busy => Err(ReserveError::SlotBusy),
            Acquisition::Skipped(may_be_set) => {
                if let Some(held) = may_be_set {
                    let locks = self.locks.clone();
                    self.tasks.spawn(async move { locks.release(held).await });
                }
                work.await
            }
            Acquisition::Held(held) => {
                let outcome = work.await;
                self.locks.release(held).await;
                outcome
            }
        }
    }

    async fn store(
        &self,
        reservation: &Reservation,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), ReserveError> {
        match self.try_store(reservation, key).await {
            // A hold that has run out may still be in the way: the timer that ends it comes within moments.
            Err(ReserveError::SlotTaken) if self.expire_overdue(&reservation.service_id).await? => {
                self.try_store(reservation, key).await
            }
            outcome => outcome,
        }
    }

    /// The booking, what follows from it, and with a key its answer: all or nothing.
    async fn try_store(
        &self,
        reservation: &Reservation,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), ReserveError> {
        let mut transaction = self.db.begin().await?;
        let Reservation { id, user_id, service_id, starts_at, .. } = reservation;
        if let Some(key) = key
            && !idempotency::insert(&mut transaction, user_id, key, &reservation.to_json()).await?
        {
            return Err(ReserveError::KeyReused);
        }
        // Whoever has waited for this gets the place that was kept for them.
        let waited = waitlist::delete_for_slot(&mut transaction, user_id, service_id, *starts_at).await?;
        if let Some(entry_id) = waited {
            store::delete_offer(&mut transaction, &entry_id).await?;
        }
        store::insert_within(&mut transaction, reservation, None).await?;
        announce::set_timers(&mut transaction, reservation, None, EpochMillis::now()).await?;
        if let Some(booking) = store::find_booking(&mut transaction, id).await? {
            announce::tell(&mut transaction, &booking, Event::Made).await?;
        }
        transaction.commit().await?;
        self.notifications.wake();
        Ok(())
    }
}
