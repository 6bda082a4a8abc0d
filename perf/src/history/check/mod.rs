//! Whether a history could have happened with a service that keeps its promises. Pure.
//!
//! ```text
//! places      nobody has a place that somebody else has: in the end, and, as far as answers prove it, at any time;
//!             nobody was refused one that was certainly free
//! existence   what was answered is there, what was refused isn't, what nobody knows is one or the other
//! lifecycle   what became of each booking follows from what was done to it, in some order that agrees with the clock
//! ```

mod existence;
mod lifecycle;
mod places;

use super::record::{Call, Row, Spec};

/// What is wrong with a history; nothing, if it is as it should be.
pub(super) fn violations(specs: &[Spec], calls: &[Call], rows: &[Row]) -> Vec<String> {
    let mut found = places::in_the_end(specs, rows);
    found.extend(places::over_time(specs, calls));
    found.extend(existence::check(calls, rows));
    found.extend(lifecycle::check(specs, calls, rows));
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::record::{Act, Call, Outcome, Row, Seen, Spec};
    use super::violations;

    pub(super) const HOUR: i64 = 3_600_000;

    /// A service of one place, an hour long.
    pub(super) fn spec() -> Spec {
        Spec {
            capacity: 1,
            resource: None,
            buffer_ms: 0,
            duration_ms: HOUR,
            step_ms: HOUR,
            needs_approval: false,
        }
    }

    pub(super) fn booked(note: &str, at: i64, begun: u64, outcome: Outcome) -> Call {
        let act = Act::Book { note: note.to_owned(), service: 0, starts_at: at, party: 1 };
        Call { user: 0, act, begun, ended: begun + 10, outcome }
    }

    pub(super) fn done(act: Act, begun: u64, outcome: Outcome) -> Call {
        Call { user: 0, act, begun, ended: begun + 10, outcome }
    }

    pub(super) fn seen(id: &str, status: &str, at: i64) -> Outcome {
        Outcome::Ok(Seen { id: id.to_owned(), status: status.to_owned(), starts_at: at })
    }

    pub(super) fn refused() -> Outcome {
        Outcome::Failed(409, "slot-taken".to_owned())
    }

    pub(super) fn row(id: &str, status: &str, at: i64) -> Row {
        Row {
            id: id.to_owned(),
            user: 0,
            service: 0,
            starts_at: at,
            ends_at: at + HOUR,
            party: 1,
            note: Some(id.to_owned()),
            status: status.to_owned(),
            is_offer: false,
        }
    }

    /// A note and the id that its booking gets are the same in these tests.
    pub(super) fn cancel(id: &str) -> Act {
        Act::Cancel { id: id.to_owned() }
    }

    #[track_caller]
    pub(super) fn fine(specs: &[Spec], calls: &[Call], rows: &[Row]) {
        assert_eq!(violations(specs, calls, rows), Vec::<String>::new());
    }

    #[track_caller]
    pub(super) fn wrong(specs: &[Spec], calls: &[Call], rows: &[Row], word: &str) {
        let found = violations(specs, calls, rows);
        assert!(found.iter().any(|violation| violation.contains(word)), "{word} in {found:?}");
    }

    #[test]
    fn an_ordinary_history_is_fine() {
        let calls = [
            booked("a", 0, 0, seen("a", "confirmed", 0)),
            booked("b", 0, 20, refused()),
            done(cancel("a"), 40, seen("a", "cancelled", 0)),
            booked("c", 0, 60, seen("c", "confirmed", 0)),
            booked("d", HOUR, 80, Outcome::Unknown),
        ];
        let rows = [row("a", "cancelled", 0), row("c", "confirmed", 0)];
        fine(&[spec()], &calls, &rows);
        fine(&[spec()], &calls, &[&rows[..], &[row("d", "confirmed", HOUR)]].concat());
    }
}
