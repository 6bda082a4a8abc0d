//! Links the processes: what one stores, the others are told over Redis.
//!
//! Redis' Pub/Sub loses what nobody hears, and that is allowed to happen: after every break, on either side, the
//! sockets catch up from the database. The channels are few and fixed; the room is in the payload.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::redis::{Event, Redis, keys};

use super::hub::Hub;
use super::model::{Members, Message};

/// What may wait to be published; more is dropped, and the others are told to catch up.
const MAX_WAITING: usize = 1024;

/// How often it is tried to tell the others that they missed something.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// This process' end of the link.
pub(super) struct Broker {
    outgoing: mpsc::Sender<(Members, Message)>,
    dropped: Arc<tokio::sync::Notify>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// The process that says it.
    node: Uuid,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Content {
    Message {
        members: Members,
        message: Message,
    },
    /// Some messages couldn't be published.
    Missed,
}

impl Broker {
    /// Begins to listen and to publish, in tasks that end with `stop`.
    pub(super) fn start(
        redis: &Redis,
        hub: Arc<Hub>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let node = Uuid::now_v7();
        let channels = (0..keys::CHAT_BUSES).map(keys::chat_bus).collect();
        let (events, keep_subscribed) = redis.subscribe(channels)?;
        let (outgoing, waiting) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::new(tokio::sync::Notify::new());
        let run = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            tasks.spawn(stop.clone().run_until_cancelled_owned(task));
        };
        run(Box::pin(keep_subscribed));
        run(Box::pin(receive(events, hub, node)));
        run(Box::pin(publish(redis.clone(), waiting, dropped.clone(), node)));
        Ok(Self { outgoing, dropped })
    }

    /// Tells the other processes. It never waits: they can read what they weren't told.
    pub(super) fn publish(&self, members: Members, message: Message) {
        if self.outgoing.try_send((members, message)).is_err() {
            self.dropped.notify_one();
        }
    }
}

async fn receive(mut events: mpsc::Receiver<Event>, hub: Arc<Hub>, node: Uuid) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Subscribed => hub.let_all_catch_up(),
            Event::Message(payload) => match serde_json::from_slice::<Payload>(&payload) {
                // Its own sockets were served when the message was stored.
                Ok(payload) if payload.node == node => {}
                Ok(Payload { content: Content::Message { members, message }, .. }) => {
                    hub.deliver(&members, &message);
                }
                Ok(Payload { content: Content::Missed, .. }) => hub.let_all_catch_up(),
                Err(error) => tracing::warn!(%error, "a payload of another version came over the chat bus"),
            },
        }
    }
}

async fn publish(
    redis: Redis,
    mut waiting: mpsc::Receiver<(Members, Message)>,
    dropped: Arc<tokio::sync::Notify>,
    node: Uuid,
) {
    let mut others_missed_some = false;
    loop {
        let (channel, content) = tokio::select! {
            next = waiting.recv() => match next {
                Some((members, message)) => (bus_of(&message.room), Content::Message { members, message }),
                None => return,
            },
            () = dropped.notified() => {
                others_missed_some = true;
                continue;
            }
            () = tokio::time::sleep(RETRY_INTERVAL), if others_missed_some => {
                (keys::chat_bus(0), Content::Missed)
            }
        };
        let is_apology = matches!(content, Content::Missed);
        let payload = serde_json::to_vec(&Payload { node, content }).expect("plain values serialise");
        match redis.publish(&channel, &payload).await {
            Ok(()) if is_apology => others_missed_some = false,
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, "a chat message wasn't published");
                others_missed_some = true;
            }
        }
    }
}

/// All messages of a room travel on one channel, in order.
fn bus_of(room: &str) -> String {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    let number = hasher.finish() % u64::from(keys::CHAT_BUSES);
    keys::chat_bus(u32::try_from(number).expect("below the number of buses"))
}
