//! How many requests may be tried again: when a whole service fails, trying all of it twice would only make it worse.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Retries are measured against the requests of so many seconds.
const SECONDS: u64 = 10;
/// Of each so many requests one may be tried again.
const REQUESTS_A_RETRY: u64 = 5;
/// Beside them so many a second, so that a retry isn't refused where there is hardly any traffic.
const FREE_A_SECOND: u64 = 3;

/// The retries of one upstream. `now` is the time since some fixed moment.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    requests: [Second<AtomicU32>; SECONDS as usize],
    retries: Mutex<[(u64, u64); SECONDS as usize]>,
}

/// The count of one second; `number` says which.
#[derive(Debug, Default)]
struct Second<T> {
    number: AtomicU64,
    count: T,
}

impl RetryBudget {
    /// Counts a request (not its retries). No lock: every request comes along here. As a second begins, another thread's
    /// request may be lost to the count; then there is a fifth of a retry less.
    pub(super) fn note_request(&self, now: Duration) {
        let second = now.as_secs();
        let slot = &self.requests[slot_of(second)];
        if slot.number.load(Ordering::Relaxed) != second
            && slot.number.swap(second, Ordering::Relaxed) != second
        {
            slot.count.store(0, Ordering::Relaxed);
        }
        slot.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more retry is allowed; if so, it is counted.
    pub(super) fn withdraw(&self, now: Duration) -> bool {
        let second = now.as_secs();
        let is_recent = |number: u64| number <= second && second - number < SECONDS;
        let requests: u64 = self
            .requests
            .iter()
            .filter(|slot| is_recent(slot.number.load(Ordering::Relaxed)))
            .map(|slot| u64::from(slot.count.load(Ordering::Relaxed)))
            .sum();
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let withdrawn: u64 =
            retries.iter().filter(|(number, _)| is_recent(*number)).map(|(_, count)| count).sum();
        if withdrawn >= requests / REQUESTS_A_RETRY + FREE_A_SECOND * SECONDS {
            return false;
        }
        let (number, count) = &mut retries[slot_of(second)];
        if *number != second {
            (*number, *count) = (second, 0);
        }
        *count += 1;
        true
    }
}

fn slot_of(second: u64) -> usize {
    usize::try_from(second % SECONDS).expect("below ten")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn withdrawn(budget: &RetryBudget, now: Duration) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn little_traffic_may_be_tried_again() {
        assert_eq!(withdrawn(&RetryBudget::default(), at(0)), 30);
    }

    #[test]
    fn a_fifth_of_the_last_ten_seconds_may_be_tried_again() {
        let budget = RetryBudget::default();
        for second in 0..10 {
            (0..100).for_each(|_| budget.note_request(at(second)));
        }
        assert_eq!(withdrawn(&budget, at(9)), 200 + 30);
        assert_eq!(withdrawn(&budget, at(9)), 0);
        // Ten seconds later both are forgotten.
        assert_eq!(withdrawn(&budget, at(19)), 30);
    }

    proptest! {
        #[test]
        fn no_ten_seconds_have_more_retries_than_the_budget(
            steps in prop::collection::vec((0_u64..3000, 0_usize..40, 0_usize..60), 1..60),
        ) {
            let budget = RetryBudget::default();
            let (mut now, mut requests, mut retries) = (at(0), Vec::new(), Vec::new());
            for (pause, asked, wanted) in steps {
                now += Duration::from_millis(pause);
                for _ in 0..asked {
                    budget.note_request(now);
                    requests.push(now.as_secs());
                }
                let before = retries.len();
                retries.extend((0..wanted).filter(|_| budget.withdraw(now)).map(|_| now.as_secs()));
                let recent = |seconds: &[u64]| {
                    seconds.iter().filter(|second| now.as_secs() - **second < SECONDS).count() as u64
                };
                let is_within = recent(&retries) <= recent(&requests) / 5 + 30;
                prop_assert!(is_within || retries.len() == before);
            }
        }
    }
}
