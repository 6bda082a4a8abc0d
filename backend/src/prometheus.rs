//! What the process counts, as Prometheus reads it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// One for the process, however many services a test starts in it.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts counting, if nobody counts yet; whatever was counted before is lost.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = HANDLE.get_or_init(|| {
        let handle = PrometheusBuilder::new().install_recorder().ok()?;
        metrics::describe_gauge!("process_resident_memory_bytes", "What this process has in memory");
        metrics::describe_gauge!(
            "process_memory_limit_bytes",
            "What its control group allows; absent without a limit"
        );
        Some(handle)
    });
    handle.clone().ok_or_else(|| anyhow::anyhow!("somebody else counts in this process"))
}

/// `/actuator/prometheus`.
pub fn router(handle: PrometheusHandle) -> Router {
    Router::new().route("/actuator/prometheus", get(render)).with_state(Arc::new(handle))
}

async fn render(State(handle): State<Arc<PrometheusHandle>>) -> axum::response::Response {
    if let Some(bytes) = memory_limit::resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(bytes) = memory_limit::limit_bytes() {
        metrics::gauge!("process_memory_limit_bytes").set(bytes as f64);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response()
}
