//! Links the processes: what one stores, the others are told over Redis.
//!
//! Redis' Pub/Sub loses what nobody hears, and that is allowed to happen: after every break, on either side, the
//! sockets catch up from the database, and for as long as nothing can be heard they look there again and again. The
//! channels are few and fixed; the room is in the payload.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::redis::{Event, Redis, Subscription, keys};

use super::hub::Hub;
use super::model::{Members, Message};

/// What may wait to be published; more is dropped, and the others are told to catch up.
const MAX_WAITING: usize = 1024;

/// How often it is tried to tell the others that they missed something.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often sockets look into the database while the others can't be heard.
const DEAF_INTERVAL: Duration = Duration::from_secs(1);

/// At the end, what waits to be published gets this long.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// This process' end of the link.
pub(super) struct Broker {
    outgoing: mpsc::Sender<(Members, Message)>,
    dropped: Arc<tokio::sync::Notify>,
    draining: CancellationToken,
    publishing: TaskTracker,
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
        let (subscription, keep_subscribed) = redis.subscribe(channels)?;
        let (outgoing, waiting) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::new(tokio::sync::Notify::new());
        let (draining, publishing) = (CancellationToken::new(), TaskTracker::new());
        let publisher =
            Publisher { redis: redis.clone(), node, dropped: dropped.clone(), draining: draining.clone() };
        let run = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            tasks.spawn(stop.clone().run_until_cancelled_owned(task));
        };
        run(Box::pin(keep_subscribed));
        run(Box::pin(receive(subscription, hub, node)));
        run(Box::pin(publishing.track_future(publisher.run(waiting))));
        Ok(Self { outgoing, dropped, draining, publishing })
    }

    /// Tells the other processes. It never waits: they can read what they weren't told.
    pub(super) fn publish(&self, members: Members, message: Message) {
        if self.outgoing.try_send((members, message)).is_err() {
            self.dropped.notify_one();
        }
    }

    /// Takes no more, and waits until what was taken is published, if that can be done soon.
    pub(super) async fn drain(&self) {
        self.draining.cancel();
        self.publishing.close();
        if tokio::time::timeout(DRAIN_LIMIT, self.publishing.wait()).await.is_err() {
            tracing::warn!("chat messages were stored and not published; the next start makes up for it");
        }
    }
}

async fn receive(mut subscription: Subscription, hub: Arc<Hub>, node: Uuid) {
    let mut deaf = tokio::time::interval(DEAF_INTERVAL);
    deaf.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = subscription.next() => event,
            _ = deaf.tick() => {
                if !subscription.is_up() {
                    hub.let_all_catch_up();
                }
                continue;
            }
        };
        let Some(event) = event else { return };
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

/// Publishes what is stored.
struct Publisher {
    redis: Redis,
    node: Uuid,
    dropped: Arc<tokio::sync::Notify>,
    draining: CancellationToken,
}

impl Publisher {
    async fn run(self, mut waiting: mpsc::Receiver<(Members, Message)>) {
        // The process before this one may have ended between storing a message and publishing it.
        let mut missed_due = Some(Instant::now());
        loop {
            // What is due is asked first: a steady stream of messages would put it off for ever.
            let next = tokio::select! {
                biased;
                () = due(missed_due) => None,
                () = self.dropped.notified() => {
                    missed_due.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
                    continue;
                }
                () = self.draining.cancelled(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
                next = waiting.recv() => match next {
                    Some(next) => Some(next),
                    None => break,
                },
            };
            let is_told = match next {
                Some((members, message)) => {
                    self.tell(&bus_of(&message.room), Content::Message { members, message }).await
                }
                None => {
                    missed_due = None;
                    self.tell(&keys::chat_bus(0), Content::Missed).await
                }
            };
            if !is_told {
                missed_due.get_or_insert_with(|| Instant::now() + RETRY_INTERVAL);
            }
        }
        if missed_due.is_some() {
            self.tell(&keys::chat_bus(0), Content::Missed).await;
        }
    }

    async fn tell(&self, channel: &str, content: Content) -> bool {
        let payload = Payload { node: self.node, content };
        let payload = serde_json::to_vec(&payload).expect("plain values serialise");
        match self.redis.publish(channel, &payload).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a chat message wasn't published");
                false
            }
        }
    }
}

/// Waits for this moment; without one, for ever.
async fn due(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// All messages of a room travel on one channel, in order.
fn bus_of(room: &str) -> String {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    let number = hasher.finish() % u64::from(keys::CHAT_BUSES);
    keys::chat_bus(u32::try_from(number).expect("below the number of buses"))
}
