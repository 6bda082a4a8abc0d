//! The configuration: read once, strict, every fault said at once.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::Deserialize;

mod accounts;
mod database;
mod file;

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    /// What is allowed.
    pub mode: Mode,
    /// Where the process listens.
    pub listen: Listen,
    /// How it stops.
    pub shutdown: Shutdown,
    /// The database.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
    /// Tokens of ours.
    pub tokens: Tokens,
    /// Who is more than a user.
    pub accounts: Accounts,
    /// Where people reach the site, an origin.
    pub public_url: String,
    /// Who vouches for users.
    pub providers: Vec<Provider>,
    /// Vendors.
    pub vendors: Vendors,
    /// Reservations.
    pub reservations: Reservations,
    /// Chat.
    pub chat: Chat,
    /// Jobs.
    pub jobs: Jobs,
}

/// Where the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Before strangers.
    Production,
    /// On a developer's machine: an identity provider may vouch for anybody, in plain HTTP.
    Development,
}

/// The addresses of the two listeners.
#[derive(Debug)]
pub struct Listen {
    /// The service.
    pub api: SocketAddr,
    /// Health and metrics.
    pub management: SocketAddr,
}

/// The times of an orderly stop.
#[derive(Debug)]
pub struct Shutdown {
    /// How long the process goes on serving after it said that it isn't ready.
    pub drain: Duration,
    /// How long requests in flight may take afterwards.
    pub grace: Duration,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite:` and an absolute path, or `postgres://…` without a password.
    pub url: String,
    /// PostgreSQL's password, if it wants one.
    pub password: Option<SecretString>,
    /// What a commit survives.
    pub synchronous: Synchronous,
    /// Connections that only read; PostgreSQL's serve for both.
    pub readers: u32,
    /// Connections that write.
    pub writers: u32,
    /// Pages that each connection to SQLite keeps in memory, in KiB.
    pub page_cache_kib: u32,
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A power cut.
    Full,
    /// The end of the process; a power cut may take the last commits.
    Normal,
}

/// Redis.
#[derive(Debug)]
pub struct Redis {
    /// Where it is, without credentials.
    pub url: String,
    /// The password, if it wants one.
    pub password: Option<SecretString>,
    /// A command that takes longer counts as failed.
    pub timeout: Duration,
}

/// Access and refresh tokens.
#[derive(Debug)]
pub struct Tokens {
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// The folder of the signing keys.
    pub keys_dir: PathBuf,
    /// What refresh tokens are authenticated with, at least 32 bytes.
    pub refresh_secret: SecretSlice<u8>,
    /// How long a key is published before it signs.
    pub key_lead: Duration,
    /// The life of an access token.
    pub access: Duration,
    /// How long a refresh token may lie unused.
    pub refresh_idle: Duration,
}

/// When signing keys come and go.
#[derive(Clone, Copy, Debug)]
pub struct KeySchedule {
    /// How long a key is published before it signs.
    pub lead: Duration,
    /// How long a token lives.
    pub token_life: Duration,
}

/// Who is more than a user.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Identities that are admins.
    pub admins: HashSet<Identity>,
}

/// A user as a provider knows it; written `provider:sub`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The provider's id.
    pub provider: String,
    /// The user's id at the provider.
    pub sub: String,
}

/// An OpenID provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its id in our routes.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// `iss` of its id_tokens.
    pub issuer: String,
    /// Where its public keys are read.
    pub jwks_url: String,
    /// Where a browser is sent to sign in.
    pub authorization_url: String,
    /// Where a code is exchanged.
    pub token_url: String,
    /// What this site is called there.
    pub client_id: String,
    /// What it proves itself with; without one, only apps that hold an id_token can sign in.
    pub client_secret: Option<SecretString>,
    /// How it does so.
    pub client_authentication: ClientAuthentication,
    /// What is asked for, `openid` among it.
    pub scopes: Vec<String>,
    /// Client ids whose id_tokens are accepted, `client_id` among them.
    pub audiences: Vec<String>,
    /// How it tells of what happens to its users.
    pub events: Option<Events>,
    /// What it proves itself with then, where it doesn't sign.
    pub webhook_key: Option<SecretString>,
}

/// How a client says who it is at the token endpoint (OpenID Connect Core, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthentication {
    /// `client_secret_post`
    Form,
    /// `client_secret_basic`
    Basic,
}

/// How a provider tells of what happens to its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Events {
    /// Signed security event tokens (RFC 8417, RFC 8935).
    SecurityEventTokens,
    /// Kakao's webhook of users who unlink.
    KakaoUnlink,
}

/// Vendors.
#[derive(Clone, Copy, Debug)]
pub struct Vendors {
    /// How long a vendor's page may be served without asking the database.
    pub cache: Duration,
}

/// Reservations.
#[derive(Clone, Copy, Debug)]
pub struct Reservations {
    /// How long a place stays locked at most.
    pub lock: Duration,
    /// How long a booking that the vendor must approve keeps its place undecided.
    pub hold: Duration,
    /// How long a place is kept for whoever it was offered to.
    pub offer: Duration,
}

/// Chat.
#[derive(Clone, Copy, Debug)]
pub struct Chat {
    /// What may wait for a slow reader before its socket is closed.
    pub send_queue_bytes: usize,
    /// What may wait in all sockets' queues together before slow readers are closed sooner.
    pub total_queue_bytes: usize,
    /// Sockets a process.
    pub max_connections: usize,
}

/// Jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Where schedules are read, and days begin.
    pub time_zone: TimeZone,
    /// How often a backend looks for what is due.
    pub poll: Duration,
    /// A run whose backend says nothing for this long is taken over.
    pub lease: Duration,
    /// Jobs with another schedule than their own: five fields of cron by name.
    pub schedules: BTreeMap<String, String>,
}

/// Why a configuration was refused; displays every fault, one a line.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be used:", self.path.display())?;
        for fault in &self.faults {
            write!(f, "\n  {}", fault.trim_end().replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file and the secrets that it names.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (file, folder) = file::read(path)?;
        file.into_config(&folder).map_err(|faults| ConfigError { path: path.to_owned(), faults })
    }
}

impl Database {
    /// Whether it is SQLite, not PostgreSQL.
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with(database::SQLITE)
    }

    /// The database at this URL, for a tool. There may be a password in it; relative paths start at `folder`.
    pub fn by_url(url: &str, folder: &Path) -> Result<Self, String> {
        let (url, password) = database::parse_url(url, folder)?;
        Ok(Self {
            url,
            password,
            synchronous: Synchronous::Full,
            readers: 1,
            writers: 1,
            page_cache_kib: 2048,
        })
    }

    /// The database at this URL, with the settings of tests.
    #[cfg(test)]
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            password: None,
            synchronous: Synchronous::Normal,
            readers: 2,
            writers: 2,
            page_cache_kib: 2048,
        }
    }
}

impl Tokens {
    /// The bytes that refresh tokens are authenticated with.
    pub fn refresh_secret(&self) -> &[u8] {
        self.refresh_secret.expose_secret()
    }

    /// When signing keys come and go.
    pub fn key_schedule(&self) -> KeySchedule {
        KeySchedule { lead: self.key_lead, token_life: self.access }
    }
}

/// The folder of the signing keys, which a file names. The secrets need not be there yet.
pub fn keys_dir(path: &Path) -> Result<PathBuf, ConfigError> {
    let (file, folder) = file::read(path)?;
    Ok(file.keys_dir(&folder))
}
