//! How full a service is over time. Pure; it counts as the database's trigger does.

use std::collections::BTreeMap;

use crate::clock::EpochMillis;

/// Places that one booking takes, from its first instant up to, and not including, its end.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Taken {
    /// Its first instant.
    pub starts_at: EpochMillis,
    /// The first instant after it.
    pub ends_at: EpochMillis,
    /// How many places.
    pub party_size: i64,
}

/// The places that are taken at each instant: a staircase, kept as its steps.
#[derive(Debug)]
pub struct Occupancy {
    /// From which instant on how many places are taken, in order.
    steps: Vec<(EpochMillis, i64)>,
}

impl Occupancy {
    /// What these bookings take together.
    pub fn of(bookings: &[Taken]) -> Self {
        let mut changes: BTreeMap<EpochMillis, i64> = BTreeMap::new();
        for booking in bookings {
            *changes.entry(booking.starts_at).or_default() += booking.party_size;
            *changes.entry(booking.ends_at).or_default() -= booking.party_size;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(starts_at: i64, ends_at: i64, party_size: i64) -> Taken {
        Taken { starts_at: EpochMillis(starts_at), ends_at: EpochMillis(ends_at), party_size }
    }

    #[test]
    fn neighbours_that_only_touch_never_count_together() {
        let occupancy = Occupancy::of(&[taken(0, 10, 2), taken(10, 20, 1)]);
        assert_eq!(occupancy.peak(EpochMillis(5), EpochMillis(15)), 2);
        assert_eq!(occupancy.peak(EpochMillis(10), EpochMillis(20)), 1);
        assert_eq!(occupancy.peak(EpochMillis(20), EpochMillis(30)), 0);
    }

    proptest! {
        #[test]
        fn the_peak_is_the_fullest_of_all_instants(
            bookings in proptest::collection::vec((0..40_i64, 1..20_i64, 1..4_i64), 0..20),
            from in 0..40_i64,
            length in 1..20_i64,
        ) {
            let bookings: Vec<Taken> =
                bookings.into_iter().map(|(at, length, size)| taken(at, at + length, size)).collect();
            let counted = (from..from + length)
                .map(|instant| {
                    let here = |b: &&Taken| b.starts_at.0 <= instant && instant < b.ends_at.0;
                    bookings.iter().filter(here).map(|b| b.party_size).sum::<i64>()
                })
                .max();
            let peak = Occupancy::of(&bookings).peak(EpochMillis(from), EpochMillis(from + length));
            prop_assert_eq!(Some(peak), counted);
        }
    }
}
