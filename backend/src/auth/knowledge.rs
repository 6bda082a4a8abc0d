//! What a process must know to check tokens, kept up to date behind its back: its signing keys, revocations, and the keys of
//! the providers.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::redis::Redis;

use super::service::Auth;
use super::tokens::AccessTokens;
use super::{keys, revocations};

/// The tasks that keep it. Dropped, they end.
pub struct Knowledge {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Knowledge {
    /// Begins to follow the folder of the keys, and Redis.
    pub async fn follow(
        config: &config::Tokens,
        redis: &Redis,
        tokens: &AccessTokens,
    ) -> anyhow::Result<Self> {
        let knowledge = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let Self { stop, tasks } = &knowledge;
        revocations::follow(redis, tokens.revoked().clone(), tasks, stop).await?;
        let keys = keys::follow(config.keys_dir.clone(), config.key_schedule(), tokens.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(keys));
        tasks.close();
        Ok(knowledge)
    }

    /// Keeps the providers' keys up to date as well.
    pub fn follow_providers(&self, auth: &Auth) {
        let auth = auth.clone();
        let poll = async move { auth.providers().poll_keys().await };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(poll));
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Knowledge {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
