//! Which routes a request meets: the most specific one decides token, roles and target; the wider ones along its path add
//! their lists and limits, and say what it leaves open.

mod index;

use std::time::Duration;

use http::Method;

use self::index::{Index, Wanted};
use crate::config::{Cors, Pattern, Route};

/// The policy's routes, ordered so that of those that match the first is the most specific.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    index: Index,
    /// For each route: itself and all routes whose paths include its own, narrowest first.
    chains: Vec<Vec<usize>>,
    /// Patterns with a secret.
    secrets: Vec<Pattern>,
}

/// The routes that hold for one request.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    table: &'a RouteTable,
    decisive: usize,
    method: &'a Method,
    host: usize,
}

impl RouteTable {
    /// Orders the routes by path, then host, then method. The configuration has refused ties already.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by(|a, b| {
            let by_host = a.hosts.is_empty().cmp(&b.hosts.is_empty());
            let by_method = a.methods.is_empty().cmp(&b.methods.is_empty());
            a.pattern.by_specificity(&b.pattern).then(by_host).then(by_method)
        });
        let chain = |pattern: &Pattern| {
            (0..routes.len()).filter(|index| routes[*index].pattern.covers(pattern)).collect()
        };
        let chains = routes.iter().map(|route| chain(&route.pattern)).collect();
        let secrets = routes.iter().map(|route| &route.pattern).filter(|p| p.has_secret()).cloned().collect();
        Self { index: Index::new(&routes), routes, chains, secrets }
    }

    /// The routes that match, or `None` where nobody speaks for the path. `host` is an index into the policy's hosts.
    pub fn find<'a>(&'a self, method: &'a Method, host: usize, path: &str) -> Option<Matched<'a>> {
        let decisive = self.index.find(path, &Wanted { routes: &self.routes, method, host })?;
        Some(self.matched(decisive, method, host))
    }

    /// What [`find`](Self::find) gave, from the index that it gave.
    pub fn matched<'a>(&'a self, decisive: usize, method: &'a Method, host: usize) -> Matched<'a> {
        Matched { table: self, decisive, method, host }
    }

    /// Whether a segment of the path is a secret for some route, whichever method it is asked with: it stays out of logs.
    pub fn has_secret(&self, path: &str) -> bool {
        self.secrets.iter().any(|pattern| pattern.begins(path))
    }

    /// All routes, the most specific first, each with those that may hold along its path.
    pub fn all(&self) -> impl Iterator<Item = (&Route, Vec<&Route>)> {
        let along = |(route, chain): (&Route, &Vec<usize>)| {
            let wider = chain.iter().map(|index| &self.routes[*index]);
            wider.filter(|wider| holds_for_all_of(wider, route)).collect()
        };
        self.routes.iter().zip(self.routes.iter().zip(&self.chains).map(along))
    }

    /// The route of an index that [`Matched::index`] gave.
    pub fn get(&self, index: usize) -> &Route {
        &self.routes[index]
    }
}

/// Whether each request that `route` decides meets `wider` too, as far as hosts and methods say.
fn holds_for_all_of(wider: &Route, route: &Route) -> bool {
    fn includes<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
    }
    includes(&wider.hosts, &route.hosts) && includes(&wider.methods, &route.methods)
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

    /// All routes that match, narrowest first; their lists and limits add up.
    pub fn along_the_path(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let Self { table, decisive, method, host } = *self;
        table.chains[decisive]
            .iter()
            .map(|index| &table.routes[*index])
            .filter(move |route| route.has_method(method) && route.has_host(host))
    }

    /// The routes that the same path meets with another method.
    pub fn with_method(&self, method: &'a Method, path: &str) -> Option<Matched<'a>> {
        self.table.find(method, self.host, path)
    }

    /// The longest body, as the most specific route says that says anything.
    pub fn max_body_bytes(&self) -> Option<u64> {
        self.along_the_path().find_map(|route| route.max_body_bytes)
    }

    /// How long a server may be silent; found likewise.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.along_the_path().find_map(|route| route.read_timeout)
    }

    /// Whether answers may be compressed; found likewise, and nobody's word against it means yes.
    pub fn may_compress(&self) -> bool {
        self.along_the_path().find_map(|route| route.compress).unwrap_or(true)
    }

    /// Which other sites' pages may ask; found likewise.
    pub fn cors(&self) -> Option<&'a Cors> {
        self.along_the_path().find_map(|route| route.cors.as_ref())
    }
}

#[cfg(test)]
mod tests;
