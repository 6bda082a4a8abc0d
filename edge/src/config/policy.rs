//! The policy as the rooms use it: every value valid, every reference resolved to an index.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use serde::Deserialize;

use super::acme::AcmePolicy;
use super::files::CompressionPolicy;
use super::route::{Fields, Route};

/// All that the edge does and lets pass.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Names this gateway answers for, lower case, without a port.
    pub hosts: Vec<String>,
    /// Peers that may say for whom they speak.
    pub trusted_proxies: Vec<IpNet>,
    /// Where it listens.
    pub listen: Listen,
    /// How connections are secured.
    pub tls: TlsPolicy,
    /// Which certificates are ordered and renewed by themselves.
    pub acme: Option<AcmePolicy>,
    /// How many connections there may be, how long each may take, how large a request may be.
    pub connections: ConnectionPolicy,
    /// How long requests in flight may still take once a stop was asked.
    pub grace: Duration,
    /// How another edge takes over from this one.
    pub upgrade: Upgrade,
    /// How access tokens are checked.
    pub tokens: TokenPolicy,
    /// Groups of equal servers; routes name them by index.
    pub upstreams: Vec<Upstream>,
    /// Named limits; routes name them by index.
    pub limits: Vec<Limit>,
    /// What every answer carries, unless a route says otherwise.
    pub headers: Fields,
    /// Hosts that are to be asked over HTTPS only, from now on.
    pub hsts: Option<Hsts>,
    /// What small files that are kept in memory may take; 0: none are.
    pub file_memory_bytes: usize,
    /// How answers are compressed; `None`: they aren't.
    pub compression: Option<CompressionPolicy>,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
}

/// The addresses that the edge listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: SocketAddr,
    /// Redirects to HTTPS.
    pub http: SocketAddr,
    /// Metrics, health and upstreams.
    pub admin: SocketAddr,
}

/// How another edge takes over from a running one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The Unix socket at which the running edge offers its listening sockets.
    pub socket: PathBuf,
    /// How long what is in flight may stay with the old one; WebSockets are told to go at its end.
    pub drain: Duration,
}

/// How connections are secured.
#[derive(Clone, Debug)]
pub struct TlsPolicy {
    /// The versions that are spoken; never empty.
    pub versions: Vec<TlsVersion>,
    /// Whether clients may resume a session by a ticket (RFC 5077; RFC 8446, section 2.2).
    pub session_tickets: bool,
    /// Where the tickets' keys are kept, so that they outlive this process and other edges share them; without it,
    /// they are this process's own.
    pub ticket_keys: Option<PathBuf>,
    /// A certificate that ends within this time is warned of.
    pub warn_before: Duration,
    /// The certificates. Which hosts one is for, it says itself.
    pub certificates: Vec<CertificateFiles>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246
    Tls12,
    /// RFC 8446
    Tls13,
}

/// Where a certificate chain and its key are, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key; it may be in the same file.
    pub private_key: PathBuf,
}

/// What clients' connections may cost.
#[derive(Clone, Debug)]
pub struct ConnectionPolicy {
    /// Open at once. While there are as many, the one that has waited longest for a request makes room.
    pub max: usize,
    /// What connections and their requests may take together: `door::capacity` says what each counts for.
    pub memory_bytes: usize,
    /// Of one address (IPv6: of one /64); trusted proxies may have more.
    pub max_per_address: usize,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// From a header's first byte to its last; for the first one of a connection, from the handshake's end.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// How a request's body must come along.
    pub body_pace: Pace,
    /// How a client must take its answer.
    pub write_pace: Pace,
    /// A request's header, with its request line.
    pub max_header_bytes: usize,
    /// The lines of a header.
    pub max_header_fields: usize,
    /// A path with its query.
    pub max_target_bytes: usize,
    /// A request's body.
    pub max_body_bytes: u64,
    /// What a client may send over an open WebSocket, bytes a second; twice as much at once.
    pub websocket_bytes_per_second: u64,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
}

/// How slow a transfer may be: `grace`, and a second more for each `bytes_per_second` that have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What everybody has.
    pub grace: Duration,
    /// What must have passed in each second beyond.
    pub bytes_per_second: u64,
}

impl Pace {
    /// How long a transfer may have taken once `bytes` have passed.
    pub fn allowance(&self, bytes: u64) -> Duration {
        self.grace + Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_per_second)
    }
}

/// Which access tokens are accepted, and where their keys come from.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// The upstream that publishes the keys (index into [`Policy::upstreams`]).
    pub upstream: usize,
    /// The path of the JWK Set there.
    pub jwks_path: String,
    /// How often it is read.
    pub refresh: Duration,
    /// Where revocations are learned from.
    pub revocations: Option<RevocationSource>,
}

/// The Redis that the backends tell revocations to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationSource {
    /// `redis://host:port` or `redis+unix:///path`.
    pub redis: String,
    /// The file that holds its password; read when a connection is made.
    pub password_file: Option<PathBuf>,
}

/// How requests are shared out among servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// To the one with the fewest requests at work; in turn among equals.
    LeastConnections,
}

/// Equal servers behind one name.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The name in the file; metrics carry it, responses don't.
    pub name: String,
    /// The servers.
    pub servers: Vec<UpstreamServer>,
    /// Asked at each server's management address; 200 means ready.
    pub health_path: String,
    /// How often.
    pub health_interval: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// Which server takes the next request.
    pub balance: Balance,
    /// How long an answer may take to begin, of a request that may be repeated on another server.
    pub answer_timeout: Duration,
    /// How long a server may be silent in the middle of an exchange.
    pub read_timeout: Duration,
    /// How long an open WebSocket may be silent, in both directions.
    pub websocket_idle: Duration,
    /// Further tries of a request that is safe to repeat.
    pub retries: usize,
}

/// One server of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamServer {
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it tells of its health.
    pub management: SocketAddr,
}

/// `requests` pass at once, then one each `per / requests`.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The name in the file and in the RateLimit fields.
    pub name: String,
    /// How many.
    pub requests: u32,
    /// In how long.
    pub per: Duration,
    /// Whose they are.
    pub by: LimitKey,
}

/// Whose requests a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKey {
    /// Those of one address (IPv6: one /64).
    #[default]
    Address,
    /// Those of one signed-in user.
    User,
    /// Those of one user from one address.
    Both,
}

impl fmt::Display for Limit {
    /// `login 10/60s`, with `by user` where it isn't by address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}s", self.name, self.requests, self.per.as_secs())?;
        match self.by {
            LimitKey::Address => Ok(()),
            LimitKey::User => f.write_str(" by user"),
            LimitKey::Both => f.write_str(" by user and address"),
        }
    }
}

/// Browsers are told to come by HTTPS only (RFC 6797).
#[derive(Clone, Debug)]
pub struct Hsts {
    /// For which hosts (indices into [`Policy::hosts`]); never `localhost` or an address.
    pub hosts: Vec<usize>,
    /// The field's value.
    pub value: HeaderValue,
}

impl Policy {
    /// The index of a name that this gateway answers for.
    pub fn host(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|host| host.eq_ignore_ascii_case(name))
    }
}
