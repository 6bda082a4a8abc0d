//! One revocation, as processes tell each other of it: text in a sorted set and on a Pub/Sub channel of Redis.

use std::fmt;
use std::str::FromStr;

/// The sorted set of what was revoked lately, scored by the time in milliseconds since the Unix epoch. It carries no
/// TTL; who adds to it removes what is older than [`KEEP`](crate::KEEP).
pub const REVOCATIONS_KEY: &str = "revocations";

/// The channel on which each entry is published after it was added to the set.
pub const REVOCATIONS_CHANNEL: &str = "revocations";

/// The mark that Redis holds what was revoked: milliseconds since the Unix epoch, without a TTL. Where it is gone, Redis has
/// lost its memory: nobody knows any more who was revoked, and every token from before counts as revoked.
pub const EPOCH_KEY: &str = "revocations:epoch";

/// An id is a UUID; what is much longer was not written by us.
const MAX_ID_BYTES: usize = 128;

/// What no longer counts, although its time isn't over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Every token of a session: `session:ID`.
    Session {
        /// The session's id, as `sid` names it.
        id: String,
    },
    /// Every token of a user that was issued before a time: `user:ID:NOT_BEFORE_MS`.
    User {
        /// The user's id, as `sub` names it.
        id: String,
        /// Milliseconds since the Unix epoch.
        not_before_ms: u64,
    },
    /// Every token that was issued before a time: `all:NOT_BEFORE_MS`.
    All {
        /// As of a user.
        not_before_ms: u64,
    },
}

/// A text that is no revocation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of `session:ID`, `user:ID:NOT_BEFORE_MS`, `all:NOT_BEFORE_MS`")]
pub struct UnreadableRevocation;

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { id } => write!(f, "session:{id}"),
            Self::User { id, not_before_ms } => write!(f, "user:{id}:{not_before_ms}"),
            Self::All { not_before_ms } => write!(f, "all:{not_before_ms}"),
        }
    }
}

impl FromStr for Revocation {
    type Err = UnreadableRevocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = |id: &str| !id.is_empty() && id.len() <= MAX_ID_BYTES;
        match text.split_once(':').ok_or(UnreadableRevocation)? {
            ("session", id) if is_id(id) => Ok(Self::Session { id: id.to_owned() }),
            ("user", rest) => {
                let (id, not_before) = rest.rsplit_once(':').ok_or(UnreadableRevocation)?;
                let not_before_ms = not_before.parse().map_err(|_| UnreadableRevocation)?;
                is_id(id).then(|| Self::User { id: id.to_owned(), not_before_ms }).ok_or(UnreadableRevocation)
            }
            ("all", time) => {
                let not_before_ms = time.parse().map_err(|_| UnreadableRevocation)?;
                Ok(Self::All { not_before_ms })
            }
            _ => Err(UnreadableRevocation),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_says_nothing_whole_is_refused() {
        let long = format!("session:{}", "x".repeat(129));
        let bad = [
            "",
            "session",
            "session:",
            "user:u",
            "user::1",
            "user:u:",
            "user:u:-1",
            "user:u:1e3",
            "x:y",
            "all:",
            "all:x",
        ];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert_eq!(text.parse::<Revocation>(), Err(UnreadableRevocation), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in ".{1,32}", not_before_ms: u64, kind in 0..3) {
            let revocation = match kind {
                0 => Revocation::User { id, not_before_ms },
                1 => Revocation::Session { id },
                _ => Revocation::All { not_before_ms },
            };
            prop_assert_eq!(revocation.to_string().parse(), Ok(revocation));
        }
    }
}
