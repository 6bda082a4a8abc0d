//! A notification, and its id.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::EpochMillis;

/// Something that a user is to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Its id. Those of one user are ordered by their moments, of which no two are the same.
    pub id: NotificationId,
    /// What it is about, such as `reservation-reminder`.
    pub kind: String,
    /// What a client shows, by kind.
    pub data: Value,
    /// When it was written.
    pub created_at: EpochMillis,
    /// Whether the user has read as far as this.
    pub read: bool,
}

/// What a notification can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody booked at the user's place.
    ReservationMade,
    /// The vendor accepted the user's booking.
    ReservationApproved,
    /// The vendor declined it, or didn't decide in time.
    ReservationRejected,
    /// The other side took a booking back.
    ReservationCancelled,
    /// A booking at the user's place was moved.
    ReservationRescheduled,
    /// A place is kept for the user for a while.
    WaitlistOffer,
    /// The user's booking begins soon.
    ReservationReminder,
    /// Somebody may have the user's tokens.
    Security,
}

impl Kind {
    /// What clients call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReservationMade => "reservation-made",
            Self::ReservationApproved => "reservation-approved",
            Self::ReservationRejected => "reservation-rejected",
            Self::ReservationCancelled => "reservation-cancelled",
            Self::ReservationRescheduled => "reservation-rescheduled",
            Self::WaitlistOffer => "waitlist-offer",
            Self::ReservationReminder => "reservation-reminder",
            Self::Security => "security",
        }
    }
}

/// A UUIDv7, whose moment says where it stands among the user's notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// Reads an id; none if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().filter(|id| id.get_version_num() == 7).map(Self)
    }

    /// When it was written: the first 48 bits (RFC 9562, section 5.7).
    pub fn moment(self) -> EpochMillis {
        let millis = self.0.as_u128() >> 80;
        EpochMillis(i64::try_from(millis).expect("48 bits"))
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One page of a user's notifications, the newest first.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// At most as many as were asked for.
    pub items: Vec<Notification>,
    /// How many there are, on all pages, that the user has not read.
    pub unread: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_moment() {
        let id = NotificationId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id");
        assert_eq!(id.moment(), EpochMillis(0x0189_0a5d_ac96));
    }

    #[test]
    fn what_has_no_moment_is_no_id() {
        for bad in ["", "7", "f47ac10b-58cc-4372-a567-0e02b2c3d479"] {
            assert_eq!(NotificationId::parse(bad), None, "{bad}");
        }
    }
}
