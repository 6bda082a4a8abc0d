//! Puts the edge together and runs it: listeners, background work, shutdown.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use access_token::Revocations;
use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, GenBackgroundService};
use pingora::services::listening::Service;

use crate::acme::Acme;
use crate::admin::Admin;
use crate::compression::Encoders;
use crate::config::Policy;
use crate::door::{Door, FrontDoor};
use crate::files::Files;
use crate::gateway::Gateway;
use crate::guards::{Guards, KeyStore};
use crate::key_refresh::KeyRefresher;
use crate::metrics;
use crate::redirect::RedirectToHttps;
use crate::revocation_feed::RevocationFeed;
use crate::tls::{Reloader, Tls};
use crate::upstream::{Pool, Probe};

/// A backend that doesn't say within this time that it is ready, isn't.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// At least as many as requests run at once: opening connections anew costs half as much CPU again.
const KEEPALIVE_POOL: usize = 1024;

/// Runs the edge until it is told to stop; then the process ends.
pub fn run(policy: Policy) -> anyhow::Result<()> {
    let policy = Arc::new(policy);
    // Pingora would panic on the first that fails.
    for (address, what) in
        [(policy.listen.https, "HTTPS"), (policy.listen.http, "HTTP"), (policy.listen.admin, "admin")]
    {
        check_free(address).with_context(|| format!("{address} ({what}) can't be listened on"))?;
    }
    let acme = policy.acme.clone().map(Acme::new).transpose()?.map(Arc::new);
    let tls = Tls::open(&policy, acme.clone())?;
    let door = Door::new(&policy);
    let prometheus = metrics::install()?;
    let probe = Arc::new(Probe::new(PROBE_TIMEOUT));
    let keys = Arc::new(KeyStore::default());
    let revocations = Arc::new(Revocations::default());
    let guards = Arc::new(Guards::new(&policy, Arc::clone(&keys), Arc::clone(&revocations)));
    let pools: Arc<[Pool]> =
        policy.upstreams.iter().map(|upstream| Pool::new(upstream.clone(), Arc::clone(&probe))).collect();

    let conf = server_conf(&policy);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    // Both count what the whole process uses, whatever the policy.
    let encoders = Arc::<Encoders>::default();
    let files = Arc::new(Files::new(Arc::clone(&encoders)));
    let gateway = Gateway::new(Arc::clone(&policy), Arc::clone(&guards), Arc::clone(&pools), files, encoders);
    let proxy = proxy(&server.configuration, gateway);
    let https = FrontDoor::secured(Arc::clone(&door), tls.server_config()?, proxy);
    server.add_service(listening("https", https, policy.listen.https));

    let redirect = RedirectToHttps::new(policy.hosts.clone(), policy.listen.https.port(), acme.clone());
    let mut http = listening("http", FrontDoor::plain(Arc::clone(&door), redirect), policy.listen.http);
    http.threads = Some(1);
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
    let feed = RevocationFeed::new(policy.tokens.revocations.clone(), revocations);
    server.add_service(GenBackgroundService::new("revocations".to_owned(), Arc::new(feed)));
    if let Some(acme) = acme {
        server.add_service(GenBackgroundService::new("acme".to_owned(), acme));
    }
    server.add_service(GenBackgroundService::new("certificates".to_owned(), Arc::new(Reloader::new(tls))));
    let housekeeper = Housekeeper { guards, door, prometheus };
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

/// The proxy behind the door. CONNECT comes as far as the gateway, which refuses it with a problem.
fn proxy(conf: &Arc<ServerConf>, gateway: Gateway) -> HttpProxy<Gateway> {
    let mut proxy = http_proxy(conf, gateway);
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    proxy
}

/// Pingora listens and accepts. What is read of a socket goes to TLS at once, or is a header: a buffer in between would
/// only cost each connection its memory.
fn listening<A>(name: &str, app: A, address: SocketAddr) -> Service<A> {
    let mut service = Service::new(name.to_owned(), app);
    service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::unbuffered()));
    service
}

fn check_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).map_err(|error| anyhow!(error))
}

/// What must be done now and then so that memory stays bounded.
struct Housekeeper {
    guards: Arc<Guards>,
    door: Arc<Door>,
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
                    metrics::record_connections(self.door.connections(), self.door.taken_bytes());
                    self.prometheus.run_upkeep();
                }
                _ = shutdown.changed() => return,
            }
        }
    }
}
