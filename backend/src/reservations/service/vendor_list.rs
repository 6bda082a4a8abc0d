//! What is booked at a vendor.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{Caller, Reservations, ReserveError};
use crate::clock::EpochMillis;
use crate::reservations::model::Reservation;
use crate::reservations::store::{self, Position};

/// Local days, both included; none where all days in that direction are meant.
pub(in crate::reservations) type Days = (Option<Date>, Option<Date>);

impl Reservations {
    /// At most `limit` bookings of a vendor that begin on these of its local days, the earliest first: for its owner, and
    /// for admins.
    pub(in crate::reservations) async fn list_of_vendor(
        &self,
        vendor_id: Uuid,
        caller: &Caller,
        days: Days,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Vec<Reservation>, ReserveError> {
        let vendor_id = vendor_id.to_string();
        let place = store::find_vendor(&self.db, &vendor_id).await?.ok_or(ReserveError::NoSuchVendor)?;
        if !caller.is_admin && place.owner_id.as_ref() != Some(&caller.user_id) {
            return Err(ReserveError::NotTheOwner);
        }
        let zone = TimeZone::get(&place.time_zone).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let (from, to) = days;
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(ReserveError::NoDays);
        }
        let from = from.map_or(EpochMillis(i64::MIN), |day| midnight(day, &zone));
        let end = to.and_then(|day| day.checked_add(1.day()).ok());
        let to = end.map_or(EpochMillis(i64::MAX), |day| midnight(day, &zone));
        Ok(store::list_of_vendor(&self.db, &vendor_id, (from, to), after, limit).await?)
    }
}

/// When the day begins; a clock change at midnight counts as the moment after it.
fn midnight(day: Date, zone: &TimeZone) -> EpochMillis {
    day.to_zoned(zone.clone()).map_or(EpochMillis(i64::MAX), |zoned| zoned.timestamp().into())
}
