//! What the edge counts, and the text that Prometheus reads.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds; from a cache hit to a slow query.
const LATENCY_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Starts counting in this process.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &LATENCY_BUCKETS)?
        .install_recorder()?;
    metrics::describe_counter!("edge_requests_total", "Requests answered, by route and status");
    metrics::describe_histogram!(
        "edge_request_duration_seconds",
        "From the header's end to the answer's end"
    );
    metrics::describe_counter!("edge_refusals_total", "Requests that a guard refused, by guard and reason");
    metrics::describe_counter!("edge_accept_failures_total", "Times that no connection could be accepted");
    metrics::describe_counter!("edge_policy_reloads_total", "Times that the policy was read again");
    metrics::describe_counter!("edge_access_log_dropped_total", "Lines that found no room to wait in");
    metrics::describe_gauge!("edge_connections", "Clients' connections that are open");
    metrics::describe_counter!(
        "edge_connections_refused_total",
        "Connections that found no place, by reason"
    );
    metrics::describe_counter!(
        "edge_connections_evicted_total",
        "Waiting connections that made room for others"
    );
    metrics::describe_counter!("edge_handshakes_total", "TLS handshakes: full, resumed, failed, late");
    metrics::describe_counter!("edge_floods_total", "HTTP/2 connections closed for a flood of frames");
    metrics::describe_gauge!("edge_certificate_not_after_seconds", "When a certificate ends, since 1970");
    metrics::describe_counter!(
        "edge_acme_orders_total",
        "Certificates that were ordered, by host and result"
    );
    metrics::describe_gauge!(
        "edge_acme_certificate_expiry_timestamp_seconds",
        "When an ordered certificate ends, since 1970"
    );
    metrics::describe_counter!("edge_certificate_reloads_total", "Times that certificates were read again");
    metrics::describe_gauge!("edge_upstream_healthy", "1 while a server is ready");
    metrics::describe_gauge!("edge_upstream_ejected", "1 while a server is left out because it failed");
    metrics::describe_gauge!("edge_upstream_draining", "1 while a server gets no new requests by order");
    metrics::describe_gauge!("edge_upstream_requests", "Requests at work on a server, WebSockets among them");
    metrics::describe_gauge!("edge_upstream_websockets", "WebSockets that are open to a server");
    metrics::describe_counter!("edge_upstream_ejections_total", "Times that a server was ejected, by reason");
    metrics::describe_counter!(
        "edge_retries_total",
        "Requests that met a failing server: answered by another, failed there too, refused a retry by the budget"
    );
    metrics::describe_counter!(
        "edge_compression_without_room_total",
        "Answers that went out as they are: all encoders' memory was taken"
    );
    metrics::describe_counter!("edge_limited_total", "Requests that a limit refused, by limit");
    metrics::describe_gauge!("edge_limiter_clients", "Clients that a limit remembers");
    metrics::describe_gauge!("edge_token_keys", "Public keys that tokens are accepted from");
    metrics::describe_counter!(
        "edge_token_key_refresh_failures_total",
        "Times that no server gave a key set"
    );
    metrics::describe_gauge!(
        "edge_token_key_source_up",
        "1 while the key set was read when it was last asked for"
    );
    metrics::describe_gauge!("edge_revocation_feed_up", "1 while revocations are learned as they are made");
    metrics::describe_gauge!("edge_revocations", "Revocations that are remembered");
    metrics::describe_gauge!("process_resident_memory_bytes", "What this process has in memory");
    metrics::describe_gauge!(
        "process_memory_limit_bytes",
        "What its control group allows; absent without a limit"
    );
    metrics::describe_gauge!("edge_process_id", "Which process serves: another one after an upgrade");
    metrics::gauge!("edge_process_id").set(f64::from(std::process::id()));
    Ok(handle)
}

/// Notes how much memory the process uses, and how much it may.
pub fn record_memory() {
    if let Some(bytes) = memory_limit::resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(bytes) = memory_limit::limit_bytes() {
        metrics::gauge!("process_memory_limit_bytes").set(bytes as f64);
    }
}

/// Notes how many connections clients have open, and what they and their requests are taken to take.
pub fn record_connections(open: usize, taken_bytes: usize) {
    metrics::gauge!("edge_connections").set(open as f64);
    metrics::gauge!("edge_connections_bytes").set(taken_bytes as f64);
}

/// Statuses that are counted without a look-up.
const USUAL: [u16; 28] = [
    200, 304, 101, 204, 206, 201, 202, 301, 302, 308, 400, 401, 403, 404, 405, 409, 412, 413, 416, 421, 422,
    429, 431, 500, 502, 503, 504, 0,
];

/// The counts of one route. Made once: a request looks nothing up by name.
pub struct RouteMetrics {
    route: String,
    durations: Histogram,
    /// In the order of [`USUAL`]; only what was answered is shown.
    by_status: [OnceLock<Counter>; USUAL.len()],
}

impl RouteMetrics {
    /// The counts of the route with this pattern: labels are as many as the policy has routes.
    pub fn new(route: String) -> Self {
        let durations = metrics::histogram!("edge_request_duration_seconds", "route" => route.clone());
        Self { route, durations, by_status: [const { OnceLock::new() }; USUAL.len()] }
    }

    /// The route's pattern.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Counts a request that was answered; 0 where no status was sent.
    pub fn record(&self, status: u16, took: Duration) {
        self.durations.record(took);
        match USUAL.iter().position(|usual| *usual == status) {
            Some(index) => self.by_status[index].get_or_init(|| self.counter(status)).increment(1),
            None => self.counter(status).increment(1),
        }
    }

    fn counter(&self, status: u16) -> Counter {
        metrics::counter!("edge_requests_total", "route" => self.route.clone(), "status" => status.to_string())
    }
}

/// Counts a request that a guard refused.
pub fn record_refusal(guard: &'static str, reason: &'static str) {
    metrics::counter!("edge_refusals_total", "guard" => guard, "reason" => reason).increment(1);
}
