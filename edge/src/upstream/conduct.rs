//! How a server's last answers were, and whether they are bad enough to leave it out.
//!
//! A client must not be able to have a server ejected. What it does on its own side counts nowhere: going away, a slow
//! or broken upload, an answer that it doesn't take (`gateway/exchange.rs` leaves all of that out). What is left are
//! requests that make a server fail each time. They would make any server fail, so two kinds of failure are told apart:
//!
//! - *compared*: the same request failed here and was answered by another server. That is the server's own failure, and
//!   a few of them are enough.
//! - *alone*: it couldn't be repeated (a POST, or no budget is left), or it was only late, and a second try finds what the
//!   first has warmed up. It counts a client once, however often that one asks, and is held against what the other
//!   servers do meanwhile: who asks for trouble gets it everywhere.
//!
//! What fails on both servers counts for neither.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Answers are looked at in windows of this length.
const WINDOW: Duration = Duration::from_secs(5);
/// So many compared failures, without a good answer in between, or as many as good answers.
const COMPARED: u32 = 5;
/// So many failures alone, of so many clients, if they are at least half of the answers.
const ALONE: u32 = 10;
const CLIENTS: u32 = 3;
/// Another server must have been asked so often for its answers to say something.
const ASKED: u32 = 3;

/// The record of one server. Written by every request: no locks. When a window ends, a count of another thread may fall
/// into either.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    compared_in_a_row: AtomicU32,
    window: AtomicU64,
    answers: AtomicU32,
    compared: AtomicU32,
    alone: AtomicU32,
    /// A bit for each client whose request failed alone, by a keyed hash: two may share one, which only makes them fewer.
    clients: AtomicU64,
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Another server could answer that very request, or no request had anything to do with it.
    Compared,
    /// Nobody knows what another server would have said; `client` is the hash of whoever asked.
    Alone {
        /// Any bits.
        client: u64,
    },
}

impl Conduct {
    /// A good answer.
    pub(super) fn note_answer(&self, now: Duration) {
        self.turn_over(now);
        self.answers.fetch_add(1, Ordering::Relaxed);
        if self.compared_in_a_row.load(Ordering::Relaxed) != 0 {
            self.compared_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// A failure. Whether the server is to be ejected, if `others` do better.
    pub(super) fn note_failure<'a>(
        &self,
        evidence: Evidence,
        mut others: impl Iterator<Item = &'a Conduct>,
        now: Duration,
    ) -> bool {
        self.turn_over(now);
        self.answers.fetch_add(1, Ordering::Relaxed);
        match evidence {
            Evidence::Compared => {
                let in_a_row = self.compared_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                let compared = self.compared.fetch_add(1, Ordering::Relaxed) + 1;
                in_a_row >= COMPARED || (compared >= COMPARED && self.share(now) >= 0.5)
            }
            Evidence::Alone { client } => {
                let alone = self.alone.fetch_add(1, Ordering::Relaxed) + 1;
                let bit = 1 << (client % 64);
                let clients = (self.clients.fetch_or(bit, Ordering::Relaxed) | bit).count_ones();
                let share = self.share(now);
                alone >= ALONE
                    && clients >= CLIENTS
                    && share >= 0.5
                    && others.any(|other| other.was_asked(now) && other.share(now) * 2.0 <= share)
            }
        }
    }

    /// Starts anew: the server is back.
    pub(super) fn forget(&self) {
        self.compared_in_a_row.store(0, Ordering::Relaxed);
        self.clear();
    }

    /// Whether it was asked often enough to be compared with.
    fn was_asked(&self, now: Duration) -> bool {
        self.window.load(Ordering::Relaxed) == window_of(now) && self.answers.load(Ordering::Relaxed) >= ASKED
    }

    /// How many of the window's answers were failures.
    fn share(&self, now: Duration) -> f64 {
        if self.window.load(Ordering::Relaxed) != window_of(now) {
            return 0.0;
        }
        let failures = self.compared.load(Ordering::Relaxed) + self.alone.load(Ordering::Relaxed);
        f64::from(failures) / f64::from(self.answers.load(Ordering::Relaxed).max(1))
    }

    fn turn_over(&self, now: Duration) {
        let window = window_of(now);
        if self.window.load(Ordering::Relaxed) != window
            && self.window.swap(window, Ordering::Relaxed) != window
        {
            self.clear();
        }
    }

    fn clear(&self) {
        for count in [&self.answers, &self.compared, &self.alone] {
            count.store(0, Ordering::Relaxed);
        }
        self.clients.store(0, Ordering::Relaxed);
    }
}

fn window_of(now: Duration) -> u64 {
    now.as_secs() / WINDOW.as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn fails(server: &Conduct, other: &Conduct, client: u64) -> bool {
        server.note_failure(Evidence::Alone { client }, std::iter::once(other), NOW)
    }

    fn good() -> Conduct {
        let other = Conduct::default();
        (0..ASKED).for_each(|_| other.note_answer(NOW));
        other
    }

    #[test]
    fn five_requests_that_only_this_server_failed_are_enough() {
        let server = Conduct::default();
        let compared = || server.note_failure(Evidence::Compared, std::iter::empty(), NOW);
        assert_eq!([(); 5].map(|()| compared()), [false, false, false, false, true]);
    }

    #[test]
    fn now_and_then_a_failure_among_good_answers_is_none() {
        let server = Conduct::default();
        for _ in 0..50 {
            server.note_answer(NOW);
            server.note_answer(NOW);
            assert!(!server.note_failure(Evidence::Compared, std::iter::empty(), NOW));
        }
    }

    #[test]
    fn half_of_the_answers_are_too_many() {
        let server = Conduct::default();
        let mut ejected_after = 0;
        for turn in 1..=10 {
            server.note_answer(NOW);
            if server.note_failure(Evidence::Compared, std::iter::empty(), NOW) {
                ejected_after = turn;
                break;
            }
        }
        assert_eq!(ejected_after, 5);
    }

    #[test]
    fn failures_alone_take_several_clients() {
        let (server, other) = (Conduct::default(), good());
        assert!((0..1000).all(|_| !fails(&server, &other, 7)));
        assert!(!fails(&server, &other, 8));
        assert!(fails(&server, &other, 9));
    }

    #[test]
    fn requests_that_fail_everywhere_eject_nobody() {
        let servers = [Conduct::default(), Conduct::default()];
        for client in 0..1000 {
            assert!(!fails(&servers[0], &servers[1], client));
            assert!(!fails(&servers[1], &servers[0], client));
        }
    }

    #[test]
    fn a_window_is_forgotten() {
        let (server, other) = (Conduct::default(), good());
        assert!((0..9).all(|client| !fails(&server, &other, client)));
        let later = NOW + WINDOW;
        assert!(!server.note_failure(Evidence::Alone { client: 10 }, std::iter::once(&other), later));
    }

    proptest! {
        #[test]
        fn one_client_ejects_nobody_whatever_it_asks_for(asked in prop::collection::vec((0_u64..400, any::<bool>()), 1..500)) {
            let (server, other) = (Conduct::default(), Conduct::default());
            let mut now = NOW;
            for (pause, is_bad) in asked {
                now += Duration::from_millis(pause);
                other.note_answer(now);
                if is_bad {
                    let evidence = Evidence::Alone { client: 42 };
                    prop_assert!(!server.note_failure(evidence, std::iter::once(&other), now));
                } else {
                    server.note_answer(now);
                }
            }
        }
    }
}
