//! What happens to sign-ins and sessions: counted, and told where somebody may be a thief.

use serde_json::json;

use crate::notifications::model::Kind;
use crate::notifications::service::Notifications;

use super::service::AuthError;

const EVENTS: &str = "backend_auth_events_total";

/// What security events in the log go by: `"target":"security"`.
const SECURITY: &str = "security";

/// What somebody may try.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    SignIn,
    Refresh,
    Logout,
    LogoutAll,
    EndDevice,
    Link,
    ChangeRole,
    DeleteAccount,
    /// A provider tells of a user.
    ByProvider,
    /// A refresh token came again.
    Reuse,
}

const ALL: [Event; 10] = [
    Event::SignIn,
    Event::Refresh,
    Event::Logout,
    Event::LogoutAll,
    Event::EndDevice,
    Event::Link,
    Event::ChangeRole,
    Event::DeleteAccount,
    Event::ByProvider,
    Event::Reuse,
];

/// Lets the counts begin with nought: what is counted for the first time is seen as a change.
pub(super) fn begin() {
    metrics::describe_counter!(EVENTS, "Sign-ins, and what became of sessions");
    for event in ALL {
        event.add("done", 0);
    }
    for event in [Event::SignIn, Event::Refresh] {
        event.add("refused", 0);
        event.add("failed", 0);
    }
}

impl Event {
    /// Counts what came of it.
    pub(super) fn count<T>(self, outcome: Result<T, AuthError>) -> Result<T, AuthError> {
        self.add(
            match &outcome {
                Ok(_) => "done",
                Err(error) if error.is_failure() => "failed",
                Err(_) => "refused",
            },
            1,
        );
        outcome
    }

    /// Counts one that was refused.
    pub(super) fn refused(self) {
        self.add("refused", 1);
    }

    fn add(self, outcome: &'static str, count: u64) {
        metrics::counter!(EVENTS, "event" => self.name(), "outcome" => outcome).increment(count);
    }

    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Refresh => "refresh",
            Self::Logout => "logout",
            Self::LogoutAll => "logout-all",
            Self::EndDevice => "end-device",
            Self::Link => "link",
            Self::ChangeRole => "change-role",
            Self::DeleteAccount => "delete-account",
            Self::ByProvider => "provider-event",
            Self::Reuse => "reuse",
        }
    }
}

/// A refresh token came again after its successor was used: two hold tokens of the session, which has been ended. Its user is
/// told; that nobody could be told changes nothing of it.
pub(super) async fn theft(notifications: &Notifications, user_id: &str, session_id: &str, client: &str) {
    Event::Reuse.add("done", 1);
    tracing::warn!(
        target: SECURITY,
        event = "refresh-token-reuse",
        user = user_id,
        session = session_id,
        "a refresh token came again: session ended"
    );
    let data = json!({ "event": "refresh-token-reuse", "session_id": session_id, "client": client });
    if let Err(error) = notifications.notify(user_id, Kind::Security.as_str(), data).await {
        tracing::warn!(target: SECURITY, %error, user = user_id, "the user isn't told of a theft");
    }
}
