//! Whether this process lives, whether it should be sent requests, and what it uses; in the form Actuator made known.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use crate::config::Config;
use crate::database::Db;
use crate::extract::Json;
use crate::redis::Redis;

/// The gateway asks twice a second: an answer that takes longer is none.
const TIMEOUT: Duration = Duration::from_millis(400);

/// Whether the process was told to stop. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// From now on the process isn't ready.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How long `backend healthcheck` waits.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Fails unless the service of this configuration says that it is ready; what a container's health check runs.
pub async fn ask(config: &Config) -> anyhow::Result<()> {
    let mut management = config.listen.management;
    if management.ip().is_unspecified() {
        management = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), management.port());
    }
    // reqwest wants a provider for TLS even where none is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(ASK_TIMEOUT).no_proxy().build()?;
    let answer = client.get(format!("http://{management}/actuator/health/readiness")).send().await;
    let answer = answer.with_context(|| format!("the service does not answer at {management}"))?;
    anyhow::ensure!(answer.status().is_success(), "the service at {management} is not ready");
    Ok(())
}

#[derive(Clone)]
struct Health {
    db: Db,
    redis: Redis,
    stopping: Stopping,
}

/// `/actuator/health/liveness`, `/actuator/health/readiness` and `/actuator/info`.
pub fn router(db: Db, redis: Redis, stopping: Stopping) -> Router {
    Router::new()
        .route("/actuator/health/liveness", get(async || Json(json!({"status": "UP"}))))
        .route("/actuator/health/readiness", get(readiness))
        .route("/actuator/info", get(async || Json(info())))
        .with_state(Health { db, redis, stopping })
}

/// Ready means: the database answers and nobody asked to stop. Without Redis much goes on (reads, bookings, chat
/// within a process): taking both backends out of service would only make it worse.
async fn readiness(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let (database, redis) = tokio::join!(
        tokio::time::timeout(TIMEOUT, health.db.ping()),
        tokio::time::timeout(TIMEOUT, health.redis.ping()),
    );
    let database = matches!(database, Ok(Ok(())));
    let redis = matches!(redis, Ok(Ok(())));
    let is_ready = database && !health.stopping.has_begun();
    let status = match (is_ready, health.stopping.has_begun()) {
        (true, _) => "UP",
        (false, true) => "OUT_OF_SERVICE",
        (false, false) => "DOWN",
    };
    let body = json!({
        "status": status,
        "components": {"database": component(database), "redis": component(redis)},
    });
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

/// What runs, and its memory against its limit, in bytes; the limit is null where there is none.
fn info() -> Value {
    json!({
        "build": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        "process": {
            "resident_memory_bytes": memory_limit::resident_bytes(),
            "memory_limit_bytes": memory_limit::limit_bytes(),
        },
    })
}

fn component(is_up: bool) -> Value {
    json!({"status": if is_up { "UP" } else { "DOWN" }})
}
