//! Codes and access tokens that were given out, each until its time is over, and never more than a number of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A developer and a load test have fewer at once.
const MOST: usize = 4096;

/// Secrets and what they stand for.
pub(crate) struct Grants<T> {
    life: Duration,
    /// Oldest first.
    given: Mutex<VecDeque<Given<T>>>,
}

struct Given<T> {
    secret: String,
    until: Instant,
    value: T,
}

impl<T: Clone> Grants<T> {
    /// Grants that hold for so long.
    pub(crate) fn new(life: Duration) -> Self {
        Self { life, given: Mutex::default() }
    }

    /// Gives a new secret for a value.
    pub(crate) fn give(&self, value: T) -> String {
        let secret = format!("{:032x}", rand::random::<u128>());
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while given.len() >= MOST || given.front().is_some_and(|oldest| oldest.until <= now) {
            given.pop_front();
        }
        given.push_back(Given { secret: secret.clone(), until: now + self.life, value });
        secret
    }

    /// What a secret stands for.
    pub(crate) fn find(&self, secret: &str) -> Option<T> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        given.iter().find(|it| it.secret == secret && it.until > now).map(|it| it.value.clone())
    }

    /// The same, for the last time.
    pub(crate) fn take(&self, secret: &str) -> Option<T> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let position = given.iter().position(|it| it.secret == secret)?;
        given.remove(position).filter(|it| it.until > Instant::now()).map(|it| it.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_what_is_found_is_not() {
        let grants = Grants::new(Duration::from_secs(60));
        let secret = grants.give(7);
        assert_eq!((grants.find(&secret), grants.take(&secret)), (Some(7), Some(7)));
        assert_eq!((grants.find(&secret), grants.take(&secret)), (None, None));
    }

    #[test]
    fn a_grant_ends() {
        let grants = Grants::new(Duration::ZERO);
        let secret = grants.give(7);
        assert_eq!((grants.find(&secret), grants.take(&secret)), (None, None));
    }

    #[test]
    fn the_oldest_make_room() {
        let grants = Grants::new(Duration::from_secs(60));
        let first = grants.give(0);
        (1..=MOST).for_each(|number| drop(grants.give(number)));
        assert_eq!(grants.find(&first), None);
        assert_eq!(grants.given.lock().expect("whole").len(), MOST);
    }
}
