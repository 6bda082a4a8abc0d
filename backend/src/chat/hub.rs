//! The sockets of this process, by user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::current_user::{Authenticator, CurrentUser};

use super::model::{Members, Message, ServerFrame};
use super::outbox::{Frames, Outbox};

/// Rooms whose numbers one connection keeps track of.
pub(super) const MAX_TRACKED_ROOMS: usize = 1024;

/// All open sockets.
pub(super) struct Hub {
    by_user: RwLock<HashMap<String, Vec<Arc<Connection>>>>,
    open: Arc<AtomicUsize>,
    max: usize,
}

/// A place for a socket; dropping it frees it.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A registered socket; dropping it takes it out.
pub(super) struct Registration {
    /// What others see of it.
    pub(super) connection: Arc<Connection>,
    /// What is to be written to it.
    pub(super) frames: Frames,
    hub: Arc<Hub>,
    _place: Place,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.remove(&self.connection);
    }
}

/// One socket as others see it.
pub(super) struct Connection {
    /// Whose it is.
    pub(super) user_id: String,
    session_id: String,
    /// When the token was issued that it rests on, in milliseconds since the Unix epoch.
    issued_ms: AtomicU64,
    revoked: CancellationToken,
    /// What waits to be written.
    pub(super) outbox: Outbox,
    delivered: Mutex<Delivered>,
    behind: Notify,
}

/// The number of the last message delivered in each room.
#[derive(Default)]
struct Delivered {
    by_room: HashMap<String, i64>,
    /// Some of the user's rooms aren't tracked: of those, messages are delivered as they come.
    is_partial: bool,
}

impl Hub {
    pub(super) fn new(max: usize) -> Self {
        Self { by_user: RwLock::default(), open: Arc::default(), max }
    }

    /// A place, unless all are taken.
    pub(super) fn reserve(&self) -> Option<Place> {
        let place = Place(self.open.clone());
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        // Dropping the place gives back what was just counted.
        (before < self.max).then_some(place)
    }

    /// From now on the connection gets what is delivered to its user.
    pub(super) fn register(
        hub: &Arc<Self>,
        connection: Connection,
        frames: Frames,
        place: Place,
    ) -> Registration {
        let connection = Arc::new(connection);
        let mut users = hub.by_user.write().unwrap_or_else(PoisonError::into_inner);
        users.entry(connection.user_id.clone()).or_default().push(connection.clone());
        Registration { connection, frames, hub: hub.clone(), _place: place }
    }

    fn remove(&self, connection: &Arc<Connection>) {
        let mut users = self.by_user.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = users.get_mut(&connection.user_id) {
            connections.retain(|other| !Arc::ptr_eq(other, connection));
            if connections.is_empty() {
                users.remove(&connection.user_id);
            }
        }
    }

    /// Gives a message to every socket of its room's members.
    pub(super) fn deliver(&self, members: &Members, message: &Message) {
        let users = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        let mut connections = members.iter().filter_map(|member| users.get(member)).flatten().peekable();
        if connections.peek().is_some() {
            let frame = ServerFrame::Message(message).to_text();
            connections.for_each(|connection| connection.deliver(message, &frame));
        }
    }

    /// Ends every socket whose token was revoked.
    pub(super) fn end_revoked(&self, authenticator: &Authenticator) {
        let users = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        users.values().flatten().for_each(|connection| connection.end_if_revoked(authenticator));
    }

    /// Something may have been missed: every socket looks into the database.
    pub(super) fn let_all_catch_up(&self) {
        let users = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        users.values().flatten().for_each(|connection| connection.fell_behind());
    }
}

impl Connection {
    /// A connection that has been given everything up to these numbers.
    pub(super) fn new(user: &CurrentUser, outbox: Outbox, last_seqs: Vec<(String, i64)>) -> Self {
        let is_partial = last_seqs.len() >= MAX_TRACKED_ROOMS;
        let delivered = Delivered { by_room: last_seqs.into_iter().collect(), is_partial };
        Self {
            user_id: user.id.clone(),
            session_id: user.session_id.clone(),
            issued_ms: AtomicU64::new(user.issued_ms),
            revoked: CancellationToken::new(),
            outbox,
            delivered: Mutex::new(delivered),
            behind: Notify::new(),
        }
    }

    /// It rests on another token of its session from now on.
    pub(super) fn renew(&self, issued_ms: u64) {
        self.issued_ms.store(issued_ms, Ordering::Relaxed);
    }

    /// Ends it if its token was revoked.
    pub(super) fn end_if_revoked(&self, authenticator: &Authenticator) {
        let issued_ms = self.issued_ms.load(Ordering::Relaxed);
        if authenticator.is_revoked(&self.user_id, &self.session_id, issued_ms) {
            self.revoked.cancel();
        }
    }

    /// Waits until its token is revoked.
    pub(super) async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Puts the message in the outbox if it is the next of its room. One that was delivered already is passed over;
    /// one that comes too early is left to be read from the database, after those that are missing.
    pub(super) fn deliver(&self, message: &Message, frame: &Utf8Bytes) {
        if !self.deliver_if(message, frame, |seq, last| seq == last + 1) {
            self.fell_behind();
        }
    }

    /// Puts a message in the outbox that was read from the database, after those before it, unless it was delivered
    /// already. Numbers that are missing there aren't stored, and won't come.
    pub(super) fn deliver_stored(&self, message: &Message, frame: &Utf8Bytes) {
        self.deliver_if(message, frame, |seq, last| seq > last);
    }

    /// False if it is news and yet not to be delivered, as `follows` says of its number and the last one.
    fn deliver_if(&self, message: &Message, frame: &Utf8Bytes, follows: impl Fn(i64, i64) -> bool) -> bool {
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new_room = !delivered.by_room.contains_key(&message.room);
        if is_new_room && (delivered.is_partial || delivered.by_room.len() >= MAX_TRACKED_ROOMS) {
            delivered.is_partial = true;
            self.outbox.push(frame.clone());
            return true;
        }
        // A room that wasn't there when the socket was opened began at 0.
        let last = delivered.by_room.entry(message.room.clone()).or_insert(0);
        if !follows(message.seq, *last) {
            return message.seq <= *last;
        }
        *last = message.seq;
        self.outbox.push(frame.clone());
        true
    }

    /// The number up to which the room's messages were delivered; none if the room isn't tracked.
    pub(super) fn last_delivered(&self, room: &str) -> Option<i64> {
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match delivered.by_room.get(room) {
            Some(seq) => Some(*seq),
            None if delivered.is_partial => None,
            None => Some(0),
        }
    }

    /// Something may have been missed.
    pub(super) fn fell_behind(&self) {
        self.behind.notify_one();
    }

    /// Waits until something may have been missed.
    pub(super) async fn is_behind(&self) {
        self.behind.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use access_token::Role;

    use super::super::outbox::QueueSpace;
    use super::*;
    use crate::clock::EpochMillis;

    fn message(seq: i64) -> Message {
        Message {
            room: "r".into(),
            seq,
            sender: "u".into(),
            body: "b".into(),
            sent_at: EpochMillis(0),
            client_id: seq.to_string(),
        }
    }

    #[tokio::test]
    async fn messages_reach_a_socket_once_and_in_order() {
        let hub = Arc::new(Hub::new(1));
        let (outbox, frames) = Outbox::new(10_000, QueueSpace::new(10_000));
        let (id, session_id) = ("u".to_owned(), "s".to_owned());
        let user = CurrentUser { id, session_id, role: Role::User, issued_ms: 0, expires_at: 0 };
        let connection = Connection::new(&user, outbox, vec![("r".into(), 4)]);
        let mut registration = Hub::register(&hub, connection, frames, hub.reserve().expect("a place"));
        let members = Members { user_id: "u".into(), owner_id: None };
        for seq in [4, 5, 5, 7, 6, 7] {
            hub.deliver(&members, &message(seq));
        }
        let mut seqs = Vec::new();
        while let Ok(frame) = registration.frames.try_recv() {
            let frame: serde_json::Value = serde_json::from_str(&frame).expect("json");
            seqs.push(frame["seq"].as_i64().expect("a number"));
        }
        assert_eq!(seqs, [5, 6, 7]);
        // 7 came before 6: the database was to be asked.
        registration.connection.is_behind().await;
        drop(registration);
        assert!(hub.by_user.read().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_place_is_free_again_when_it_is_given_back() {
        let hub = Hub::new(1);
        let place = hub.reserve().expect("the first");
        assert!(hub.reserve().is_none());
        assert!(hub.reserve().is_none());
        drop(place);
        assert!(hub.reserve().is_some());
    }
}
