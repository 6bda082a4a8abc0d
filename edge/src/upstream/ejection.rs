//! A server that fails is left out for a while, longer each time, and comes back by a trial. A state machine without a
//! clock of its own: `now` is the time since some fixed moment.

use std::time::Duration;

use super::Failure;

/// The first time out; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A server that has been in for so long starts anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// If nobody's request has tried a server for so long after its time was over, the edge tries it itself.
const TRIED_BY_REQUESTS: Duration = Duration::from_secs(10);

/// Whether one server takes part.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    state: State,
    /// How often it was ejected before it could be forgotten.
    times: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Since then, or from the beginning.
    In(Option<Duration>),
    Out {
        until: Duration,
        why: Failure,
    },
    OnTrial {
        why: Failure,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::In(None)
    }
}

/// Who tries a server whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trier {
    /// A request of a client; safe, so that it can be repeated elsewhere.
    Request,
    /// A probe of the edge's own.
    Probe,
}

impl Ejection {
    /// Takes the server out. When its time ends; `None` when it was out already.
    pub(super) fn eject(&mut self, why: Failure, now: Duration) -> Option<Duration> {
        let State::In(since) = self.state else { return None };
        if since.is_some_and(|since| now.saturating_sub(since) >= FORGOTTEN_AFTER) {
            self.times = 0;
        }
        Some(self.put_out(why, now))
    }

    /// Whether this one may try the server now; if so, nobody else may until it has ended.
    pub(super) fn begin_trial(&mut self, trier: Trier, now: Duration) -> bool {
        let State::Out { until, why } = self.state else { return false };
        let from = match (trier, why.is_of_connection()) {
            (Trier::Request, true) => return false,
            (Trier::Request, false) | (Trier::Probe, true) => until,
            (Trier::Probe, false) => until + TRIED_BY_REQUESTS,
        };
        if now < from {
            return false;
        }
        self.state = State::OnTrial { why };
        true
    }

    /// The trial went well: the server is back.
    pub(super) fn pass(&mut self, now: Duration) {
        if matches!(self.state, State::OnTrial { .. }) {
            self.state = State::In(Some(now));
        }
    }

    /// The trial failed: when the next time ends.
    pub(super) fn fail(&mut self, now: Duration) -> Option<Duration> {
        let State::OnTrial { why } = self.state else { return None };
        Some(self.put_out(why, now))
    }

    /// The trial says nothing: another may follow at once.
    pub(super) fn abandon(&mut self, now: Duration) {
        if let State::OnTrial { why } = self.state {
            self.state = State::Out { until: now, why };
        }
    }

    /// A server that says that it is ready again, after it wasn't, has been started anew.
    pub(super) fn shorten(&mut self, now: Duration) {
        if let State::Out { until, .. } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// `None` while the server takes part; else when it may be tried, `Duration::MAX` while it is.
    pub(super) fn until(&self) -> Option<Duration> {
        match self.state {
            State::In(_) => None,
            State::Out { until, .. } => Some(until),
            State::OnTrial { .. } => Some(Duration::MAX),
        }
    }

    fn put_out(&mut self, why: Failure, now: Duration) -> Duration {
        let time = FIRST.saturating_mul(1 << self.times.min(5)).min(LONGEST);
        self.times = self.times.saturating_add(1);
        self.state = State::Out { until: now + time, why };
        now + time
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn each_time_out_is_twice_as_long_up_to_half_a_minute() {
        let mut ejection = Ejection::default();
        let mut now = at(0);
        let mut seconds = Vec::new();
        let mut until = ejection.eject(Failure::Status, now);
        while let Some(end) = until.filter(|_| seconds.len() < 7) {
            seconds.push((end - now).as_secs());
            now = end;
            assert!(ejection.begin_trial(Trier::Request, now));
            until = ejection.fail(now);
        }
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_minute_of_good_behaviour_is_forgiveness() {
        for (pause, seconds) in [(59_999, 2), (60_000, 1)] {
            let mut ejection = Ejection::default();
            ejection.eject(Failure::Status, at(0));
            assert!(ejection.begin_trial(Trier::Request, at(1000)));
            ejection.pass(at(1000));
            let end = ejection.eject(Failure::Status, at(1000 + pause)).expect("out again");
            assert_eq!(end, at(1000 + pause + seconds * 1000));
        }
    }

    #[test]
    fn one_request_tries_a_server_whose_time_is_over() {
        let mut ejection = Ejection::default();
        ejection.eject(Failure::Broken, at(0));
        assert!(!ejection.begin_trial(Trier::Request, at(999)));
        assert!(!ejection.begin_trial(Trier::Probe, at(1000)));
        assert!(ejection.begin_trial(Trier::Request, at(1000)));
        assert!(!ejection.begin_trial(Trier::Request, at(1000)));
        ejection.abandon(at(1500));
        assert!(ejection.begin_trial(Trier::Request, at(1500)));
        ejection.pass(at(1501));
        assert_eq!(ejection.until(), None);
    }

    #[test]
    fn a_server_that_nobody_can_talk_to_is_tried_by_a_probe_only() {
        let mut ejection = Ejection::default();
        ejection.eject(Failure::Silent, at(0));
        assert!(!ejection.begin_trial(Trier::Request, at(100_000)));
        assert!(ejection.begin_trial(Trier::Probe, at(1000)));
    }

    #[test]
    fn a_server_that_no_request_tries_is_tried_by_a_probe_in_the_end() {
        let mut ejection = Ejection::default();
        ejection.eject(Failure::Status, at(0));
        assert!(!ejection.begin_trial(Trier::Probe, at(10_999)));
        assert!(ejection.begin_trial(Trier::Probe, at(11_000)));
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_trial_and_no_time_out_beyond_half_a_minute(
            steps in prop::collection::vec((0_u64..40_000, 0_u8..7), 1..200),
        ) {
            let mut ejection = Ejection::default();
            let (mut now, mut is_on_trial) = (at(0), false);
            for (pause, step) in steps {
                now += at(pause);
                match step {
                    0 => {
                        let was_in = ejection.until().is_none();
                        prop_assert_eq!(ejection.eject(Failure::Status, now).is_some(), was_in);
                    }
                    1 | 2 => {
                        let trier = if step == 1 { Trier::Request } else { Trier::Probe };
                        let began = ejection.begin_trial(trier, now);
                        prop_assert!(!(began && is_on_trial));
                        is_on_trial |= began;
                    }
                    3 => {
                        ejection.pass(now);
                        prop_assert!(!is_on_trial || ejection.until().is_none());
                        is_on_trial = false;
                    }
                    4 => {
                        prop_assert_eq!(ejection.fail(now).is_some(), is_on_trial);
                        is_on_trial = false;
                    }
                    5 => {
                        ejection.abandon(now);
                        is_on_trial = false;
                    }
                    _ => ejection.shorten(now),
                }
                prop_assert_eq!(ejection.until() == Some(Duration::MAX), is_on_trial);
                if let Some(until) = ejection.until().filter(|_| !is_on_trial) {
                    prop_assert!(until <= now + LONGEST);
                }
            }
        }
    }
}
