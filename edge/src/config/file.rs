//! The configuration file as it is written: serde types, one to one with `config/edge.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::policy::LimitKey;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    pub(super) listen: Listen,
    pub(super) tls: Spanned<Tls>,
    pub(super) connections: Spanned<Connections>,
    pub(super) acme: Option<Spanned<Acme>>,
    pub(super) shutdown: Shutdown,
    pub(super) tokens: Spanned<Tokens>,
    pub(super) upstreams: BTreeMap<String, Spanned<Upstream>>,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Spanned<Limit>>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shutdown {
    pub(super) grace_seconds: u64,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) below: Option<String>,
    pub(super) exact: Option<String>,
    #[serde(default)]
    pub(super) methods: Vec<String>,
    pub(super) allow: Option<Vec<String>>,
    #[serde(default)]
    pub(super) limits: Vec<String>,
    #[serde(default)]
    pub(super) token: Token,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) upstream: Option<String>,
    pub(super) files: Option<PathBuf>,
    #[serde(default)]
    pub(super) websocket: bool,
    #[serde(default)]
    pub(super) origins: Vec<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Token {
    #[default]
    None,
    Optional,
    Required,
}
