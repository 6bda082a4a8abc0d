//! `edge explain` and `edge policy`: what the policy would do with a request, and what it says as a whole. Nothing is
//! sent, and no budget of a running edge is used.

mod report;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use access_token::KeySet;
use http::{HeaderMap, Method, header};

pub use report::{Decision, Report, Step};
pub use table::{Row, render, rows};

use crate::client_ip::client_ip;
use crate::config::{Policy, Route, Target, TokenRule};
use crate::guards::{Findings, Guard, Guards, KeyStore, ORDER, Verdict};
use crate::path::canonicalise;
use crate::problem::Problem;
use crate::redirect::host_name;
use crate::request::{Bearer, RequestView};
use crate::routes::{Matched, RouteTable};

/// A request to be explained.
pub struct Question {
    /// The method.
    pub method: Method,
    /// `https://host[:port]/path?query`, or a path alone (then of the policy's first host).
    pub url: String,
    /// The connection's address.
    pub from: IpAddr,
    /// The request's fields.
    pub headers: HeaderMap,
    /// The keys that its token is verified with, if they are at hand.
    pub keys: Option<KeySet>,
}

/// Walks a request through the policy as the gateway would, and notes why each step decides as it does.
pub fn explain(policy: &Policy, question: Question) -> Report {
    let (authority, target) = split(&question.url, policy);
    let raw_path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut report = Report::new(&question, authority, target);
    if matches!(question.method, Method::CONNECT | Method::TRACE) {
        return report.refused("method", "the edge never forwards it", &Problem::method_not_allowed());
    }
    if !policy.hosts.iter().any(|host| host.eq_ignore_ascii_case(host_name(authority))) {
        let why = format!("{authority} is none of {}", policy.hosts.join(", "));
        return report.refused("host", &why, &Problem::misdirected());
    }
    report.passed("host", authority);
    let peer = SocketAddr::new(question.from, 0);
    let Some(client) = client_ip(peer, &question.headers, &policy.trusted_proxies) else {
        let why = "a trusted proxy sent an X-Forwarded-For entry that is no address";
        return report.refused(
            "client",
            why,
            &Problem::bad_request("X-Forwarded-For has an entry that is no address."),
        );
    };
    report.passed("client", &client_words(client, question.from));
    let path = match canonicalise(raw_path) {
        Ok(path) => path,
        Err(error) => return report.refused("path", raw_path, &Problem::bad_request(error.to_string())),
    };
    report.passed(
        "path",
        &if path == raw_path { path.to_string() } else { format!("{path}, canonical for {raw_path}") },
    );
    let table = RouteTable::new(policy.routes.clone());
    let Some(matched) = table.find(&question.method, &path) else {
        return report.refused("route", "no route speaks for this path", &Problem::not_found());
    };
    report.passed("route", &route_words(&matched));
    let view =
        RequestView { method: &question.method, authority, path: &path, headers: &question.headers, client };
    ask_guards(policy, question.keys, &view, &matched, &mut report);
    report.goes_to(&target_words(matched.route(), policy));
    report
}

/// Asks every guard, also behind one that refuses: the reader sees at once all that stands in the way.
fn ask_guards(
    policy: &Policy,
    keys: Option<KeySet>,
    view: &RequestView<'_>,
    matched: &Matched<'_>,
    report: &mut Report,
) {
    let has_keys = keys.is_some();
    let store = Arc::new(KeyStore::default());
    store.store(keys.unwrap_or_default());
    let guards = Guards::new(policy, store);
    let mut findings = Findings::default();
    for guard in ORDER {
        let name = name(guard);
        let is_undecided = guard == Guard::Token
            && !has_keys
            && matches!(view.bearer(), Bearer::Token(_))
            && matched.route().token != TokenRule::None;
        let why = guard_words(guard, policy, view, matched);
        if is_undecided {
            report.undecided(
                name,
                &format!("{why}; the token is not verified: give its keys with --jwks FILE"),
            );
            continue;
        }
        match guards.ask(guard, view, matched, &mut findings) {
            Verdict::Skipped => report.skipped(name, &why),
            Verdict::Continue => report.passed(name, &why),
            Verdict::Respond(refusal) => report.refuse(name, &why, &refusal.problem),
        }
    }
}

fn name(guard: Guard) -> &'static str {
    match guard {
        Guard::Allowlist => "allowlist",
        Guard::RateLimits => "limits",
        Guard::Origin => "origin",
        Guard::Token => "token",
    }
}

fn guard_words(guard: Guard, policy: &Policy, view: &RequestView<'_>, matched: &Matched<'_>) -> String {
    let route = matched.route();
    match guard {
        Guard::Allowlist => {
            let lists: Vec<_> = matched.along_the_path().filter_map(|route| route.allow.as_ref()).collect();
            match lists.is_empty() {
                true => "no allowlist along the path".to_owned(),
                false => lists.iter().map(|list| table::networks(list)).collect::<Vec<_>>().join(" and "),
            }
        }
        Guard::RateLimits => {
            let limits = matched.along_the_path().flat_map(|route| &route.limits);
            let words: Vec<_> = limits.map(|index| table::limit(&policy.limits[*index])).collect();
            if words.is_empty() {
                "no limit along the path".into()
            } else {
                format!("one of {}", words.join(", "))
            }
        }
        Guard::Origin if !route.websocket => "not a WebSocket route".to_owned(),
        Guard::Origin => match view.origin() {
            Some(Ok(origin)) => format!("Origin {origin}; own: https://{}", view.authority),
            Some(Err(())) => "the Origin can't be read".to_owned(),
            None => "no Origin: let in by a token only".to_owned(),
        },
        Guard::Token => {
            let sent = match view.bearer() {
                Bearer::Absent => "none sent",
                Bearer::Malformed => "a malformed one sent",
                Bearer::Token(_) => "one sent",
            };
            format!("{}, {sent}", table::token(route))
        }
    }
}

fn client_words(client: IpAddr, from: IpAddr) -> String {
    match client == from.to_canonical() {
        true => format!("{client}, the connection's own address"),
        false => format!("{client}, as the trusted proxy {from} says"),
    }
}

fn route_words(matched: &Matched<'_>) -> String {
    let names: Vec<_> = matched.along_the_path().map(table::pattern).collect();
    match names.as_slice() {
        [only] => format!("{only}, the only one that matches"),
        [first, wider @ ..] => {
            format!("{first}, the most specific; along the path also {}", wider.join(", "))
        }
        [] => unreachable!("the decisive route matches itself"),
    }
}

fn target_words(route: &Route, policy: &Policy) -> String {
    match &route.target {
        Target::Upstream(index) => {
            let upstream = &policy.upstreams[*index];
            let servers: Vec<_> = upstream.servers.iter().map(|server| server.address.to_string()).collect();
            format!("upstream {} ({})", upstream.name, servers.join(", "))
        }
        Target::Files(folder) => format!("files below {}", folder.display()),
    }
}

/// Authority and target of a URL, untouched: a URL library would tidy what is to be explained.
fn split<'a>(url: &'a str, policy: &'a Policy) -> (&'a str, &'a str) {
    let rest = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    match rest {
        Some((_, rest)) => match rest.find(['/', '?']) {
            Some(end) if rest[end..].starts_with('/') => rest.split_at(end),
            Some(end) => (&rest[..end], "/"),
            None => (rest, "/"),
        },
        None => (policy.hosts.first().map_or("", String::as_str), url),
    }
}

/// The fields of a question: `Name: value` texts, and a token as its `Authorization`.
pub fn headers(fields: &[String], token: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) =
            field.split_once(':').ok_or_else(|| anyhow::anyhow!("`{field}` is not `Name: value`"))?;
        let name: header::HeaderName =
            name.trim().parse().map_err(|_| anyhow::anyhow!("`{name}` is not a field's name"))?;
        let value = value.trim().parse().map_err(|_| anyhow::anyhow!("`{value}` is not a field's value"))?;
        headers.append(name, value);
    }
    if let Some(token) = token {
        let value = format!("Bearer {token}")
            .parse()
            .map_err(|_| anyhow::anyhow!("the token has an illegal byte"))?;
        headers.append(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
