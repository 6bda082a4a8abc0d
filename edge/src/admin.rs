//! The admin port: what the edge says of itself to the machine it runs on. Never published.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use crate::drain::Drain;
use crate::site::Sites;
use crate::upstream::Pool;

/// Serves `/metrics`, `/health` and `/upstreams`.
pub struct Admin {
    metrics: PrometheusHandle,
    sites: Arc<Sites>,
    drain: Arc<Drain>,
}

impl Admin {
    /// An admin port over the edge's metrics and upstreams.
    pub fn new(metrics: PrometheusHandle, sites: Arc<Sites>, drain: Arc<Drain>) -> Self {
        Self { metrics, sites, drain }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        const JSON: &str = "application/json";
        let request = session.req_header();
        let (status, content_type, body) = match (&request.method, request.uri.path()) {
            (&Method::GET, "/metrics") => {
                (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            (&Method::GET, "/health") if self.drain.has_begun() => {
                (StatusCode::SERVICE_UNAVAILABLE, JSON, json!({"status": "OUT_OF_SERVICE"}).to_string())
            }
            (&Method::GET, "/health") => (StatusCode::OK, JSON, json!({"status": "UP"}).to_string()),
            (&Method::GET, "/upstreams") => {
                let states: Vec<_> = self.sites.current().pools.iter().flat_map(Pool::states).collect();
                (StatusCode::OK, JSON, json!({ "items": states }).to_string())
            }
            _ => (StatusCode::NOT_FOUND, JSON, json!({"error": "no such page"}).to_string()),
        };
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body.into_bytes())
            .expect("constant fields make a response")
    }
}
