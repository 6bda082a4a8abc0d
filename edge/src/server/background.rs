//! What goes on beside the requests, and ends with the edge.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;

use super::Edge;
use crate::door::Door;
use crate::key_refresh::KeyRefresher;
use crate::metrics;
use crate::revocation_feed::RevocationFeed;
use crate::site::Sites;
use crate::tls::Reloader;
use crate::upstream::Checker;

/// How often it is looked that memory stays bounded.
const SWEEP: Duration = Duration::from_secs(1);

/// Tasks that end when this is dropped.
pub(super) struct Background {
    _tasks: JoinSet<()>,
    /// What they wait for; they end sooner.
    _never: tokio::sync::watch::Sender<bool>,
}

impl Background {
    /// Starts all of it.
    pub(super) fn start(edge: &Edge) -> Self {
        let mut tasks = JoinSet::new();
        let never = tokio::sync::watch::Sender::new(false);
        let mut run = |service: Arc<dyn BackgroundService + Send + Sync>| {
            let shutdown = never.subscribe();
            tasks.spawn(async move { service.start(shutdown).await });
        };
        run(Arc::new(Checker::new(Arc::clone(&edge.pools), Arc::clone(&edge.probe))));
        run(Arc::new(KeyRefresher::new(
            Arc::clone(&edge.sites),
            Arc::clone(&edge.probe),
            Arc::clone(&edge.shared.keys),
        )));
        run(Arc::new(RevocationFeed::new(
            edge.policy.tokens.revocations.clone(),
            Arc::clone(&edge.shared.revocations),
        )));
        if let Some(acme) = &edge.acme {
            run(Arc::clone(acme) as _);
        }
        run(Arc::new(Reloader::new(Arc::clone(&edge.tls))));
        tasks.spawn(sweep(Arc::clone(&edge.sites), Arc::clone(&edge.door), edge.prometheus.clone()));
        Self { _tasks: tasks, _never: never }
    }
}

/// What must be done now and then so that memory stays bounded.
async fn sweep(sites: Arc<Sites>, door: Arc<Door>, prometheus: PrometheusHandle) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        every.tick().await;
        sites.current().guards.rate_limits().sweep();
        metrics::record_memory();
        metrics::record_connections(door.connections(), door.taken_bytes());
        prometheus.run_upkeep();
    }
}
