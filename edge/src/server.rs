//! Puts the edge together and runs it: listeners, background work, shutdown.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use pingora::apps::HttpServerOptions;
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, GenBackgroundService};
use pingora::services::listening::Service;

use crate::admin::Admin;
use crate::config::Policy;
use crate::gateway::{self, Gateway};
use crate::guards::{Guards, KeyStore};
use crate::key_refresh::KeyRefresher;
use crate::redirect::RedirectToHttps;
use crate::upstream::{Pool, Probe};
use crate::{metrics, tls};

/// A backend that doesn't say within this time that it is ready, isn't.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// At least as many as requests run at once: opening connections anew costs half as much CPU again.
const KEEPALIVE_POOL: usize = 1024;

/// Requests on one connection.
const KEEPALIVE_REQUESTS: u32 = 10_000;

/// Runs the edge until it is told to stop; then the process ends.
pub fn run(policy: Policy) -> anyhow::Result<()> {
    let policy = Arc::new(policy);
    // Pingora would panic on the first that fails.
    for (address, what) in
        [(policy.listen.https, "HTTPS"), (policy.listen.http, "HTTP"), (policy.listen.admin, "admin")]
    {
        check_free(address).with_context(|| format!("{address} ({what}) can't be listened on"))?;
    }
    let tls = tls::settings(&policy.tls)?;
    let prometheus = metrics::install()?;
    let probe = Arc::new(Probe::new(PROBE_TIMEOUT));
    let keys = Arc::new(KeyStore::default());
    let guards = Arc::new(Guards::new(&policy, Arc::clone(&keys)));
    let pools: Arc<[Pool]> =
        policy.upstreams.iter().map(|upstream| Pool::new(upstream.clone(), Arc::clone(&probe))).collect();

    let conf = server_conf(&policy);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let gateway = Gateway::new(Arc::clone(&policy), Arc::clone(&guards), Arc::clone(&pools));
    let mut https = ProxyServiceBuilder::new(&server.configuration, gateway)
        .name("https")
        .server_options(connection_options())
        .build();
    https.add_tls_with_settings(&policy.listen.https.to_string(), None, tls);
    server.add_service(https);

    let redirect = RedirectToHttps::new(policy.hosts.clone(), policy.listen.https.port());
    let mut http = Service::new("http".to_owned(), redirect);
    http.threads = Some(1);
    http.add_tcp(&policy.listen.http.to_string());
    server.add_service(http);

    let mut admin = Service::new("admin".to_owned(), Admin::new(prometheus.clone(), Arc::clone(&pools)));
    admin.threads = Some(1);
    admin.add_tcp(&policy.listen.admin.to_string());
    server.add_service(admin);

    for pool in pools.iter() {
        let name = format!("health of {}", pool.upstream().name);
        server.add_service(GenBackgroundService::new(name, pool.balancer()));
    }
    let refresher = KeyRefresher::new(&policy, probe, keys);
    server.add_service(GenBackgroundService::new("keys".to_owned(), Arc::new(refresher)));
    let housekeeper = Housekeeper { guards, prometheus };
    server.add_service(GenBackgroundService::new("housekeeping".to_owned(), Arc::new(housekeeper)));
    server.run_forever()
}

fn server_conf(policy: &Policy) -> ServerConf {
    let retries = policy.upstreams.iter().map(|upstream| upstream.retries).max().unwrap_or(0);
    ServerConf {
        threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        upstream_keepalive_pool_size: KEEPALIVE_POOL,
        max_retries: retries + 1,
        grace_period_seconds: Some(policy.grace.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// Connections that nobody uses, or that one client uses for ever, are closed: each costs memory.
fn connection_options() -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(gateway::CLIENT_IDLE);
    options.keepalive_request_limit = Some(KEEPALIVE_REQUESTS);
    options
}

fn check_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).map_err(|error| anyhow!(error))
}

/// What must be done now and then so that memory stays bounded.
struct Housekeeper {
    guards: Arc<Guards>,
    prometheus: PrometheusHandle,
}

#[async_trait]
impl BackgroundService for Housekeeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = every.tick() => {
                    self.guards.rate_limits().sweep();
                    metrics::record_memory();
                    self.prometheus.run_upkeep();
                }
                _ = shutdown.changed() => return,
            }
        }
    }
}
