//! Finds the most specific route by walking the path once: a tree of segments, and in each node the routes of hosts.
//!
//! At each node the walk goes to the child of this very text first, then to parameters, those with the longest suffix
//! first, and takes what ends at the node itself only when nothing further down fits. Since two routes of one host may
//! not cross (the configuration refuses them), the first that it comes to is the most specific one. A node is visited
//! once at most, and nothing is allocated.

use http::Method;

use crate::config::{Extent, Part, Route};

/// The tree; the root is its first node.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Children by their text, sorted.
    literals: Vec<(Box<str>, usize)>,
    /// Children by the suffix that a segment must have, longest first.
    parameters: Vec<(Box<str>, usize)>,
    /// Routes for exactly this path.
    exact: Routes,
    /// Routes for this path and all below it.
    below: Routes,
}

/// Indices of routes, in the order of the table: those that name methods first.
#[derive(Debug, Default)]
struct Routes {
    /// Those that name hosts, sorted by host; they are asked first.
    of_hosts: Vec<(usize, Vec<usize>)>,
    of_all: Vec<usize>,
}

/// What is looked for.
pub(super) struct Wanted<'a> {
    pub(super) routes: &'a [Route],
    pub(super) method: &'a Method,
    pub(super) host: usize,
}

impl Index {
    /// The tree of these routes, which are in the table's order.
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut index = Self { nodes: vec![Node::default()] };
        for (number, route) in routes.iter().enumerate() {
            let node = route.pattern.parts().fold(0, |node, part| index.child(node, part));
            let ending = match route.pattern.extent() {
                Extent::Exact => &mut index.nodes[node].exact,
                Extent::Below => &mut index.nodes[node].below,
            };
            ending.insert(number, &route.hosts);
        }
        index
    }

    fn child(&mut self, node: usize, part: Part<'_>) -> usize {
        let new = self.nodes.len();
        let Node { literals, parameters, .. } = &mut self.nodes[node];
        let (children, text, place) = match part {
            Part::Literal(text) => {
                let place = literals.binary_search_by(|(known, _)| known.as_ref().cmp(text));
                (literals, text, place)
            }
            Part::Parameter { suffix } => {
                let key = |suffix: &str| (usize::MAX - suffix.len(), suffix.to_owned());
                let place = parameters.binary_search_by_key(&key(suffix), |(known, _)| key(known));
                (parameters, suffix, place)
            }
        };
        match place {
            Ok(at) => children[at].1,
            Err(at) => {
                children.insert(at, (text.into(), new));
                self.nodes.push(Node::default());
                new
            }
        }
    }

    /// The most specific route of a canonical path.
    pub(super) fn find(&self, path: &str, wanted: &Wanted<'_>) -> Option<usize> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        self.walk(0, (!rest.is_empty()).then_some(rest), wanted)
    }

    /// `rest` is what is left of the path; `None` when it ends here.
    fn walk(&self, node: usize, rest: Option<&str>, wanted: &Wanted<'_>) -> Option<usize> {
        let Node { literals, parameters, exact, below } = &self.nodes[node];
        let Some(rest) = rest else {
            return exact.first(wanted).or_else(|| below.first(wanted));
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Ok(at) = literals.binary_search_by(|(text, _)| text.as_ref().cmp(segment))
            && let Some(found) = self.walk(literals[at].1, rest, wanted)
        {
            return Some(found);
        }
        for (suffix, child) in parameters {
            let fits = segment.len() > suffix.len() && segment.ends_with(suffix.as_ref());
            if fits && let Some(found) = self.walk(*child, rest, wanted) {
                return Some(found);
            }
        }
        below.first(wanted)
    }
}

impl Routes {
    fn insert(&mut self, route: usize, hosts: &[usize]) {
        if hosts.is_empty() {
            self.of_all.push(route);
        }
        for host in hosts {
            match self.of_hosts.binary_search_by_key(host, |(known, _)| *known) {
                Ok(at) => self.of_hosts[at].1.push(route),
                Err(at) => self.of_hosts.insert(at, (*host, vec![route])),
            }
        }
    }

    fn first(&self, wanted: &Wanted<'_>) -> Option<usize> {
        let own = self.of_hosts.binary_search_by_key(&wanted.host, |(host, _)| *host);
        let own = own.map_or(&[][..], |at| self.of_hosts[at].1.as_slice());
        own.iter().chain(&self.of_all).copied().find(|route| wanted.routes[*route].has_method(wanted.method))
    }
}
