//! From a route's words to its values. Every fault stands at the word that is wrong; what no single word is to blame for
//! stands at the route.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use access_token::Role;
use http::Method;
use ipnet::IpNet;
use toml::Spanned;

use super::answers::{self, host};
use super::file::{self, OneOrMany};
use super::files;
use super::pattern::{Extent, Pattern};
use super::policy::{Limit, LimitKey};
use super::route::{ClaimName, ClaimRule, Route, Target, Tie, TokenRule, origin};
use super::told::Told;

/// What routes refer to.
pub(super) struct Names<'a> {
    pub(super) hosts: &'a [String],
    pub(super) upstreams: &'a [String],
    pub(super) limits: &'a [Limit],
    pub(super) folder: &'a Path,
}

pub(super) fn routes(
    entries: Vec<Spanned<file::Route>>,
    names: &Names<'_>,
    told: &mut Told<'_>,
) -> Vec<Route> {
    let mut starts = Vec::new();
    let mut routes = Vec::new();
    for entry in entries {
        let (start, faults) = (entry.span().start, told.count());
        let route = route(entry.into_inner(), start, names, told);
        if let Some(route) = route.filter(|_| told.count() == faults) {
            starts.push(start);
            routes.push(route);
        }
    }
    ties(&routes, &starts, told);
    routes
}

fn route(file: file::Route, start: usize, names: &Names<'_>, told: &mut Told<'_>) -> Option<Route> {
    let pattern = pattern(&file, start, told);
    let target = target(&file, start, names, told);
    let token = match file.token {
        file::Token::None => TokenRule::None,
        file::Token::Optional => TokenRule::Optional,
        file::Token::Required => TokenRule::Required,
    };
    let claims = claims(&file, told);
    check_together(&file, start, told);
    let route = Route {
        pattern: pattern?,
        target: target?,
        hosts: told.each(&file.hosts, |name| host(name, names.hosts)),
        methods: told.each(&file.methods, method),
        allow: file.allow.as_ref().map(|list| told.each(list, network)),
        deny: told.each(&file.deny, network),
        limits: told.each(&file.limits, |name| limit(name, names.limits, token)),
        token,
        roles: told.each(&file.roles, |name| name.parse::<Role>().map_err(|error| error.to_string())),
        claims,
        websocket: file.websocket,
        origins: told.each(&file.origins, origin),
        read_timeout: read_timeout(&file, told),
        max_body_bytes: file.max_body_bytes,
        cors: file.cors.as_ref().map(|entry| answers::cors(entry, told)),
        compress: file.compress,
        headers: answers::fields(&file.headers, told),
    };
    if let Target::Redirect(redirect) = &route.target
        && redirect.keep_path
        && route.pattern.extent() == Extent::Exact
    {
        told.at(start, "`keep_path` needs `below`: an exact path has nothing below it");
    }
    Some(route)
}

fn pattern(file: &file::Route, start: usize, told: &mut Told<'_>) -> Option<Pattern> {
    let parse = |extent| move |text: &str| Pattern::parse(text, extent).map_err(|e| format!("`{text}`: {e}"));
    match (&file.below, &file.exact) {
        (Some(path), None) => told.one(path, parse(Extent::Below)),
        (None, Some(path)) => told.one(path, parse(Extent::Exact)),
        _ => {
            told.at(start, "a route has either `below` or `exact`");
            None
        }
    }
}

fn target(file: &file::Route, start: usize, names: &Names<'_>, told: &mut Told<'_>) -> Option<Target> {
    match (&file.upstream, &file.files, &file.redirect, &file.respond) {
        (Some(name), None, None, None) => told.one(name, |name| upstream(name, names)).map(Target::Upstream),
        (None, Some(entry), None, None) => files::folder(entry, names.folder, told).map(Target::Files),
        (None, None, Some(entry), None) => answers::redirect(entry, told).map(Target::Redirect),
        (None, None, None, Some(entry)) => answers::fixed(entry, told).map(Target::Respond),
        _ => {
            told.at(start, "a route has one of `upstream`, `files`, `redirect` and `respond`");
            None
        }
    }
}

fn claims(file: &file::Route, told: &mut Told<'_>) -> Vec<ClaimRule> {
    let Some(entry) = &file.claims else { return Vec::new() };
    if file.token != file::Token::Required {
        told.about(entry, "`claims` needs `token = \"required\"`");
    }
    let file::Claims { iss, aud, sub, sid, role, jti } = entry.get_ref();
    let named = [
        (ClaimName::Iss, iss),
        (ClaimName::Aud, aud),
        (ClaimName::Sub, sub),
        (ClaimName::Sid, sid),
        (ClaimName::Role, role),
        (ClaimName::Jti, jti),
    ];
    let mut rules = Vec::new();
    for (claim, value) in named {
        let Some(value) = value else { continue };
        let values = match value.get_ref() {
            OneOrMany::One(text) => vec![text.clone()],
            OneOrMany::Many(texts) => texts.clone(),
        };
        if values.is_empty() {
            told.about(value, format!("no value of `{}` would do: nobody could pass", claim.as_str()));
        }
        for text in values.iter().filter(|_| claim == ClaimName::Role) {
            if let Err(error) = text.parse::<Role>() {
                told.about(value, error.to_string());
            }
        }
        rules.push(ClaimRule { claim, values });
    }
    rules
}

fn read_timeout(file: &file::Route, told: &mut Told<'_>) -> Option<Duration> {
    let read_ms = &file.timeouts.as_ref()?.get_ref().read_ms;
    if *read_ms.get_ref() == 0 {
        told.about(read_ms, "`read_ms` is at least 1");
    }
    Some(Duration::from_millis(*read_ms.get_ref()))
}

/// Keys that mean something only beside others.
fn check_together(file: &file::Route, start: usize, told: &mut Told<'_>) {
    if let Some(first) = file.roles.first()
        && file.token != file::Token::Required
    {
        told.about(first, "`roles` needs `token = \"required\"`");
    }
    if file.websocket && file.token == file::Token::None {
        told.at(start, "a WebSocket needs `token`, \"optional\" or \"required\": a client without an Origin is let in by its token");
    }
    if file.websocket && file.upstream.is_none() {
        told.at(start, "a WebSocket needs `upstream`");
    }
    if let Some(first) = file.origins.first()
        && !file.websocket
    {
        told.about(first, "`origins` needs `websocket = true`; `cors` is for requests");
    }
    if let Some(timeouts) = &file.timeouts {
        if file.upstream.is_none() {
            told.about(timeouts, "`timeouts` needs `upstream`");
        }
        if file.websocket {
            told.about(timeouts, "a WebSocket may be silent for its upstream's `websocket_idle_ms`");
        }
    }
}

/// Two routes that would both be the most specific for some request are a fault: no order of the file decides.
fn ties(routes: &[Route], starts: &[usize], told: &mut Told<'_>) {
    for (later, route) in routes.iter().enumerate() {
        for (earlier, other) in routes[..later].iter().enumerate() {
            let Some(tie) = route.tie(other) else { continue };
            let line = told.line(starts[earlier]);
            let (ours, theirs) = (&route.pattern, &other.pattern);
            let message = match tie {
                Tie::Same => format!("the same host, path and method as the route of line {line}: `{ours}`"),
                Tie::Crossing => format!(
                    "`{ours}` and `{theirs}` (line {line}) match some paths in common, and neither is narrower"
                ),
            };
            told.at(starts[later], message);
        }
    }
}

fn upstream(name: &str, names: &Names<'_>) -> Result<usize, String> {
    let index = names.upstreams.iter().position(|known| known == name);
    index.ok_or_else(|| format!("no upstream is named `{name}`"))
}

fn limit(name: &str, limits: &[Limit], token: TokenRule) -> Result<usize, String> {
    let index = limits.iter().position(|limit| limit.name == name);
    let index = index.ok_or_else(|| format!("no limit is named `{name}`"))?;
    match limits[index].by {
        LimitKey::User | LimitKey::Both if token == TokenRule::None => {
            Err(format!("the limit `{name}` counts users, and this route looks at no `token`"))
        }
        _ => Ok(index),
    }
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    match text {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {
            Ok(Method::from_bytes(text.as_bytes()).expect("a standard method"))
        }
        _ => Err(format!("`{text}` is not a method that the edge forwards")),
    }
}

/// A network in CIDR form, or a single address. Host bits that are set are a typing error, not a network.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| format!("`{text}` is not a network such as 10.0.0.0/8"))?;
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!("`{text}` has host bits set; the network is `{}`", network.trunc())),
    }
}
