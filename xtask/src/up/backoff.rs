//! How long to wait before a process that died is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// Whoever ran this long was well; what ended it then is a new story.
const SOUND: Duration = Duration::from_secs(10);

/// The waiting time of one process: doubles with each early death.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait after a death at this age.
    pub(crate) fn after_death(&mut self, age: Duration) -> Duration {
        if age >= SOUND {
            self.next = FIRST;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_deaths_double_the_wait_up_to_five_seconds() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..7).map(|_| backoff.after_death(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn ten_good_seconds_start_the_count_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.after_death(Duration::ZERO);
        }
        assert_eq!(backoff.after_death(SOUND), FIRST);
        assert_eq!(backoff.after_death(Duration::ZERO), FIRST * 2);
    }
}
