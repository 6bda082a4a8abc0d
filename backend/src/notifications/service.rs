//! Telling users something, and showing them what they were told.

use serde_json::Value;

use crate::redis::{Redis, RedisError};

use super::model::{Inbox, NotificationId};
use super::outbox::Bell;
use super::store::{self, Store};

/// Kind and data of one notification, as JSON: 500 of each user stay in memory.
const MAX_BYTES: usize = 1024;

/// The notifications of all users. Cloning it is cheap.
#[derive(Clone)]
pub struct Notifications {
    store: Store,
    bell: Bell,
}

/// Why a user wasn't told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// There is more of it than is kept.
    #[error("a notification has at most {MAX_BYTES} bytes")]
    TooLong,
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Notifications {
    /// Notifications in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { store: Store::new(redis), bell: Bell::default() }
    }

    /// Something was put into the outbox: it is told at once.
    pub fn wake(&self) {
        self.bell.ring();
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Tells a user something; the id that it got.
    pub async fn notify(&self, user_id: &str, kind: &str, data: Value) -> Result<String, NotifyError> {
        let content = store::content(kind, data);
        if content.len() > MAX_BYTES {
            return Err(NotifyError::TooLong);
        }
        Ok(self.store.insert(user_id, &content).await?)
    }

    /// The same, but nothing where it was told before under the same id, within the last day.
    pub(super) async fn notify_once(
        &self,
        once_id: &str,
        user_id: &str,
        kind: &str,
        data: Value,
    ) -> Result<(), NotifyError> {
        let content = store::content(kind, data);
        if content.len() > MAX_BYTES {
            return Err(NotifyError::TooLong);
        }
        Ok(self.store.insert_once(once_id, user_id, &content).await?)
    }

    /// At most `limit` of what a user was told, the newest first, from before `before` on.
    pub async fn inbox(
        &self,
        user_id: &str,
        before: Option<NotificationId>,
        limit: u32,
    ) -> Result<Inbox, RedisError> {
        self.store.find(user_id, before, limit).await
    }

    /// Notes that a user has read as far as `up_to`; how many are unread then.
    pub async fn read(&self, user_id: &str, up_to: NotificationId) -> Result<u64, RedisError> {
        self.store.mark_read(user_id, up_to).await
    }
}
