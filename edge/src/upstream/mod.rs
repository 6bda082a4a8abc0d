//! The servers behind the gate: which are ready, which takes the next request, how it is connected to.

mod health;
mod probe;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::lb::discovery::Static;
use pingora::lb::selection::RoundRobin;
use pingora::lb::{Backend, Backends, LoadBalancer};
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use serde::Serialize;

pub use probe::{Probe, ProbeError};

use crate::config::Upstream;

/// The balancer that checks and chooses; it runs as a background service.
pub type Balancer = LoadBalancer<RoundRobin>;

/// One upstream at work.
pub struct Pool {
    upstream: Upstream,
    balancer: Arc<Balancer>,
}

/// A server's state, as the admin port shows it.
#[derive(Debug, Serialize)]
pub struct ServerState {
    /// The upstream's name.
    pub upstream: String,
    /// Where the server serves.
    pub address: SocketAddr,
    /// Whether its last health check passed.
    pub healthy: bool,
}

impl Pool {
    /// A pool for an upstream of the policy; nothing is checked before the balancer runs.
    pub fn new(upstream: Upstream, probe: Arc<Probe>) -> Self {
        let servers: BTreeSet<Backend> = upstream
            .servers
            .iter()
            .map(|server| Backend::new(&server.address.to_string()).expect("an address prints as one"))
            .collect();
        let mut balancer = Balancer::from_backends(Backends::new(Static::new(servers)));
        balancer.set_health_check(Box::new(health::Readiness::new(&upstream, probe)));
        balancer.health_check_frequency = Some(upstream.health_interval);
        balancer.parallel_health_check = true;
        Self { upstream, balancer: Arc::new(balancer) }
    }

    /// The upstream that the pool serves.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The balancer, to be run in the background.
    pub fn balancer(&self) -> Arc<Balancer> {
        Arc::clone(&self.balancer)
    }

    /// The next healthy server in turn that wasn't tried yet.
    pub fn select(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let is_fresh = |backend: &Backend| inet(backend).is_some_and(|address| !tried.contains(&address));
        let steps = self.upstream.servers.len() * 2;
        self.balancer
            .select_with(b"", steps, |backend, healthy| healthy && is_fresh(backend))
            .and_then(|backend| inet(&backend))
    }

    /// How a server is connected to: HTTP/1.1, kept alive. `route_timeout` is how long it may be silent, where the route
    /// says so.
    pub fn peer(&self, server: SocketAddr, route_timeout: Option<Duration>) -> HttpPeer {
        let Upstream { connect_timeout, read_timeout, .. } = self.upstream;
        let mut peer = HttpPeer::new(server, false, String::new());
        let silence = route_timeout.unwrap_or(read_timeout);
        peer.options.connection_timeout = Some(connect_timeout);
        peer.options.total_connection_timeout = Some(connect_timeout);
        peer.options.read_timeout = Some(silence);
        peer.options.write_timeout = Some(read_timeout);
        peer.options.idle_timeout = Some(read_timeout);
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: read_timeout,
            interval: connect_timeout,
            count: 3,
            #[cfg(target_os = "linux")]
            user_timeout: read_timeout,
        });
        peer
    }

    /// Every server and whether it is ready.
    pub fn states(&self) -> Vec<ServerState> {
        let backends = self.balancer.backends();
        let state = |backend: &Backend| {
            Some(ServerState {
                upstream: self.upstream.name.clone(),
                address: inet(backend)?,
                healthy: backends.ready(backend),
            })
        };
        backends.get_backend().iter().filter_map(state).collect()
    }
}

fn inet(backend: &Backend) -> Option<SocketAddr> {
    backend.addr.as_inet().copied()
}
