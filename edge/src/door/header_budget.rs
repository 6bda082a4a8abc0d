//! What the headers of all requests that are being served may weigh together. One of HTTP/2 is a few bytes on the wire and
//! 32 KiB in memory (an HPACK bomb), and a client that doesn't take its answer keeps it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget.
#[derive(Debug)]
pub(super) struct HeaderBudget {
    most_bytes: usize,
    taken_bytes: AtomicUsize,
}

/// A request's part, until it is dropped.
#[derive(Debug)]
pub(super) struct HeaderShare {
    budget: Arc<HeaderBudget>,
    bytes: usize,
}

impl HeaderBudget {
    pub(super) fn new(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { most_bytes, taken_bytes: AtomicUsize::new(0) })
    }

    /// A part for a header of so many bytes, if there is one left.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<HeaderShare> {
        let before = self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        let share = HeaderShare { budget: Arc::clone(self), bytes };
        let fits = before.saturating_add(bytes) <= self.most_bytes;
        if !fits {
            metrics::counter!("edge_refusals_total", "guard" => "header-budget").increment(1);
        }
        fits.then_some(share)
    }
}

impl Drop for HeaderShare {
    fn drop(&mut self) {
        self.budget.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let budget = HeaderBudget::new(100);
        let first = budget.take(60).expect("there is room");
        assert!(budget.take(41).is_none());
        let second = budget.take(40).expect("there is room");
        drop(first);
        assert!(budget.take(60).is_some());
        drop(second);
        assert_eq!(budget.taken_bytes.load(Ordering::Relaxed), 0);
    }
}
