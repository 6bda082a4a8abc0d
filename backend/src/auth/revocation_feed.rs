//! Learns from Redis which tokens were revoked: what was revoked lately each time that the subscription begins, then each
//! one as it is published. Without Redis tokens count until they end.

use std::time::Duration;

use access_token::{KEEP, REVOCATIONS_CHANNEL, REVOCATIONS_KEY, Revocation};

use crate::auth::tokens::AccessTokens;
use crate::clock::EpochMillis;
use crate::redis::{Event, Redis, RedisError, Subscription};

/// Entries that are read at once.
const PAGE: usize = 1024;

const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the revocations of these tokens up to date, for as long as the returned future is run.
pub fn follow(redis: &Redis, tokens: AccessTokens) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let (subscription, keep_subscribed) = redis.subscribe(vec![REVOCATIONS_CHANNEL.to_owned()])?;
    let feed = Feed { redis: redis.clone(), tokens };
    Ok(async move {
        tokio::join!(keep_subscribed, feed.run(subscription));
    })
}

struct Feed {
    redis: Redis,
    tokens: AccessTokens,
}

impl Feed {
    async fn run(self, mut subscription: Subscription) {
        let mut house = tokio::time::interval(HOUSEKEEPING_INTERVAL);
        // What was published before the subscription is in the set, which must be read after it.
        let mut is_missing_some = false;
        loop {
            tokio::select! {
                event = subscription.next() => match event {
                    Some(Event::Subscribed) => is_missing_some = true,
                    Some(Event::Message(text)) => self.apply(&text, EpochMillis::now().0),
                    None => return,
                },
                _ = house.tick() => self.tokens.revocations().prune(),
            }
            if is_missing_some {
                match self.read_all().await {
                    Ok(()) => is_missing_some = false,
                    Err(error) => tracing::warn!(%error, "revocations can't be read; tried again"),
                }
            }
        }
    }

    /// The newest first: what is added or removed meanwhile moves no later page.
    async fn read_all(&self) -> Result<(), RedisError> {
        let oldest = EpochMillis::now().0.saturating_sub(millis(KEEP));
        for offset in (0..).step_by(PAGE) {
            let mut command = ::redis::cmd("ZRANGE");
            command.arg(REVOCATIONS_KEY).arg("+inf").arg(oldest).arg(&["BYSCORE", "REV"]);
            command.arg("LIMIT").arg(offset).arg(PAGE).arg("WITHSCORES");
            let page: Vec<(Vec<u8>, f64)> = self.redis.query(&command).await?;
            for (text, score) in &page {
                self.apply(text, *score as i64);
            }
            if page.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, text: &[u8], at_ms: i64) {
        match std::str::from_utf8(text).ok().and_then(|text| text.parse::<Revocation>().ok()) {
            // A time ahead of our own would be remembered for longer than it concerns anybody.
            Some(revocation) => {
                let at_ms = at_ms.min(EpochMillis::now().0);
                self.tokens.revocations().revoke_at(&revocation, u64::try_from(at_ms).unwrap_or(0));
            }
            None => tracing::warn!(text = %text.escape_ascii(), "this is no revocation"),
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
