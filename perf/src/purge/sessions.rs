//! Redis: filled with sessions that have expired, and what they take.

use std::ops::RangeInclusive;
use std::process::Command;

use anyhow::{Context, ensure};

/// Sessions of one script: Redis answers nobody else meanwhile.
const AT_ONCE: usize = 5_000;

/// As the service writes them, of half as many users, used just now.
const FILL: &str = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local now = redis.call('TIME')[1] * 1000
    local id = string.format('01890a5d-ac96-774b-b000-%012x', i)
    local user = string.format('01890a5d-ac96-774b-a000-%012x', math.floor(i / 2))
    redis.call('HSET', 'session:' .. id, 'user', user, 'n', 1, 'created', now, 'last_used', now, 'rotated', now)
    redis.call('ZADD', 'sessions:by-last-use', now, id)
    redis.call('ZADD', 'sessions:user:' .. user, now, id)
end
return 'OK'";

/// Last used in 1970.
const EXPIRE: &str = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local id = string.format('01890a5d-ac96-774b-b000-%012x', i)
    redis.call('HSET', 'session:' .. id, 'last_used', i)
    redis.call('ZADD', 'sessions:by-last-use', i, id)
end
return 'OK'";

/// A Redis that may hold as much as is put into it for as long as this lives.
pub(super) struct Sessions {
    redis: Redis,
    maxmemory: String,
}

impl Sessions {
    pub(super) fn open(url: &str) -> anyhow::Result<Self> {
        let redis = Redis::parse(url)?;
        let answer = redis.cli(&["CONFIG", "GET", "maxmemory"])?;
        let maxmemory = answer.lines().nth(1).context("Redis has no maxmemory")?.to_owned();
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"])?;
        Ok(Self { redis, maxmemory })
    }

    /// Writes so many; the bytes that they take.
    pub(super) fn fill(&self, count: u32) -> anyhow::Result<u64> {
        let before = self.used()?;
        self.run(FILL, &(1..=u64::from(count)))?;
        Ok(self.used()?.saturating_sub(before))
    }

    /// Lets these of them expire.
    pub(super) fn expire(&self, piece: &RangeInclusive<u64>) -> anyhow::Result<()> {
        self.run(EXPIRE, piece)
    }

    fn run(&self, script: &str, piece: &RangeInclusive<u64>) -> anyhow::Result<()> {
        for first in piece.clone().step_by(AT_ONCE) {
            let last = (first + AT_ONCE as u64 - 1).min(*piece.end());
            let answer = self.redis.cli(&["EVAL", script, "0", &first.to_string(), &last.to_string()])?;
            ensure!(answer == "OK", "Redis: {answer}");
        }
        Ok(())
    }

    /// How many sessions there are.
    pub(super) fn count(&self) -> anyhow::Result<u64> {
        self.redis.cli(&["ZCARD", "sessions:by-last-use"])?.parse().context("a count")
    }

    fn used(&self) -> anyhow::Result<u64> {
        let info = self.redis.cli(&["INFO", "memory"])?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok()).context("Redis doesn't say what it uses")
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        let _ = self.redis.cli(&["CONFIG", "SET", "maxmemory", &self.maxmemory]);
    }
}

/// How Redis's own client finds it.
struct Redis {
    password: String,
    port: u16,
}

impl Redis {
    /// Reads `redis://:PASSWORD@127.0.0.1:PORT`; what is not on this machine is not filled.
    fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("redis://:").and_then(|rest| rest.rsplit_once("@127.0.0.1:"));
        let (password, port) =
            rest.context("the stack's Redis is not one with a password on this machine")?;
        Ok(Self { password: password.to_owned(), port: port.parse().context("Redis's port")? })
    }

    fn cli(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("redis-cli");
        // -e: an answer that is an error is one.
        command.args(["-e", "-p", &self.port.to_string()]).args(arguments);
        let output = command.env("REDISCLI_AUTH", &self.password).output().context("redis-cli")?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(output.status.success(), "redis-cli: {} {}", said(&output.stdout), said(&output.stderr));
        Ok(said(&output.stdout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redis_of_this_machine_is_filled() {
        let redis = Redis::parse("redis://:a:b@c@127.0.0.1:6399").expect("an address");
        assert_eq!((redis.password.as_str(), redis.port), ("a:b@c", 6399));
        for other in
            ["redis://127.0.0.1:6399", "redis://:secret@10.0.0.1:6399", "redis://:secret@127.0.0.1:x"]
        {
            assert!(Redis::parse(other).is_err(), "{other}");
        }
    }
}
