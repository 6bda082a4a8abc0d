//! Learns from Redis which tokens were revoked: what was revoked lately when a connection is made, then each one as it is
//! published. The edge serves with or without it; a metric says which.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access_token::{EPOCH_KEY, KEEP, REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Revocation, Revocations};
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use redis::aio::{MultiplexedConnection, SendError};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind, Value,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::config::RevocationSource;

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked whether it is still there, and still knows what was revoked: an idle subscription notices neither by
/// itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Until it is tried again; doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Entries that are read at once.
const PAGE: usize = 1024;
/// Messages that may wait to be worked off. What comes on top ends the connection: the next one reads all anew.
const QUEUE: usize = 4096;

/// Why the feed is down.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("the password can't be read from {file}: {cause}")]
    Password { file: String, cause: std::io::Error },
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("redis gave no answer within {PATIENCE:?}")]
    TimedOut(#[from] tokio::time::error::Elapsed),
    #[error("redis has closed the subscription, or published faster than the edge reads")]
    Ended,
}

/// Keeps the revocations up to date.
pub struct RevocationFeed {
    source: Option<RevocationSource>,
    revocations: Arc<Revocations>,
}

impl RevocationFeed {
    /// A feed from this source; without one it only forgets what is too old.
    pub fn new(source: Option<RevocationSource>, revocations: Arc<Revocations>) -> Self {
        Self { source, revocations }
    }

    /// Stays connected and applies what comes, however often the connection breaks.
    async fn follow(&self, source: &RevocationSource) {
        let mut pause = FIRST_PAUSE;
        let mut was_up = true;
        loop {
            let mut is_up = false;
            let Err(error) = self.follow_one_connection(source, &mut is_up).await;
            metrics::gauge!("edge_revocation_feed_up").set(0.0);
            if is_up || was_up {
                tracing::warn!(%error, "revocations are not learned: revoked tokens count until they end");
            }
            was_up = is_up;
            pause = if is_up { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            sleep(pause).await;
        }
    }

    async fn follow_one_connection(
        &self,
        source: &RevocationSource,
        is_up: &mut bool,
    ) -> Result<Infallible, FeedError> {
        let (mut connection, mut messages) = connect(source).await?;
        // Subscribed before the set is read: what is revoked in between comes by message.
        timeout(PATIENCE, connection.subscribe(REVOCATIONS_CHANNEL)).await??;
        self.read_all(&mut connection).await?;
        *is_up = true;
        metrics::gauge!("edge_revocation_feed_up").set(1.0);
        tracing::info!(known = self.revocations.len(), "revocations are learned as they are made");
        let mut is_marked = true;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                message = messages.recv() => self.apply(&message.ok_or(FeedError::Ended)?, now_ms()),
                _ = look.tick() => self.look_at_epoch(&mut connection, &mut is_marked).await?,
            }
        }
    }

    /// Redis that has lost its memory has lost the epoch's mark with it: nobody knows any more who was revoked. A backend
    /// sets another; what is issued until then counts.
    async fn look_at_epoch(
        &self,
        connection: &mut MultiplexedConnection,
        was_marked: &mut bool,
    ) -> Result<(), FeedError> {
        let asked_ms = now_ms();
        let mark = timeout(PATIENCE, redis::cmd("GET").arg(EPOCH_KEY).query_async(connection)).await??;
        let mark: Option<u64> = mark;
        if let Some(not_before_ms) =
            mark.map(|epoch_ms| epoch_ms.min(asked_ms)).or(was_marked.then_some(asked_ms))
        {
            self.revocations.revoke(&Revocation::All { not_before_ms });
        }
        *was_marked = mark.is_some();
        Ok(())
    }

    /// Reads what was revoked lately, the newest first: what is added or removed meanwhile moves no later page.
    async fn read_all(&self, connection: &mut MultiplexedConnection) -> Result<(), FeedError> {
        let oldest_ms = now_ms().saturating_sub(KEEP.as_millis() as u64);
        for offset in (0..).step_by(PAGE) {
            let mut command = redis::cmd("ZRANGE");
            command.arg(REVOCATIONS_KEY).arg("+inf").arg(oldest_ms).arg(&["BYSCORE", "REV"]);
            command.arg("LIMIT").arg(offset).arg(PAGE).arg("WITHSCORES");
            let page: Vec<(Vec<u8>, f64)> = timeout(PATIENCE, command.query_async(connection)).await??;
            for (text, score) in &page {
                self.apply(text, *score as u64);
            }
            if page.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, text: &[u8], at_ms: u64) {
        match std::str::from_utf8(text).ok().and_then(|text| text.parse::<Revocation>().ok()) {
            // A time ahead of our own would be remembered for longer than it concerns anybody.
            Some(revocation) => self.revocations.revoke_at(&revocation, at_ms.min(now_ms())),
            None => tracing::warn!(text = %text.escape_ascii(), "this is no revocation"),
        }
    }

    async fn keep_house(&self) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            self.revocations.prune();
            metrics::gauge!("edge_revocations").set(self.revocations.len() as f64);
        }
    }
}

#[async_trait]
impl BackgroundService for RevocationFeed {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        metrics::gauge!("edge_revocation_feed_up").set(0.0);
        let follow = async {
            match &self.source {
                Some(source) => self.follow(source).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = follow => {}
            () = self.keep_house() => {}
            _ = shutdown.changed() => {}
        }
    }
}

async fn connect(
    source: &RevocationSource,
) -> Result<(MultiplexedConnection, mpsc::Receiver<Vec<u8>>), FeedError> {
    let info = source.redis.as_str().into_connection_info()?;
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(file) = &source.password_file {
        let password = tokio::fs::read_to_string(file)
            .await
            .map_err(|cause| FeedError::Password { file: file.display().to_string(), cause })?;
        settings = settings.set_password(password.trim_end());
    }
    let tcp = TcpSettings::default().set_nodelay(true);
    let client = Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp))?;
    let (sender, messages) = mpsc::channel(QUEUE);
    let sender = Mutex::new(Some(sender));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(move |push| forward(push, &sender));
    let connection =
        timeout(2 * PATIENCE, client.get_multiplexed_async_connection_with_config(&config)).await??;
    Ok((connection, messages))
}

/// Takes what Redis pushes. It is called by the connection's own task: it must not wait. A message that finds no room, or
/// the connection's end, ends the queue.
fn forward(push: PushInfo, sender: &Mutex<Option<mpsc::Sender<Vec<u8>>>>) -> Result<(), SendError> {
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    let is_sent = match push.kind {
        PushKind::Disconnection => false,
        // Channel and payload.
        PushKind::Message => match (push.data.into_iter().nth(1), sender.as_ref()) {
            (Some(Value::BulkString(text)), Some(sender)) => sender.try_send(text).is_ok(),
            _ => false,
        },
        _ => true,
    };
    if is_sent {
        return Ok(());
    }
    *sender = None;
    Err(SendError)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
