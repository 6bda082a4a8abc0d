//! Bookings in calendars.

use std::time::Duration;

use uuid::Uuid;

use super::{Caller, Reservations};
use crate::clock::EpochMillis;
use crate::reservations::calendar;

/// How far back a feed reaches.
const PAST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Bookings in a feed at most.
const MAX_ENTRIES: i64 = 500;

impl Reservations {
    /// One booking as a calendar, for whoever may see it.
    pub(in crate::reservations) async fn calendar_of(
        &self,
        id: Uuid,
        caller: &Caller,
    ) -> sqlx::Result<Option<String>> {
        let found = calendar::find(&self.db, &id.to_string(), &caller.user_id, caller.is_admin).await?;
        Ok(found.map(|entry| calendar::render(&[entry])))
    }

    /// The calendar behind a secret.
    pub(in crate::reservations) async fn feed(&self, secret: &str) -> sqlx::Result<Option<String>> {
        let from = EpochMillis::now().minus(PAST);
        let entries = calendar::find_feed(&self.db, secret, from, MAX_ENTRIES).await?;
        Ok(entries.map(|entries| calendar::render(&entries)))
    }

    /// A new secret for a user's feed; the old one ends.
    pub(in crate::reservations) async fn renew_feed(&self, user_id: &str) -> sqlx::Result<String> {
        calendar::renew_feed(&self.db, user_id).await
    }

    /// Ends a user's feed.
    pub(in crate::reservations) async fn end_feed(&self, user_id: &str) -> sqlx::Result<()> {
        calendar::delete_feed(&self.db, user_id).await
    }
}
