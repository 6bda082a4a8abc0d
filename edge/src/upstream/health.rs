//! Active health checks: each server's management address says whether it is ready for requests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use pingora::lb::Backend;
use pingora::lb::health_check::HealthCheck;
use pingora::{Error, ErrorType};

use super::{Probe, ProbeError, inet};
use crate::config::Upstream;

/// A busy server may answer late now and then; taking it out would only make the others busier.
const LATE_ANSWERS: u32 = 3;

/// Asks a server's readiness. One answer decides, in both directions (a stopping backend says so itself), and so does
/// a connection that fails; answers that come too late must be several in a row.
pub(super) struct Readiness {
    servers: HashMap<SocketAddr, Server>,
    upstream: String,
    path: String,
    probe: Arc<Probe>,
}

struct Server {
    management: SocketAddr,
    late: AtomicU32,
}

impl Readiness {
    pub(super) fn new(upstream: &Upstream, probe: Arc<Probe>) -> Self {
        Self {
            servers: upstream
                .servers
                .iter()
                .map(|s| (s.address, Server { management: s.management, late: AtomicU32::new(0) }))
                .collect(),
            upstream: upstream.name.clone(),
            path: upstream.health_path.clone(),
            probe,
        }
    }
}

#[async_trait]
impl HealthCheck for Readiness {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let unknown = || Error::explain(ErrorType::InternalError, "a server without a management address");
        let server = inet(target).and_then(|address| self.servers.get(&address)).ok_or_else(unknown)?;
        match self.probe.get(server.management, &self.path).await {
            Err(ProbeError::Timeout(_)) if server.late.fetch_add(1, Ordering::Relaxed) + 1 < LATE_ANSWERS => {
                Ok(())
            }
            Err(error @ ProbeError::Timeout(_)) => not_ready(error),
            answer => {
                server.late.store(0, Ordering::Relaxed);
                answer.map(drop).or_else(not_ready)
            }
        }
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        let server = target.addr.to_string();
        let gauge = metrics::gauge!("edge_upstream_healthy", "upstream" => self.upstream.clone(), "server" => server.clone());
        gauge.set(if healthy { 1.0 } else { 0.0 });
        match healthy {
            true => tracing::info!(upstream = self.upstream, server, "server is ready"),
            false => {
                tracing::warn!(upstream = self.upstream, server, "server is not ready: no requests go there")
            }
        }
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

fn not_ready(error: ProbeError) -> pingora::Result<()> {
    Error::e_because(ErrorType::ConnectError, "not ready", error)
}
