//! What became of each booking follows from what was done to it: there is an order of the calls that agrees with the
//! clock and with every answer, and ends in what is stored (linearizability, Herlihy and Wing 1990). A call that nobody
//! knows the outcome of may have been done or not.

use std::collections::HashMap;

use super::super::record::{Act, Call, Outcome, Row, Spec};

/// More calls than that about one booking aren't put in every order.
const MAX_CALLS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State<'a> {
    status: &'a str,
    starts_at: i64,
}

pub(super) fn check(specs: &[Spec], calls: &[Call], rows: &[Row]) -> Vec<String> {
    let mut by_id: HashMap<&str, Vec<&Call>> = HashMap::new();
    let mut made: HashMap<&str, State<'_>> = HashMap::new();
    let mut wanted: HashMap<&str, i64> = HashMap::new();
    for call in calls {
        if let Some(id) = call.id()
            && !matches!(call.outcome, Outcome::Failed(..))
        {
            by_id.entry(id).or_default().push(call);
        }
        if let Act::Book { note, starts_at, .. } = &call.act {
            wanted.insert(note, *starts_at);
            if let Outcome::Ok(seen) = &call.outcome {
                made.insert(&seen.id, State { status: &seen.status, starts_at: seen.starts_at });
            }
        }
    }
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| !row.is_offer) {
        let spec = &specs[row.service];
        // One that was never answered stands as it was asked for.
        let first = if spec.needs_approval { "pending" } else { "confirmed" };
        let asked = row.note.as_deref().and_then(|note| wanted.get(note)).copied();
        let unanswered = State { status: first, starts_at: asked.unwrap_or(row.starts_at) };
        let begin = made.get(row.id.as_str()).copied().unwrap_or(unanswered);
        let calls = by_id.remove(row.id.as_str()).unwrap_or_default();
        let end = State { status: &row.status, starts_at: row.starts_at };
        let is_bounded = calls.len() <= MAX_CALLS;
        if row.ends_at - row.starts_at != spec.duration_ms {
            found.push(format!("a booking of another length: {row:?}"));
        } else if is_bounded && !can_end(spec, begin, &calls, 0, end) {
            found.push(format!("{begin:?} can't have become {end:?} by {calls:?}"));
        }
    }
    found.extend(by_id.values().map(|calls| format!("changed and not there: {calls:?}")));
    found
}

/// Whether the calls that aren't in `done` can lead from `state` to `end`.
fn can_end(spec: &Spec, state: State<'_>, calls: &[&Call], done: u32, end: State<'_>) -> bool {
    let left = |index: usize| done & (1 << index) == 0;
    let must = (0..calls.len()).filter(|index| left(*index));
    let mut must = must.filter(|index| matches!(calls[*index].outcome, Outcome::Ok(_))).peekable();
    if must.peek().is_none() && state == end {
        return true;
    }
    (0..calls.len()).filter(|index| left(*index)).any(|index| {
        let call = calls[index];
        // It can't come before one that had ended when it began.
        let is_next = (0..calls.len()).filter(|other| left(*other) && *other != index).all(|other| {
            let is_known = matches!(calls[other].outcome, Outcome::Ok(_));
            !is_known || calls[other].ended >= call.begun
        });
        let next = is_next.then(|| apply(spec, state, &call.act)).flatten();
        next.is_some_and(|next| {
            let agrees = match &call.outcome {
                Outcome::Ok(seen) => seen.status == next.status && seen.starts_at == next.starts_at,
                _ => true,
            };
            agrees && can_end(spec, next, calls, done | 1 << index, end)
        })
    })
}

fn apply<'a>(spec: &Spec, state: State<'a>, act: &Act) -> Option<State<'a>> {
    let is_open = matches!(state.status, "pending" | "confirmed");
    match act {
        Act::Cancel { .. } if is_open => Some(State { status: "cancelled", ..state }),
        Act::Move { to, .. } if is_open && *to == state.starts_at => Some(state),
        Act::Move { to, .. } if is_open => {
            let status = if spec.needs_approval { "pending" } else { "confirmed" };
            Some(State { status, starts_at: *to })
        }
        Act::Approve { .. } if state.status == "pending" => Some(State { status: "confirmed", ..state }),
        Act::Reject { .. } if state.status == "pending" => Some(State { status: "rejected", ..state }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    fn moved(id: &str, to: i64) -> Act {
        Act::Move { id: id.to_owned(), to }
    }

    #[test]
    fn what_was_cancelled_stays_cancelled() {
        let calls =
            [booked("a", 0, 0, seen("a", "confirmed", 0)), done(cancel("a"), 20, seen("a", "cancelled", 0))];
        fine(&[spec()], &calls, &[row("a", "cancelled", 0)]);
        wrong(&[spec()], &calls, &[row("a", "confirmed", 0)], "can't have become");
    }

    #[test]
    fn a_moved_booking_is_at_one_of_two_places_and_known_ones_at_the_new() {
        let calls =
            |outcome| [booked("a", 0, 0, seen("a", "confirmed", 0)), done(moved("a", 5 * HOUR), 20, outcome)];
        let (old, new) = (row("a", "confirmed", 0), row("a", "confirmed", 5 * HOUR));
        fine(&[spec()], &calls(Outcome::Unknown), std::slice::from_ref(&old));
        fine(&[spec()], &calls(Outcome::Unknown), std::slice::from_ref(&new));
        let known = calls(seen("a", "confirmed", 5 * HOUR));
        fine(&[spec()], &known, &[new]);
        wrong(&[spec()], &known, &[old], "can't have become");
        wrong(&[spec()], &calls(refused()), &[row("a", "confirmed", 5 * HOUR)], "can't have become");
    }

    #[test]
    fn of_two_at_once_either_may_be_first_and_of_two_in_turn_not() {
        let spec = Spec { needs_approval: true, ..spec() };
        let book = booked("a", 0, 0, seen("a", "pending", 0));
        let approve = done(Act::Approve { id: "a".to_owned() }, 20, seen("a", "confirmed", 0));
        let concurrent = done(cancel("a"), 25, seen("a", "cancelled", 0));
        fine(
            std::slice::from_ref(&spec),
            &[book.clone(), approve.clone(), concurrent],
            &[row("a", "cancelled", 0)],
        );
        let before = done(cancel("a"), 10, seen("a", "cancelled", 0));
        let late = Call { begun: 30, ended: 40, ..approve };
        wrong(&[spec], &[book, before, late], &[row("a", "cancelled", 0)], "can't have become");
    }

    #[test]
    fn what_was_changed_must_be_there() {
        wrong(&[spec()], &[done(cancel("a"), 0, seen("a", "cancelled", 0))], &[], "not there");
    }
}
