//! Reservations as stores find them and clients see them.

use serde::Serialize;

use crate::clock::EpochMillis;

/// A booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Reservation {
    /// Its id.
    pub id: String,
    /// What is booked.
    pub service_id: String,
    /// Where.
    pub vendor_id: String,
    /// By whom.
    pub user_id: String,
    /// Its first instant.
    pub starts_at: EpochMillis,
    /// The first instant after it.
    pub ends_at: EpochMillis,
    /// How many places it takes.
    pub party_size: i64,
    /// What the user wants the vendor to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What has become of it.
    pub status: Status,
    /// Until when a pending one keeps its place while the vendor hasn't decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<EpochMillis>,
    /// When it was made.
    pub created_at: EpochMillis,
}

impl Reservation {
    /// The booking as clients see it, JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain values serialise")
    }
}

/// What has become of a booking. Those that are pending or confirmed take their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Status {
    /// The place is kept until the vendor decides.
    Pending,
    /// The place is taken.
    Confirmed,
    /// The user, or the vendor, took it back.
    Cancelled,
    /// The vendor declined, or didn't decide in time.
    Rejected,
    /// The user came.
    Completed,
    /// The user didn't come.
    NoShow,
}

/// A slot that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AvailableSlot {
    /// Its first instant.
    pub starts_at: EpochMillis,
    /// The first instant after it.
    pub ends_at: EpochMillis,
    /// How many places are left; 0 when it is full.
    pub remaining: i64,
}

/// The slots of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceAvailability {
    /// The service.
    pub service_id: String,
    /// In order, full ones too.
    pub slots: Vec<AvailableSlot>,
}

/// Somebody who waits for a place of a slot that is full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct WaitlistEntry {
    /// Its id.
    pub id: String,
    /// What is waited for.
    pub service_id: String,
    /// Where.
    pub vendor_id: String,
    /// Who waits.
    #[serde(skip)]
    pub user_id: String,
    /// The slot's first instant.
    pub starts_at: EpochMillis,
    /// The first instant after it.
    pub ends_at: EpochMillis,
    /// How many places are waited for.
    pub party_size: i64,
    /// Until when a place is kept for them, once it was offered; booked by then, it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_until: Option<EpochMillis>,
    /// Since when.
    pub created_at: EpochMillis,
}
