//! What was asked for, and what came of it.

use serde::Serialize;

/// What bookings of one service are held to.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) capacity: i64,
    /// Which resource it needs, if any; services that need the same exclude each other.
    pub(super) resource: Option<usize>,
    pub(super) buffer_ms: i64,
    pub(super) duration_ms: i64,
    pub(super) step_ms: i64,
    pub(super) needs_approval: bool,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Call {
    /// Who asked.
    pub(super) user: usize,
    pub(super) act: Act,
    /// Microseconds since the history began.
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Act {
    /// Calls with the same note are tries of one booking, under one idempotency key.
    Book {
        note: String,
        service: usize,
        starts_at: i64,
        party: i64,
    },
    Cancel {
        id: String,
    },
    Move {
        id: String,
        to: i64,
    },
    Approve {
        id: String,
    },
    Reject {
        id: String,
    },
    /// To be put on the waitlist.
    Wait {
        service: usize,
        starts_at: i64,
        party: i64,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    Ok(Seen),
    /// The service says that it wasn't done: status and the problem's name.
    Failed(u16, String),
    /// No answer, or one that says nothing.
    Unknown,
}

/// A booking as an answer showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) starts_at: i64,
}

/// A booking as the database holds it in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) user: usize,
    pub(super) service: usize,
    pub(super) starts_at: i64,
    pub(super) ends_at: i64,
    pub(super) party: i64,
    pub(super) note: Option<String>,
    pub(super) status: String,
    /// Kept for somebody on the waitlist.
    pub(super) is_offer: bool,
}

impl Row {
    pub(super) fn is_active(&self) -> bool {
        self.status == "pending" || self.status == "confirmed"
    }
}

impl Call {
    /// The booking that it is about, of those that there are already.
    pub(super) fn id(&self) -> Option<&str> {
        match &self.act {
            Act::Cancel { id } | Act::Move { id, .. } | Act::Approve { id } | Act::Reject { id } => Some(id),
            Act::Book { .. } | Act::Wait { .. } => None,
        }
    }

    /// Whether a place may have become free by it.
    pub(super) fn may_free(&self) -> bool {
        let frees = matches!(self.act, Act::Cancel { .. } | Act::Move { .. } | Act::Reject { .. });
        frees && !matches!(self.outcome, Outcome::Failed(..))
    }
}
