//! Nobody has a place that somebody else has, and nobody was refused one that was certainly free.

use std::collections::{BTreeMap, HashMap};

use super::super::record::{Act, Call, Outcome, Row, Spec};

/// Bookings that are so many days apart never meet: the longest, and its buffers, is shorter.
const DAY_MS: i64 = 24 * 3_600_000;

/// A place that somebody has, or may have, for some time.
#[derive(Clone, Debug)]
struct Hold {
    service: usize,
    starts_at: i64,
    party: i64,
    /// From when, by the history's clock, and until when.
    from: u64,
    until: u64,
}

pub(super) fn in_the_end(specs: &[Spec], rows: &[Row]) -> Vec<String> {
    let active = rows.iter().filter(|row| row.is_active());
    let holds: Vec<Hold> = active
        .map(|row| Hold {
            service: row.service,
            starts_at: row.starts_at,
            party: row.party,
            from: 0,
            until: u64::MAX,
        })
        .collect();
    let days = Days::of(&holds);
    let too_full = holds.iter().filter(|hold| !fits(specs, hold, &days.near(hold)));
    too_full.map(|hold| format!("in the end too many have {hold:?}")).collect()
}

pub(super) fn over_time(specs: &[Spec], calls: &[Call]) -> Vec<String> {
    let (sure, possible) = holds(specs, calls);
    let days = Days::of(&sure);
    let mut found = Vec::new();
    for hold in &sure {
        let at_once =
            days.near(hold).into_iter().filter(|other| other.from <= hold.from && hold.from < other.until);
        if !fits(specs, hold, &at_once.collect::<Vec<_>>()) {
            found.push(format!("too many had it at one time: {hold:?}"));
        }
    }
    let days = Days::of(&possible);
    for call in calls {
        let (Act::Book { service, starts_at, party, .. }, Outcome::Failed(409, name)) =
            (&call.act, &call.outcome)
        else {
            continue;
        };
        let wanted = Hold {
            service: *service,
            starts_at: *starts_at,
            party: *party,
            from: call.begun,
            until: call.ended,
        };
        let meanwhile = days.near(&wanted).into_iter();
        let meanwhile = meanwhile.filter(|other| other.from <= wanted.until && wanted.from <= other.until);
        let mut all: Vec<&Hold> = meanwhile.collect();
        all.push(&wanted);
        if name == "slot-taken" && fits(specs, &wanted, &all) {
            found.push(format!("refused, and free all the time: {call:?}"));
        }
        if name == "slot-busy" && specs[*service].capacity > 1 {
            found.push(format!("turned away for another's sake: {call:?}"));
        }
    }
    found
}

/// Whether no instant of `hold` is too full, if all of `others`, `hold` among them, are there at once.
fn fits(specs: &[Spec], hold: &Hold, others: &[&Hold]) -> bool {
    let spec = &specs[hold.service];
    let (from, until) = busy(specs, hold);
    let mut changes: BTreeMap<i64, i64> = BTreeMap::new();
    for other in others {
        let (other_from, other_until) = busy(specs, other);
        if other_until <= from || until <= other_from {
            continue;
        }
        if other.service == hold.service {
            *changes.entry(other_from.max(from)).or_default() += other.party;
            *changes.entry(other_until.min(until)).or_default() -= other.party;
        } else if spec.resource.is_some() && specs[other.service].resource == spec.resource {
            return false;
        }
    }
    let mut taken = 0;
    changes.values().all(|change| {
        taken += change;
        taken <= spec.capacity
    })
}

fn busy(specs: &[Spec], hold: &Hold) -> (i64, i64) {
    let spec = &specs[hold.service];
    (hold.starts_at - spec.buffer_ms, hold.starts_at + spec.duration_ms + spec.buffer_ms)
}

/// Holds by the day that they begin on.
struct Days<'a>(HashMap<i64, Vec<&'a Hold>>);

impl<'a> Days<'a> {
    fn of(holds: &'a [Hold]) -> Self {
        let mut days: HashMap<i64, Vec<&Hold>> = HashMap::new();
        for hold in holds {
            days.entry(hold.starts_at.div_euclid(DAY_MS)).or_default().push(hold);
        }
        Self(days)
    }

    fn near(&self, hold: &Hold) -> Vec<&'a Hold> {
        let day = hold.starts_at.div_euclid(DAY_MS);
        (day - 2..=day + 2).filter_map(|day| self.0.get(&day)).flatten().copied().collect()
    }
}

/// What each booking surely held and when, and what it may have held, as far as the answers tell. A user does one thing
/// after the other to a booking, and nothing more once an outcome is unknown.
fn holds(specs: &[Spec], calls: &[Call]) -> (Vec<Hold>, Vec<Hold>) {
    let mut by_id: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls.iter().filter(|call| call.may_free()) {
        if let Some(id) = call.id() {
            by_id.entry(id).or_default().push(call);
        }
    }
    let (mut sure, mut possible) = (Vec::new(), Vec::new());
    let mut answered: HashMap<&str, bool> = HashMap::new();
    for call in calls {
        let Act::Book { note, service, starts_at, party } = &call.act else { continue };
        let hold =
            |from, until| Hold { service: *service, starts_at: *starts_at, party: *party, from, until };
        match &call.outcome {
            Outcome::Ok(seen) => {
                // The second answer of a key tells of the same booking.
                if answered.insert(note, true).is_none() {
                    let mut later = by_id.get(seen.id.as_str()).cloned().unwrap_or_default();
                    later.sort_by_key(|call| call.begun);
                    follow(&hold(call.begun, call.ended), &later, &mut sure, &mut possible);
                }
            }
            Outcome::Unknown => possible.push(hold(call.begun, u64::MAX)),
            Outcome::Failed(..) => {}
        }
    }
    for call in calls {
        // What was offered to whoever waited may be kept at any time.
        if let Act::Wait { service, starts_at, party } = &call.act
            && !matches!(call.outcome, Outcome::Failed(..))
        {
            let places = specs[*service].capacity.max(*party);
            let (service, starts_at) = (*service, *starts_at);
            possible.push(Hold { service, starts_at, party: places, from: call.begun, until: u64::MAX });
        }
    }
    (sure, possible)
}

/// The holds of one booking that was made between `made.from` and `made.until`.
fn follow(made: &Hold, later: &[&Call], sure: &mut Vec<Hold>, possible: &mut Vec<Hold>) {
    // Whoever else ends it, such as the vendor, ends every hold of it.
    let is_end =
        |call: &&&Call| !matches!(call.act, Act::Move { .. }) && matches!(call.outcome, Outcome::Ok(_));
    let end = later.iter().filter(is_end).map(|call| call.ended).min().unwrap_or(u64::MAX);
    let mut current = made.clone();
    for call in later {
        sure.push(Hold { from: current.until, until: call.begun.max(current.until), ..current.clone() });
        let is_known = matches!(call.outcome, Outcome::Ok(_));
        let until = if is_known { call.ended.min(end) } else { end };
        possible.push(Hold { until, ..current.clone() });
        match &call.act {
            Act::Move { to, .. } => {
                current = Hold { starts_at: *to, from: call.begun, until: call.ended, ..current };
                if !is_known {
                    possible.push(Hold { until: end, ..current });
                    return;
                }
            }
            // Ended, or perhaps: nothing is sure any more.
            _ => return,
        }
    }
    sure.push(Hold { from: current.until, until: u64::MAX, ..current.clone() });
    possible.push(Hold { until: end, ..current });
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    #[test]
    fn two_who_have_one_place_in_the_end_are_too_many() {
        let calls =
            [booked("a", 0, 0, seen("a", "confirmed", 0)), booked("b", 0, 0, seen("b", "confirmed", 0))];
        let rows = [row("a", "confirmed", 0), row("b", "confirmed", 0)];
        wrong(&[spec()], &calls, &rows, "in the end");
        fine(&[Spec { capacity: 2, ..spec() }], &calls, &rows);
    }

    #[test]
    fn a_buffer_and_a_resource_are_held_too() {
        let calls = [
            booked("a", 0, 0, seen("a", "confirmed", 0)),
            booked("b", HOUR, 0, seen("b", "confirmed", HOUR)),
        ];
        let rows = [row("a", "confirmed", 0), row("b", "confirmed", HOUR)];
        fine(&[spec()], &calls, &rows);
        wrong(&[Spec { buffer_ms: 1, ..spec() }], &calls, &rows, "in the end");

        let chair = || Spec { resource: Some(0), ..spec() };
        let mut other = booked("b", 0, 0, seen("b", "confirmed", 0));
        other.act = Act::Book { note: "b".to_owned(), service: 1, starts_at: 0, party: 1 };
        let rows = [row("a", "confirmed", 0), Row { service: 1, ..row("b", "confirmed", 0) }];
        wrong(&[chair(), chair()], &[calls[0].clone(), other.clone()], &rows, "in the end");
        fine(&[spec(), spec()], &[calls[0].clone(), other], &rows);
    }

    #[test]
    fn two_who_had_one_place_at_one_time_are_too_many() {
        let calls = [
            booked("a", 0, 0, seen("a", "confirmed", 0)),
            booked("b", 0, 20, seen("b", "confirmed", 0)),
            done(cancel("a"), 40, seen("a", "cancelled", 0)),
        ];
        let rows = [row("a", "cancelled", 0), row("b", "confirmed", 0)];
        wrong(&[spec()], &calls, &rows, "at one time");
        let mut overlapping = calls.clone();
        overlapping[2].begun = 15;
        fine(&[spec()], &overlapping, &rows);
    }

    #[test]
    fn whoever_is_refused_must_have_been_too_late() {
        let refusal = |begun| booked("b", 0, begun, refused());
        let (made, cancelled) = (
            booked("a", 0, 100, seen("a", "confirmed", 0)),
            done(cancel("a"), 200, seen("a", "cancelled", 0)),
        );
        let rows = [row("a", "cancelled", 0)];
        let with = |refusal| [made.clone(), cancelled.clone(), refusal];
        for early_or_late in [50, 300] {
            wrong(&[spec()], &with(refusal(early_or_late)), &rows, "free all the time");
        }
        for meanwhile in [95, 150, 205] {
            fine(&[spec()], &with(refusal(meanwhile)), &rows);
        }
    }

    #[test]
    fn nobody_is_turned_away_where_there_are_more_places() {
        let busy = booked("a", 0, 0, Outcome::Failed(409, "slot-busy".to_owned()));
        fine(&[spec()], std::slice::from_ref(&busy), &[]);
        wrong(&[Spec { capacity: 2, ..spec() }], &[busy], &[], "turned away");
    }
}
