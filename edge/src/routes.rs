//! Which routes a request meets: the most specific one decides, the wider ones add their allowlists and limits.

use http::Method;

use crate::config::{Pattern, Route};

/// The policy's routes, ordered so that the first match is the most specific.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// For each route: itself and all routes whose paths include its own, narrowest first.
    chains: Vec<Vec<usize>>,
}

/// The routes that hold for one request.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    table: &'a RouteTable,
    decisive: usize,
    method: &'a Method,
}

impl RouteTable {
    /// Orders the routes. The configuration has refused ties already, so that the order is decided by the paths alone.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by(|a, b| {
            a.pattern.by_specificity(&b.pattern).then(a.methods.is_empty().cmp(&b.methods.is_empty()))
        });
        let chain = |pattern: &Pattern| {
            (0..routes.len()).filter(|index| routes[*index].pattern.covers(pattern)).collect()
        };
        let chains = routes.iter().map(|route| chain(&route.pattern)).collect();
        Self { routes, chains }
    }

    /// The routes that match, or `None` where nobody speaks for the path.
    pub fn find<'a>(&'a self, method: &'a Method, path: &str) -> Option<Matched<'a>> {
        self.routes
            .iter()
            .position(|route| route.has_method(method) && route.pattern.matches(path))
            .map(|decisive| Matched { table: self, decisive, method })
    }

    /// Whether a segment of the path is a secret for some route, whichever method it is asked with: it stays out of logs.
    pub fn has_secret(&self, path: &str) -> bool {
        self.routes.iter().any(|route| route.pattern.has_secret() && route.pattern.begins(path))
    }

    /// All routes, the most specific first, each with those that hold along its path.
    pub fn all(&self) -> impl Iterator<Item = (&Route, Vec<&Route>)> {
        let along = |chain: &Vec<usize>| chain.iter().map(|index| &self.routes[*index]).collect();
        self.routes.iter().zip(self.chains.iter().map(along))
    }

    /// The route of an index that [`Matched::index`] gave.
    pub fn get(&self, index: usize) -> &Route {
        &self.routes[index]
    }
}

impl<'a> Matched<'a> {
    /// The most specific route: it decides token, roles and target.
    pub fn route(&self) -> &'a Route {
        &self.table.routes[self.decisive]
    }

    /// The decisive route's index in the table.
    pub fn index(&self) -> usize {
        self.decisive
    }

    /// All routes that match, narrowest first; their allowlists and limits add up.
    pub fn along_the_path(&self) -> impl Iterator<Item = &'a Route> {
        let Self { table, decisive, method } = *self;
        table.chains[decisive]
            .iter()
            .map(|index| &table.routes[*index])
            .filter(move |route| route.has_method(method))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn shipped() -> (RouteTable, Vec<String>) {
        let text = config_text::expand(include_str!("../../config/edge.toml"), |_| None).expect("defaults");
        let policy = config::parse(&text, Path::new("/")).expect("the shipped policy is valid");
        let names = policy.limits.iter().map(|limit| limit.name.clone()).collect();
        (RouteTable::new(policy.routes), names)
    }

    fn limits(method: Method, path: &str) -> Vec<String> {
        let (table, names) = shipped();
        let matched = table.find(&method, path).expect("a route");
        matched.along_the_path().flat_map(|route| &route.limits).map(|index| names[*index].clone()).collect()
    }

    fn decisive(method: Method, path: &str) -> String {
        let (table, _) = shipped();
        let matched = table.find(&method, path).expect("a route");
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
        let matched = table.find(&Method::GET, "/admin/api/users").expect("a route");
        assert_eq!(matched.along_the_path().filter(|route| route.allow.is_some()).count(), 1);
    }
}
