//! The names of all keys and channels.
//!
//! Sessions and notifications carry no TTL and are never evicted; jobs take out what is old. All other keys carry one,
//! and Redis may evict them when its memory runs out. Of a cache or a lock nothing depends on that. A mark of what may
//! be used once, evicted early, would let an id_token or a ticket in once more, while that is still valid by its own
//! time: minutes and seconds.

/// A session: a hash of user, counter, creation and last use.
pub fn session(session_id: &str) -> String {
    format!("session:{session_id}")
}

/// A user's sessions, scored by their beginning.
pub fn user_sessions(user_id: &str) -> String {
    format!("sessions:user:{user_id}")
}

/// All sessions, scored by their last use; what is too old is cleaned up by it.
pub const SESSIONS_BY_LAST_USE: &str = "sessions:by-last-use";

/// A user's notifications, scored by their moments.
pub fn notifications(user_id: &str) -> String {
    format!("notifications:user:{user_id}")
}

/// The moment up to which a user has read them.
pub fn notifications_read(user_id: &str) -> String {
    format!("notifications:read:{user_id}")
}

/// All users who have notifications, scored by the moment of their oldest.
pub const NOTIFICATIONS_BY_OLDEST: &str = "notifications:by-oldest";

/// A notification of the outbox that was brought.
pub fn brought_notification(id: &str) -> String {
    format!("used:notification:{id}")
}

/// An id_token that was used, by its hash.
pub fn used_id_token(sha256_hex: &str) -> String {
    format!("used:id-token:{sha256_hex}")
}

/// A browser's sign-in on its way, by the hash of its cookie.
pub fn sign_in(sha256_hex: &str) -> String {
    format!("sign-in:{sha256_hex}")
}

/// An event of a provider that was taken, by the hash of its id.
pub fn taken_event(sha256_hex: &str) -> String {
    format!("used:event:{sha256_hex}")
}

/// A WebSocket ticket that was used.
pub fn used_ticket(id: &str) -> String {
    format!("used:ws-ticket:{id}")
}

/// A vendor's page.
pub fn vendor(vendor_id: &str) -> String {
    format!("cache:vendor:{vendor_id}")
}

/// The lock in front of one start of one service.
pub fn slot_lock(service_id: &str, starts_at_ms: i64) -> String {
    format!("lock:slot:{service_id}:{starts_at_ms}")
}

/// How many channels chat messages are spread over.
pub const CHAT_BUSES: u32 = 4;

/// One of the channels that chat messages travel on between backends.
pub fn chat_bus(number: u32) -> String {
    format!("chat:bus:{number}")
}
