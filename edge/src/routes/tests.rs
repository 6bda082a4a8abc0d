use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::config::{self, Extent, Target, TokenRule};

fn shipped() -> (RouteTable, Vec<String>) {
    let text = config_text::expand(include_str!("../../../config/edge.toml"), |_| None).expect("defaults");
    let policy = config::parse(&text, Path::new("/")).expect("the shipped policy is valid");
    let names = policy.limits.iter().map(|limit| limit.name.clone()).collect();
    (RouteTable::new(policy.routes), names)
}

fn limits(method: Method, path: &str) -> Vec<String> {
    let (table, names) = shipped();
    let matched = table.find(&method, 0, path).expect("a route");
    matched.along_the_path().flat_map(|route| &route.limits).map(|index| names[*index].clone()).collect()
}

fn decisive(method: Method, path: &str) -> String {
    let (table, _) = shipped();
    let matched = table.find(&method, 0, path).expect("a route");
    format!("{} {:?}", matched.route().pattern, matched.route().token)
}

#[test]
fn the_most_specific_route_decides() {
    assert_eq!(decisive(Method::GET, "/api/vendors"), "/api/vendors None");
    assert_eq!(decisive(Method::POST, "/api/vendors"), "/api/** Required");
    assert_eq!(decisive(Method::GET, "/api/vendors/"), "/api/** Required");
    assert_eq!(decisive(Method::POST, "/api/auth/login"), "/api/auth/login/** None");
    assert_eq!(decisive(Method::PUT, "/api/auth/login"), "/api/auth/login/** Required");
    assert_eq!(decisive(Method::GET, "/administrator"), "/** None");
    assert_eq!(decisive(Method::GET, "/admin/api/users"), "/admin/api/** Required");
    assert_eq!(decisive(Method::GET, "/api/chat/ws"), "/api/chat/ws Optional");
    assert_eq!(decisive(Method::POST, "/api/chat/ws"), "/api/** Required");
}

#[test]
fn limits_add_up_narrowest_first() {
    assert_eq!(limits(Method::POST, "/api/auth/login"), ["login", "api", "site"]);
    assert_eq!(limits(Method::GET, "/api/vendors"), ["api", "site"]);
    assert_eq!(limits(Method::GET, "/admin/api/users"), ["admin", "site"]);
    assert_eq!(limits(Method::GET, "/"), ["site"]);
}

#[test]
fn a_secret_is_one_for_every_method_and_below() {
    let (table, _) = shipped();
    for path in ["/api/calendar/abc.ics", "/api/calendar/abc.ics/", "/api/calendar/abc.ics/x"] {
        assert!(table.has_secret(path), "{path}");
    }
    assert!(!table.has_secret("/api/calendar") && !table.has_secret("/api/vendors/abc"));
}

#[test]
fn a_wider_routes_allowlist_holds_below_it() {
    let (table, _) = shipped();
    let matched = table.find(&Method::GET, 0, "/admin/api/users").expect("a route");
    assert_eq!(matched.along_the_path().filter(|route| route.allow.is_some()).count(), 1);
}

fn route(path: &str, extent: Extent, hosts: Vec<usize>, methods: Vec<Method>) -> Route {
    Route {
        pattern: Pattern::parse(path, extent).expect("a pattern"),
        hosts,
        methods,
        allow: None,
        deny: Vec::new(),
        limits: Vec::new(),
        token: TokenRule::None,
        roles: Vec::new(),
        claims: Vec::new(),
        target: Target::Upstream(0),
        websocket: false,
        origins: Vec::new(),
        read_timeout: None,
        max_body_bytes: None,
        cors: None,
        compress: None,
        headers: Vec::new(),
    }
}

#[test]
fn a_deeper_path_comes_before_a_host_and_a_host_before_a_method() {
    let table = RouteTable::new(vec![
        route("/", Extent::Below, vec![], vec![]),
        route("/", Extent::Below, vec![1], vec![]),
        route("/admin", Extent::Below, vec![], vec![]),
        route("/admin", Extent::Below, vec![], vec![Method::GET]),
        route("/admin", Extent::Below, vec![2], vec![]),
    ]);
    let found = |host, path: &str| {
        let matched = table.find(&Method::GET, host, path).expect("a route");
        let route = matched.route();
        (route.pattern.to_string(), route.hosts.clone(), matched.along_the_path().count())
    };
    assert_eq!(found(0, "/x"), ("/**".into(), vec![], 1));
    assert_eq!(found(1, "/x"), ("/**".into(), vec![1], 2));
    // A host's own site doesn't open what is closed for all hosts.
    assert_eq!(found(1, "/admin/x"), ("/admin/**".into(), vec![], 4));
    assert_eq!(found(2, "/admin/x"), ("/admin/**".into(), vec![2], 4));
}

/// The router that needs no thought: all routes, one after the other.
fn naive(table: &RouteTable, method: &Method, host: usize, path: &str) -> Option<(usize, Vec<usize>)> {
    let matches =
        |route: &Route| route.has_method(method) && route.has_host(host) && route.pattern.matches(path);
    let all: Vec<usize> = (0..table.routes.len()).filter(|index| matches(&table.routes[*index])).collect();
    all.first().map(|first| (*first, all.clone()))
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let segment = select(vec!["a", "b", "c", "a.i", "{x}", "{y}", "{x}.i", "{x}a.i", "{y}b"]);
    let path = proptest::collection::vec(segment, 0..4).prop_map(|parts| format!("/{}", parts.join("/")));
    let methods = subsequence(vec![Method::GET, Method::POST, Method::OPTIONS], 0..=2);
    let extent = select(vec![Extent::Below, Extent::Exact]);
    let one = (path, extent, subsequence(vec![0, 1, 2], 0..=2), methods)
        .prop_map(|(path, extent, hosts, methods)| route(&path, extent, hosts, methods));
    proptest::collection::vec(one, 0..40).prop_map(|many| {
        let mut kept: Vec<Route> = Vec::new();
        for route in many {
            // What the configuration would refuse.
            if kept.iter().all(|other| route.tie(other).is_none()) {
                kept.push(route);
            }
        }
        kept
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "c", "a.i", "b.i", ".i", "xa.i", "xb", "xx"]);
    let slash = select(vec!["", "/"]);
    (proptest::collection::vec(segment, 0..5), slash).prop_map(|(parts, slash)| match parts.is_empty() {
        true => "/".to_owned(),
        false => format!("/{}{slash}", parts.join("/")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_index_finds_what_looking_at_every_route_finds(
        routes in routes(),
        paths in proptest::collection::vec(path(), 1..20),
        method in select(vec![Method::GET, Method::POST, Method::OPTIONS, Method::PUT]),
        host in 0..4_usize,
    ) {
        let table = RouteTable::new(routes);
        for path in &paths {
            let matched = table.find(&method, host, path);
            let along = matched.map(|matched| {
                let index = |route: &Route| {
                    table.routes.iter().position(|own| std::ptr::eq(own, route)).expect("one of the table's")
                };
                (matched.index(), matched.along_the_path().map(index).collect::<Vec<_>>())
            });
            prop_assert_eq!(along, naive(&table, &method, host, path), "{} {}", method, path);
        }
    }
}
