//! `edge explain` and `edge policy`: what the policy would do with a request, and what it says as a whole. Nothing is
//! sent, and no budget of a running edge is used.

mod report;
mod settings;
mod table;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use access_token::KeySet;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

pub use report::{Decision, Noted, Report};
pub use settings::{Budget, Settings};
pub use table::{Row, render, rows};

use crate::admission::{Arrival, Known, NotAdmitted, Step, admit};
use crate::config::{Policy, Target, TokenRule};
use crate::guards::{Findings, Guards, KeyStore, TOKEN_GUARD, Verdict};
use crate::redirects;
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
    let (raw_path, query) =
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut report = Report::new(&question, authority, target);
    let Question { method, from, headers, keys, .. } = &question;
    let arrival = Arrival { method, authority, raw_path, headers, peer: SocketAddr::new(*from, 0) };
    let table = RouteTable::new(policy.routes.clone());
    let mut known = Known::default();
    let outcome = admit(policy, &table, &arrival, None, &mut known);
    let end = outcome.as_ref().err().map(|not_admitted| not_admitted.at);
    for step in [Step::Host, Step::Client, Step::Path] {
        if end.is_none_or(|end| step < end) {
            report.passed(step_name(step), &step_words(step, &arrival, &known));
        }
    }
    let matched = match outcome {
        Ok(matched) => matched,
        Err(NotAdmitted { at, problem }) => {
            return report.refused(step_name(at), &refusal_words(at, &arrival, policy), &problem);
        }
    };
    report.canonical = Some(known.path.clone());
    report.passed(step_name(Step::Route), &route_words(&matched, policy));
    let client = known.client.unwrap_or(*from);
    let view = RequestView {
        method,
        authority,
        path: &known.path,
        query: query.unwrap_or_default(),
        headers,
        client,
    };
    let (findings, preflight) = ask_guards(policy, keys.clone(), &view, &matched, &mut report);
    let settings = Settings::of(policy, &view, &matched, known.host, &findings, preflight.as_deref());
    report.settings = Some(settings);
    report.goes_to(&target_words(&matched, &known, query, policy));
    report
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Method => "method",
        Step::Host => "host",
        Step::Client => "client",
        Step::Path => "path",
        Step::Route => "route",
    }
}

fn step_words(step: Step, arrival: &Arrival<'_>, known: &Known) -> String {
    let peer = arrival.peer.ip();
    match (step, known.client) {
        (Step::Client, Some(client)) if client == peer.to_canonical() => {
            format!("{client}, the connection's own address")
        }
        (Step::Client, Some(client)) => format!("{client}, as the trusted proxy {peer} says"),
        (Step::Path, _) if known.path == arrival.raw_path => known.path.clone(),
        (Step::Path, _) => format!("{}, canonical for {}", known.path, arrival.raw_path),
        _ => arrival.authority.to_owned(),
    }
}

fn refusal_words(at: Step, arrival: &Arrival<'_>, policy: &Policy) -> String {
    match at {
        Step::Method => "the edge never forwards it".to_owned(),
        Step::Host => format!("{} is none of {}", arrival.authority, policy.hosts.join(", ")),
        Step::Client => "a trusted proxy sent an X-Forwarded-For entry that is no address".to_owned(),
        Step::Path => arrival.raw_path.to_owned(),
        Step::Route => "no route speaks for this path".to_owned(),
    }
}

/// Asks every guard, also behind one that refuses: the reader sees at once all that stands in the way.
fn ask_guards(
    policy: &Policy,
    keys: Option<KeySet>,
    view: &RequestView<'_>,
    matched: &Matched<'_>,
    report: &mut Report,
) -> (Findings, Option<Vec<(HeaderName, HeaderValue)>>) {
    let has_keys = keys.is_some();
    let store = Arc::new(KeyStore::default());
    store.store(keys.unwrap_or_default());
    let guards = Guards::new(policy, store, Arc::default(), None);
    let mut findings = Findings::default();
    let mut preflight = None;
    for guard in guards.in_order() {
        let is_undecided = guard.name() == TOKEN_GUARD
            && !has_keys
            && matches!(view.bearer(), Bearer::Token(_))
            && matched.route().token != TokenRule::None;
        let why = guard.looks_at(view, matched);
        if is_undecided {
            let why = format!("{why}; the token is not verified: give its keys with --jwks FILE");
            report.undecided(guard.name(), &why);
            continue;
        }
        match guard.check(view, matched, &mut findings) {
            Verdict::Skipped => report.skipped(guard.name(), &why),
            Verdict::Continue => report.passed(guard.name(), &why),
            Verdict::Respond(refusal) => report.refuse(guard.name(), &why, &refusal.problem),
            Verdict::Answer(answer) => {
                report.answered(guard.name(), &why, answer.status);
                preflight = preflight.or(Some(answer.headers));
            }
        }
        if preflight.is_some() {
            // What stands behind is about the request that is only announced.
            break;
        }
    }
    (findings, preflight)
}

fn route_words(matched: &Matched<'_>, policy: &Policy) -> String {
    let names: Vec<_> = matched.along_the_path().map(|route| words::pattern(route, policy)).collect();
    match names.as_slice() {
        [only] => format!("{only}, the only one that matches"),
        [first, wider @ ..] => {
            format!("{first}, the most specific; along the path also {}", wider.join(", "))
        }
        [] => unreachable!("the decisive route matches itself"),
    }
}

fn target_words(matched: &Matched<'_>, known: &Known, query: Option<&str>, policy: &Policy) -> String {
    let route = matched.route();
    match &route.target {
        Target::Upstream(index) => {
            let upstream = &policy.upstreams[*index];
            let servers: Vec<_> = upstream.servers.iter().map(|server| server.address.to_string()).collect();
            format!("upstream {} ({})", upstream.name, servers.join(", "))
        }
        Target::Files(files) => {
            let fallback = files.fallback.as_ref().map(|path| format!(", pages that aren't there by {path}"));
            format!("files below {}{}", files.folder.display(), fallback.unwrap_or_default())
        }
        Target::Redirect(redirect) => {
            let status = redirect.status.as_u16();
            match redirects::location(route, redirect, &known.path, query) {
                Some(location) => format!("{status} to {}", String::from_utf8_lossy(location.as_bytes())),
                None => "400, the query has an illegal byte".to_owned(),
            }
        }
        Target::Respond(answer) => {
            let content_type = String::from_utf8_lossy(answer.content_type.as_bytes());
            format!("{} {content_type}, {} bytes, always the same", answer.status.as_u16(), answer.body.len())
        }
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
