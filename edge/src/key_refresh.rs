//! Keeps the public keys of access tokens up to date: read at start, on a schedule, and when a token names a key
//! that isn't known.

use std::sync::Arc;
use std::time::Duration;

use access_token::KeySet;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{Instant, sleep, sleep_until};

use crate::guards::KeyStore;
use crate::site::Sites;
use crate::upstream::Probe;

/// Between two fetches at least. A token that names an unknown key is cause to fetch at once, if the last time is so long
/// ago, else as soon as it is: a flood of invented ids costs the backends one request each second, and delays a real new
/// key by no more than that.
const BETWEEN: Duration = Duration::from_secs(1);

/// Reads the key set from whichever server answers; the last good one stays in force when none does.
pub struct KeyRefresher {
    sites: Arc<Sites>,
    probe: Arc<Probe>,
    keys: Arc<KeyStore>,
}

impl KeyRefresher {
    /// A refresher for the key source of whichever policy is in force.
    pub fn new(sites: Arc<Sites>, probe: Arc<Probe>, keys: Arc<KeyStore>) -> Self {
        Self { sites, probe, keys }
    }

    /// Until the next time, if it was read.
    async fn refresh(&self) -> Option<Duration> {
        let policy = Arc::clone(&self.sites.current().policy);
        let source = &policy.upstreams[policy.tokens.upstream];
        for server in source.servers.iter().map(|server| server.address) {
            match self.probe.get(server, &policy.tokens.jwks_path).await {
                Ok(document) => match KeySet::from_jwks(&document) {
                    Ok(keys) => {
                        metrics::gauge!("edge_token_keys").set(keys.len() as f64);
                        metrics::gauge!("edge_token_key_source_up").set(1.0);
                        self.keys.store(keys);
                        return Some(policy.tokens.refresh);
                    }
                    Err(error) => tracing::error!(%server, %error, "the key set is refused"),
                },
                Err(error) => tracing::debug!(%server, %error, "no key set from this server"),
            }
        }
        metrics::counter!("edge_token_key_refresh_failures_total").increment(1);
        metrics::gauge!("edge_token_key_source_up").set(0.0);
        None
    }
}

#[async_trait]
impl BackgroundService for KeyRefresher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let began = Instant::now();
            let pause = self.refresh().await.unwrap_or(BETWEEN);
            let next = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.keys.unknown_key_seen() => sleep_until(began + BETWEEN).await,
                }
            };
            tokio::select! {
                () = next => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
