//! Whether this process lives, whether it should be sent requests, and what it uses; in the form Actuator made known.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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

/// The gateway gives an answer a second: a database that takes longer than this counts as silent.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(800);

/// Redis doesn't decide: it isn't waited for as long.
const REDIS_TIMEOUT: Duration = Duration::from_millis(400);

/// So many times in a row the database is silent before the process isn't ready: one slow write of the disk, which
/// both backends share, must not take both out of service.
const MAX_SILENCES: u32 = 3;

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
    /// How often in a row the database was silent.
    silences: Arc<AtomicU32>,
}

/// `/actuator/health/liveness`, `/actuator/health/readiness` and `/actuator/info`.
pub fn router(db: Db, redis: Redis, stopping: Stopping) -> Router {
    Router::new()
        .route("/actuator/health/liveness", get(async || Json(json!({"status": "UP"}))))
        .route("/actuator/health/readiness", get(readiness))
        .route("/actuator/info", get(async || Json(info())))
        .with_state(Health { db, redis, stopping, silences: Arc::default() })
}

/// Ready means: the database answers and nobody asked to stop. Without Redis much goes on (reads, bookings, chat
/// within a process): taking both backends out of service would only make it worse.
async fn readiness(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    if health.stopping.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "OUT_OF_SERVICE"})));
    }
    let (database, redis) = tokio::join!(
        tokio::time::timeout(DATABASE_TIMEOUT, health.db.ping()),
        tokio::time::timeout(REDIS_TIMEOUT, health.redis.ping()),
    );
    let (database, redis) = (matches!(database, Ok(Ok(()))), matches!(redis, Ok(Ok(()))));
    let is_ready = health.note(database);
    let body = json!({
        "status": if is_ready { "UP" } else { "DOWN" },
        "components": {"database": component(database), "redis": component(redis)},
    });
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

impl Health {
    /// Whether the process is still ready, given whether its database answered this time.
    fn note(&self, has_answered: bool) -> bool {
        let after = |before: u32| Some(if has_answered { 0 } else { before.saturating_add(1) });
        let before = self.silences.fetch_update(Ordering::AcqRel, Ordering::Acquire, after);
        has_answered || before.is_ok_and(|before| before + 1 < MAX_SILENCES)
    }
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use test_database::TestDatabase;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config;

    #[tokio::test]
    async fn a_database_takes_a_backend_out_only_when_it_is_silent_three_times_in_a_row() {
        let database = TestDatabase::create().await;
        let db = Db::open(&config::Database::at(database.url())).await.expect("opens");
        let nowhere = config::Redis {
            url: "redis://127.0.0.1:1".to_owned(),
            password: None,
            timeout: Duration::from_millis(100),
        };
        let stopping = Stopping::default();
        let router = router(db.clone(), Redis::new(&nowhere).expect("an address"), stopping.clone());
        let ask = async || {
            let request = Request::get("/actuator/health/readiness").body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("answered")
        };
        assert_eq!(ask().await.status(), 200);
        db.close().await;
        for expected in [200, 200, 503, 503] {
            assert_eq!(ask().await.status(), expected);
        }
        stopping.begin();
        let answer = ask().await;
        assert_eq!(answer.status(), 503);
        let body = answer.into_body().collect().await.expect("read").to_bytes();
        assert_eq!(body, r#"{"status":"OUT_OF_SERVICE"}"#);
    }
}
