//! Whether this process lives, and whether it should be sent requests; in the form Actuator made known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

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

#[derive(Clone)]
struct Health {
    db: Db,
    redis: Redis,
    stopping: Stopping,
}

/// `/actuator/health/liveness` and `/actuator/health/readiness`.
pub fn router(db: Db, redis: Redis, stopping: Stopping) -> Router {
    Router::new()
        .route("/actuator/health/liveness", get(async || Json(json!({"status": "UP"}))))
        .route("/actuator/health/readiness", get(readiness))
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

fn component(is_up: bool) -> Value {
    json!({"status": if is_up { "UP" } else { "DOWN" }})
}
