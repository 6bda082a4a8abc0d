//! One revocation, as processes tell each other of it: text in a sorted set and on a Pub/Sub channel of Redis.

use std::fmt;
use std::str::FromStr;

/// The sorted set of what was revoked lately, scored by the time in milliseconds since the Unix epoch. It carries no
/// TTL; who adds to it removes what is older than [`KEEP`](crate::KEEP).
pub const REVOCATIONS_KEY: &str = "revocations";

/// The channel on which each entry is published after it was added to the set.
pub const REVOCATIONS_CHANNEL: &str = "revocations";

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
        /// Milliseconds since the Unix epoch. Tokens say the second of their issue only: those of the second in which
        /// this falls don't count either.
        not_before_ms: u64,
    },
}

/// A text that is no revocation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither `session:ID` nor `user:ID:NOT_BEFORE_MS`")]
pub struct UnreadableRevocation;

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { id } => write!(f, "session:{id}"),
            Self::User { id, not_before_ms } => write!(f, "user:{id}:{not_before_ms}"),
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
        let bad =
            ["", "session", "session:", "user:u", "user::1", "user:u:", "user:u:-1", "user:u:1e3", "x:y"];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert_eq!(text.parse::<Revocation>(), Err(UnreadableRevocation), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in ".{1,32}", not_before_ms: u64, is_user: bool) {
            let revocation = match is_user {
                true => Revocation::User { id, not_before_ms },
                false => Revocation::Session { id },
            };
            prop_assert_eq!(revocation.to_string().parse(), Ok(revocation));
        }
    }
}
