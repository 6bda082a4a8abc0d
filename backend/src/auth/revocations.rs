//! What was revoked lately, as this process knows it: told by Redis as it happens, and read again whenever something may have
//! been missed. A request asks memory only.
//!
//! A mark without a TTL says that Redis still knows. Where it is gone, Redis has lost its memory: every token from before is
//! refused, here and everywhere, and a new mark is set.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use access_token::{EPOCH_KEY, KEEP, REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Revocation, Revocations};
use redis::Script;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::EpochMillis;
use crate::redis::{self as store, Event, Redis, RedisError, Subscription};

/// How often the mark is looked at. A second is what everybody else is promised.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Entries that are read at once.
const PAGE: usize = 1024;

/// Answers the mark, which it sets if there is none, and tells everybody then.
static MARK: LazyLock<Script> = LazyLock::new(|| {
    store::script(&format!(
        r"
{NOW}{revoke}
local epoch = redis.call('GET', '{EPOCH_KEY}')
if not epoch then
    epoch = string.format('%d', now())
    redis.call('SET', '{EPOCH_KEY}', epoch)
    revoke('all:' .. epoch, tonumber(epoch))
end
return epoch",
        revoke = *REVOKE
    ))
});

/// For scripts: this moment in milliseconds.
pub(super) const NOW: &str = r"
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
";

/// For scripts: takes a revocation into the set, and tells everybody.
pub(super) static REVOKE: LazyLock<String> = LazyLock::new(|| {
    let keep_ms = KEEP.as_millis();
    format!(
        r"
local function revoke(entry, now)
    redis.call('ZADD', '{REVOCATIONS_KEY}', now, entry)
    redis.call('ZREMRANGEBYSCORE', '{REVOCATIONS_KEY}', '-inf', '(' .. string.format('%d', now - {keep_ms}))
    redis.call('PUBLISH', '{REVOCATIONS_CHANNEL}', entry)
end
"
    )
});

/// What was revoked, and word of it. Cloning it is cheap.
#[derive(Clone)]
pub struct RevocationList {
    revocations: Arc<Revocations>,
    changed: watch::Sender<()>,
}

impl Default for RevocationList {
    fn default() -> Self {
        Self { revocations: Arc::default(), changed: watch::Sender::new(()) }
    }
}

impl RevocationList {
    /// What a request asks.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Hears of each change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn apply(&self, text: &[u8], at_ms: u64) {
        match std::str::from_utf8(text).ok().and_then(|text| text.parse::<Revocation>().ok()) {
            // A time ahead of our own would be remembered for longer than it concerns anybody.
            Some(revocation) => self.revocations.revoke_at(&revocation, at_ms.min(now_ms())),
            None => tracing::warn!(text = %text.escape_ascii(), "this is no revocation"),
        }
        self.changed.send_replace(());
    }
}

/// Reads what was revoked, if Redis can be asked, and keeps the list up to date from then on, in tasks that end with `stop`.
pub(super) async fn follow(
    redis: &Redis,
    list: RevocationList,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (subscription, keep_subscribed) = redis.subscribe(vec![REVOCATIONS_CHANNEL.to_owned()])?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_subscribed));
    let feed = Feed { redis: redis.clone(), list };
    // The mark is there before the first token.
    feed.look(&mut true).await;
    tasks.spawn(stop.clone().run_until_cancelled_owned(feed.run(subscription)));
    Ok(())
}

struct Feed {
    redis: Redis,
    list: RevocationList,
}

impl Feed {
    async fn run(self, mut subscription: Subscription) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_have_missed = true;
        loop {
            tokio::select! {
                event = subscription.next() => match event {
                    Some(Event::Message(text)) => self.list.apply(&text, now_ms()),
                    // Subscribed before the set is read: what is revoked in between comes by message.
                    Some(Event::Subscribed) => may_have_missed = true,
                    None => return,
                },
                _ = look.tick() => self.look(&mut may_have_missed).await,
            }
        }
    }

    async fn look(&self, may_have_missed: &mut bool) {
        self.list.revocations.prune();
        let outcome = async {
            let epoch = self.redis.run::<String>(&MARK.prepare_invoke()).await?;
            if let Ok(not_before_ms) = epoch.parse() {
                self.list.revocations.revoke(&Revocation::All { not_before_ms });
            }
            if *may_have_missed {
                self.read_all().await?;
                *may_have_missed = false;
                tracing::debug!(known = self.list.revocations.len(), "revocations were read");
            }
            Ok::<_, RedisError>(())
        };
        if let Err(error) = outcome.await {
            // What happens meanwhile is not heard; afterwards it is read.
            *may_have_missed = true;
            tracing::debug!(%error, "revocations are not learned: revoked tokens count until they end");
        }
        metrics::gauge!("backend_revocation_feed_up").set(if *may_have_missed { 0.0 } else { 1.0 });
    }

    /// The newest first: what is added or removed meanwhile moves no later page.
    async fn read_all(&self) -> Result<(), RedisError> {
        let oldest_ms = now_ms().saturating_sub(u64::try_from(KEEP.as_millis()).unwrap_or(u64::MAX));
        for offset in (0..).step_by(PAGE) {
            let mut command = redis::cmd("ZRANGE");
            command.arg(REVOCATIONS_KEY).arg("+inf").arg(oldest_ms).arg(&["BYSCORE", "REV"]);
            command.arg("LIMIT").arg(offset).arg(PAGE).arg("WITHSCORES");
            let page: Vec<(Vec<u8>, f64)> = self.redis.query(&command).await?;
            for (text, score) in &page {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds")]
                self.list.apply(text, *score as u64);
            }
            if page.len() < PAGE {
                break;
            }
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    u64::try_from(EpochMillis::now().0).unwrap_or(0)
}
