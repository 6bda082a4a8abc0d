//! Which routes a request meets, as one table of regular expressions.
//!
//! The edge takes the most specific route that matches, and adds up the lists and limits of all that do. The table has
//! its routes in that order, and nginx takes the first expression that fits: that is the same. Where a wider route holds
//! for some hosts or methods only, the narrower one stands there several times, once for each set of routes that it can
//! meet with: a *case*. All else in the configuration follows from the case.

use std::time::Duration;

use http::Method;

use super::writer::{Writer, literal, quoted};
use super::{Inexpressible, PATH_BYTES};
use crate::config::{Cors, Extent, Part, Pattern, Policy, Route};
use crate::routes::RouteTable;

/// Stands for every method that no route names.
const OTHER: &str = "X-OTHER";

/// A route that decides, and all that hold with it.
pub(super) struct Case<'a> {
    /// Its name in the configuration.
    pub(super) name: String,
    pub(super) route: &'a Route,
    /// All routes that match, narrowest first, the deciding one among them.
    pub(super) along: Vec<&'a Route>,
    pub(super) max_body_bytes: u64,
    pub(super) read_timeout: Option<Duration>,
    pub(super) may_compress: bool,
    pub(super) cors: Option<&'a Cors>,
    /// The expression for host, method and path.
    expression: String,
}

/// Methods that some route names, and one that stands for all others.
pub(super) fn methods(policy: &Policy) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    let named = policy.routes.iter().flat_map(|route| &route.methods);
    let cors = policy.routes.iter().filter_map(|route| route.cors.as_ref()).flat_map(|cors| &cors.methods);
    for method in named.chain(cors) {
        if !methods.contains(method) {
            methods.push(method.clone());
        }
    }
    methods.push(Method::from_bytes(OTHER.as_bytes()).expect("a token"));
    methods
}

/// The table's cases, in the order in which they are looked for.
pub(super) fn cases<'a>(
    policy: &Policy,
    table: &'a RouteTable,
    methods: &'a [Method],
) -> Result<Vec<Case<'a>>, Vec<Inexpressible>> {
    let mut cases = Vec::new();
    let mut faults = Vec::new();
    for (index, (route, _)) in table.all().enumerate() {
        let path = match path_expression(&route.pattern) {
            Ok(path) => path,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let groups = groups(policy, table, index, methods);
        let is_one = groups.len() == 1;
        for (number, (along, meetings)) in groups.into_iter().enumerate() {
            let (host, method) = meetings[0];
            let matched = table.matched(index, method, host);
            let suffix = if is_one { String::new() } else { format!("-{}", number + 1) };
            let condition = if is_one { own_condition(route) } else { condition(&meetings, methods) };
            cases.push(Case {
                name: format!("{}{suffix}", index + 1),
                route,
                along: along.iter().map(|index| table.get(*index)).collect(),
                max_body_bytes: matched.max_body_bytes().unwrap_or(policy.connections.max_body_bytes),
                read_timeout: matched.read_timeout(),
                may_compress: matched.may_compress(),
                cors: matched.cors(),
                expression: format!("~^{condition} {path}"),
            });
        }
    }
    if faults.is_empty() { Ok(cases) } else { Err(faults) }
}

/// A host and a method.
type Meeting<'a> = (usize, &'a Method);

/// The sets of routes that one which decides can meet with, and for which hosts and methods each is.
fn groups<'a>(
    policy: &Policy,
    table: &RouteTable,
    index: usize,
    methods: &'a [Method],
) -> Vec<(Vec<usize>, Vec<Meeting<'a>>)> {
    let route = table.get(index);
    let mut groups: Vec<(Vec<usize>, Vec<Meeting<'a>>)> = Vec::new();
    let is_first = |host: &usize| policy.host(&policy.hosts[*host]) == Some(*host);
    // Another route of the same path that names hosts or methods comes before.
    let narrower: Vec<_> = table
        .all()
        .take(index)
        .map(|(route, _)| route)
        .filter(|other| other.pattern == route.pattern)
        .collect();
    for host in (0..policy.hosts.len()).filter(|host| is_first(host) && route.has_host(*host)) {
        for method in methods.iter().filter(|method| route.has_method(method)) {
            if narrower.iter().any(|other| other.has_host(host) && other.has_method(method)) {
                continue;
            }
            let matched = table.matched(index, method, host);
            let place = |wanted: &Route| table.all().position(|(route, _)| std::ptr::eq(route, wanted));
            let along: Vec<_> = matched.along_the_path().filter_map(place).collect();
            match groups.iter_mut().find(|(known, _)| *known == along) {
                Some((_, meetings)) => meetings.push((host, method)),
                None => groups.push((along, vec![(host, method)])),
            }
        }
    }
    groups
}

fn own_condition(route: &Route) -> String {
    let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
    let methods: Vec<_> = route.methods.iter().map(ToString::to_string).collect();
    let hosts = if hosts.is_empty() { "[0-9]+".to_owned() } else { one_of(&hosts) };
    let methods = if methods.is_empty() { "[^ ]+".to_owned() } else { one_of(&methods) };
    format!("{hosts} {methods}")
}

fn condition(meetings: &[Meeting<'_>], methods: &[Method]) -> String {
    let named: Vec<_> =
        methods.iter().map(Method::as_str).filter(|name| *name != OTHER).map(str::to_owned).collect();
    let other = match named.is_empty() {
        true => "[^ ]+".to_owned(),
        false => format!("(?!{} )[^ ]+", one_of(&named)),
    };
    let word = |method: &Method| match method.as_str() {
        OTHER => other.clone(),
        name => name.to_owned(),
    };
    let mut of_methods: Vec<(Vec<&Method>, Vec<String>)> = Vec::new();
    let mut hosts: Vec<usize> = meetings.iter().map(|(host, _)| *host).collect();
    hosts.dedup();
    for host in hosts {
        let own: Vec<&Method> =
            meetings.iter().filter(|(h, _)| *h == host).map(|(_, method)| *method).collect();
        match of_methods.iter_mut().find(|(known, _)| *known == own) {
            Some((_, hosts)) => hosts.push(host.to_string()),
            None => of_methods.push((own, vec![host.to_string()])),
        }
    }
    let words = of_methods.iter().map(|(methods, hosts)| {
        format!(
            "{} {}",
            one_of(hosts),
            one_of(&methods.iter().map(|method| word(method)).collect::<Vec<_>>())
        )
    });
    one_of(&words.collect::<Vec<_>>())
}

fn one_of(words: &[String]) -> String {
    match words {
        [word] => word.clone(),
        _ => format!("(?:{})", words.join("|")),
    }
}

/// The expression for canonical paths that a pattern matches.
pub(super) fn path_expression(pattern: &Pattern) -> Result<String, Inexpressible> {
    let mut expression = String::new();
    for part in pattern.parts() {
        let (before, text) = match part {
            Part::Literal(text) => ("/", text),
            Part::Parameter { suffix } => ("/[^/]+", suffix),
        };
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || PATH_BYTES.contains(&byte)) {
            let what = format!("the path `{pattern}`");
            let why = "only letters, digits and -._~:@!$&'()*+,= can be compared without decoding";
            return Err(Inexpressible { what, why: why.to_owned() });
        }
        expression.push_str(before);
        expression.push_str(&literal(text));
    }
    expression.push_str(match (pattern.extent(), expression.is_empty()) {
        (Extent::Below, true) => "/",
        (Extent::Below, false) => "(?:/|$)",
        (Extent::Exact, true) => "/$",
        (Extent::Exact, false) => "$",
    });
    Ok(expression)
}

/// The table, as a map to `variable`.
pub(super) fn table(w: &mut Writer, policy: &Policy, cases: &[Case<'_>], method: &str, variable: &str) {
    w.block(&format!("map \"$host_number {method} $path\" {variable}"), |w| {
        w.line("default none;");
        for case in cases {
            w.line(format!("# {}", words(case, policy)));
            w.line(format!("{} {};", quoted(&case.expression), case.name));
        }
    });
}

/// `GET /api/vendors, of localhost; along the path also /api/**, /**`
fn words(case: &Case<'_>, policy: &Policy) -> String {
    let route = case.route;
    let mut words = String::new();
    if !route.methods.is_empty() {
        let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
        words.push_str(&format!("{} ", methods.join(", ")));
    }
    words.push_str(&route.pattern.to_string());
    if !route.hosts.is_empty() {
        let hosts: Vec<_> = route.hosts.iter().map(|host| policy.hosts[*host].as_str()).collect();
        words.push_str(&format!(" of {}", hosts.join(", ")));
    }
    let wider: Vec<_> = case
        .along
        .iter()
        .filter(|wider| !std::ptr::eq(**wider, route))
        .map(|wider| wider.pattern.to_string())
        .collect();
    if !wider.is_empty() {
        words.push_str(&format!("; with it {}", wider.join(", ")));
    }
    words
}
