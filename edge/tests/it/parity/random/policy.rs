//! Policies at random, valid by construction: hosts, nested prefixes, exact paths, methods, lists, limits that add up,
//! token modes, roles, claims, other sites.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(super) const HOSTS: [&str; 3] = ["a.example", "b.example", "localhost"];
pub(super) const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "OPTIONS"];
const SEGMENTS: [&str; 5] = ["a", "b", "a.b", "v1", "x@y"];
const NETWORKS: [&str; 10] = [
    "127.0.1.1/32",
    "127.0.1.2/31",
    "127.0.1.0/30",
    "127.0.0.0/8",
    "::1/128",
    "::/0",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "2001:db8::/32",
    "::ffff:127.0.1.0/126",
];

/// A route, as lines of the policy.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) path: String,
    text: String,
    /// Requests that pass at once.
    limit: Option<u32>,
}

/// A path and whether what lies below it is meant too.
fn path() -> impl Strategy<Value = (String, bool)> {
    let literal = prop::collection::vec(select(&SEGMENTS[..]).prop_map(str::to_owned), 0..4);
    let below = literal.clone().prop_map(|segments| (segments, true));
    let named = select(vec!["{id}", "{id}.b"]).prop_map(str::to_owned);
    let one = prop_oneof![3 => select(&SEGMENTS[..]).prop_map(str::to_owned), 2 => named];
    let exact = prop::collection::vec(one, 1..4).prop_map(|segments| (segments, false));
    prop_oneof![3 => below, 2 => exact].prop_map(|(segments, is_below)| {
        // A name stands in a path once.
        let segments =
            segments.iter().enumerate().map(|(n, segment)| segment.replace("id", &format!("id{n}")));
        (format!("/{}", segments.collect::<Vec<_>>().join("/")), is_below)
    })
}

fn quoted(items: &[&str]) -> String {
    items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}

fn lists() -> impl Strategy<Value = String> {
    let some = || subsequence(&NETWORKS[..], 0..4);
    let allow = prop::option::weighted(0.3, some()).prop_map(|nets| match nets {
        Some(nets) => format!("allow = [{}]\n", quoted(&nets)),
        None => String::new(),
    });
    let deny = prop::option::weighted(0.2, some()).prop_map(|nets| match nets {
        Some(nets) => format!("deny = [{}]\n", quoted(&nets)),
        None => String::new(),
    });
    (allow, deny).prop_map(|(allow, deny)| allow + &deny)
}

fn token() -> impl Strategy<Value = String> {
    let roles = subsequence(vec!["user", "vendor", "admin"], 1..3);
    let claims = select(vec![
        "sub = [\"user\"]",
        "sub = [\"mallory\", \"x y&z\"]",
        "sid = \"session\"",
        "role = \"vendor\"",
    ]);
    prop_oneof![
        4 => Just(String::new()),
        1 => Just("token = \"none\"\n".to_owned()),
        2 => Just("token = \"optional\"\n".to_owned()),
        2 => Just("token = \"required\"\n".to_owned()),
        2 => roles.prop_map(|roles| format!("token = \"required\"\nroles = [{}]\n", quoted(&roles))),
        1 => claims.prop_map(|claims| format!("token = \"required\"\nclaims = {{ {claims} }}\n")),
    ]
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => Just("upstream = \"backend\"\n".to_owned()),
        1 => Just("respond = { status = 418, body = \"short\" }\n".to_owned()),
        1 => Just("redirect = { to = \"/v1\", keep_path = true }\n".to_owned()),
        1 => Just("redirect = { to = \"https://new.example/\", status = 302 }\n".to_owned()),
        1 => Just("files = \"web\"\n".to_owned()),
    ]
}

fn cors() -> impl Strategy<Value = String> {
    let origins = select(vec!["\"*\"", "\"https://shop.example\""]);
    let methods = subsequence(vec!["GET", "PUT", "DELETE"], 1..3);
    let some = (origins, methods).prop_map(|(origins, methods)| {
        format!(
            "cors = {{ origins = [{origins}], methods = [{}], headers = [\"x-a\"], max_age_seconds = 60 }}\n",
            quoted(&methods)
        )
    });
    prop::option::weighted(0.15, some).prop_map(Option::unwrap_or_default)
}

fn route() -> impl Strategy<Value = Route> {
    let narrowed =
        prop::option::weighted(0.45, (subsequence(&HOSTS[..], 0..3), subsequence(&METHODS[..], 0..3)));
    let more =
        select(vec!["", "", "", "max_body_bytes = 3\n", "headers = { x-frame-options = \"SAMEORIGIN\" }\n"]);
    let limit = prop::option::weighted(0.4, 2..9_u32);
    (path(), narrowed, lists(), token(), target(), cors(), more, limit).prop_map(
        |((path, is_below), narrowed, lists, token, target, cors, more, limit)| {
            let (hosts, methods) = narrowed.unwrap_or_default();
            let kind = if is_below { "below" } else { "exact" };
            let mut text = format!("{kind} = \"{path}\"\n");
            if !hosts.is_empty() {
                text += &format!("hosts = [{}]\n", quoted(&hosts));
            }
            if !methods.is_empty() {
                text += &format!("methods = [{}]\n", quoted(&methods));
            }
            text += &format!("{lists}{token}{target}{cors}{more}");
            // nginx charges none of several limits when one refuses, the edge those before it (named). Limits that hold
            // together wherever they hold are spent together, so that it makes no difference here.
            let limit = limit.filter(|_| is_below && hosts.is_empty() && methods.is_empty());
            Route { path, text, limit }
        },
    )
}

/// Routes, of which [`text`] leaves out those that the policy may not have together.
pub(super) fn routes() -> impl Strategy<Value = Vec<Route>> {
    prop::collection::vec(route(), 1..12)
}

/// The head of the shipped policy, with these hosts.
pub(super) fn head(config: &str) -> String {
    let (head, _) = config.split_once("\n[[routes]]").expect("routes");
    head.replacen("hosts = [", &format!("hosts = [{}, ", quoted(&HOSTS[..2])), 1)
}

/// The limits and routes that stand behind a head; and the paths that they have.
pub(super) fn text(head: &str, routes: &[Route]) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut paths = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let mut more = text.clone();
        let mut own = route.text.clone();
        if let Some(requests) = route.limit {
            // One comes back each minute: none within a batch.
            own += &format!("limits = [\"r{number}\"]\n");
            more += &format!("\n[limits.r{number}]\nrequests = {requests}\nseconds = {}\n", requests * 60);
        }
        more += &format!("\n[[routes]]\n{own}");
        if edge::config::parse(&format!("{head}{more}"), Path::new("/")).is_ok() {
            text = more;
            paths.push(route.path.clone());
        }
    }
    (text, paths)
}
