//! Telling users something, and showing them what they were told.

use serde_json::Value;

use crate::redis::{Redis, RedisError};

use super::model::{Inbox, NotificationId};
use super::store::{self, Store};

/// Kind and data of one notification, as JSON: 500 of each user stay in memory.
const MAX_BYTES: usize = 1024;

/// The notifications of all users. Cloning it is cheap.
#[derive(Clone)]
pub struct Notifications(Store);

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
        Self(Store::new(redis))
    }

    /// Tells a user something; the id that it got.
    pub async fn notify(&self, user_id: &str, kind: &str, data: Value) -> Result<String, NotifyError> {
        let content = store::content(kind, data);
        if content.len() > MAX_BYTES {
            return Err(NotifyError::TooLong);
        }
        Ok(self.0.insert(user_id, &content).await?)
    }

    /// At most `limit` of what a user was told, the newest first, from before `before` on.
    pub async fn inbox(
        &self,
        user_id: &str,
        before: Option<NotificationId>,
        limit: u32,
    ) -> Result<Inbox, RedisError> {
        self.0.find(user_id, before, limit).await
    }

    /// Notes that a user has read as far as `up_to`; how many are unread then.
    pub async fn read(&self, user_id: &str, up_to: NotificationId) -> Result<u64, RedisError> {
        self.0.mark_read(user_id, up_to).await
    }
}
