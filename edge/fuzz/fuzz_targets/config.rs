//! Whatever stands in a configuration file, it is a policy whose every value holds, or faults that each have a place.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use edge::config::{self, Fault, Policy, Target};
use edge::routes::RouteTable;
use http::Method;
use libfuzzer_sys::fuzz_target;

const SHIPPED: &str = include_str!("../../../config/edge.toml");

/// More are not told.
const MOST_FAULTS: usize = 50;

static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| SHIPPED.lines().collect());

fuzz_target!(|data: &str| {
    if let Some(choices) = data.strip_prefix('!') {
        return unknown_keys_are_told_where_they_are(choices.as_bytes());
    }
    // A text of its own, or behind a `~` lines of the shipped file that are others: `17=grace_seconds = 3`.
    let text = data.strip_prefix('~').map_or_else(|| data.to_owned(), edited);
    // Some variables are set, to what would break out of its quotes; without a default all are.
    let some = |name: &str| name.ends_with('X').then(|| format!("{name}\"\n[tls"));
    let expanded =
        config_text::expand(&text, some).or_else(|_| config_text::expand(&text, |_| Some("x".into())));
    let text = expanded.expect("all are set");
    match config::parse(&text, Path::new("/etc/edge")) {
        Ok(policy) => holds(policy),
        Err(faults) => have_places(&faults, &text),
    }
});

fn edited(edits: &str) -> String {
    let mut lines = LINES.clone();
    for (number, replacement) in edits.lines().filter_map(|edit| edit.split_once('=')) {
        let Ok(number) = number.parse::<usize>() else { continue };
        if let Some(line) = lines.get_mut(number.saturating_sub(1)) {
            *line = replacement;
        }
    }
    lines.join("\n")
}

/// Comments of the shipped file become keys that nobody knows; below `[headers]` any key is a field's name.
fn unknown_keys_are_told_where_they_are(choices: &[u8]) {
    let mut choices = choices.iter().cycle();
    let mut told = Vec::new();
    let mut is_known_here = false;
    let lines: Vec<String> = (1..)
        .zip(LINES.iter())
        .map(|(number, line)| {
            if line.starts_with('[') {
                is_known_here = *line == "[headers]";
            }
            let is_chosen = told.len() < MOST_FAULTS
                && !is_known_here
                && line.starts_with('#')
                && choices.next().is_some_and(|choice| choice % 4 == 1);
            if !is_chosen {
                return (*line).to_owned();
            }
            told.push((number, 1));
            format!("unknown-{number} = \"{}\"", "x".repeat(number))
        })
        .collect();
    let text = config_text::expand(&lines.join("\n"), |_| None).expect("every variable has a default");
    match config::parse(&text, Path::new("/etc/edge")) {
        Ok(policy) => {
            assert!(told.is_empty(), "nobody was told");
            holds(policy);
        }
        Err(faults) => {
            assert_eq!(faults.iter().map(|fault| (fault.line, fault.column)).collect::<Vec<_>>(), told);
        }
    }
}

fn have_places(faults: &[Fault], text: &str) {
    assert!(!faults.is_empty(), "no policy, and no fault");
    assert!(faults.is_sorted_by_key(|fault| (fault.line, fault.column)));
    for Fault { line, column, message } in faults {
        let place =
            text.split('\n').nth(line.wrapping_sub(1)).unwrap_or_else(|| panic!("no line {line}: {message}"));
        assert!((1..=place.chars().count() + 1).contains(column), "{line}:{column}: {message}");
        assert!(!message.is_empty());
    }
}

fn holds(policy: Policy) {
    assert!(!policy.hosts.is_empty() && policy.hosts.iter().all(|host| *host == host.to_ascii_lowercase()));
    assert!(policy.trusted_proxies.iter().all(|network| network.trunc() == *network));
    assert!(!policy.tls.versions.is_empty());
    assert!(policy.acme.is_some() || !policy.tls.certificates.is_empty());
    assert!(policy.tokens.upstream < policy.upstreams.len() && !policy.tokens.refresh.is_zero());
    let connections = &policy.connections;
    assert!(connections.max_target_bytes <= connections.max_header_bytes);
    assert!(connections.memory_bytes >= 1024 * 1024);
    assert!((1..=100).contains(&connections.max_header_fields));
    assert!(policy.limits.iter().all(|limit| limit.requests > 0 && !limit.per.is_zero()));
    assert!(policy.upstreams.iter().all(|upstream| !upstream.servers.is_empty()));
    for route in &policy.routes {
        assert!(route.limits.iter().all(|index| *index < policy.limits.len()));
        assert!(!matches!(route.target, Target::Upstream(index) if index >= policy.upstreams.len()));
    }
    is_decided_by_the_narrowest(&RouteTable::new(policy.routes));
}

/// Of all routes that speak for a path, the one that decides is covered by every other, or says more of the method.
fn is_decided_by_the_narrowest(table: &RouteTable) {
    for path in ["/", "/admin", "/api/vendors/7", "/api/calendar/x.ics", "/api/auth/login/", "/.well-known/x"]
    {
        let Some(matched) = table.find(&Method::GET, 0, path) else { continue };
        let decisive = matched.route();
        let speaks = |methods: &[Method]| methods.is_empty() || methods.contains(&Method::GET);
        for (route, _) in
            table.all().filter(|(route, _)| speaks(&route.methods) && route.pattern.matches(path))
        {
            assert!(
                route.pattern.covers(&decisive.pattern),
                "{} decides before {}",
                decisive.pattern,
                route.pattern
            );
            assert!(matched.along_the_path().any(|along| along.pattern == route.pattern));
        }
    }
}
