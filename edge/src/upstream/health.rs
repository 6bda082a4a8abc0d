//! Active health checks: each server's management address says whether it is ready for requests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::lb::Backend;
use pingora::lb::health_check::HealthCheck;
use pingora::{Error, ErrorType};

use super::{Probe, inet};
use crate::config::Upstream;

/// Asks a server's readiness; one answer decides, in both directions: a stopping backend says so itself, and
/// a request that meets a dead one is repeated elsewhere.
pub(super) struct Readiness {
    management: HashMap<SocketAddr, SocketAddr>,
    upstream: String,
    path: String,
    probe: Arc<Probe>,
}

impl Readiness {
    pub(super) fn new(upstream: &Upstream, probe: Arc<Probe>) -> Self {
        Self {
            management: upstream.servers.iter().map(|s| (s.address, s.management)).collect(),
            upstream: upstream.name.clone(),
            path: upstream.health_path.clone(),
            probe,
        }
    }
}

#[async_trait]
impl HealthCheck for Readiness {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let management = inet(target).and_then(|address| self.management.get(&address)).ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "a server without a management address")
        })?;
        match self.probe.get(*management, &self.path).await {
            Ok(_) => Ok(()),
            Err(error) => Error::e_because(ErrorType::ConnectError, "not ready", error),
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
