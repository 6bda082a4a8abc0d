//! The file as it is written, and its way into a [`Config`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::{SecretSlice, SecretString};
use serde::Deserialize;

use super::accounts::{AccountsTable, ProviderTable, accounts, providers};
use super::database::{DatabaseTable, database};
use super::{Chat, Config, ConfigError, Jobs, Listen, Mode, Redis, Reservations, Shutdown, Tokens, Vendors};

/// A key that is shorter than the hash can be guessed sooner than the hash be broken (RFC 2104, section 3).
const MIN_SECRET_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    mode: Mode,
    public_url: String,
    listen: ListenTable,
    shutdown: ShutdownTable,
    database: DatabaseTable,
    redis: RedisTable,
    tokens: TokensTable,
    accounts: AccountsTable,
    providers: Vec<ProviderTable>,
    vendors: VendorsTable,
    reservations: ReservationsTable,
    chat: ChatTable,
    jobs: JobsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenTable {
    api: SocketAddr,
    management: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShutdownTable {
    drain_ms: u64,
    grace_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisTable {
    url: String,
    password_file: Option<PathBuf>,
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensTable {
    issuer: String,
    audience: String,
    keys_dir: PathBuf,
    refresh_secret_file: PathBuf,
    key_lead_seconds: u64,
    access_minutes: u64,
    refresh_idle_days: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorsTable {
    cache_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReservationsTable {
    lock_ms: u64,
    hold_minutes: u64,
    offer_minutes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatTable {
    send_queue_bytes: usize,
    total_queue_bytes: usize,
    max_connections: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobsTable {
    time_zone: String,
    poll_ms: u64,
    lease_ms: u64,
    #[serde(default)]
    schedules: BTreeMap<String, String>,
}

/// The parsed file, and the folder that its relative paths start at.
pub(super) fn read(path: &Path) -> Result<(File, PathBuf), ConfigError> {
    let fault = |text: String| ConfigError { path: path.to_owned(), faults: vec![text] };
    let absolute = std::path::absolute(path).map_err(|e| fault(e.to_string()))?;
    let text = std::fs::read_to_string(&absolute).map_err(|e| fault(e.to_string()))?;
    let text = config_text::from_environment(&text).map_err(|unset| ConfigError {
        path: path.to_owned(),
        faults: unset.iter().map(|unset| format!("line {}: {unset}", unset.line)).collect(),
    })?;
    let file = toml::from_str(&text).map_err(|e| fault(e.to_string()))?;
    Ok((file, absolute.parent().unwrap_or(Path::new("/")).to_owned()))
}

/// The faults found so far; each names its key.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, key: &str, fault: impl std::fmt::Display) {
        self.0.push(format!("{key}: {fault}"));
    }

    pub(super) fn require(&mut self, holds: bool, key: &str, fault: &str) {
        if !holds {
            self.add(key, fault);
        }
    }
}

impl File {
    pub(super) fn keys_dir(&self, folder: &Path) -> PathBuf {
        folder.join(&self.tokens.keys_dir)
    }

    pub(super) fn into_config(self, folder: &Path) -> Result<Config, Vec<String>> {
        let mut faults = Faults::default();
        let keys_dir = self.keys_dir(folder);
        let config = Config {
            mode: self.mode,
            listen: Listen { api: self.listen.api, management: self.listen.management },
            shutdown: Shutdown {
                drain: Duration::from_millis(self.shutdown.drain_ms),
                grace: Duration::from_secs(self.shutdown.grace_seconds),
            },
            database: database(self.database, folder, &mut faults),
            redis: redis(self.redis, folder, &mut faults),
            accounts: accounts(&self.accounts, &self.providers, &mut faults),
            providers: providers(self.providers, self.mode, &mut faults),
            public_url: origin(&self.public_url, &mut faults),
            tokens: tokens(self.tokens, self.mode, keys_dir, folder, &mut faults),
            vendors: Vendors { cache: Duration::from_secs(self.vendors.cache_seconds) },
            reservations: reservations(&self.reservations, &mut faults),
            chat: Chat {
                send_queue_bytes: self.chat.send_queue_bytes,
                total_queue_bytes: self.chat.total_queue_bytes,
                max_connections: self.chat.max_connections,
            },
            jobs: jobs(self.jobs, &mut faults),
        };
        faults.require(config.vendors.cache.as_secs() > 0, "vendors.cache_seconds", "expected at least 1");
        faults.require(
            config.chat.send_queue_bytes >= 64 * 1024,
            "chat.send_queue_bytes",
            "expected at least 65536, room for two of the largest messages",
        );
        faults.require(
            config.chat.total_queue_bytes >= config.chat.send_queue_bytes,
            "chat.total_queue_bytes",
            "expected at least chat.send_queue_bytes",
        );
        faults.require(config.chat.max_connections > 0, "chat.max_connections", "expected at least 1");
        if faults.0.is_empty() { Ok(config) } else { Err(faults.0) }
    }
}

fn reservations(table: &ReservationsTable, faults: &mut Faults) -> Reservations {
    let ReservationsTable { lock_ms, hold_minutes, offer_minutes } = *table;
    let week = 7 * 24 * 60;
    faults.require((100..=60_000).contains(&lock_ms), "reservations.lock_ms", "expected 100 to 60000");
    for (key, minutes) in
        [("reservations.hold_minutes", hold_minutes), ("reservations.offer_minutes", offer_minutes)]
    {
        faults.require((1..=week).contains(&minutes), key, "expected 1 to 10080");
    }
    let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
    Reservations {
        lock: Duration::from_millis(lock_ms),
        hold: minutes(hold_minutes),
        offer: minutes(offer_minutes),
    }
}

/// Scheme, host and port, without a slash at the end.
fn origin(text: &str, faults: &mut Faults) -> String {
    let url = reqwest::Url::parse(text).ok();
    let is_origin =
        |url: &reqwest::Url| url.scheme() == "https" && url.path() == "/" && url.query().is_none();
    match url.filter(is_origin) {
        Some(url) => url.origin().ascii_serialization(),
        None => {
            faults.add("public_url", "expected https://HOST or https://HOST:PORT");
            String::new()
        }
    }
}

fn redis(table: RedisTable, folder: &Path, faults: &mut Faults) -> Redis {
    let known = ["redis://", "unix://", "redis+unix://"].iter().any(|scheme| table.url.starts_with(scheme));
    faults.require(known, "redis.url", "expected redis:// or unix://");
    faults.require((10..=60_000).contains(&table.timeout_ms), "redis.timeout_ms", "expected 10 to 60000");
    let password = table
        .password_file
        .and_then(|file| secret(&folder.join(file), "redis.password_file", faults))
        .map(SecretString::from);
    Redis { url: table.url, password, timeout: Duration::from_millis(table.timeout_ms) }
}

fn tokens(table: TokensTable, mode: Mode, keys_dir: PathBuf, folder: &Path, faults: &mut Faults) -> Tokens {
    let key = "tokens.refresh_secret_file";
    let secret = secret(&folder.join(table.refresh_secret_file), key, faults);
    if let Some(secret) = &secret {
        faults.require(secret.len() >= MIN_SECRET_BYTES, key, "the secret has less than 32 bytes");
    }
    faults.require(!table.issuer.is_empty(), "tokens.issuer", "expected a name");
    faults.require(!table.audience.is_empty(), "tokens.audience", "expected a name");
    // Verifiers refuse what lives longer, since revocations are remembered for so long.
    let longest = access_token::MAX_LIFETIME.as_secs() / 60;
    let message = "expected 1 to 15";
    faults.require((1..=longest).contains(&table.access_minutes), "tokens.access_minutes", message);
    faults.require(
        (1..=365).contains(&table.refresh_idle_days),
        "tokens.refresh_idle_days",
        "expected 1 to 365",
    );
    // The edge reads the keys each minute, and may fail to for some.
    let shortest = if mode == Mode::Production { 300 } else { 1 };
    let message = "expected 300 (5 minutes) to 86400";
    faults.require((shortest..=86_400).contains(&table.key_lead_seconds), "tokens.key_lead_seconds", message);
    Tokens {
        issuer: table.issuer,
        audience: table.audience,
        keys_dir,
        refresh_secret: SecretSlice::from(secret.unwrap_or_default().into_bytes()),
        key_lead: Duration::from_secs(table.key_lead_seconds),
        access: Duration::from_secs(table.access_minutes.saturating_mul(60)),
        refresh_idle: Duration::from_secs(table.refresh_idle_days.saturating_mul(24 * 3600)),
    }
}

fn jobs(table: JobsTable, faults: &mut Faults) -> Jobs {
    let time_zone = TimeZone::get(&table.time_zone).unwrap_or_else(|_| {
        faults.add("jobs.time_zone", "expected the name of an IANA time zone");
        TimeZone::UTC
    });
    faults.require((10..=60_000).contains(&table.poll_ms), "jobs.poll_ms", "expected 10 to 60000");
    faults.require((500..=600_000).contains(&table.lease_ms), "jobs.lease_ms", "expected 500 to 600000");
    Jobs {
        time_zone,
        poll: Duration::from_millis(table.poll_ms),
        lease: Duration::from_millis(table.lease_ms),
        schedules: table.schedules,
    }
}

/// The file's text without the line's end.
pub(super) fn secret(path: &Path, key: &str, faults: &mut Faults) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            faults.add(key, format!("{} is empty", path.display()));
            None
        }
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            faults.add(key, format!("{}: {error}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// The shipped file in an environment that has what it asks for.
    static SHIPPED: LazyLock<String> = LazyLock::new(|| {
        let client_id = |name: &str| (name == "GOOGLE_CLIENT_ID").then(|| "client".to_owned());
        config_text::expand(include_str!("../../../config/backend.toml"), client_id).expect("it has all")
    });

    /// A folder as the shipped configuration expects it, with `text` in `config/backend.toml`.
    fn written(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for sub in ["config", "var/secrets"] {
            std::fs::create_dir_all(folder.path().join(sub)).expect("made");
        }
        std::fs::write(folder.path().join("config/backend.toml"), text).expect("written");
        std::fs::write(folder.path().join("var/secrets/redis-password"), "secret\n").expect("written");
        std::fs::write(folder.path().join("var/secrets/refresh-secret"), "0123456789abcdef".repeat(2))
            .expect("written");
        folder
    }

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::load(&written(text).path().join("config/backend.toml"))
    }

    #[test]
    fn the_shipped_configuration_is_valid() {
        let config = load(&SHIPPED).expect("valid");
        assert_eq!(config.tokens.access, Duration::from_secs(900));
        assert!(config.database.url.ends_with("config/../var/daemun.db"), "{}", config.database.url);
        assert!(!format!("{config:?}").contains("0123456789abcdef"), "secrets stay out of logs");
    }

    #[test]
    fn all_faults_are_reported_at_once_one_a_line() {
        let text = SHIPPED
            .replace("sqlite:../var/daemun.db", "mysql://x")
            .replace("readers = 4", "readers = 0")
            .replace("google:admin", "nobody:admin")
            .replace("refresh-secret", "missing");
        let message = load(&text).expect_err("four faults").to_string();
        for key in ["database.url", "database.readers", "accounts.admins", "tokens.refresh_secret_file"] {
            assert!(message.contains(&format!("\n  {key}: ")), "{key} in {message}");
        }
        assert_eq!(message.lines().count(), 5, "{message}");
    }

    #[test]
    fn in_production_nobody_vouches_for_users_in_plain_http() {
        let plain = SHIPPED.replace("https://accounts.google.com", "http://127.0.0.1:9000/google");
        let message = load(&plain).expect_err("refused").to_string();
        assert!(message.contains("providers `google`: in production"), "{message}");
        load(&plain.replace("mode = \"production\"", "mode = \"development\""))
            .expect("allowed in development");
    }

    #[test]
    fn a_variable_that_is_asked_for_and_missing_is_told_with_its_line() {
        let message = load(&format!("{}\n[x]\ny = \"${{DAEMUN_TEST_NOBODY_SETS_THIS}}\"", *SHIPPED));
        let message = message.expect_err("refused").to_string();
        assert!(message.contains("DAEMUN_TEST_NOBODY_SETS_THIS is not set"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let message = load(&SHIPPED.replace("[chat]", "[chat]\nspeed = 1")).expect_err("refused").to_string();
        assert!(message.contains("speed") && message.contains("line"), "{message}");
    }

    #[test]
    fn the_keys_folder_is_known_before_the_secrets_are() {
        let folder = written(&SHIPPED);
        std::fs::remove_dir_all(folder.path().join("var")).expect("removed");
        let dir = super::super::keys_dir(&folder.path().join("config/backend.toml")).expect("known");
        assert!(dir.ends_with("var/keys"), "{}", dir.display());
    }
}
