//! Redis: one connection for commands, one for subscriptions, and the names of all keys.
//!
//! The process starts and goes on without Redis: connections are made when they are first needed, and made again
//! when they break. Every command ends within the configured time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig, SendError};
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind, Script,
    ScriptInvocation, Value,
};
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::config;

pub mod keys;

/// How often the subscriptions' connection is asked whether it still is one.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// What published messages may wait for a slow process; what comes on top is dropped, and made up for from the
/// database, since the receiver is told by [`Event::Subscribed`] to catch up.
const EVENT_QUEUE: usize = 4096;

/// A command that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// No answer in time.
    #[error("redis gave no answer within {0:?}")]
    TimedOut(Duration),
    /// No connection, or an answer that isn't one.
    #[error("redis: {0}")]
    Failed(#[from] ::redis::RedisError),
}

/// A handle on Redis. Cloning it is cheap; all clones share the connection.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    commands: ConnectionManager,
    timeout: Duration,
}

/// A subscription, as its receiver sees it.
pub struct Subscription {
    events: mpsc::Receiver<Event>,
    state: Arc<State>,
}

/// What a subscription tells.
#[derive(Debug)]
pub enum Event {
    /// All channels are subscribed (again). What was published before is lost.
    Subscribed,
    /// A message on one of the channels.
    Message(Vec<u8>),
}

impl Redis {
    /// A handle that connects on first use. To be called within a tokio runtime.
    pub fn new(config: &config::Redis) -> anyhow::Result<Self> {
        let info = config.url.as_str().into_connection_info().context("redis.url")?;
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(password) = &config.password {
            settings = settings.set_password(password.expose_secret());
        }
        let info =
            info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).context("redis.url")?;
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(100))
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout));
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), manager)?;
        Ok(Self { client, commands, timeout: config.timeout })
    }

    /// Sends a command.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.query_within(self.timeout, command).await
    }

    /// Sends a command that is of no use when it takes longer than `limit`.
    pub async fn query_within<T: FromRedisValue>(
        &self,
        limit: Duration,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let mut connection = self.commands.clone();
        within(limit, command.query_async(&mut connection)).await
    }

    /// Runs a script; Redis runs it as one step.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        let mut connection = self.commands.clone();
        within(self.timeout, script.invoke_async(&mut connection)).await
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.query::<Value>(&::redis::cmd("PING")).await.map(drop)
    }

    /// Notes `key` for `ttl`; whether it was new. This is how what may be used once is used up.
    pub async fn set_if_absent(&self, key: &str, ttl: Duration) -> Result<bool, RedisError> {
        let mut command = ::redis::cmd("SET");
        command.arg(key).arg("1").arg("NX").arg("PX").arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.query::<Option<String>>(&command).await.map(|answer| answer.is_some())
    }

    /// Whether `key` is there.
    pub async fn exists(&self, key: &str) -> Result<bool, RedisError> {
        let mut command = ::redis::cmd("EXISTS");
        command.arg(key);
        self.query(&command).await
    }

    /// Publishes a message to whoever listens on `channel` now.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), RedisError> {
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(channel).arg(payload);
        self.query::<Value>(&command).await.map(drop)
    }

    /// Listens on `channels` and tells the subscription what happens, for as long as the returned future is run: it
    /// comes back after every break of the connection, however long it takes.
    pub fn subscribe(
        &self,
        channels: Vec<String>,
    ) -> anyhow::Result<(Subscription, impl Future<Output = ()> + use<>)> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let state = Arc::new(State { channels: channels.len(), ..State::default() });
        let (pushed, pushed_state) = (events.clone(), state.clone());
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(usize::MAX)
            .set_max_delay(PING_INTERVAL)
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_automatic_resubscription()
            .set_push_sender(move |push| forward(push, &pushed, &pushed_state));
        let mut connection = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        let subscription = Subscription { events: receiver, state: state.clone() };
        let keep = async move {
            loop {
                // Asking is what notices a broken connection, and what makes the first one.
                let mut outcome = ::redis::cmd("PING").query_async::<Value>(&mut connection).await.map(drop);
                if outcome.is_ok() && !state.is_subscribed.load(Ordering::Acquire) {
                    outcome = connection.subscribe(&channels).await;
                }
                if let Err(error) = outcome {
                    tracing::debug!(%error, "redis subscription is down");
                }
                // The receiver hears of a loss once it has worked off what it holds.
                if state.has_dropped.swap(false, Ordering::AcqRel)
                    && events.send(Event::Subscribed).await.is_err()
                {
                    return;
                }
                tokio::time::sleep(PING_INTERVAL).await;
            }
        };
        Ok((subscription, keep))
    }
}

impl Subscription {
    /// What happens next; nothing more once nobody runs the subscription.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Whether all channels are subscribed now, as far as is known.
    pub fn is_up(&self) -> bool {
        self.state.is_subscribed.load(Ordering::Acquire)
    }
}

/// A script that is sent once and then named by its hash.
pub fn script(lua: &str) -> Script {
    Script::new(lua)
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = ::redis::RedisResult<T>>,
) -> Result<T, RedisError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(RedisError::TimedOut(limit)),
    }
}

/// How a subscription stands.
#[derive(Default)]
struct State {
    /// How many channels there are.
    channels: usize,
    is_subscribed: AtomicBool,
    /// Messages came faster than they were worked off.
    has_dropped: AtomicBool,
}

/// Takes what Redis pushes. It is called by the connection's own task: it must not wait.
fn forward(push: PushInfo, events: &mpsc::Sender<Event>, state: &State) -> Result<(), SendError> {
    let event = match push.kind {
        PushKind::Disconnection => {
            state.is_subscribed.store(false, Ordering::Release);
            return Ok(());
        }
        // Channel, and how many channels are subscribed now.
        PushKind::Subscribe => match push.data.get(1) {
            Some(Value::Int(count)) if usize::try_from(*count) == Ok(state.channels) => {
                // Asked for twice, it is told once.
                if state.is_subscribed.swap(true, Ordering::AcqRel) {
                    return Ok(());
                }
                Event::Subscribed
            }
            _ => return Ok(()),
        },
        // Channel and payload.
        PushKind::Message => match push.data.into_iter().nth(1) {
            Some(Value::BulkString(payload)) => Event::Message(payload),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    match events.try_send(event) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(_)) => {
            state.has_dropped.store(true, Ordering::Release);
            Ok(())
        }
        Err(TrySendError::Closed(_)) => Err(SendError),
    }
}
