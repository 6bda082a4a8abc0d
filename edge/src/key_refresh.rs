//! Keeps the public keys of access tokens up to date: read at start, on a schedule, and when a token names a key
//! that isn't known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access_token::KeySet;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Policy;
use crate::guards::KeyStore;
use crate::upstream::Probe;

/// Between two fetches at least. A token that names an unknown key is cause to fetch at once, if the last time is so long
/// ago, else as soon as it is: a flood of invented ids costs the backends one request each second, and delays a real new
/// key by no more than that.
const BETWEEN: Duration = Duration::from_secs(1);

/// Reads the key set from whichever server answers; the last good one stays in force when none does.
pub struct KeyRefresher {
    servers: Vec<SocketAddr>,
    path: String,
    every: Duration,
    probe: Arc<Probe>,
    keys: Arc<KeyStore>,
}

impl KeyRefresher {
    /// A refresher for the policy's key source.
    pub fn new(policy: &Policy, probe: Arc<Probe>, keys: Arc<KeyStore>) -> Self {
        let source = &policy.upstreams[policy.tokens.upstream];
        Self {
            servers: source.servers.iter().map(|server| server.address).collect(),
            path: policy.tokens.jwks_path.clone(),
            every: policy.tokens.refresh,
            probe,
            keys,
        }
    }

    async fn refresh(&self) -> bool {
        for server in &self.servers {
            match self.probe.get(*server, &self.path).await {
                Ok(document) => match KeySet::from_jwks(&document) {
                    Ok(keys) => {
                        metrics::gauge!("edge_token_keys").set(keys.len() as f64);
                        metrics::gauge!("edge_token_key_source_up").set(1.0);
                        self.keys.store(keys);
                        return true;
                    }
                    Err(error) => tracing::error!(%server, %error, "the key set is refused"),
                },
                Err(error) => tracing::debug!(%server, %error, "no key set from this server"),
            }
        }
        metrics::counter!("edge_token_key_refresh_failures_total").increment(1);
        metrics::gauge!("edge_token_key_source_up").set(0.0);
        false
    }
}

#[async_trait]
impl BackgroundService for KeyRefresher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let began = Instant::now();
            let pause = if self.refresh().await { self.every } else { BETWEEN };
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
