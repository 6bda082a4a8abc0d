//! A policy at work: what a request meets from its route to its server. It never changes; a reload makes another, and each
//! request ends with the one that it began with.

use std::sync::Arc;

use access_token::Revocations;
use arc_swap::ArcSwap;

use crate::config::{Policy, Route};
use crate::guards::{Guards, KeyStore};
use crate::metrics::RouteMetrics;
use crate::routes::RouteTable;
use crate::upstream::Pool;

/// One policy's rooms.
pub struct Site {
    /// The policy itself.
    pub policy: Arc<Policy>,
    /// Its routes.
    pub routes: RouteTable,
    /// Its guards.
    pub guards: Guards,
    /// Its upstreams, in the policy's order.
    pub pools: Arc<[Pool]>,
    /// What is counted of each route, in the table's order, and of requests that met none.
    pub counts: Counts,
}

/// What is counted of requests.
pub struct Counts {
    of_routes: Vec<RouteMetrics>,
    of_none: RouteMetrics,
}

impl Counts {
    fn new(routes: &RouteTable) -> Self {
        let counts = |route: &Route| RouteMetrics::new(route.pattern.to_string());
        Self {
            of_routes: routes.all().map(|(route, _)| counts(route)).collect(),
            of_none: RouteMetrics::new("-".into()),
        }
    }

    /// Those of a route (index into the table's), or of no route.
    pub fn of(&self, route: Option<usize>) -> &RouteMetrics {
        route.and_then(|index| self.of_routes.get(index)).unwrap_or(&self.of_none)
    }
}

/// What every site of a process shares: it outlives each policy.
#[derive(Clone)]
pub struct Shared {
    /// The keys that tokens are verified with.
    pub keys: Arc<KeyStore>,
    /// The tokens that no longer count.
    pub revocations: Arc<Revocations>,
}

impl Site {
    /// The site of a policy. What `previous` remembers of clients and servers that both know is taken over: a reload
    /// refills no budget and brings no ejected server back.
    pub fn new(policy: Arc<Policy>, shared: &Shared, previous: Option<&Self>) -> Self {
        let Shared { keys, revocations } = shared;
        let guards = Guards::new(
            &policy,
            Arc::clone(keys),
            Arc::clone(revocations),
            previous.map(|previous| &previous.guards),
        );
        let pools = Pool::all(&policy.upstreams, previous.map_or(&[], |previous| &previous.pools));
        let routes = RouteTable::new(policy.routes.clone());
        let counts = Counts::new(&routes);
        Self { routes, policy, guards, pools, counts }
    }
}

/// The site that new requests meet.
pub struct Sites {
    current: ArcSwap<Site>,
}

impl Sites {
    /// Begins with this one.
    pub fn new(first: Site) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(first) })
    }

    /// The one that requests meet from now on.
    pub fn current(&self) -> Arc<Site> {
        self.current.load_full()
    }

    /// From now on requests meet this one.
    pub fn replace(&self, next: Site) {
        self.current.store(Arc::new(next));
    }
}
