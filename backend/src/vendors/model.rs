//! Vendors and what they offer, as stores find them and clients see them.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::EpochMillis;
use crate::vendors::hours::OpeningHours;

/// A vendor as lists show it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct VendorSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What kind of business it is.
    pub category: String,
    /// A few sentences of its own.
    pub summary: String,
    /// Where it is.
    pub address: String,
    /// The IANA time zone of its opening hours.
    pub time_zone: String,
    /// Since when it is here.
    pub created_at: EpochMillis,
}

/// A vendor's page.
#[derive(Clone, Debug, Serialize)]
pub struct Vendor {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: VendorSummary,
    /// What can be booked.
    pub services: Vec<Service>,
    /// When it is open.
    pub hours: OpeningHours,
}

/// What can be booked.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How long a booking lasts.
    pub duration_minutes: i64,
    /// How far apart bookings can begin.
    pub step_minutes: i64,
    /// In whole won.
    pub price: i64,
    /// How many places there are at a time.
    pub capacity: i64,
}

impl Service {
    /// How long a booking lasts.
    pub fn duration(&self) -> SignedDuration {
        SignedDuration::from_mins(self.duration_minutes)
    }

    /// How far apart bookings can begin.
    pub fn step(&self) -> SignedDuration {
        SignedDuration::from_mins(self.step_minutes)
    }
}

/// A service with all that decides when it can be booked.
#[derive(Clone, Debug)]
pub struct BookableService {
    /// Whose service it is.
    pub vendor_id: String,
    /// Where the vendor's clock hangs.
    pub time_zone: TimeZone,
    /// The vendor's week.
    pub hours: OpeningHours,
    /// The service.
    pub service: Service,
}
