//! Sessions, kept in Redis: who is signed in, and which refresh token of each session is the current one.
//!
//! Rotation (RFC 9700, section 4.14.2): each use of a refresh token makes the next. The one that was just replaced
//! still gets the same successor for some seconds, so that tabs that refresh at the same moment all succeed; a yet
//! older one was stolen, or its thief was faster, and ends the session. Every step is one script, so that Redis
//! takes it as a whole. Redis' clock is the only one that counts. The end of a session whose access tokens may still live
//! is told to everybody who checks tokens, in the same step.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::redis::{Redis, RedisError, keys};

use super::refresh_token::RefreshToken;
use super::revocations::{NOW, REVOKE};

/// How long the just replaced refresh token gets its successor again.
const GRACE: Duration = Duration::from_secs(10);

/// A user's sessions at most; the oldest ends when another begins.
const MAX_PER_USER: u32 = 20;

/// However often its token is used, a session ends.
const MAX_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is kept of a client's description of itself, in characters.
const MAX_CLIENT_CHARS: usize = 200;

/// Sessions that nobody came back to are removed when others begin, this many at a time: they end faster than they
/// begin, and so can't fill Redis.
const MAX_SWEPT: u32 = 20;

/// Shared by the scripts: the end of a session.
const FINISH: &str = r"
local function finish(session, user, id)
    redis.call('DEL', session)
    redis.call('ZREM', ARGV[1], id)
    if user then redis.call('ZREM', ARGV[2] .. user, id) end
end
";

/// Key: the session. Arguments: index, prefix of a user's sessions, prefix of a session, id, user, maximum, idle time,
/// maximum of swept sessions, the client.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local now, id, user = now(), ARGV[4], ARGV[5]
local expired = redis.call('ZRANGEBYSCORE', ARGV[1], '-inf', '(' .. (now - ARGV[7]), 'LIMIT', 0, ARGV[8])
for _, old in ipairs(expired) do
    finish(ARGV[3] .. old, redis.call('HGET', ARGV[3] .. old, 'user'), old)
end
redis.call('HSET', KEYS[1], 'user', user, 'n', 1, 'created', now, 'last_used', now, 'rotated', now, 'client', ARGV[9])
redis.call('ZADD', ARGV[1], now, id)
redis.call('ZADD', ARGV[2] .. user, now, id)
local surplus = redis.call('ZCARD', ARGV[2] .. user) - ARGV[6]
if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', ARGV[2] .. user, 0, surplus - 1)) do
        finish(ARGV[3] .. old, user, old)
        revoke('session:' .. old, now)
    end
end
return 1",
    )
});

/// Key: the session. Arguments: index, prefix of a user's sessions, id, number, idle time, grace, the longest life.
///
/// A number above the session's is one of ours too: Redis may lose its last second in a crash, and a client must
/// not pay for it.
static ROTATE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local now, id, given = now(), ARGV[3], tonumber(ARGV[4])
local session = redis.call('HMGET', KEYS[1], 'user', 'n', 'last_used', 'rotated', 'created', 'client')
local user, n = session[1], tonumber(session[2])
if not user or not n then return {'ended', 0, ''} end
if now - tonumber(session[3] or 0) > tonumber(ARGV[5]) or now - tonumber(session[5] or 0) > tonumber(ARGV[7]) then
    finish(KEYS[1], user, id)
    return {'ended', 0, ''}
end
if given >= n then
    redis.call('HSET', KEYS[1], 'n', given + 1, 'last_used', now, 'rotated', now)
    redis.call('ZADD', ARGV[1], now, id)
    return {'rotated', given + 1, ''}
end
if given == n - 1 and now - tonumber(session[4] or 0) <= tonumber(ARGV[6]) then
    return {'rotated', n, ''}
end
finish(KEYS[1], user, id)
revoke('session:' .. id, now)
return {'reused', 0, session[6] or ''}",
    )
});

/// Key: the session. Arguments: index, prefix of a user's sessions, id, user or nothing. With a user it ends only a session
/// of theirs; whether it did. It is revoked even if Redis has no such session any more.
static END: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local user = redis.call('HGET', KEYS[1], 'user')
if ARGV[4] ~= '' and user ~= ARGV[4] then return 0 end
finish(KEYS[1], user, ARGV[3])
revoke('session:' .. ARGV[3], now())
return 1",
    )
});

/// Key: the user's sessions. Arguments: index, prefix of a user's sessions, prefix of a session, user.
static END_ALL: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local now = now()
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    finish(ARGV[3] .. id, ARGV[4], id)
end
revoke('user:' .. ARGV[4] .. ':' .. string.format('%d', now), now)
return 1",
    )
});

/// Argument: the user. Their access tokens no longer count; their sessions go on, and get others.
static OUTDATE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local now = now()
revoke('user:' .. ARGV[1] .. ':' .. string.format('%d', now), now)
return 1",
    )
});

/// Key: the user's sessions. Arguments: prefix of a session, idle time.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local oldest, found = now() - ARGV[2], {}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
    local session = redis.call('HMGET', ARGV[1] .. id, 'created', 'last_used', 'client')
    if session[2] and tonumber(session[2]) >= oldest then
        table.insert(found, {id, session[1] or '0', session[2], session[3] or ''})
    end
end
return found",
    )
});

/// Arguments: index, prefix of a user's sessions, prefix of a session, idle time, how many at most. Answers how many
/// it looked at, and how many of them it ended. The session itself has the last word on when it was last used.
static PURGE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local oldest, ended = now() - ARGV[4], 0
local ids = redis.call('ZRANGEBYSCORE', ARGV[1], '-inf', '(' .. oldest, 'LIMIT', 0, ARGV[5])
for _, id in ipairs(ids) do
    local session = redis.call('HMGET', ARGV[3] .. id, 'user', 'last_used')
    local last_used = tonumber(session[2] or 0)
    if last_used < oldest then
        finish(ARGV[3] .. id, session[1], id)
        ended = ended + 1
    else
        redis.call('ZADD', ARGV[1], last_used, id)
    end
end
return {#ids, ended}",
    )
});

fn script(body: &str) -> Script {
    Script::new(&format!("{NOW}{}{FINISH}{body}", *REVOKE))
}

/// A session as its user sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) created_at: EpochMillis,
    pub(super) last_used_at: EpochMillis,
    /// What the client that began it calls itself.
    pub(super) client: String,
}

/// The sessions of all users.
#[derive(Clone)]
pub(super) struct Sessions {
    redis: Redis,
    idle: Duration,
}

/// What became of a refresh token that was used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// The session goes on with this token.
    Rotated {
        /// What takes the old token's place.
        successor: RefreshToken,
    },
    /// There is no such session, or no longer.
    Ended,
    /// The token was used before: the session has been ended.
    Reused {
        /// What the client that began it calls itself.
        client: String,
    },
}

impl Sessions {
    /// Sessions that end when they lie unused for `idle`.
    pub(super) fn new(redis: Redis, idle: Duration) -> Self {
        Self { redis, idle }
    }

    /// How long a session may lie unused.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// Begins a session of this user on this client; the token is its first.
    pub(super) async fn begin(&self, user_id: &str, client: &str) -> Result<RefreshToken, RedisError> {
        let session_id = Uuid::now_v7().to_string();
        let mut script = BEGIN.prepare_invoke();
        script
            .key(keys::session(&session_id))
            .arg(keys::SESSIONS_BY_LAST_USE)
            .arg(keys::user_sessions(""))
            .arg(keys::session(""))
            .arg(&session_id)
            .arg(user_id)
            .arg(MAX_PER_USER)
            .arg(millis(self.idle))
            .arg(MAX_SWEPT)
            .arg(client.chars().take(MAX_CLIENT_CHARS).collect::<String>());
        self.redis.run::<i64>(&script).await?;
        Ok(RefreshToken { session_id, number: 1 })
    }

    /// Whose session this is, if it has not ended.
    pub(super) async fn find_user_id(&self, session_id: &str) -> Result<Option<String>, RedisError> {
        let mut command = ::redis::cmd("HGET");
        command.arg(keys::session(session_id)).arg("user");
        self.redis.query(&command).await
    }

    /// Uses a refresh token up.
    pub(super) async fn rotate(&self, token: &RefreshToken) -> Result<Rotation, RedisError> {
        let mut script = ROTATE.prepare_invoke();
        script
            .key(keys::session(&token.session_id))
            .arg(keys::SESSIONS_BY_LAST_USE)
            .arg(keys::user_sessions(""))
            .arg(&token.session_id)
            .arg(token.number)
            .arg(millis(self.idle))
            .arg(millis(GRACE))
            .arg(millis(MAX_LIFE));
        let (outcome, number, client): (String, u64, String) = self.redis.run(&script).await?;
        Ok(match outcome.as_str() {
            "rotated" => {
                let successor = RefreshToken { session_id: token.session_id.clone(), number };
                Rotation::Rotated { successor }
            }
            "reused" => Rotation::Reused { client },
            _ => Rotation::Ended,
        })
    }

    /// Ends a session; one that has ended already is no error.
    pub(super) async fn end(&self, session_id: &str) -> Result<(), RedisError> {
        self.end_if(session_id, "").await.map(drop)
    }

    /// Ends a session of this user; whether there was one.
    pub(super) async fn end_of(&self, user_id: &str, session_id: &str) -> Result<bool, RedisError> {
        self.end_if(session_id, user_id).await
    }

    async fn end_if(&self, session_id: &str, user_id: &str) -> Result<bool, RedisError> {
        let mut script = END.prepare_invoke();
        script
            .key(keys::session(session_id))
            .arg(keys::SESSIONS_BY_LAST_USE)
            .arg(keys::user_sessions(""))
            .arg(session_id)
            .arg(user_id);
        Ok(self.redis.run::<i64>(&script).await? == 1)
    }

    /// Ends all sessions of a user.
    pub(super) async fn end_all(&self, user_id: &str) -> Result<(), RedisError> {
        let mut script = END_ALL.prepare_invoke();
        script
            .key(keys::user_sessions(user_id))
            .arg(keys::SESSIONS_BY_LAST_USE)
            .arg(keys::user_sessions(""))
            .arg(keys::session(""))
            .arg(user_id);
        self.redis.run::<i64>(&script).await.map(drop)
    }

    /// Ends a user's access tokens, not their sessions: what the tokens say of the user has changed.
    pub(super) async fn outdate(&self, user_id: &str) -> Result<(), RedisError> {
        let mut script = OUTDATE.prepare_invoke();
        script.arg(user_id);
        self.redis.run::<i64>(&script).await.map(drop)
    }

    /// A user's sessions, the youngest first; at most as many as a user may have.
    pub(super) async fn list(&self, user_id: &str) -> Result<Vec<Session>, RedisError> {
        let mut script = LIST.prepare_invoke();
        script.key(keys::user_sessions(user_id)).arg(keys::session("")).arg(millis(self.idle));
        let found: Vec<(String, i64, i64, String)> = self.redis.run(&script).await?;
        let session = |(id, created, last_used, client)| Session {
            id,
            created_at: EpochMillis(created),
            last_used_at: EpochMillis(last_used),
            client,
        };
        Ok(found.into_iter().map(session).collect())
    }

    /// Takes out at most `limit` sessions that have lain unused for too long; how many it looked at, and took out.
    /// Redis serves nobody else meanwhile.
    pub(super) async fn purge(&self, limit: i64) -> Result<(i64, i64), RedisError> {
        let mut script = PURGE.prepare_invoke();
        script
            .arg(keys::SESSIONS_BY_LAST_USE)
            .arg(keys::user_sessions(""))
            .arg(keys::session(""))
            .arg(millis(self.idle))
            .arg(limit);
        self.redis.run(&script).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
