//! What was answered is there, what was refused isn't, what nobody knows is one or the other; nothing else is there.

use std::collections::HashMap;

use super::super::record::{Act, Call, Outcome, Row, Seen};

/// All tries of one booking.
#[derive(Default)]
struct Tries<'a> {
    wanted: Option<&'a Act>,
    user: usize,
    answers: Vec<&'a Seen>,
    is_unknown: bool,
}

pub(super) fn check(calls: &[Call], rows: &[Row]) -> Vec<String> {
    let mut bookings: HashMap<&str, Tries<'_>> = HashMap::new();
    for call in calls {
        let Act::Book { note, .. } = &call.act else { continue };
        let tries = bookings.entry(note).or_default();
        (tries.wanted, tries.user) = (Some(&call.act), call.user);
        match &call.outcome {
            Outcome::Ok(seen) => tries.answers.push(seen),
            Outcome::Unknown => tries.is_unknown = true,
            Outcome::Failed(..) => {}
        }
    }
    let mut by_note: HashMap<&str, Vec<&Row>> = HashMap::new();
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| !row.is_offer) {
        match &row.note {
            Some(note) => by_note.entry(note).or_default().push(row),
            None => found.push(format!("nobody asked for {row:?}")),
        }
    }
    for (note, tries) in &bookings {
        found.extend(compare(note, tries, by_note.remove(note).unwrap_or_default().as_slice()));
    }
    found.extend(by_note.values().flatten().map(|row| format!("nobody asked for {row:?}")));
    found
}

fn compare(note: &str, tries: &Tries<'_>, rows: &[&Row]) -> Option<String> {
    if let Some((first, others)) = tries.answers.split_first()
        && others.iter().any(|other| other != first)
    {
        return Some(format!("one key, two answers: {:?}", tries.answers));
    }
    match (tries.answers.first(), rows) {
        (_, [_, _, ..]) => Some(format!("booked twice: {rows:?}")),
        (Some(seen), []) => Some(format!("answered and lost: {seen:?}")),
        (Some(seen), [row]) if row.id != seen.id => Some(format!("answered {seen:?}, stored {row:?}")),
        (None, [row]) if !tries.is_unknown => Some(format!("refused and stored: {row:?}")),
        (_, [row]) if !is_wanted(tries, row) => Some(format!("{note} asked for something else than {row:?}")),
        _ => None,
    }
}

fn is_wanted(tries: &Tries<'_>, row: &Row) -> bool {
    let Some(Act::Book { service, party, .. }) = tries.wanted else { return false };
    row.user == tries.user && row.service == *service && row.party == *party
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    #[test]
    fn what_was_answered_must_be_there() {
        wrong(&[spec()], &[booked("a", 0, 0, seen("a", "confirmed", 0))], &[], "lost");
        let other = Row { party: 2, ..row("a", "confirmed", 0) };
        wrong(&[spec()], &[booked("a", 0, 0, seen("a", "confirmed", 0))], &[other], "something else");
    }

    #[test]
    fn what_was_refused_must_not() {
        wrong(&[spec()], &[booked("a", 0, 0, refused())], &[row("a", "cancelled", 0)], "refused and stored");
        let unknown_first = [booked("a", 0, 0, Outcome::Unknown), booked("a", 0, 20, refused())];
        fine(&[spec()], &unknown_first, &[row("a", "confirmed", 0)]);
    }

    #[test]
    fn one_key_has_one_booking_and_one_answer() {
        let twice = [row("a", "cancelled", 0), Row { id: "b".to_owned(), ..row("a", "confirmed", 0) }];
        wrong(&[spec()], &[booked("a", 0, 0, Outcome::Unknown)], &twice, "twice");
        let calls =
            [booked("a", 0, 0, seen("a", "confirmed", 0)), booked("a", 0, 20, seen("b", "confirmed", 0))];
        wrong(&[spec()], &calls, &[row("a", "confirmed", 0)], "two answers");
    }

    #[test]
    fn nothing_is_there_that_nobody_asked_for() {
        wrong(&[spec()], &[], &[row("a", "confirmed", 0)], "nobody asked");
        let offer = Row { is_offer: true, note: None, ..row("a", "pending", 0) };
        fine(&[spec()], &[], &[offer]);
    }
}
