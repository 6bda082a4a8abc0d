//! The words that rows and explanations share.

use http::Method;
use ipnet::IpNet;

use crate::config::{Policy, Route, Target};

/// Methods, hosts and paths: `GET a.example/api/**`.
pub(super) fn pattern(route: &Route, policy: &Policy) -> String {
    let hosts: Vec<_> = route.hosts.iter().map(|host| policy.hosts[*host].as_str()).collect();
    let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
    let space = if methods.is_empty() { "" } else { " " };
    format!("{}{space}{}{}", methods.join(","), hosts.join("|"), route.pattern)
}

/// Where a route leads, whatever is asked for.
pub(super) fn target(route: &Route, policy: &Policy) -> String {
    match &route.target {
        Target::Upstream(index) => policy.upstreams[*index].name.clone(),
        Target::Files(files) => match &files.fallback {
            Some(fallback) => format!("{}/, else {fallback}", files.folder.display()),
            None => format!("{}/", files.folder.display()),
        },
        Target::Redirect(redirect) => {
            let rest = if redirect.keep_path { "/…" } else { "" };
            format!("{} {}{rest}", redirect.status.as_u16(), redirect.to)
        }
        Target::Respond(answer) => format!("answer {}", answer.status.as_u16()),
    }
}

/// An allowlist.
pub(super) fn networks(list: &[IpNet]) -> String {
    match list.is_empty() {
        true => "nobody".to_owned(),
        false => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
