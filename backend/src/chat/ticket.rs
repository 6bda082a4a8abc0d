//! Tickets that open a WebSocket: browsers can't send an Authorization header with one. A ticket is signed, lives
//! for seconds, and works once, so that one which is found in a log opens nothing.

use std::time::Duration;

use access_token::Role;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::auth::current_user::CurrentUser;
use crate::clock::EpochMillis;

/// How long a ticket can be used.
pub(super) const LIFE: Duration = Duration::from_secs(30);

/// Ours are under 500 bytes.
const MAX_BYTES: usize = 2048;

/// Makes and reads tickets; both backends share the secret.
pub(super) struct Tickets {
    mac: Hmac<Sha256>,
}

/// What a ticket says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// The ticket's own id: it works once.
    pub(super) id: String,
    user: String,
    session: String,
    role: Role,
    /// The socket ends with the access token that the ticket was bought with.
    token_expires_at: u64,
    token_issued_ms: u64,
    usable_until_ms: i64,
}

impl Tickets {
    /// The key is derived, so that no ticket can pass for another thing made with the same secret.
    pub(super) fn new(secret: &[u8]) -> Self {
        let root = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        let key = root.chain_update(b"daemun chat ws-ticket").finalize().into_bytes();
        Self { mac: Hmac::new_from_slice(&key).expect("HMAC takes a key of any length") }
    }

    pub(super) fn issue(&self, user: &CurrentUser, now: EpochMillis) -> String {
        let life_ms = i64::try_from(LIFE.as_millis()).expect("seconds");
        let ticket = Ticket {
            id: Uuid::now_v7().to_string(),
            user: user.id.clone(),
            session: user.session_id.clone(),
            role: user.role,
            token_expires_at: user.expires_at,
            token_issued_ms: user.issued_ms,
            usable_until_ms: now.0.saturating_add(life_ms),
        };
        let content = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&ticket).expect("plain values serialise"));
        let mac = self.mac.clone().chain_update(&content).finalize().into_bytes();
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// What the ticket says, unless it isn't ours or its time is over.
    pub(super) fn read(&self, text: &str, now: EpochMillis) -> Option<Ticket> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (content, mac) = text.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.mac.clone().chain_update(content).verify_slice(&mac).ok()?;
        let ticket: Ticket = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(content).ok()?).ok()?;
        (now.0 < ticket.usable_until_ms).then_some(ticket)
    }
}

impl Ticket {
    /// The user who bought it.
    pub(super) fn into_user(self) -> CurrentUser {
        CurrentUser {
            id: self.user,
            session_id: self.session,
            role: self.role,
            issued_ms: self.token_issued_ms,
            expires_at: self.token_expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_works_for_thirty_seconds_and_under_its_own_secret() {
        let (id, session_id) = ("u".to_owned(), "s".to_owned());
        let user = CurrentUser { id, session_id, role: Role::User, issued_ms: 7, expires_at: 900 };
        let tickets = Tickets::new(b"one secret");
        let text = tickets.issue(&user, EpochMillis(0));
        let ticket = tickets.read(&text, EpochMillis(29_999)).expect("still usable");
        assert_eq!(ticket.into_user(), user);
        assert!(tickets.read(&text, EpochMillis(30_000)).is_none());
        assert!(Tickets::new(b"another").read(&text, EpochMillis(0)).is_none());
        assert!(tickets.read(&format!("A{text}"), EpochMillis(0)).is_none());
    }
}
