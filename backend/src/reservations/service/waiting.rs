//! Waiting for a slot that is full: whoever came first is offered a place that becomes free, for a while.
//!
//! An offer is a pending row among the bookings, so that the database's one rule keeps the place; its user's booking of
//! the slot takes its stead. Places are offered in the transaction that frees them: nobody comes in between.

use std::time::Duration;

use uuid::Uuid;

use super::{Request, Reservations, ReserveError};
use crate::clock::EpochMillis;
use crate::database::Transaction;
use crate::reservations::announce::{self, HOLD_TIMER};
use crate::reservations::model::{Reservation, Status, WaitlistEntry};
use crate::reservations::store::{self, InsertError};
use crate::reservations::waitlist::{self, Freed, Joined};
use crate::{jobs::timers, within};

impl Reservations {
    /// Puts a user on the waitlist of a slot that is full for them.
    pub(in crate::reservations) async fn wait(
        &self,
        user_id: &str,
        request: Request,
    ) -> Result<WaitlistEntry, ReserveError> {
        let service_id = request.service_id.to_string();
        let bookable = self.find_bookable(&service_id).await?;
        let slot = self.slot(&bookable, &request)?;
        if self.places_left(&bookable, slot).await? >= request.party_size {
            return Err(ReserveError::PlacesLeft);
        }
        let entry = WaitlistEntry {
            id: Uuid::now_v7().to_string(),
            vendor_id: bookable.vendor_id,
            user_id: user_id.to_owned(),
            starts_at: slot.starts_at.into(),
            ends_at: slot.ends_at.into(),
            party_size: request.party_size,
            offered_until: None,
            created_at: EpochMillis::now(),
            service_id,
        };
        let mut transaction = self.db.begin().await?;
        // Whoever frees a place at this moment either sees the entry, or is seen here.
        store::take_turns(&mut transaction, &entry.service_id).await?;
        match waitlist::insert(&mut transaction, &entry).await? {
            Joined::Waiting => {}
            Joined::AlreadyWaiting => return Err(ReserveError::AlreadyWaiting),
            Joined::TooMany => return Err(ReserveError::WaitsForTooMuch),
        }
        let now = EpochMillis::now();
        let freed =
            Freed { service_id: entry.service_id.clone(), from: entry.starts_at, until: entry.ends_at };
        let offers = offer_within(&mut transaction, &freed, now, self.config.offer).await?;
        transaction.commit().await?;
        self.notifications.wake();
        let own = offers.into_iter().find(|offered| offered.id == entry.id);
        Ok(own.unwrap_or(entry))
    }

    /// What a user waits for.
    pub(in crate::reservations) async fn waits_for(&self, user_id: &str) -> sqlx::Result<Vec<WaitlistEntry>> {
        waitlist::list_of_user(&self.db, user_id, EpochMillis::now()).await
    }

    /// Takes a user off the list; what was offered to them goes to the next.
    pub(in crate::reservations) async fn leave(&self, user_id: &str, id: Uuid) -> Result<(), ReserveError> {
        let id = id.to_string();
        let mut transaction = self.db.begin().await?;
        let held = store::find_offer(&mut transaction, &id).await?;
        if !waitlist::delete(&mut transaction, &id, user_id).await? {
            return Err(ReserveError::NoSuchEntry);
        }
        if let Some(freed) = held {
            store::delete_offer(&mut transaction, &id).await?;
            offer(&mut transaction, &freed, EpochMillis::now(), self.config.offer).await?;
        }
        transaction.commit().await?;
        self.notifications.wake();
        Ok(())
    }
}

/// Offers what has become free to those who wait for it, in turn.
pub(super) async fn offer(
    transaction: &mut Transaction,
    freed: &Freed,
    now: EpochMillis,
    offer_time: Duration,
) -> Result<(), ReserveError> {
    // Whoever joins the list at this moment is either seen here, or sees what is free.
    store::take_turns(transaction, &freed.service_id).await?;
    offer_within(transaction, freed, now, offer_time).await.map(drop)
}

async fn offer_within(
    transaction: &mut Transaction,
    freed: &Freed,
    now: EpochMillis,
    offer_time: Duration,
) -> Result<Vec<WaitlistEntry>, ReserveError> {
    let mut offers = Vec::new();
    for entry in waitlist::find_candidates(transaction, freed, now).await? {
        let until = now.plus(offer_time).min(entry.starts_at);
        let hold = Reservation {
            id: Uuid::now_v7().to_string(),
            service_id: entry.service_id.clone(),
            vendor_id: entry.vendor_id.clone(),
            user_id: entry.user_id.clone(),
            starts_at: entry.starts_at,
            ends_at: entry.ends_at,
            party_size: entry.party_size,
            note: None,
            status: Status::Pending,
            hold_until: Some(until),
            created_at: now,
        };
        if !keep(transaction, &hold, &entry.id).await? {
            continue;
        }
        waitlist::set_offered(transaction, &entry.id, until).await?;
        timers::set(transaction, HOLD_TIMER, &hold.id, until, "").await?;
        if let Some(booking) = store::find_booking(transaction, &hold.id).await? {
            announce::tell_offer(transaction, &booking, until).await?;
        }
        offers.push(WaitlistEntry { offered_until: Some(until), ..entry });
    }
    Ok(offers)
}

/// Keeps the place, if it is free; a refusal leaves the transaction as it was.
async fn keep(
    transaction: &mut Transaction,
    hold: &Reservation,
    waitlist_id: &str,
) -> Result<bool, ReserveError> {
    execute(transaction, "SAVEPOINT waiting").await?;
    let outcome = store::insert_within(transaction, hold, Some(waitlist_id)).await;
    if outcome.is_err() {
        execute(transaction, "ROLLBACK TO SAVEPOINT waiting").await?;
    }
    execute(transaction, "RELEASE SAVEPOINT waiting").await?;
    match outcome {
        Ok(()) => Ok(true),
        Err(InsertError::SlotTaken | InsertError::NoSuchService) => Ok(false),
        Err(InsertError::Database(error)) => Err(error.into()),
    }
}

async fn execute(transaction: &mut Transaction, sql: &'static str) -> sqlx::Result<()> {
    within!(transaction, |connection| sqlx::query(sql).execute(connection).await.map(drop))
}
