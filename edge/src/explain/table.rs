//! The effective policy, a row a route, and the words that rows and explanations share.

use ipnet::IpNet;
use serde::Serialize;

use crate::config::{Policy, Route, Target};
use crate::routes::RouteTable;

/// A route with all that holds along its path.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Methods and paths.
    pub route: String,
    /// Networks that may come, of every allowlist along the path; empty: everybody.
    pub allow: Vec<String>,
    /// Limits, narrowest first.
    pub limits: Vec<String>,
    /// Whether a token is asked for, and in which role.
    pub token: String,
    /// Where requests go.
    pub target: String,
}

/// The rows of a policy, the most specific route first.
pub fn rows(policy: &Policy) -> Vec<Row> {
    let table = RouteTable::new(policy.routes.clone());
    let row = |(route, along): (&Route, Vec<&Route>)| Row {
        route: pattern(route),
        allow: along.iter().filter_map(|route| route.allow.as_ref()).map(|list| networks(list)).collect(),
        limits: along
            .iter()
            .flat_map(|route| &route.limits)
            .map(|index| policy.limits[*index].to_string())
            .collect(),
        token: route.token_words(),
        target: match &route.target {
            Target::Upstream(index) => policy.upstreams[*index].name.clone(),
            Target::Files(folder) => format!("{}/", folder.display()),
        },
    };
    table.all().map(row).collect()
}

/// The rows as a table for a person.
pub fn render(rows: &[Row]) -> String {
    let header = ["route", "allowed", "limits", "token", "target"].map(str::to_owned);
    let cells = |row: &Row| {
        let allow = if row.allow.is_empty() { "everybody".to_owned() } else { row.allow.join(" and ") };
        [row.route.clone(), allow, row.limits.join(", "), row.token.clone(), row.target.clone()]
    };
    let lines: Vec<[String; 5]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn pattern(route: &Route) -> String {
    let methods: Vec<_> = route.methods.iter().map(http::Method::as_str).collect();
    match methods.is_empty() {
        true => route.pattern.to_string(),
        false => format!("{} {}", methods.join(","), route.pattern),
    }
}

fn networks(list: &[IpNet]) -> String {
    match list.is_empty() {
        true => "nobody".to_owned(),
        false => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
