//! How full services are over time. Pure; it counts as the database's rule does.

use std::collections::BTreeMap;

use crate::clock::EpochMillis;

/// What one booking keeps busy, buffers included, from its first instant up to, and not including, its end.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Busy {
    /// Whose places it takes.
    pub service_id: String,
    /// What it needs for itself, so that no other service gets it.
    pub resource_id: Option<String>,
    /// Its first instant.
    pub busy_from: EpochMillis,
    /// The first instant after it.
    pub busy_until: EpochMillis,
    /// How many places.
    pub party_size: i64,
}

/// The places that are taken at each instant: a staircase, kept as its steps.
#[derive(Debug, Default)]
pub struct Occupancy {
    /// From which instant on how many places are taken, in order.
    steps: Vec<(EpochMillis, i64)>,
}

impl Occupancy {
    /// What these bookings take together.
    pub fn of<'a>(bookings: impl IntoIterator<Item = &'a Busy>) -> Self {
        let mut changes: BTreeMap<EpochMillis, i64> = BTreeMap::new();
        for booking in bookings {
            *changes.entry(booking.busy_from).or_default() += booking.party_size;
            *changes.entry(booking.busy_until).or_default() -= booking.party_size;
        }
        let steps = changes
            .into_iter()
            .scan(0, |taken, (at, change)| {
                *taken += change;
                Some((at, *taken))
            })
            .collect();
        Self { steps }
    }

    /// The most places that are taken at one instant from `from` up to, and not including, `to`.
    pub fn peak(&self, from: EpochMillis, to: EpochMillis) -> i64 {
        let first_within = self.steps.partition_point(|(at, _)| *at <= from);
        let at_begin = first_within.checked_sub(1).map_or(0, |index| self.steps[index].1);
        let within = self.steps[first_within..].iter().take_while(|(at, _)| *at < to);
        within.map(|(_, taken)| *taken).fold(at_begin, i64::max)
    }
}

/// What stands in the way of one service's bookings.
#[derive(Debug)]
pub struct Places {
    capacity: i64,
    /// Places of its own that are taken.
    own: Occupancy,
    /// Other services that have its resource.
    others: Occupancy,
}

impl Places {
    /// Of this service, which needs `resource_id`, if any, and has `capacity` places, among all that is busy.
    pub fn of(service_id: &str, resource_id: Option<&str>, capacity: i64, busy: &[Busy]) -> Self {
        let own = busy.iter().filter(|booking| booking.service_id == service_id);
        let others = busy.iter().filter(|booking| {
            booking.service_id != service_id
                && resource_id.is_some()
                && booking.resource_id.as_deref() == resource_id
        });
        Self { capacity, own: Occupancy::of(own), others: Occupancy::of(others) }
    }

    /// How many places a booking that is busy from `from` up to, and not including, `to` finds.
    pub fn left(&self, from: EpochMillis, to: EpochMillis) -> i64 {
        if self.others.peak(from, to) > 0 { 0 } else { (self.capacity - self.own.peak(from, to)).max(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn busy(service: &str, from: i64, until: i64, party_size: i64) -> Busy {
        Busy {
            service_id: service.to_owned(),
            resource_id: None,
            busy_from: EpochMillis(from),
            busy_until: EpochMillis(until),
            party_size,
        }
    }

    #[test]
    fn neighbours_that_only_touch_never_count_together() {
        let occupancy = Occupancy::of(&[busy("s", 0, 10, 2), busy("s", 10, 20, 1)]);
        assert_eq!(occupancy.peak(EpochMillis(5), EpochMillis(15)), 2);
        assert_eq!(occupancy.peak(EpochMillis(10), EpochMillis(20)), 1);
        assert_eq!(occupancy.peak(EpochMillis(20), EpochMillis(30)), 0);
    }

    #[test]
    fn another_service_counts_only_where_it_has_the_same_resource() {
        let on = |service, resource: Option<&str>| Busy {
            resource_id: resource.map(str::to_owned),
            ..busy(service, 0, 10, 1)
        };
        let left = |resource, busy: &[Busy]| {
            Places::of("s", resource, 3, busy).left(EpochMillis(5), EpochMillis(15))
        };
        assert_eq!(left(Some("chair"), &[on("s", Some("chair"))]), 2);
        assert_eq!(left(Some("chair"), &[on("t", Some("chair"))]), 0);
        assert_eq!(left(Some("chair"), &[on("t", Some("room"))]), 3);
        assert_eq!(left(None, &[on("t", None)]), 3);
    }

    proptest! {
        #[test]
        fn the_peak_is_the_fullest_of_all_instants(
            bookings in proptest::collection::vec((0..40_i64, 1..20_i64, 1..4_i64), 0..20),
            from in 0..40_i64,
            length in 1..20_i64,
        ) {
            let bookings: Vec<Busy> =
                bookings.into_iter().map(|(at, length, size)| busy("s", at, at + length, size)).collect();
            let counted = (from..from + length)
                .map(|instant| {
                    let here = |b: &&Busy| b.busy_from.0 <= instant && instant < b.busy_until.0;
                    bookings.iter().filter(here).map(|b| b.party_size).sum::<i64>()
                })
                .max();
            let peak = Occupancy::of(&bookings).peak(EpochMillis(from), EpochMillis(from + length));
            prop_assert_eq!(Some(peak), counted);
        }
    }
}
