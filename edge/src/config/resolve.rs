//! From the file's words to the policy's values: names become indices, and every fault is collected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use access_token::Role;
use http::Method;
use ipnet::IpNet;
use toml::Spanned;

use super::file::{self, File};
use super::pattern::{Extent, Pattern};
use super::policy::{
    Limit, Listen, Policy, RevocationSource, Route, Target, TokenPolicy, TokenRule, Upstream, UpstreamServer,
};
use super::{Fault, Places, transport};

/// Budgets are counted in nanoseconds a request; what is finer than a microsecond is a typing error.
const MAX_REQUESTS_PER_SECOND: u32 = 1_000_000;

pub(super) fn resolve(file: File, folder: &Path, places: &Places<'_>) -> Result<Policy, Vec<Fault>> {
    let mut faults = Vec::new();
    let upstream_names: Vec<String> = file.upstreams.keys().cloned().collect();
    let limit_names: Vec<String> = file.limits.keys().cloned().collect();
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
    let names = Names { upstreams: &upstream_names, limits: &limit_names, folder };
    let mut spans = Vec::new();
    let mut routes = Vec::new();
    for entry in file.routes {
        let start = entry.span().start;
        match route(entry.into_inner(), &names) {
            Ok(route) => {
                spans.push(start);
                routes.push(route);
            }
            Err(messages) => faults.extend(messages.into_iter().map(|m| places.fault(start, m))),
        }
    }
    ties(&routes, &spans, places, &mut faults);
    if !faults.is_empty() {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        return Err(faults);
    }
    Ok(Policy {
        hosts: file.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        trusted_proxies,
        listen: Listen { https: file.listen.https, http: file.listen.http, admin: file.listen.admin },
        tls,
        acme,
        connections,
        grace: Duration::from_secs(file.shutdown.grace_seconds),
        tokens,
        upstreams,
        limits,
        routes,
    })
}

struct Names<'a> {
    upstreams: &'a [String],
    limits: &'a [String],
    folder: &'a Path,
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
        if upstream.servers.is_empty() {
            fault(format!("upstream `{name}` has no servers"));
        }
        if !upstream.health_path.starts_with('/') {
            fault(format!("upstream `{name}`: `health_path` starts with `/`"));
        }
        for (key, value) in [
            ("health_interval_ms", upstream.health_interval_ms),
            ("connect_timeout_ms", upstream.connect_timeout_ms),
            ("read_timeout_ms", upstream.read_timeout_ms),
            ("websocket_idle_ms", upstream.websocket_idle_ms),
        ] {
            if value == 0 {
                fault(format!("upstream `{name}`: `{key}` is at least 1"));
            }
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

fn route(route: file::Route, names: &Names<'_>) -> Result<Route, Vec<String>> {
    let mut faults = Vec::new();
    let pattern = match (&route.below, &route.exact) {
        (Some(path), None) => Pattern::parse(path, Extent::Below).map_err(|e| format!("`{path}`: {e}")),
        (None, Some(path)) => Pattern::parse(path, Extent::Exact).map_err(|e| format!("`{path}`: {e}")),
        _ => Err("a route has either `below` or `exact`".to_owned()),
    };
    let pattern = pattern.map_err(|message| faults.push(message)).ok();
    let methods = collect(&route.methods, &mut faults, method);
    let allow = route.allow.map(|list| collect(&list, &mut faults, network));
    let limits = collect(&route.limits, &mut faults, |name| index(names.limits, name, "limit"));
    let roles = collect(&route.roles, &mut faults, |name| name.parse::<Role>().map_err(|e| e.to_string()));
    let target = match (&route.upstream, route.files) {
        (Some(name), None) => index(names.upstreams, name, "upstream").map(Target::Upstream),
        (None, Some(folder)) => Ok(Target::Files(names.folder.join(folder))),
        _ => Err("a route has either `upstream` or `files`".to_owned()),
    };
    let target = target.map_err(|message| faults.push(message)).ok();
    let token = match route.token {
        file::Token::None => TokenRule::None,
        file::Token::Optional => TokenRule::Optional,
        file::Token::Required => TokenRule::Required,
    };
    if !roles.is_empty() && token != TokenRule::Required {
        faults.push("`roles` needs `token = \"required\"`".to_owned());
    }
    if route.websocket && token == TokenRule::None {
        faults.push("a WebSocket needs `token`, \"optional\" or \"required\": a client without an Origin is let in by its token".to_owned());
    }
    if !route.websocket && !route.origins.is_empty() {
        faults.push("`origins` needs `websocket = true`".to_owned());
    }
    match (pattern, target) {
        (Some(pattern), Some(target)) if faults.is_empty() => Ok(Route {
            pattern,
            methods,
            allow,
            limits,
            token,
            roles,
            target,
            websocket: route.websocket,
            origins: route.origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        }),
        _ => Err(faults),
    }
}

/// Two routes that would both be the most specific for some request are a fault: no order of the file decides.
fn ties(routes: &[Route], spans: &[usize], places: &Places<'_>, faults: &mut Vec<Fault>) {
    for (later, route) in routes.iter().enumerate() {
        for (earlier, other) in routes[..later].iter().enumerate() {
            let (ours, theirs) = (&route.pattern, &other.pattern);
            let line = places.fault(spans[earlier], "").line;
            if ours.covers(theirs) && theirs.covers(ours) {
                if methods_tie(&route.methods, &other.methods) {
                    let message = format!("the same path and method as the route of line {line}: `{ours}`");
                    faults.push(places.fault(spans[later], message));
                }
            } else if ours.overlaps(theirs) && !ours.covers(theirs) && !theirs.covers(ours) {
                let message = format!(
                    "`{ours}` and `{theirs}` (line {line}) match some paths in common, and neither is narrower"
                );
                faults.push(places.fault(spans[later], message));
            }
        }
    }
}

/// A route that names methods is narrower than one that doesn't; two of the same kind must not meet.
fn methods_tie(a: &[Method], b: &[Method]) -> bool {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => true,
        (false, false) => a.iter().any(|method| b.contains(method)),
        _ => false,
    }
}

fn collect<T>(
    texts: &[String],
    faults: &mut Vec<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    texts.iter().filter_map(|text| parse(text).map_err(|message| faults.push(message)).ok()).collect()
}

fn index(names: &[String], name: &str, what: &str) -> Result<usize, String> {
    names.iter().position(|n| n == name).ok_or_else(|| format!("no {what} is named `{name}`"))
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {
            Ok(Method::from_bytes(text.as_bytes()).expect("a standard method"))
        }
        _ => Err(format!("`{text}` is not a method that the edge forwards")),
    }
}

/// A network in CIDR form, or a single address. Host bits that are set are a typing error, not a network.
fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| format!("`{text}` is not a network such as 10.0.0.0/8"))?;
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!("`{text}` has host bits set; the network is `{}`", network.trunc())),
    }
}
