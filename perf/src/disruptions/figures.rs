//! What clients noticed, as numbers, and whether they were allowed to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::disruptions::load::{How, Sample, SocketEnd};
use crate::statistics::{milliseconds, percentile};

/// RFC 6455's registry: service restart.
const RESTART: u16 = 1012;

/// GETs of a while.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Gets {
    pub(super) sent: u64,
    pub(super) failed: BTreeMap<String, u64>,
    /// Asked twice, as a browser does when a connection that was kept ends unanswered.
    pub(super) again: u64,
    /// Of answers.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
}

impl Gets {
    /// Counts all; latencies are those of what was due from `from` on.
    pub(super) fn of(samples: &[Sample], from: Instant) -> Self {
        let answered = samples.iter().filter(|sample| sample.failure.is_none() && sample.due >= from);
        let latencies: Vec<Duration> = answered.map(|sample| sample.latency).collect();
        let at = |percent| percentile(&latencies, percent).map(milliseconds);
        let mut failed = BTreeMap::new();
        for failure in samples.iter().filter_map(|sample| sample.failure.as_ref()) {
            *failed.entry(failure.to_string()).or_default() += 1;
        }
        Self {
            sent: samples.len() as u64,
            failed,
            again: samples.iter().filter(|sample| sample.again).count() as u64,
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What may happen to WebSockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// From when on they may be closed with code 1012.
    pub(super) told_from: Option<Instant>,
    /// The server that died, and when it was started again: until then its own can't survive.
    pub(super) dead: Option<(usize, Instant)>,
}

impl Expected {
    fn is_told(&self, end: &SocketEnd) -> bool {
        end.how == How::Closed(RESTART) && self.told_from.is_some_and(|from| end.at >= from)
    }

    fn is_orphaned(&self, end: &SocketEnd) -> bool {
        let is_dead = self.dead.is_some_and(|(server, until)| end.server == Some(server) && end.at < until);
        is_dead && matches!(end.how, How::Closed(_) | How::Broken | How::Silent)
    }
}

/// WebSockets of a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sockets {
    /// At the beginning.
    pub(super) open: usize,
    /// Told to come again, with code 1012, where that may be.
    pub(super) told: u64,
    /// Their server died.
    pub(super) orphaned: u64,
    /// Whose client went by itself.
    pub(super) left: u64,
    /// All others, those that couldn't be opened among them.
    pub(super) dropped: BTreeMap<String, u64>,
}

impl Sockets {
    pub(super) fn of(open: usize, ends: &[SocketEnd], expected: Expected) -> Self {
        let mut sockets = Self { open, ..Self::default() };
        for end in ends {
            if end.how == How::Left {
                sockets.left += 1;
            } else if expected.is_told(end) {
                sockets.told += 1;
            } else if expected.is_orphaned(end) {
                sockets.orphaned += 1;
            } else {
                *sockets.dropped.entry(end.how.to_string()).or_default() += 1;
            }
        }
        sockets
    }

    pub(super) fn drops(&self) -> u64 {
        self.dropped.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disruptions::load::Failure;

    #[test]
    fn failures_are_counted_by_kind_and_have_no_latency() {
        let now = Instant::now();
        let sample =
            |ms, failure| Sample { due: now, latency: Duration::from_millis(ms), again: false, failure };
        let early = Sample { due: now - Duration::from_secs(9), ..sample(500, None) };
        let samples = [
            early,
            sample(1, None),
            sample(3, None),
            sample(9, Some(Failure::Status(502))),
            Sample { again: true, ..sample(2, None) },
        ];
        let gets = Gets::of(&samples, now);
        assert_eq!((gets.sent, gets.failures(), gets.again), (5, 1, 1));
        assert_eq!(gets.failed["status 502"], 1);
        assert_eq!((gets.p50_ms, gets.max_ms), (Some(2.0), Some(3.0)));
    }

    #[test]
    fn a_socket_may_end_when_it_is_told_at_the_end_or_when_its_server_died() {
        let now = Instant::now();
        let end = |seconds, server, how| SocketEnd {
            at: now + Duration::from_secs(seconds),
            server: Some(server),
            how,
        };
        let told_from = Some(now + Duration::from_secs(10));
        let ends =
            [end(11, 0, How::Closed(RESTART)), end(5, 0, How::Closed(RESTART)), end(11, 0, How::Broken)];
        let sockets = Sockets::of(3, &ends, Expected { told_from, dead: None });
        assert_eq!((sockets.told, sockets.drops()), (1, 2));
        assert_eq!(sockets.dropped["closed 1012"], 1);
        let dead = Some((1, now + Duration::from_secs(2)));
        let ends = [
            end(1, 1, How::Broken),
            end(1, 0, How::Broken),
            end(1, 1, How::Wrong),
            end(3, 1, How::Broken),
            end(1, 0, How::Left),
        ];
        let sockets = Sockets::of(3, &ends, Expected { told_from: None, dead });
        assert_eq!((sockets.orphaned, sockets.drops(), sockets.left), (1, 3, 1));
    }
}
