//! What the errors of either driver mean.

use super::seal;

/// SQLite's result codes that say that another writer was in the way: SQLITE_BUSY, _RECOVERY, _SNAPSHOT.
const BUSY_CODES: [&str; 3] = ["5", "261", "517"];

/// PostgreSQL's codes that say the same, or that the server is going, coming or full (its manual, appendix A): two
/// transactions in each other's way, a lock that wasn't free in time, a statement or an idle transaction that was cut
/// off, too many connections, a shutdown, a crash, a start, a standby that doesn't write yet.
const PASSING_CODES: [&str; 10] =
    ["40001", "40P01", "55P03", "57014", "25P03", "53300", "57P01", "57P02", "57P03", "25006"];

/// PostgreSQL's class of failures of the connection.
const CONNECTION_CLASS: &str = "08";

/// PostgreSQL's code for text that it can't keep: a NUL.
const UNSTORABLE_TEXT: &str = "22021";

/// Whether the same may well succeed a moment later: others were in the way, the server can't be reached, or the
/// process is about to stop.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        // A certificate that is refused stays refused.
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        // A sealed database is on its way to where it will be written again.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| is_passing(&code)) || seal::is_said_by(&**error)
        }
        _ => false,
    }
}

fn is_passing(code: &str) -> bool {
    // PostgreSQL's have five characters, SQLite's four at most.
    BUSY_CODES.contains(&code)
        || PASSING_CODES.contains(&code)
        || (code.len() == 5 && code.starts_with(CONNECTION_CLASS))
}

/// Whether a text of the client's can't be stored, because of a NUL in it. PostgreSQL alone says so.
pub fn holds_unstorable_text(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(UNSTORABLE_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in ["5", "517", "40001", "40P01", "57P01", "57P03", "08006", "53300"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["1555", "8", "23505", "23P01", "42P01", "53100", "22021"] {
            assert!(!is_passing(code), "{code}");
        }
        assert!(is_transient(&std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()));
    }
}
