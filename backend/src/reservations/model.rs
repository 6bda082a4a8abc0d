//! Reservations as stores find them and clients see them.

use serde::Serialize;

use crate::clock::EpochMillis;

/// A booking.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
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
    /// When it was made.
    pub created_at: EpochMillis,
}

impl Reservation {
    /// The booking as clients see it, JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain values serialise")
    }
}

/// What has become of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Status {
    /// The place is taken.
    Confirmed,
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
