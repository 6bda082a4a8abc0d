//! What can become of a booking: the one place that says who may do what to it, and when. Pure.
//!
//! ```text
//!              approve                complete
//!   pending ────────────▶ confirmed ────────────▶ completed
//!      │ ▲                 │  │  │    no-show
//!      │ └── reschedule ───┘  │  └──────────────▶ no-show
//!      │    (manual approval) │
//!      ├── cancel ──▶ cancelled ◀── cancel
//!      └── reject, or nobody decides in time ──▶ rejected
//! ```

use std::time::Duration;

use crate::clock::EpochMillis;
use crate::reservations::model::Status;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The user whose booking it is.
    Customer,
    /// The vendor's owner, or an admin.
    Vendor,
}

/// What is done to a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The vendor accepts.
    Approve,
    /// The vendor declines.
    Reject,
    /// Either side takes it back.
    Cancel,
    /// The user wants another time.
    Reschedule {
        /// Whether the vendor decides about each booking.
        needs_approval: bool,
    },
    /// The user came.
    Complete,
    /// The user didn't.
    NoShow,
}

/// When a booking takes place, and how late its user may still change it.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its first instant.
    pub starts_at: EpochMillis,
    /// The first instant after it.
    pub ends_at: EpochMillis,
    /// How long before the start its user may still cancel or move it.
    pub cancellation_limit: Duration,
}

/// Why something can't be done to a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPossible {
    /// What has become of it leaves no room for this.
    #[error("a booking that is {} can't be changed so", name(.0))]
    Status(Status),
    /// Only the vendor may.
    #[error("only the vendor may do this")]
    NotYours,
    /// It is too late for its user.
    #[error("the limit for cancelling has passed")]
    PastLimit,
    /// It is over, or, for what is said afterwards, hasn't begun.
    #[error("this is not the time for it")]
    WrongTime,
}

/// What the booking is after the action, or why that can't be.
pub fn after(
    status: Status,
    action: Action,
    side: Side,
    times: Times,
    now: EpochMillis,
) -> Result<Status, NotPossible> {
    let next =
        match (status, action) {
            (Status::Pending, Action::Approve) => Status::Confirmed,
            (Status::Pending, Action::Reject) => Status::Rejected,
            (Status::Pending | Status::Confirmed, Action::Cancel) => Status::Cancelled,
            (Status::Pending | Status::Confirmed, Action::Reschedule { needs_approval }) => {
                if needs_approval { Status::Pending } else { Status::Confirmed }
            }
            (Status::Confirmed, Action::Complete) => Status::Completed,
            (Status::Confirmed, Action::NoShow) => Status::NoShow,
            _ => return Err(NotPossible::Status(status)),
        };
    let has_begun = times.starts_at <= now;
    match action {
        Action::Approve | Action::Reject | Action::Complete | Action::NoShow if side == Side::Customer => {
            Err(NotPossible::NotYours)
        }
        Action::Complete | Action::NoShow if !has_begun => Err(NotPossible::WrongTime),
        Action::Approve if has_begun => Err(NotPossible::WrongTime),
        Action::Cancel if side == Side::Vendor && times.ends_at <= now => Err(NotPossible::WrongTime),
        Action::Cancel | Action::Reschedule { .. }
            if side == Side::Customer && times.starts_at.minus(times.cancellation_limit) < now =>
        {
            Err(NotPossible::PastLimit)
        }
        Action::Reschedule { .. } if has_begun => Err(NotPossible::WrongTime),
        _ => Ok(next),
    }
}

/// The status as clients read it.
pub fn name(status: &Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Confirmed => "confirmed",
        Status::Cancelled => "cancelled",
        Status::Rejected => "rejected",
        Status::Completed => "completed",
        Status::NoShow => "no-show",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVE: Action = Action::Reschedule { needs_approval: false };
    const ALL: [Action; 6] =
        [Action::Approve, Action::Reject, Action::Cancel, MOVE, Action::Complete, Action::NoShow];

    const TIMES: Times = Times {
        starts_at: EpochMillis(10_000_000),
        ends_at: EpochMillis(13_600_000),
        cancellation_limit: Duration::from_secs(3600),
    };
    const EARLY: EpochMillis = EpochMillis(0);
    const LATE: EpochMillis = EpochMillis(9_000_000);
    const BEGUN: EpochMillis = EpochMillis(11_000_000);
    const OVER: EpochMillis = EpochMillis(14_000_000);

    fn try_it(status: Status, action: Action, side: Side, now: EpochMillis) -> Result<Status, NotPossible> {
        after(status, action, side, TIMES, now)
    }

    #[test]
    fn what_has_ended_stays_as_it_is() {
        for status in [Status::Cancelled, Status::Rejected, Status::Completed, Status::NoShow] {
            for action in ALL {
                for side in [Side::Customer, Side::Vendor] {
                    assert_eq!(try_it(status, action, side, EARLY), Err(NotPossible::Status(status)));
                }
            }
        }
    }

    #[test]
    fn the_vendor_decides_and_the_user_takes_back() {
        for (action, expected) in [(Action::Approve, Status::Confirmed), (Action::Reject, Status::Rejected)] {
            assert_eq!(try_it(Status::Pending, action, Side::Vendor, EARLY), Ok(expected));
            assert_eq!(try_it(Status::Pending, action, Side::Customer, EARLY), Err(NotPossible::NotYours));
        }
        for status in [Status::Pending, Status::Confirmed] {
            assert_eq!(try_it(status, Action::Cancel, Side::Customer, EARLY), Ok(Status::Cancelled));
        }
        assert_eq!(
            try_it(Status::Confirmed, Action::Approve, Side::Vendor, EARLY),
            Err(NotPossible::Status(Status::Confirmed))
        );
    }

    #[test]
    fn the_limit_binds_the_user_and_not_the_vendor() {
        for action in [Action::Cancel, MOVE] {
            assert_eq!(try_it(Status::Confirmed, action, Side::Customer, LATE), Err(NotPossible::PastLimit));
        }
        assert_eq!(try_it(Status::Confirmed, Action::Cancel, Side::Vendor, BEGUN), Ok(Status::Cancelled));
        assert_eq!(
            try_it(Status::Confirmed, Action::Cancel, Side::Vendor, OVER),
            Err(NotPossible::WrongTime)
        );
        let limit = TIMES.starts_at.minus(TIMES.cancellation_limit);
        assert_eq!(try_it(Status::Confirmed, Action::Cancel, Side::Customer, limit), Ok(Status::Cancelled));
    }

    #[test]
    fn who_came_is_known_once_it_has_begun() {
        for (action, expected) in [(Action::Complete, Status::Completed), (Action::NoShow, Status::NoShow)] {
            assert_eq!(try_it(Status::Confirmed, action, Side::Vendor, LATE), Err(NotPossible::WrongTime));
            assert_eq!(try_it(Status::Confirmed, action, Side::Vendor, OVER), Ok(expected));
        }
    }

    #[test]
    fn a_moved_booking_needs_the_approval_that_a_new_one_needs() {
        let action = Action::Reschedule { needs_approval: true };
        assert_eq!(try_it(Status::Confirmed, action, Side::Customer, EARLY), Ok(Status::Pending));
        assert_eq!(try_it(Status::Confirmed, MOVE, Side::Customer, EARLY), Ok(Status::Confirmed));
    }
}
