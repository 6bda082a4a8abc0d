//! The effective policy, a row a route.

use serde::Serialize;

use super::words;
use crate::config::{Policy, Route};
use crate::routes::RouteTable;

/// How wide the table's columns may be: with their gaps a table is 142 columns wide at most. What is longer is cut; JSON has
/// it whole.
const WIDTHS: [usize; 6] = [44, 24, 18, 20, 10, 16];
const HEADINGS: [&str; 6] = ["route", "addresses", "limits", "token", "target", "also"];

/// A route with all that holds along its path, whichever host and method.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Methods, hosts and paths.
    pub route: String,
    /// Networks that may come, of every allowlist along the path; empty: everybody.
    pub allow: Vec<String>,
    /// Networks that may not, allowed or not.
    pub deny: Vec<String>,
    /// Limits, narrowest first, each once.
    pub limits: Vec<String>,
    /// Whether a token is asked for, and what it must say.
    pub token: String,
    /// Where requests go.
    pub target: String,
    /// Whether it is a WebSocket.
    pub websocket: bool,
    /// Which other sites' pages may ask.
    pub cors: Option<String>,
    /// Whether answers may be compressed.
    pub compress: bool,
    /// The longest body, bytes.
    pub max_body_bytes: u64,
    /// How long a server may be silent, where a route says so.
    pub read_timeout_ms: Option<u128>,
    /// What answers carry besides what all carry; an empty value takes a field away.
    pub headers: Vec<(String, String)>,
}

/// The rows of a policy, the most specific route first.
pub fn rows(policy: &Policy) -> Vec<Row> {
    RouteTable::new(policy.routes.clone()).all().map(|(route, along)| row(policy, route, &along)).collect()
}

fn row(policy: &Policy, route: &Route, along: &[&Route]) -> Row {
    let mut limits: Vec<String> = Vec::new();
    for index in along.iter().flat_map(|route| &route.limits) {
        let words = policy.limits[*index].to_string();
        if !limits.contains(&words) {
            limits.push(words);
        }
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in along.iter().flat_map(|route| &route.headers) {
        if !headers.iter().any(|(known, _)| known == name.as_str()) {
            let value = value.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
            headers.push((name.to_string(), value.to_owned()));
        }
    }
    let body = along.iter().find_map(|route| route.max_body_bytes);
    Row {
        route: words::pattern(route, policy),
        allow: along
            .iter()
            .filter_map(|route| route.allow.as_ref())
            .map(|list| words::networks(list))
            .collect(),
        deny: along.iter().flat_map(|route| &route.deny).map(ToString::to_string).collect(),
        limits,
        token: route.token_words(),
        target: words::target(route, policy),
        websocket: route.websocket,
        cors: along.iter().find_map(|route| route.cors.as_ref()).map(ToString::to_string),
        compress: policy.compression.is_some()
            && along.iter().find_map(|route| route.compress).unwrap_or(true),
        max_body_bytes: body.unwrap_or(policy.connections.max_body_bytes),
        read_timeout_ms: along.iter().find_map(|route| route.read_timeout).map(|time| time.as_millis()),
        headers,
    }
}

/// The rows as a table for a person.
pub fn render(rows: &[Row], policy: &Policy) -> String {
    let lines: Vec<[String; 6]> = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(rows.iter().map(|row| cells(row, policy)))
        .map(|line| std::array::from_fn(|column| cut(&line[column], WIDTHS[column])))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let limits: Vec<_> = policy.limits.iter().map(ToString::to_string).collect();
    text.push_str(&format!("\nlimits: {}; --json has every cell whole\n", limits.join(", ")));
    text
}

fn cells(row: &Row, policy: &Policy) -> [String; 6] {
    let mut addresses = if row.allow.is_empty() { "everybody".to_owned() } else { row.allow.join(" and ") };
    if !row.deny.is_empty() {
        addresses = format!("{addresses} but {}", row.deny.join(", "));
    }
    let names: Vec<_> = row.limits.iter().filter_map(|limit| limit.split(' ').next()).collect();
    // Of a folder its name is enough to be known by.
    let folder = row.target.strip_suffix('/').filter(|_| !row.target.contains(' '));
    let folder = folder.map(|path| format!("{}/", path.rsplit('/').next().unwrap_or(path)));
    let target = folder.unwrap_or_else(|| row.target.clone());
    let body = (row.max_body_bytes != policy.connections.max_body_bytes)
        .then(|| format!("body {}", row.max_body_bytes));
    let time = row.read_timeout_ms.map(|ms| format!("{ms} ms"));
    let also = [
        row.websocket.then(|| "websocket".to_owned()),
        row.cors.as_ref().map(|_| "cors".to_owned()),
        body,
        time,
        (policy.compression.is_some() && !row.compress).then(|| "uncompressed".to_owned()),
        (!row.headers.is_empty()).then(|| "headers".to_owned()),
    ];
    let also: Vec<_> = also.into_iter().flatten().collect();
    [row.route.clone(), addresses, names.join(", "), row.token.clone(), target, also.join(", ")]
}

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}
