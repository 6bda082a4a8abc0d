//! What became of an attack's connections.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::floods::attack::observer::Seen;
use crate::statistics::{milliseconds, percentile};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was never open for requests.
    Refused,
    /// The edge closed it after this time.
    Closed(Duration),
    /// The attack ended first.
    Kept,
}

/// One connection's life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) end: End,
    pub(super) seen: Seen,
}

impl Life {
    /// A connection that couldn't be opened.
    pub(super) fn refused(why: &str) -> Self {
        Self { end: End::Refused, seen: Seen::from([(format!("refused: {why}"), 1)]) }
    }
}

/// A fault in few words, the same for all connections that meet it.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed without a word".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no local port left".to_owned(),
        _ => error.to_string(),
    }
}

/// All connections of an attack.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    refused: u64,
    kept: u64,
    closed_after: Vec<Duration>,
    seen: Seen,
}

impl Tally {
    pub(super) fn add(&mut self, life: Life) {
        match life.end {
            End::Refused => self.refused += 1,
            End::Closed(after) => self.closed_after.push(after),
            End::Kept => self.kept += 1,
        }
        self.merge_seen(life.seen);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.refused += other.refused;
        self.kept += other.kept;
        self.closed_after.extend(other.closed_after);
        self.merge_seen(other.seen);
    }

    fn merge_seen(&mut self, seen: Seen) {
        for (what, count) in seen {
            *self.seen.entry(what).or_default() += count;
        }
    }

    /// The figures that are reported.
    pub(crate) fn sum_up(self) -> Summary {
        let closed = self.closed_after.len() as u64;
        let after = |percent| percentile(&self.closed_after, percent).map(milliseconds);
        Summary {
            connections: self.refused + self.kept + closed,
            refused: self.refused,
            closed,
            closed_after_ms_median: after(50),
            closed_after_ms_max: after(100),
            kept: self.kept,
            seen: self.seen,
        }
    }
}

/// What became of an attack's connections, in numbers.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Summary {
    pub(crate) connections: u64,
    /// Closed before a request was possible.
    pub(crate) refused: u64,
    /// Closed by the edge.
    pub(crate) closed: u64,
    /// Since TCP or, where it is spoken, TLS was ready.
    pub(crate) closed_after_ms_median: Option<f64>,
    pub(crate) closed_after_ms_max: Option<f64>,
    /// Open until the attack ended.
    pub(crate) kept: u64,
    /// Statuses, frames and faults that the attackers saw.
    pub(crate) seen: Seen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_add_up() {
        let mut tally = Tally::default();
        tally.add(Life::refused("reset"));
        tally.add(Life { end: End::Kept, seen: Seen::from([("200".into(), 2)]) });
        let mut other = Tally::default();
        for seconds in [1, 2, 30] {
            let end = End::Closed(Duration::from_secs(seconds));
            other.add(Life { end, seen: Seen::from([("200".into(), 1)]) });
        }
        tally.merge(other);
        let summary = tally.sum_up();
        assert_eq!((summary.connections, summary.refused, summary.closed, summary.kept), (5, 1, 3, 1));
        assert_eq!(summary.closed_after_ms_median, Some(2_000.0));
        assert_eq!(summary.closed_after_ms_max, Some(30_000.0));
        assert_eq!(summary.seen["200"], 5);
    }
}
