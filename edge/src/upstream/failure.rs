//! What a server can do wrong.

/// A server's failure, never a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It refused a connection, or can't be reached.
    Refused,
    /// No connection within the time for one.
    NoConnection,
    /// It takes connections and answers nothing at all, not even a probe.
    Silent,
    /// This answer didn't begin in time.
    Late,
    /// It broke off before its answer began, or what it sent is no answer.
    Broken,
    /// It answered 500, 502, 503 or 504.
    Status,
}

impl Failure {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoConnection => "no-connection",
            Self::Silent => "silent",
            Self::Late => "late",
            Self::Broken => "broken",
            Self::Status => "status",
        }
    }

    /// Whether a probe of the edge's own meets it as well as any request: then no client's needs to.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(self, Self::Refused | Self::NoConnection | Self::Silent)
    }
}
