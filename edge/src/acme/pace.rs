//! How often one looks, and how long a CA is left alone.

use std::time::Duration;

/// How often the room looks, and how long it leaves a CA alone.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks; not zero.
    pub look: Duration,
    /// After a host's first failure; doubled with each further one.
    pub first_pause: Duration,
    /// At most, unless the CA asks for more.
    pub longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { look: minute, first_pause: minute, longest_pause: 24 * 60 * minute }
    }
}
