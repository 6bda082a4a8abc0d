//! Moments: kept as epoch milliseconds, said as RFC 3339 in UTC.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in milliseconds since the Unix epoch, as the database keeps it; in JSON it is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct EpochMillis(pub i64);

impl EpochMillis {
    /// This moment.
    pub fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// The moment `duration` before this one.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment `duration` after this one.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Whole seconds since the Unix epoch, as tokens count.
    pub fn as_secs(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }
}

impl fmt::Display for EpochMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            // Beyond the year 9999: no clock of ours says so.
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for EpochMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EpochMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self::from)
    }
}

impl From<Timestamp> for EpochMillis {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_rfc_3339_in_utc() {
        assert_eq!(EpochMillis(1_790_000_000_123).to_string(), "2026-09-21T14:13:20.123Z");
        assert_eq!(EpochMillis(0).to_string(), "1970-01-01T00:00:00Z");
    }
}
