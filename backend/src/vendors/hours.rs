//! Weekly opening hours: what `PUT …/hours` takes, a vendor's page shows and slots are cut from.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// The days of a week, in the order of [`OpeningHours`].
pub const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// One opening of a day, in the vendor's local time. `to` at or before `from` means the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// When the doors open.
    #[serde(with = "minute_of_day")]
    pub from: Time,
    /// When they close; past midnight if it isn't after `from`.
    #[serde(with = "minute_of_day")]
    pub to: Time,
}

/// The openings of each weekday.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "a weekday's name says it all")]
pub struct OpeningHours {
    pub monday: Vec<Opening>,
    pub tuesday: Vec<Opening>,
    pub wednesday: Vec<Opening>,
    pub thursday: Vec<Opening>,
    pub friday: Vec<Opening>,
    pub saturday: Vec<Opening>,
    pub sunday: Vec<Opening>,
}

impl OpeningHours {
    /// The openings that begin on this weekday.
    #[must_use]
    pub fn on(&self, weekday: Weekday) -> &[Opening] {
        match weekday {
            Weekday::Monday => &self.monday,
            Weekday::Tuesday => &self.tuesday,
            Weekday::Wednesday => &self.wednesday,
            Weekday::Thursday => &self.thursday,
            Weekday::Friday => &self.friday,
            Weekday::Saturday => &self.saturday,
            Weekday::Sunday => &self.sunday,
        }
    }

    /// The same, to be filled.
    pub fn on_mut(&mut self, weekday: Weekday) -> &mut Vec<Opening> {
        match weekday {
            Weekday::Monday => &mut self.monday,
            Weekday::Tuesday => &mut self.tuesday,
            Weekday::Wednesday => &mut self.wednesday,
            Weekday::Thursday => &mut self.thursday,
            Weekday::Friday => &mut self.friday,
            Weekday::Saturday => &mut self.saturday,
            Weekday::Sunday => &mut self.sunday,
        }
    }
}

impl Opening {
    /// When this opening begins and ends if it begins on `day` in `zone`. A local time that a clock change
    /// skips counts as the moment after the gap, one that it repeats as the first of the two. `None` where a
    /// gap swallows the whole opening, or the calendar ends.
    #[must_use]
    pub fn on_day(self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let last_day = if self.to <= self.from { day.checked_add(1.day()).ok()? } else { day };
        let opens = zone.to_ambiguous_zoned(day.to_datetime(self.from)).compatible().ok()?.timestamp();
        let closes = zone.to_ambiguous_zoned(last_day.to_datetime(self.to)).compatible().ok()?.timestamp();
        (opens < closes).then_some((opens, closes))
    }
}

/// A time of day as minutes since midnight, the form in which the database keeps it.
#[must_use]
pub fn minute_of(time: Time) -> i64 {
    i64::from(time.hour()) * 60 + i64::from(time.minute())
}

/// The time of day that is this many minutes after midnight, if there is one.
#[must_use]
pub fn time_at(minute: i64) -> Option<Time> {
    let hour = i8::try_from(minute.div_euclid(60)).ok()?;
    let minute = i8::try_from(minute.rem_euclid(60)).ok()?;
    Time::new(hour, minute, 0, 0).ok()
}

/// `HH:MM` on the wire; seconds are refused.
mod minute_of_day {
    use super::Time;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.strftime("%H:%M"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != 5 {
            return Err(D::Error::custom(format!("`{text}` is not a time of day like 09:30")));
        }
        Time::strptime("%H:%M", &text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(from: &str, to: &str) -> Opening {
        serde_json::from_value(serde_json::json!({"from": from, "to": to})).expect("a valid opening")
    }

    #[test]
    fn hours_survive_the_wire() {
        let json = r#"{"monday":[{"from":"09:00","to":"13:00"},{"from":"18:00","to":"02:00"}],"sunday":[]}"#;
        let hours: OpeningHours = serde_json::from_str(json).expect("valid hours");
        assert_eq!(hours.on(Weekday::Monday).len(), 2);
        assert_eq!(hours.on(Weekday::Tuesday), []);
        let again: OpeningHours =
            serde_json::from_str(&serde_json::to_string(&hours).expect("hours serialise")).expect("valid");
        assert_eq!(again, hours);
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        for bad in ["24:00", "9:00", "09:60", "09:00:30", "noon", ""] {
            let json = serde_json::json!({"from": bad, "to": "10:00"});
            assert!(serde_json::from_value::<Opening>(json).is_err(), "{bad} was accepted");
        }
        assert!(serde_json::from_str::<OpeningHours>(r#"{"funday": []}"#).is_err());
    }

    #[test]
    fn minutes_of_the_day_go_both_ways() {
        for minute in 0..1440 {
            assert_eq!(time_at(minute).map(minute_of), Some(minute));
        }
        assert_eq!(time_at(1440), None);
        assert_eq!(time_at(-1), None);
    }

    #[test]
    fn closing_at_or_before_opening_means_the_next_day() {
        let seoul = TimeZone::get("Asia/Seoul").expect("a bundled zone");
        let day = jiff::civil::date(2026, 12, 4);
        let (opens, closes) = opening("18:00", "02:00").on_day(day, &seoul).expect("an ordinary day");
        assert_eq!(closes.duration_since(opens).as_hours(), 8);
        let (opens, closes) = opening("09:00", "09:00").on_day(day, &seoul).expect("an ordinary day");
        assert_eq!(closes.duration_since(opens).as_hours(), 24);
    }

    #[test]
    fn an_opening_inside_a_skipped_hour_does_not_exist() {
        let new_york = TimeZone::get("America/New_York").expect("a bundled zone");
        let spring = jiff::civil::date(2027, 3, 14);
        assert_eq!(opening("02:00", "03:00").on_day(spring, &new_york), None);
        let (opens, closes) = opening("01:00", "05:00").on_day(spring, &new_york).expect("three real hours");
        assert_eq!(closes.duration_since(opens).as_hours(), 3);
    }
}
