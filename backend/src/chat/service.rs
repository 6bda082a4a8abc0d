//! Opening rooms, sending, reading, and what every socket needs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::current_user::{Authenticator, CurrentUser};
use crate::clock::EpochMillis;
use crate::config::{self, Config};
use crate::database::Db;
use crate::redis::{Redis, RedisError, keys};

use super::broker::Broker;
use super::hub::{Connection, Hub, MAX_TRACKED_ROOMS, Registration};
use super::model::{Message, Room, ServerFrame};
use super::outbox::{Outbox, QueueSpace};
use super::store::{self, Draft};
use super::ticket::{self, Tickets};

/// A message's text, in characters.
const MAX_BODY_CHARS: usize = 4000;
/// A sender's own id of a message.
const MAX_CLIENT_ID_CHARS: usize = 64;
/// Messages read from the database at once.
const PAGE: i64 = 100;
/// Between two looks at all sockets for revoked tokens.
const REVOCATION_PAUSE: Duration = Duration::from_millis(100);
/// Sockets that look into the database at once, after a break: requests come first.
const CATCH_UPS_AT_ONCE: usize = 2;

/// Chat. Cloning it is cheap.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    db: Db,
    redis: Redis,
    config: config::Chat,
    queue_space: QueueSpace,
    hub: Arc<Hub>,
    broker: Broker,
    tickets: Tickets,
    authenticator: Authenticator,
    catch_ups: tokio::sync::Semaphore,
    /// Sockets, and messages on their way into the database.
    tasks: TaskTracker,
    /// Tells sockets to go.
    closing: CancellationToken,
    link_tasks: TaskTracker,
    link_stop: CancellationToken,
}

/// Why something isn't done.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There is no such room, or the user is none of its members.
    #[error("there is no such room")]
    NoSuchRoom,
    /// There is no such vendor.
    #[error("there is no such vendor")]
    NoSuchVendor,
    /// The vendor's owner would talk to nobody.
    #[error("the vendor is the user's own")]
    OwnVendor,
    /// The message can't be taken as it is.
    #[error("{0}")]
    InvalidMessage(&'static str),
    /// The ticket isn't ours, is too old, or was used.
    #[error("the ticket is not valid")]
    InvalidTicket,
    /// The process has as many sockets as it takes.
    #[error("too many sockets")]
    TooManyConnections,
    /// The token doesn't prolong this socket.
    #[error("the token is not one of this socket's session")]
    WrongToken,
    /// Redis is needed and doesn't answer.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The message's task ended before it was done.
    #[error("the message was not taken: {0}")]
    Aborted(#[from] tokio::task::JoinError),
}

impl Chat {
    /// Begins to listen for what other processes say.
    pub fn start(
        config: &Config,
        db: Db,
        redis: Redis,
        authenticator: Authenticator,
    ) -> anyhow::Result<Self> {
        let hub = Arc::new(Hub::new(config.chat.max_connections));
        let (link_tasks, link_stop) = (TaskTracker::new(), CancellationToken::new());
        let broker = Broker::start(&redis, hub.clone(), &link_tasks, &link_stop)?;
        let watch = end_revoked(authenticator.clone(), hub.clone());
        link_tasks.spawn(link_stop.clone().run_until_cancelled_owned(watch));
        Ok(Self(Arc::new(Inner {
            tickets: Tickets::new(config.tokens.refresh_secret()),
            config: config.chat,
            queue_space: QueueSpace::new(config.chat.total_queue_bytes),
            catch_ups: tokio::sync::Semaphore::new(CATCH_UPS_AT_ONCE),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            db,
            redis,
            hub,
            broker,
            authenticator,
            link_tasks,
            link_stop,
        })))
    }

    /// Tells all sockets to reconnect elsewhere, waits for their end, and publishes what is stored.
    pub async fn stop(&self, grace: Duration) {
        self.0.closing.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.0.tasks.len(), "sockets were cut off");
        }
        self.0.broker.drain().await;
        self.0.link_stop.cancel();
        self.0.link_tasks.close();
        self.0.link_tasks.wait().await;
    }

    /// The room of this user and this vendor, and whether it is new.
    pub async fn open_room(&self, user: &CurrentUser, vendor_id: &str) -> Result<(Room, bool), ChatError> {
        let owner = store::find_vendor_owner(&self.0.db, vendor_id).await?.ok_or(ChatError::NoSuchVendor)?;
        if owner.as_deref() == Some(user.id.as_str()) {
            return Err(ChatError::OwnVendor);
        }
        let is_new = store::insert_room(&self.0.db, &user.id, vendor_id).await?;
        let room = store::find_room(&self.0.db, &user.id, vendor_id).await?;
        Ok((room.ok_or(ChatError::NoSuchRoom)?, is_new))
    }

    /// A user's rooms, newest first, from below the room `before`.
    pub async fn rooms(&self, user: &CurrentUser, before: &str, limit: i64) -> Result<Vec<Room>, ChatError> {
        Ok(store::find_rooms(&self.0.db, &user.id, before, limit).await?)
    }

    /// The oldest messages after a number.
    pub async fn messages_after(
        &self,
        user_id: &str,
        room: &str,
        seq: i64,
        limit: i64,
    ) -> Result<Vec<Message>, ChatError> {
        self.require_member(user_id, room).await?;
        Ok(store::find_after(&self.0.db, room, seq, limit).await?)
    }

    /// The newest messages before a number, in order.
    pub async fn messages_before(
        &self,
        user_id: &str,
        room: &str,
        seq: i64,
        limit: i64,
    ) -> Result<Vec<Message>, ChatError> {
        self.require_member(user_id, room).await?;
        Ok(store::find_before(&self.0.db, room, seq, limit).await?)
    }

    async fn require_member(&self, user_id: &str, room: &str) -> Result<(), ChatError> {
        let members = store::find_members(&self.0.db, room).await?;
        members.filter(|members| members.include(user_id)).map(drop).ok_or(ChatError::NoSuchRoom)
    }

    /// A ticket that opens one socket for this user.
    pub fn issue_ticket(&self, user: &CurrentUser) -> String {
        self.0.tickets.issue(user, EpochMillis::now())
    }

    /// The user who bought the ticket; it is used up.
    pub async fn redeem(&self, ticket: &str) -> Result<CurrentUser, ChatError> {
        let ticket = self.0.tickets.read(ticket, EpochMillis::now()).ok_or(ChatError::InvalidTicket)?;
        // Remembered for longer than the ticket can be used.
        let is_first = self.0.redis.set_if_absent(&keys::used_ticket(&ticket.id), ticket::LIFE * 2).await?;
        if is_first { Ok(ticket.into_user()) } else { Err(ChatError::InvalidTicket) }
    }

    /// Stores a message and tells its room; `ack` is called in between. Once begun it is finished, whatever becomes
    /// of the socket that it came over: what is stored is told.
    pub(super) async fn send(
        &self,
        draft: Draft,
        ack: impl FnOnce(&Message) + Send + 'static,
    ) -> Result<(), ChatError> {
        check(&draft)?;
        let chat = self.clone();
        let task = async move {
            let members = store::find_members(&chat.0.db, &draft.room).await?;
            let members =
                members.filter(|members| members.include(&draft.sender)).ok_or(ChatError::NoSuchRoom)?;
            let (message, is_new) = store::insert_message(&chat.0.db, &draft).await?;
            ack(&message);
            if is_new {
                chat.0.hub.deliver(&members, &message);
                chat.0.broker.publish(members, message);
            }
            Ok(())
        };
        self.0.tasks.spawn(task).await?
    }

    /// Answers `sync`: a page of messages after a number, at the reader's speed, and where that leaves the client.
    pub(super) async fn sync(&self, to: &Connection, room: &str, after_seq: i64) -> Result<(), ChatError> {
        let after_seq = after_seq.max(0);
        let messages = self.messages_after(&to.user_id, room, after_seq, PAGE + 1).await?;
        let page = usize::try_from(PAGE).expect("a small number");
        let more = messages.len() > page;
        let mut up_to_seq = after_seq;
        for message in messages.iter().take(page) {
            to.outbox.has_room().await;
            to.outbox.push(ServerFrame::Message(message).to_text());
            up_to_seq = message.seq;
        }
        to.outbox.push(ServerFrame::Synced { room, up_to_seq, more }.to_text());
        Ok(())
    }

    /// Gives a connection what its rooms hold beyond what it was given, at the reader's speed.
    pub(super) async fn catch_up(&self, connection: &Connection) -> Result<(), ChatError> {
        let last_seqs = {
            let _turn = self.0.catch_ups.acquire().await.expect("never closed");
            self.last_seqs(&connection.user_id).await?
        };
        for (room, last_seq) in last_seqs {
            while let Some(delivered) = connection.last_delivered(&room).filter(|seq| *seq < last_seq) {
                let missed = {
                    let _turn = self.0.catch_ups.acquire().await.expect("never closed");
                    store::find_after(&self.0.db, &room, delivered, PAGE).await?
                };
                if missed.is_empty() {
                    // The room counts further than what is stored: there is nothing to wait for.
                    break;
                }
                for message in missed {
                    connection.outbox.has_room().await;
                    connection.deliver_stored(&message, &ServerFrame::Message(&message).to_text());
                }
            }
        }
        Ok(())
    }

    async fn last_seqs(&self, user_id: &str) -> Result<Vec<(String, i64)>, ChatError> {
        let limit = i64::try_from(MAX_TRACKED_ROOMS).expect("a small number");
        Ok(store::find_last_seqs(&self.0.db, user_id, limit).await?)
    }

    /// Registers a socket of this user: from now on everything that is stored waits for it in its outbox, so that
    /// a client which sees the connection open misses nothing.
    pub(super) async fn connect(&self, user: &CurrentUser) -> Result<Registration, ChatError> {
        let place = self.0.hub.reserve().ok_or(ChatError::TooManyConnections)?;
        let (outbox, frames) = Outbox::new(self.0.config.send_queue_bytes, self.0.queue_space.clone());
        let last_seqs = self.last_seqs(&user.id).await?;
        let connection = Connection::new(user, outbox, last_seqs);
        let registration = Hub::register(&self.0.hub, connection, frames, place);
        // What was revoked before it could be found in the hub.
        registration.connection.end_if_revoked(&self.0.authenticator);
        // What was stored between the reading and the registration.
        registration.connection.fell_behind();
        Ok(registration)
    }

    /// The token's user, if it is one of the same user and session.
    pub(super) fn renew(&self, user: &CurrentUser, access_token: &str) -> Result<CurrentUser, ChatError> {
        let renewed = self.0.authenticator.recognise(access_token).map_err(|_| ChatError::WrongToken)?;
        if renewed.id != user.id || renewed.session_id != user.session_id {
            return Err(ChatError::WrongToken);
        }
        Ok(renewed)
    }

    /// Runs a socket, to be waited for at the end.
    pub(super) async fn track(&self, socket: impl Future<Output = ()>) {
        self.0.tasks.track_future(socket).await;
    }

    /// Waits until the process stops.
    pub(super) async fn closing(&self) {
        self.0.closing.cancelled().await;
    }
}

/// Ends sockets as their tokens are revoked. All are looked at each time, but no more often than some times a second: a flood
/// of revocations costs no more than that.
async fn end_revoked(authenticator: Authenticator, hub: Arc<Hub>) {
    let mut revocations = authenticator.revocations();
    while revocations.changed().await.is_ok() {
        hub.end_revoked(&authenticator);
        tokio::time::sleep(REVOCATION_PAUSE).await;
    }
}

fn check(draft: &Draft) -> Result<(), ChatError> {
    let chars = draft.body.chars().count();
    if !(1..=MAX_BODY_CHARS).contains(&chars) {
        return Err(ChatError::InvalidMessage("`body` has 1 to 4000 characters."));
    }
    if !(1..=MAX_CLIENT_ID_CHARS).contains(&draft.client_id.chars().count()) {
        return Err(ChatError::InvalidMessage("`client_id` has 1 to 64 characters."));
    }
    Ok(())
}
