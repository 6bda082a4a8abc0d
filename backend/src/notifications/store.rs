//! Notifications in Redis.
//!
//! A user's are a sorted set without a TTL, scored by their moments; what has been read is one marker, a moment as
//! well. An index holds the users by the moment of their oldest, so that whatever is too old is found without
//! looking at anybody else. Every step is one script: Redis takes it as a whole, and nothing falls between two.
//! Redis' clock is the only one that counts.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Script, ScriptInvocation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::redis::{Redis, RedisError, keys, script};

use super::model::{Inbox, Notification, NotificationId};

/// A user's notifications at most; the oldest goes when another comes.
pub(super) const MAX_PER_USER: u32 = 500;

/// How long one is kept.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A backend that ended after it had brought one is replaced sooner.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// One script of the job stops looking at further users when it has removed so many: Redis serves nobody else
/// meanwhile.
const MAX_REMOVED: u32 = 500;

/// Where an id's moment ends and the rest begins, in its text.
const MOMENT_CHARACTERS: usize = "01890a5d-ac96".len();

/// Shared by the scripts: the moment before which everything is too old.
const PRELUDE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = now - ARGV[1]
";

/// Keys: the user's, the marker, the index. Arguments: how long they are kept, user, rest of the id, content, maximum.
/// Answers the id.
///
/// Each is later than the user's newest and than what has been read, so that a clock that goes back hides nothing.
const INSERT_BODY: &str = r"
local newest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or 0)
local at = math.max(now, newest + 1, (redis.call('GET', KEYS[2]) or 0) + 1)
local id = string.format('%08x-%04x', math.floor(at / 65536), at % 65536) .. ARGV[3]
redis.call('ZADD', KEYS[1], at, id .. ' ' .. ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[5])
redis.call('ZADD', KEYS[3], redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2], ARGV[2])
return id";

static INSERT: LazyLock<Script> = LazyLock::new(|| of(INSERT_BODY));

/// The same, with the key of what was brought before and, last, how long that is remembered. Answers nothing where it was.
static INSERT_ONCE: LazyLock<Script> = LazyLock::new(|| {
    of(&format!(
        "if not redis.call('SET', KEYS[4], 1, 'NX', 'PX', ARGV[6]) then return '' end\n{INSERT_BODY}"
    ))
});

/// Keys: the user's, the marker. Arguments: how long they are kept, where to begin, how many. Answers the marker, how
/// many are unread, and the members. What the job hasn't come to yet is too old all the same.
static FIND: LazyLock<Script> = LazyLock::new(|| {
    of(r"
local marker = tonumber(redis.call('GET', KEYS[2]) or 0)
local unread = redis.call('ZCOUNT', KEYS[1], math.max(oldest, marker + 1), '+inf')
return {marker, unread, redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[2], oldest, 'LIMIT', 0, ARGV[3])}")
});

/// Keys: the user's, the marker. Arguments: how long they are kept, the moment up to which was read. Answers how many
/// are unread. The marker goes forward only, and no further than there are notifications.
static MARK_READ: LazyLock<Script> = LazyLock::new(|| {
    of(r"
local newest = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or 0)
local marker = tonumber(redis.call('GET', KEYS[2]) or 0)
local up_to = math.min(tonumber(ARGV[2]), newest)
if up_to > marker then
    redis.call('SET', KEYS[2], up_to)
    marker = up_to
end
return redis.call('ZCOUNT', KEYS[1], math.max(oldest, marker + 1), '+inf')")
});

/// Key: the index. Arguments: how long they are kept, prefix of a user's, prefix of a marker, how many users at most,
/// how many notifications are enough. Answers how many users it looked at, and how many notifications it removed.
static TRIM: LazyLock<Script> = LazyLock::new(|| {
    of(r"
local looked_at, removed = 0, 0
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest, 'LIMIT', 0, ARGV[4])) do
    local key = ARGV[2] .. user
    removed = removed + redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. oldest)
    looked_at = looked_at + 1
    local left = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if left then
        redis.call('ZADD', KEYS[1], left, user)
    else
        redis.call('ZREM', KEYS[1], user)
        redis.call('DEL', ARGV[3] .. user)
    end
    if removed >= tonumber(ARGV[5]) then break end
end
return {looked_at, removed}")
});

fn of(body: &str) -> Script {
    script(&format!("{PRELUDE}{body}"))
}

/// What a member holds behind its id.
#[derive(Serialize, Deserialize)]
struct Content {
    kind: String,
    data: Value,
}

/// The notifications of all users.
#[derive(Clone)]
pub(super) struct Store(Redis);

impl Store {
    pub(super) fn new(redis: Redis) -> Self {
        Self(redis)
    }

    /// Writes one behind all others of the user; `content` is what [`content`] made.
    pub(super) async fn insert(&self, user_id: &str, content: &str) -> Result<String, RedisError> {
        let id = Uuid::now_v7().to_string();
        self.0.run(&insertion(&INSERT, user_id, &id, content)).await
    }

    /// The same, unless it was done before under this id.
    pub(super) async fn insert_once(
        &self,
        once_id: &str,
        user_id: &str,
        content: &str,
    ) -> Result<(), RedisError> {
        let mut script = insertion(&INSERT_ONCE, user_id, once_id, content);
        script.key(keys::brought_notification(once_id)).arg(millis(REMEMBERED));
        self.0.run::<String>(&script).await.map(drop)
    }

    /// At most `limit`, the newest first, from before `before` on.
    pub(super) async fn find(
        &self,
        user_id: &str,
        before: Option<NotificationId>,
        limit: u32,
    ) -> Result<Inbox, RedisError> {
        let mut script = FIND.prepare_invoke();
        script
            .key(keys::notifications(user_id))
            .key(keys::notifications_read(user_id))
            .arg(millis(KEPT))
            .arg(before.map_or_else(|| "+inf".to_owned(), |id| format!("({}", id.moment().0)))
            .arg(limit);
        let (marker, unread, members): (i64, u64, Vec<String>) = self.0.run(&script).await?;
        let items = members.iter().filter_map(|member| {
            let notification = parse(member, marker);
            if notification.is_none() {
                tracing::warn!(user = user_id, "a notification that can't be read is left out");
            }
            notification
        });
        Ok(Inbox { items: items.collect(), unread })
    }

    /// Notes that the user has read as far as `up_to`; how many are unread then.
    pub(super) async fn mark_read(&self, user_id: &str, up_to: NotificationId) -> Result<u64, RedisError> {
        let mut script = MARK_READ.prepare_invoke();
        script
            .key(keys::notifications(user_id))
            .key(keys::notifications_read(user_id))
            .arg(millis(KEPT))
            .arg(up_to.moment().0);
        self.0.run(&script).await
    }

    /// Removes what is too old of at most `users` users; how many it looked at, and how many notifications it removed.
    pub(super) async fn trim(&self, users: i64) -> Result<(i64, i64), RedisError> {
        let mut script = TRIM.prepare_invoke();
        script
            .key(keys::NOTIFICATIONS_BY_OLDEST)
            .arg(millis(KEPT))
            .arg(keys::notifications(""))
            .arg(keys::notifications_read(""))
            .arg(users)
            .arg(MAX_REMOVED);
        self.0.run(&script).await
    }
}

fn insertion<'a>(script: &'a Script, user_id: &str, id: &str, content: &str) -> ScriptInvocation<'a> {
    let mut script = script.prepare_invoke();
    script
        .key(keys::notifications(user_id))
        .key(keys::notifications_read(user_id))
        .key(keys::NOTIFICATIONS_BY_OLDEST)
        .arg(millis(KEPT))
        .arg(user_id)
        .arg(&id[MOMENT_CHARACTERS..])
        .arg(content)
        .arg(MAX_PER_USER);
    script
}

/// What is stored of a notification besides its id.
pub(super) fn content(kind: &str, data: Value) -> String {
    let content = Content { kind: kind.to_owned(), data };
    serde_json::to_string(&content).expect("text and JSON are JSON")
}

fn parse(member: &str, marker: i64) -> Option<Notification> {
    let (id, content) = member.split_once(' ')?;
    let (id, content) = (NotificationId::parse(id)?, serde_json::from_str::<Content>(content).ok()?);
    let created_at = id.moment();
    let Content { kind, data } = content;
    Some(Notification { id, kind, data, created_at, read: created_at.0 <= marker })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
