//! What clients have noticed, until somebody asks for it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Why a GET failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disruptions) enum Failure {
    /// No TCP connection.
    Connect,
    /// No TLS handshake.
    Tls,
    /// The connection or the stream ended without an answer, or within it.
    Reset(String),
    Status(u16),
    Timeout,
    /// Too many wait already.
    NotAsked,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Tls => f.write_str("tls"),
            Self::Reset(why) => write!(f, "reset ({why})"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Timeout => f.write_str("timeout"),
            Self::NotAsked => f.write_str("not asked"),
        }
    }
}

/// A GET.
#[derive(Clone, Debug)]
pub(in crate::disruptions) struct Sample {
    pub(in crate::disruptions) due: Instant,
    /// From when it was due.
    pub(in crate::disruptions) latency: Duration,
    /// Whether it was asked twice, as a browser does when a connection that was kept ends unanswered.
    pub(in crate::disruptions) again: bool,
    pub(in crate::disruptions) failure: Option<Failure>,
}

/// How a WebSocket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disruptions) enum How {
    /// Its client left.
    Left,
    /// With a close frame of this code; 1005 for none.
    Closed(u16),
    /// Without one.
    Broken,
    /// What was said didn't come back in time.
    Silent,
    /// Something else came back.
    Wrong,
    /// It wasn't opened.
    Refused(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::Closed(code) => write!(f, "closed {code}"),
            Self::Broken => f.write_str("broken"),
            Self::Silent => f.write_str("no echo"),
            Self::Wrong => f.write_str("wrong echo"),
            Self::Refused(why) => write!(f, "not opened: {why}"),
        }
    }
}

/// The end of a WebSocket.
#[derive(Clone, Debug)]
pub(in crate::disruptions) struct SocketEnd {
    pub(in crate::disruptions) at: Instant,
    /// Which server it led to.
    pub(in crate::disruptions) server: Option<usize>,
    pub(in crate::disruptions) how: How,
}

/// Shared by all clients.
#[derive(Clone, Default)]
pub(in crate::disruptions) struct Record(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    samples: Vec<Sample>,
    ends: Vec<SocketEnd>,
    in_flight: BTreeSet<(Instant, u64)>,
    asked: u64,
    open_sockets: usize,
}

impl Record {
    /// A GET that is due at this moment is on its way.
    pub(super) fn begin(&self, due: Instant) -> u64 {
        let mut gathered = self.lock();
        gathered.asked += 1;
        let id = gathered.asked;
        gathered.in_flight.insert((due, id));
        id
    }

    /// What became of it.
    pub(super) fn finish(&self, id: u64, sample: Sample) {
        let mut gathered = self.lock();
        gathered.in_flight.remove(&(sample.due, id));
        gathered.samples.push(sample);
    }

    pub(super) fn opened(&self) {
        self.lock().open_sockets += 1;
    }

    /// The end of one that was open, or that couldn't be opened.
    pub(super) fn ended(&self, end: SocketEnd) {
        let mut gathered = self.lock();
        if !matches!(end.how, How::Refused(_)) {
            gathered.open_sockets -= 1;
        }
        gathered.ends.push(end);
    }

    pub(in crate::disruptions) fn open_sockets(&self) -> usize {
        self.lock().open_sockets
    }

    /// Whether nothing is on its way that was due by then.
    pub(in crate::disruptions) fn is_settled(&self, until: Instant) -> bool {
        self.lock().in_flight.first().is_none_or(|(due, _)| *due > until)
    }

    /// Gives what was due, and the sockets that ended, by then; each is given once.
    pub(in crate::disruptions) fn take(&self, until: Instant) -> (Vec<Sample>, Vec<SocketEnd>) {
        let mut gathered = self.lock();
        let (samples, later) =
            std::mem::take(&mut gathered.samples).into_iter().partition(|sample| sample.due <= until);
        gathered.samples = later;
        let (ends, later) = std::mem::take(&mut gathered.ends).into_iter().partition(|end| end.at <= until);
        gathered.ends = later;
        (samples, ends)
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_on_its_way_until_it_is_finished_and_given_once() {
        let record = Record::default();
        let due = Instant::now();
        let later = due + Duration::from_secs(1);
        let (first, second) = (record.begin(due), record.begin(later));
        assert!(!record.is_settled(due));
        let sample = |due| Sample { due, latency: Duration::ZERO, again: false, failure: None };
        record.finish(first, sample(due));
        assert!(record.is_settled(due) && !record.is_settled(later));
        record.finish(second, sample(later));
        assert_eq!(record.take(due).0.len(), 1);
        assert_eq!(record.take(later).0.len(), 1);
        assert!(record.take(later).0.is_empty());
    }

    #[test]
    fn a_socket_that_was_never_open_leaves_the_count_as_it_is() {
        let record = Record::default();
        record.opened();
        let end = |how| SocketEnd { at: Instant::now(), server: None, how };
        record.ended(end(How::Refused("why".into())));
        assert_eq!(record.open_sockets(), 1);
        record.ended(end(How::Broken));
        assert_eq!(record.open_sockets(), 0);
    }
}
