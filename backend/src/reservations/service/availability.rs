//! What can be booked.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use uuid::Uuid;

use super::Reservations;
use crate::clock::EpochMillis;
use crate::reservations::model::{AvailableSlot, ServiceAvailability};
use crate::reservations::occupancy::{Busy, Places};
use crate::reservations::slots::{Schedule, Slot};
use crate::reservations::store;
use crate::vendors::model::{BookableService, Service};

/// When a service can be booked from, and up to.
pub(super) struct Window {
    /// The vendor wants to know this early.
    pub(super) first: Timestamp,
    /// The last local day.
    pub(super) last_day: Date,
}

impl Window {
    pub(super) fn of(bookable: &BookableService, now: Timestamp) -> Self {
        let service = &bookable.service;
        let lead = SignedDuration::from_mins(service.lead_minutes);
        let today = bookable.time_zone.to_datetime(now).date();
        Self {
            first: now.checked_add(lead).unwrap_or(Timestamp::MAX),
            last_day: today.checked_add(service.max_days_ahead.days()).unwrap_or(Date::MAX),
        }
    }
}

impl Reservations {
    /// The slots of a vendor's services, or of one of them, that begin on `days` local days from `from` on, or from
    /// today on, and can still be booked; full ones too. `None` if there is no such vendor, or it has no such service.
    /// Takes one question to the database for what is busy; the vendor itself may come from the cache.
    pub(in crate::reservations) async fn availability(
        &self,
        vendor_id: Uuid,
        service_id: Option<Uuid>,
        from: Option<Date>,
        days: i64,
    ) -> sqlx::Result<Option<Vec<ServiceAvailability>>> {
        let vendor_id = vendor_id.to_string();
        let Some(mut bookable) = self.vendors.find_bookable_of(&vendor_id).await? else { return Ok(None) };
        bookable.retain(|bookable| bookable.service.is_active);
        if let Some(service_id) = service_id.map(|id| id.to_string()) {
            bookable.retain(|bookable| bookable.service.id == service_id);
            if bookable.is_empty() {
                return Ok(None);
            }
        }
        let now = Timestamp::now();
        let slots: Vec<Vec<Slot>> =
            bookable.iter().map(|bookable| upcoming(bookable, from, days, now)).collect();
        let first = slots.iter().flatten().map(|slot| slot.starts_at).min();
        let last = slots.iter().flatten().map(|slot| slot.ends_at).max();
        let busy = match (first, last) {
            (Some(first), Some(last)) => {
                let buffer = bookable.iter().map(|bookable| buffer(&bookable.service)).max();
                let buffer = buffer.unwrap_or_default();
                let (from, to) =
                    (EpochMillis::from(first).minus(buffer), EpochMillis::from(last).plus(buffer));
                store::find_busy(&self.db, &vendor_id, from, to).await?
            }
            _ => Vec::new(),
        };
        let services = bookable.iter().zip(slots).map(|(bookable, slots)| {
            let service = &bookable.service;
            let places = places(service, &busy);
            let slots = slots.into_iter().map(|slot| available(service, slot, &places)).collect();
            ServiceAvailability { service_id: service.id.clone(), slots }
        });
        Ok(Some(services.collect()))
    }

    /// How many places are left of one slot.
    pub(super) async fn places_left(&self, bookable: &BookableService, slot: Slot) -> sqlx::Result<i64> {
        let (from, to) = busy_span(&bookable.service, slot);
        let busy = store::find_busy(&self.db, &bookable.vendor_id, from, to).await?;
        Ok(places(&bookable.service, &busy).left(from, to))
    }
}

pub(super) fn schedule(bookable: &BookableService) -> Schedule<'_> {
    Schedule {
        hours: &bookable.hours,
        zone: &bookable.time_zone,
        duration: bookable.service.duration(),
        step: bookable.service.step(),
    }
}

fn upcoming(bookable: &BookableService, from: Option<Date>, days: i64, now: Timestamp) -> Vec<Slot> {
    let window = Window::of(bookable, now);
    let schedule = schedule(bookable);
    let from = from.unwrap_or_else(|| bookable.time_zone.to_datetime(now).date());
    (0..days)
        .filter_map(|day| from.checked_add(day.days()).ok())
        .take_while(|day| *day <= window.last_day)
        .flat_map(|day| schedule.slots_on(day))
        .filter(|slot| slot.starts_at > now && slot.starts_at >= window.first)
        .collect()
}

fn places(service: &Service, busy: &[Busy]) -> Places {
    Places::of(&service.id, service.resource_id.as_deref(), service.capacity, busy)
}

fn available(service: &Service, slot: Slot, places: &Places) -> AvailableSlot {
    let (from, to) = busy_span(service, slot);
    AvailableSlot {
        starts_at: slot.starts_at.into(),
        ends_at: slot.ends_at.into(),
        remaining: places.left(from, to),
    }
}

/// What a booking of this slot would keep busy.
fn busy_span(service: &Service, slot: Slot) -> (EpochMillis, EpochMillis) {
    let buffer = buffer(service);
    (EpochMillis::from(slot.starts_at).minus(buffer), EpochMillis::from(slot.ends_at).plus(buffer))
}

fn buffer(service: &Service) -> Duration {
    Duration::from_secs(u64::try_from(service.buffer_minutes).unwrap_or(0) * 60)
}
