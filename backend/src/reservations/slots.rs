//! Cuts opening hours into bookable slots. Pure: no clock, no database.
//!
//! Slots begin every step after an opening begins, counted in elapsed time, so that a clock change neither
//! stretches a slot nor makes two of them overlap. A slot belongs to the local day on which it begins: at 01:00
//! on Saturday, even if the doors opened on Friday evening.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::vendors::hours::OpeningHours;

/// What slots are cut from: a vendor's week, where it is, and one service's measures.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<'a> {
    /// The vendor's week.
    pub hours: &'a OpeningHours,
    /// Where its clock hangs.
    pub zone: &'a TimeZone,
    /// How long a booking lasts.
    pub duration: SignedDuration,
    /// How far apart slots begin; above zero.
    pub step: SignedDuration,
}

/// From when to when a booking of this slot lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Its first instant.
    pub starts_at: Timestamp,
    /// The first instant after it.
    pub ends_at: Timestamp,
}

impl Schedule<'_> {
    /// The slots that begin on this local day, in order, each once.
    #[must_use]
    pub fn slots_on(&self, day: Date) -> Vec<Slot> {
        let Some((midnight, next_midnight)) = self.bounds_of(day) else { return Vec::new() };
        let mut slots = BTreeSet::new();
        for first_day in day.checked_sub(1.day()).into_iter().chain([day]) {
            for opening in self.hours.on(first_day.weekday()) {
                let Some((opens, closes)) = opening.on_day(first_day, self.zone) else { continue };
                slots.extend(
                    self.slots_between(opens, closes)
                        .skip_while(|slot| slot.starts_at < midnight)
                        .take_while(|slot| slot.starts_at < next_midnight),
                );
            }
        }
        slots.into_iter().collect()
    }

    /// The slot that begins at this very instant, if there is one.
    #[must_use]
    pub fn slot_at(&self, starts_at: Timestamp) -> Option<Slot> {
        let day = self.zone.to_datetime(starts_at).date();
        self.slots_on(day).into_iter().find(|slot| slot.starts_at == starts_at)
    }

    fn bounds_of(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let midnight = day.to_zoned(self.zone.clone()).ok()?.timestamp();
        let next_midnight = day.checked_add(1.day()).ok()?.to_zoned(self.zone.clone()).ok()?.timestamp();
        Some((midnight, next_midnight))
    }

    fn slots_between(&self, opens: Timestamp, closes: Timestamp) -> impl Iterator<Item = Slot> {
        debug_assert!(self.step > SignedDuration::ZERO, "a step of zero never ends");
        let duration = self.duration;
        let step = self.step;
        std::iter::successors(Some(opens), move |begin| begin.checked_add(step).ok())
            .map_while(move |starts_at| {
                Some(Slot { starts_at, ends_at: starts_at.checked_add(duration).ok()? })
            })
            .take_while(move |slot| slot.ends_at <= closes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::hours::{Opening, WEEK, time_at};
    use jiff::civil::date;
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a bundled zone")
    }

    fn every_day(openings: &[(i64, i64)]) -> OpeningHours {
        let openings: Vec<Opening> = openings
            .iter()
            .map(|&(from, to)| Opening {
                from: time_at(from * 60).expect("an hour"),
                to: time_at(to * 60).expect("an hour"),
            })
            .collect();
        let mut hours = OpeningHours::default();
        for weekday in WEEK {
            hours.on_mut(weekday).clone_from(&openings);
        }
        hours
    }

    fn starts(hours: &OpeningHours, zone: &TimeZone, minutes: (i64, i64), day: Date) -> Vec<String> {
        let schedule = Schedule {
            hours,
            zone,
            duration: SignedDuration::from_mins(minutes.0),
            step: SignedDuration::from_mins(minutes.1),
        };
        schedule.slots_on(day).iter().map(|slot| slot.starts_at.to_string()).collect()
    }

    #[test]
    fn a_day_in_seoul_is_told_in_utc() {
        let found = starts(&every_day(&[(9, 12)]), &zone("Asia/Seoul"), (60, 60), date(2026, 12, 4));
        assert_eq!(found, ["2026-12-04T00:00:00Z", "2026-12-04T01:00:00Z", "2026-12-04T02:00:00Z"]);
    }

    #[test]
    fn the_last_slot_ends_by_closing_time() {
        let found = starts(&every_day(&[(9, 11)]), &zone("UTC"), (50, 30), date(2026, 12, 4));
        assert_eq!(found, ["2026-12-04T09:00:00Z", "2026-12-04T09:30:00Z", "2026-12-04T10:00:00Z"]);
    }

    #[test]
    fn slots_past_midnight_belong_to_the_day_they_begin_on() {
        let hours = OpeningHours { friday: every_day(&[(22, 2)]).friday, ..OpeningHours::default() };
        let utc = zone("UTC");
        let friday = starts(&hours, &utc, (60, 60), date(2026, 12, 4));
        assert_eq!(friday, ["2026-12-04T22:00:00Z", "2026-12-04T23:00:00Z"]);
        let saturday = starts(&hours, &utc, (60, 60), date(2026, 12, 5));
        assert_eq!(saturday, ["2026-12-05T00:00:00Z", "2026-12-05T01:00:00Z"]);
    }

    #[test]
    fn a_skipped_hour_offers_nothing_and_a_repeated_one_twice() {
        let hours = every_day(&[(0, 4)]);
        let new_york = zone("America/New_York");
        let spring = starts(&hours, &new_york, (60, 60), date(2027, 3, 14));
        assert_eq!(spring, ["2027-03-14T05:00:00Z", "2027-03-14T06:00:00Z", "2027-03-14T07:00:00Z"]);
        let autumn = starts(&hours, &new_york, (60, 60), date(2027, 11, 7));
        assert_eq!(autumn.len(), 5);
    }

    #[test]
    fn the_ends_of_the_calendar_have_no_slots() {
        let hours = every_day(&[(0, 0)]);
        for day in [Date::MIN, Date::MAX] {
            let _ = starts(&hours, &zone("Asia/Seoul"), (60, 60), day);
        }
    }

    fn any_hours() -> impl Strategy<Value = OpeningHours> {
        let opening = (0..1440_i64, 0..1440_i64).prop_map(|(from, to)| Opening {
            from: time_at(from).expect("a minute of the day"),
            to: time_at(to).expect("a minute of the day"),
        });
        proptest::collection::vec(proptest::collection::vec(opening, 0..3), 7).prop_map(|week| {
            let mut hours = OpeningHours::default();
            for (weekday, openings) in WEEK.into_iter().zip(week) {
                *hours.on_mut(weekday) = openings;
            }
            hours
        })
    }

    proptest! {
        #[test]
        fn every_slot_lies_in_an_opening_on_a_step_in_order_and_once(
            hours in any_hours(),
            zone_name in prop::sample::select(vec![
                "Asia/Seoul", "America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Santiago",
            ]),
            day_offset in 0..800_i64,
            duration in 1..300_i64,
            step in 5..240_i64,
        ) {
            let zone = zone(zone_name);
            let day = date(2026, 1, 1).checked_add(day_offset.days()).expect("a near day");
            let schedule = Schedule {
                hours: &hours,
                zone: &zone,
                duration: SignedDuration::from_mins(duration),
                step: SignedDuration::from_mins(step),
            };
            let slots = schedule.slots_on(day);
            prop_assert!(slots.windows(2).all(|pair| pair[0].starts_at < pair[1].starts_at));
            for slot in slots {
                prop_assert_eq!(zone.to_datetime(slot.starts_at).date(), day);
                prop_assert_eq!(slot.ends_at.duration_since(slot.starts_at), schedule.duration);
                let fits = [day.yesterday().expect("a near day"), day].into_iter().any(|first_day| {
                    hours.on(first_day.weekday()).iter().any(|opening| {
                        opening.on_day(first_day, &zone).is_some_and(|(opens, closes)| {
                            opens <= slot.starts_at
                                && slot.ends_at <= closes
                                && slot.starts_at.duration_since(opens).as_secs() % (step * 60) == 0
                        })
                    })
                });
                prop_assert!(fits, "{slot:?} lies in no opening");
                prop_assert_eq!(schedule.slot_at(slot.starts_at), Some(slot));
                prop_assert_eq!(schedule.slot_at(slot.starts_at + 1.second()), None);
            }
        }
    }
}
