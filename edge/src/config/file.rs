//! The configuration file as it is written: serde types, one to one with `config/edge.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::policy::{Balance, LimitKey};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) hosts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    pub(super) listen: Listen,
    pub(super) tls: Spanned<Tls>,
    pub(super) connections: Spanned<Connections>,
    pub(super) acme: Option<Spanned<Acme>>,
    pub(super) shutdown: Shutdown,
    pub(super) upgrade: Spanned<Upgrade>,
    pub(super) tokens: Spanned<Tokens>,
    pub(super) upstreams: BTreeMap<String, Spanned<Upstream>>,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Spanned<Limit>>,
    #[serde(default)]
    pub(super) headers: Fields,
    pub(super) hsts: Option<Spanned<Hsts>>,
    pub(super) files: Option<Spanned<FileMemory>>,
    pub(super) compression: Option<Spanned<Compression>>,
    pub(super) routes: Vec<Spanned<Route>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) https: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) admin: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) versions: Vec<Spanned<String>>,
    pub(super) session_tickets: bool,
    pub(super) ticket_keys: Option<PathBuf>,
    pub(super) warn_days: u64,
    #[serde(default)]
    pub(super) certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) private_key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acme {
    pub(super) directory: String,
    #[serde(default)]
    pub(super) contact: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) challenge: Challenge,
    pub(super) state: PathBuf,
    pub(super) roots: Option<PathBuf>,
    pub(super) renew_days: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Challenge {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connections {
    pub(super) max: usize,
    pub(super) memory_mib: usize,
    pub(super) max_per_address: usize,
    pub(super) handshake_timeout_ms: u64,
    pub(super) header_timeout_ms: u64,
    pub(super) idle_timeout_ms: u64,
    pub(super) body_timeout_ms: u64,
    pub(super) body_bytes_per_second: u64,
    pub(super) write_timeout_ms: u64,
    pub(super) write_bytes_per_second: u64,
    pub(super) max_header_bytes: usize,
    pub(super) max_header_fields: usize,
    pub(super) max_target_bytes: usize,
    pub(super) max_body_bytes: u64,
    pub(super) max_streams: u32,
    pub(super) websocket_bytes_per_second: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shutdown {
    pub(super) grace_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    pub(super) socket: PathBuf,
    pub(super) drain_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) upstream: String,
    pub(super) jwks_path: String,
    pub(super) refresh_seconds: u64,
    pub(super) revocations: Option<Spanned<Revocations>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocations {
    pub(super) redis: String,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) servers: Vec<Server>,
    pub(super) health_path: String,
    pub(super) health_interval_ms: u64,
    pub(super) connect_timeout_ms: u64,
    #[serde(default)]
    pub(super) balance: Balance,
    pub(super) answer_timeout_ms: Option<u64>,
    pub(super) read_timeout_ms: u64,
    pub(super) websocket_idle_ms: u64,
    pub(super) retries: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) management: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) requests: u32,
    pub(super) seconds: u32,
    #[serde(default)]
    pub(super) by: LimitKey,
}

/// A field's name and what it is set to.
pub(super) type Fields = BTreeMap<Spanned<String>, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hsts {
    pub(super) hosts: Vec<Spanned<String>>,
    pub(super) max_age_seconds: u64,
    #[serde(default)]
    pub(super) include_subdomains: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) below: Option<Spanned<String>>,
    pub(super) exact: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) hosts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) methods: Vec<Spanned<String>>,
    pub(super) allow: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) deny: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) limits: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) token: Token,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    pub(super) claims: Option<Spanned<Claims>>,
    pub(super) upstream: Option<Spanned<String>>,
    pub(super) files: Option<Spanned<Files>>,
    pub(super) redirect: Option<Spanned<Redirect>>,
    pub(super) respond: Option<Spanned<Respond>>,
    #[serde(default)]
    pub(super) websocket: bool,
    #[serde(default)]
    pub(super) origins: Vec<Spanned<String>>,
    pub(super) timeouts: Option<Spanned<Timeouts>>,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) cors: Option<Spanned<Cors>>,
    pub(super) compress: Option<bool>,
    #[serde(default)]
    pub(super) headers: Fields,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Token {
    #[default]
    None,
    Optional,
    Required,
}

/// The claims that a token of ours has, and that a condition can be put on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) iss: Option<Spanned<OneOrMany>>,
    pub(super) aud: Option<Spanned<OneOrMany>>,
    pub(super) sub: Option<Spanned<OneOrMany>>,
    pub(super) sid: Option<Spanned<OneOrMany>>,
    pub(super) role: Option<Spanned<OneOrMany>>,
    pub(super) jti: Option<Spanned<OneOrMany>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// `"FOLDER"`, or a table.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) fallback: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesTable {
    pub(super) folder: PathBuf,
    pub(super) fallback: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMemory {
    pub(super) memory_kib: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compression {
    pub(super) codings: Vec<Spanned<String>>,
    pub(super) level: u8,
    pub(super) min_bytes: u64,
    pub(super) memory_kib: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redirect {
    pub(super) to: Spanned<String>,
    pub(super) status: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) keep_path: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Respond {
    pub(super) status: Spanned<u16>,
    pub(super) content_type: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) read_ms: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    pub(super) origins: Vec<Spanned<String>>,
    pub(super) methods: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) headers: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) credentials: bool,
    pub(super) max_age_seconds: u32,
}
