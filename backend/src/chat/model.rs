//! What is said in chat, and the frames that carry it.

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::EpochMillis;
use crate::problem;

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Message {
    /// The room's id.
    #[sqlx(rename = "room_id")]
    pub room: String,
    /// Counts 1, 2, 3 … in its room, without a gap.
    pub seq: i64,
    /// The id of the user who wrote it.
    pub sender: String,
    /// The text.
    pub body: String,
    /// When it was stored.
    pub sent_at: EpochMillis,
    /// The sender's own id of it; sent again, it is the same message.
    pub client_id: String,
}

/// A room as its members see it.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    /// The room's id.
    pub id: String,
    /// The user who came to the vendor.
    pub user_id: String,
    /// The vendor.
    pub vendor_id: String,
    /// The vendor's name.
    pub vendor_name: String,
    /// The number of the newest message, 0 before the first.
    pub last_seq: i64,
    /// The newest message.
    pub last_message: Option<Message>,
    /// When the room was opened.
    pub created_at: EpochMillis,
}

/// The users who may read and write in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Members {
    /// The user who came to the vendor.
    pub user_id: String,
    /// Who owns the vendor, if anybody.
    pub owner_id: Option<String>,
}

impl Members {
    /// Whether this user is one of them.
    pub fn include(&self, user_id: &str) -> bool {
        self.iter().any(|member| member == user_id)
    }

    /// Their ids, each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let owner = self.owner_id.as_deref().filter(|owner| *owner != self.user_id);
        std::iter::once(self.user_id.as_str()).chain(owner)
    }
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ClientFrame {
    /// The socket shall live as long as this token.
    Renew { access_token: String },
    /// A message to a room.
    Send { room: String, client_id: String, body: String },
    /// Asks for the messages after a number.
    Sync { room: String, after_seq: i64 },
    /// A frame of another version.
    #[serde(other)]
    Unknown,
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerFrame<'a> {
    /// The message is stored.
    Ack { room: &'a str, client_id: &'a str, seq: i64 },
    /// A message in one of the client's rooms.
    Message(&'a Message),
    /// Ends a sync; with `more`, the client asks again from `up_to_seq`.
    Synced { room: &'a str, up_to_seq: i64, more: bool },
    /// The server goes; another is there.
    Reconnect { after_ms: u64 },
    /// A frame that couldn't be done, with what it named.
    Error {
        problem: problem::Document,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<&'a str>,
    },
}

impl ServerFrame<'_> {
    pub(super) fn to_text(&self) -> Utf8Bytes {
        serde_json::to_string(self).expect("plain values serialise").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_form_of_the_contract() {
        let message = Message {
            room: "r".into(),
            seq: 3,
            sender: "u".into(),
            body: "안녕".into(),
            sent_at: EpochMillis(0),
            client_id: "c".into(),
        };
        let text = ServerFrame::Message(&message).to_text();
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(
            json,
            serde_json::json!({"type": "message", "room": "r", "seq": 3, "sender": "u", "body": "안녕",
                "sent_at": "1970-01-01T00:00:00Z", "client_id": "c"})
        );
    }

    #[test]
    fn a_frame_of_another_version_is_known_to_be_unknown() {
        let frame = serde_json::from_str(r#"{"type": "typing", "room": "r"}"#);
        assert!(matches!(frame, Ok(ClientFrame::Unknown)), "{frame:?}");
    }

    #[test]
    fn an_owner_who_is_the_user_counts_once() {
        let members = Members { user_id: "u".into(), owner_id: Some("u".into()) };
        assert_eq!(members.iter().collect::<Vec<_>>(), ["u"]);
    }
}
