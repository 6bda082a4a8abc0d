//! How long to leave a CA alone after failures: doubled each time, kept over restarts, and the CA's own wish first.

use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::state::{self, StateFolder};

/// More is added to a pause by chance, up to this share: sites that fell together don't come back together.
const JITTER: f64 = 0.25;
/// A CA may ask for a longer pause than we would make, but not for ever.
const LONGEST_WISH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A host's failures in a row. None after a success.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Attempts {
    failures: u32,
    paused_until: Option<SystemTime>,
}

impl Attempts {
    pub(super) fn find(state: &StateFolder, host: &str) -> io::Result<Self> {
        let text = state::read(&state.attempts(host))?;
        // What can't be read counts as no failure; the next one writes it anew.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    pub(super) fn save(&self, state: &StateFolder, host: &str) -> io::Result<()> {
        state.write(&state.attempts(host), &serde_json::to_vec(self)?)
    }

    pub(super) fn remove(state: &StateFolder, host: &str) -> io::Result<()> {
        state::remove(&state.attempts(host))
    }

    pub(super) fn is_paused(&self, now: SystemTime) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Counts a failure, with its pause.
    pub(super) fn fail(&mut self, pace: &Pace) {
        self.failures = self.failures.saturating_add(1);
        self.pause(pace, None);
    }

    /// Begins the pause after the failures so far, now: at least as long as the CA wishes.
    pub(super) fn pause(&mut self, pace: &Pace, wish: Option<Duration>) -> Duration {
        let pause = after(self.failures, pace).mul_f64(1.0 + rand::random_range(0.0..JITTER));
        let pause = pause.max(wish.unwrap_or_default().min(LONGEST_WISH));
        self.paused_until = Some(SystemTime::now() + pause);
        pause
    }
}

/// Without chance and wishes.
fn after(failures: u32, pace: &Pace) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    pace.first_pause.saturating_mul(doubled).min(pace.longest_pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_minute_to_a_day() {
        let minutes = |failures| after(failures, &Pace::default()).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 11, 12, u32::MAX].map(minutes), [1, 2, 4, 8, 1024, 1440, 1440]);
    }

    #[test]
    fn a_pause_outlives_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        let mut attempts = Attempts::find(&state, "a.example").expect("readable");
        let now = SystemTime::now();
        assert!(!attempts.is_paused(now));
        attempts.fail(&Pace::default());
        attempts.save(&state, "a.example").expect("written");
        let again = Attempts::find(&state, "a.example").expect("readable");
        assert!(again.is_paused(now + Duration::from_secs(59)));
        assert!(!again.is_paused(now + Duration::from_secs(120)));
        Attempts::remove(&state, "a.example").expect("removed");
        assert!(!Attempts::find(&state, "a.example").expect("readable").is_paused(now));
    }

    #[test]
    fn a_ca_that_wishes_a_longer_pause_gets_it() {
        let mut attempts = Attempts::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(attempts.pause(&Pace::default(), Some(hour)), hour);
        assert_eq!(attempts.pause(&Pace::default(), Some(hour * 24 * 365)), LONGEST_WISH);
        attempts.fail(&Pace::default());
        assert!(attempts.pause(&Pace::default(), Some(Duration::ZERO)) >= Pace::default().first_pause);
    }
}
