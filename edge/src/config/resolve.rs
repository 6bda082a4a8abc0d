//! From the file's words to the policy's values: names become indices, and every fault is collected.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::file::{self, File};
use super::policy::{Limit, Listen, Policy, RevocationSource, TokenPolicy, Upstream, UpstreamServer};
use super::routes::{Names, network, routes};
use super::told::Told;
use super::{Fault, Places, answers, files, transport};

/// Budgets are counted in nanoseconds a request; what is finer than a microsecond is a typing error.
const MAX_REQUESTS_PER_SECOND: u32 = 1_000_000;
/// A day.
const MAX_MS: u64 = 86_400_000;
/// Each further try makes an overload worse.
pub const MOST_RETRIES: usize = 3;
const ANSWER_TIMEOUT_MS: u64 = 10_000;

pub(super) fn resolve(file: File, folder: &Path, places: &Places<'_>) -> Result<Policy, Vec<Fault>> {
    let mut faults = Vec::new();
    let upstream_names: Vec<String> = file.upstreams.keys().cloned().collect();
    let hosts: Vec<String> = file.hosts.iter().map(|host| host.get_ref().to_ascii_lowercase()).collect();
    if file.hosts.is_empty() {
        faults.push(places.fault(0, "`hosts` is empty: every request would be refused"));
    }
    let trusted_proxies = file
        .trusted_proxies
        .iter()
        .filter_map(|text| {
            network(text.get_ref()).map_err(|e| faults.push(places.fault(text.span().start, e))).ok()
        })
        .collect();
    let upstreams = upstreams(file.upstreams, places, &mut faults);
    let limits = limits(file.limits, places, &mut faults);
    let tokens = tokens(file.tokens, &upstream_names, folder, places, &mut faults);
    let has_acme = file.acme.is_some();
    let tls = transport::tls(file.tls, has_acme, folder, places, &mut faults);
    let acme = file.acme.and_then(|acme| transport::acme(acme, folder, places, &mut faults));
    let connections = transport::connections(file.connections, places, &mut faults);
    let upgrade = transport::upgrade(file.upgrade, folder, places, &mut faults);
    let mut told = Told::new(places, &mut faults);
    let headers = answers::fields(&file.headers, &mut told);
    let hsts = file.hsts.map(|entry| answers::hsts(entry, &hosts, &mut told));
    let file_memory_bytes = file.files.map_or(0, |entry| files::memory(&entry, &mut told));
    let compression = file.compression.map(|entry| files::compression(&entry, &mut told));
    let names = Names { hosts: &hosts, upstreams: &upstream_names, limits: &limits, folder };
    let routes = routes(file.routes, &names, &mut told);
    if !faults.is_empty() {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        return Err(faults);
    }
    Ok(Policy {
        hosts,
        trusted_proxies,
        listen: Listen { https: file.listen.https, http: file.listen.http, admin: file.listen.admin },
        tls,
        acme,
        connections,
        grace: Duration::from_secs(file.shutdown.grace_seconds),
        upgrade,
        tokens,
        upstreams,
        limits,
        headers,
        hsts,
        file_memory_bytes,
        compression,
        routes,
    })
}

fn upstreams(
    named: BTreeMap<String, Spanned<file::Upstream>>,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for (name, entry) in named {
        let start = entry.span().start;
        let mut fault = |message: String| faults.push(places.fault(start, message));
        let upstream = entry.into_inner();
        let answer_timeout_ms = upstream.answer_timeout_ms.unwrap_or(ANSWER_TIMEOUT_MS);
        if upstream.servers.is_empty() {
            fault(format!("upstream `{name}` has no servers"));
        }
        if !upstream.health_path.starts_with('/') {
            fault(format!("upstream `{name}`: `health_path` starts with `/`"));
        }
        for (key, value) in [
            ("health_interval_ms", upstream.health_interval_ms),
            ("connect_timeout_ms", upstream.connect_timeout_ms),
            ("answer_timeout_ms", answer_timeout_ms),
            ("read_timeout_ms", upstream.read_timeout_ms),
            ("websocket_idle_ms", upstream.websocket_idle_ms),
        ] {
            if value == 0 {
                fault(format!("upstream `{name}`: `{key}` is at least 1"));
            }
            if value > MAX_MS {
                fault(format!("upstream `{name}`: `{key}` is at most {MAX_MS}"));
            }
        }
        if upstream.retries > MOST_RETRIES {
            fault(format!("upstream `{name}`: `retries` is at most {MOST_RETRIES}"));
        }
        upstreams.push(Upstream {
            name,
            servers: upstream
                .servers
                .iter()
                .map(|s| UpstreamServer { address: s.address, management: s.management })
                .collect(),
            health_path: upstream.health_path,
            health_interval: Duration::from_millis(upstream.health_interval_ms),
            connect_timeout: Duration::from_millis(upstream.connect_timeout_ms),
            balance: upstream.balance,
            answer_timeout: Duration::from_millis(answer_timeout_ms),
            read_timeout: Duration::from_millis(upstream.read_timeout_ms),
            websocket_idle: Duration::from_millis(upstream.websocket_idle_ms),
            retries: upstream.retries,
        });
    }
    upstreams
}

fn limits(
    named: BTreeMap<String, Spanned<file::Limit>>,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (name, entry) in named {
        let start = entry.span().start;
        let file::Limit { requests, seconds, by } = entry.into_inner();
        if requests == 0 || seconds == 0 {
            faults.push(
                places.fault(start, format!("limit `{name}`: `requests` and `seconds` are at least 1")),
            );
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            // The name stands in a structured field, quoted (RFC 9651).
            faults.push(
                places.fault(start, format!("limit `{name}`: a name has letters, digits, `-` and `_`")),
            );
        }
        if requests > MAX_REQUESTS_PER_SECOND.saturating_mul(seconds) {
            let message =
                format!("limit `{name}`: more than {MAX_REQUESTS_PER_SECOND} requests a second is no limit");
            faults.push(places.fault(start, message));
        }
        limits.push(Limit { name, requests, per: Duration::from_secs(seconds.into()), by });
    }
    limits
}

fn tokens(
    entry: Spanned<file::Tokens>,
    upstream_names: &[String],
    folder: &Path,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> TokenPolicy {
    let start = entry.span().start;
    let tokens = entry.into_inner();
    let upstream = upstream_names.iter().position(|name| *name == tokens.upstream).unwrap_or_else(|| {
        faults.push(places.fault(start, format!("no upstream is named `{}`", tokens.upstream)));
        0
    });
    if tokens.refresh_seconds == 0 {
        faults.push(places.fault(start, "`refresh_seconds` is at least 1"));
    }
    TokenPolicy {
        issuer: tokens.issuer,
        audience: tokens.audience,
        upstream,
        jwks_path: tokens.jwks_path,
        refresh: Duration::from_secs(tokens.refresh_seconds),
        revocations: tokens.revocations.and_then(|entry| revocations(entry, folder, places, faults)),
    }
}

/// `none` stands where a file that serves several places is told that there is no such source here.
fn revocations(
    entry: Spanned<file::Revocations>,
    folder: &Path,
    places: &Places<'_>,
    faults: &mut Vec<Fault>,
) -> Option<RevocationSource> {
    let start = entry.span().start;
    let file::Revocations { redis, password_file } = entry.into_inner();
    if redis == "none" {
        return None;
    }
    if redis::parse_redis_url(&redis).is_none() {
        faults
            .push(places.fault(start, format!("`{redis}` is no address of a Redis; `none` stands for none")));
    }
    Some(RevocationSource { redis, password_file: password_file.map(|file| folder.join(file)) })
}
