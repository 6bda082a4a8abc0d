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
    /// Kept free before and after each booking.
    pub buffer_minutes: i64,
    /// A booking is made this long before it begins, at the latest.
    pub lead_minutes: i64,
    /// Local days from today to the last one that can be booked.
    pub max_days_ahead: i64,
    /// A booking is cancelled or moved this long before it begins, at the latest.
    pub cancel_minutes: i64,
    /// Who decides about a booking.
    pub approval: Approval,
    /// What it needs for itself: services that need the same exclude each other.
    pub resource_id: Option<String>,
    /// Whether it is offered.
    pub is_active: bool,
}

/// Who decides about a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, sqlx::Type)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Approval {
    /// Whoever comes first has it.
    Instant,
    /// The vendor.
    Manual,
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
