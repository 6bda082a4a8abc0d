//! The admin port: what the edge says of itself to the machine it runs on, and what it can be told. Never published.
//!
//! ```text
//! GET  /metrics              text for Prometheus
//! GET  /health               {"status": "UP"}
//! GET  /upstreams            {"items": [ServerState, …]}
//! POST /upstreams/drain      {"upstream": "backend", "server": "127.0.0.1:8080", "force": false} → the server's state
//! POST /upstreams/undrain    {"upstream": "backend", "server": "127.0.0.1:8080"}                  → the server's state
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::drain::Drain;
use crate::upstream::{CurrentPools, DrainError, Pool, ServerState};

const JSON: &str = "application/json";
/// What is told fits into this.
const MAX_BODY_BYTES: usize = 4096;

/// Serves the pages of the admin port.
pub struct Admin {
    metrics: PrometheusHandle,
    pools: Arc<CurrentPools>,
    drain: Arc<Drain>,
}

#[derive(Serialize)]
struct Upstreams {
    items: Vec<ServerState>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    upstream: String,
    server: SocketAddr,
    #[serde(default)]
    force: bool,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Admin {
    /// An admin port over the edge's metrics and upstreams.
    pub fn new(metrics: PrometheusHandle, pools: Arc<CurrentPools>, drain: Arc<Drain>) -> Self {
        Self { metrics, pools, drain }
    }

    async fn page(&self, session: &mut ServerSession) -> Page {
        let request = session.req_header();
        let (method, path) = (request.method.clone(), request.uri.path().to_owned());
        match (&method, path.as_str()) {
            (&Method::GET, "/metrics") => Page {
                status: StatusCode::OK,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.metrics.render(),
            },
            (&Method::GET, "/health") if self.drain.has_begun() => {
                Page::of(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "OUT_OF_SERVICE"}))
            }
            (&Method::GET, "/health") => Page::of(StatusCode::OK, &json!({"status": "UP"})),
            (&Method::GET, "/upstreams") => {
                let items = self.pools.load().iter().flat_map(Pool::states).collect();
                Page::of(StatusCode::OK, &Upstreams { items })
            }
            (&Method::POST, "/upstreams/drain" | "/upstreams/undrain") => {
                // A page that is open in a browser on this machine must not be able to take servers out.
                if request.headers.contains_key(header::ORIGIN) {
                    return Page::error(StatusCode::FORBIDDEN, "not from a web page");
                }
                match read_order(session).await {
                    Ok(order) => self.carry_out(&order, path.ends_with("/drain")),
                    Err(page) => page,
                }
            }
            (_, "/metrics" | "/health" | "/upstreams") => {
                Page::error(StatusCode::METHOD_NOT_ALLOWED, "this page is for GET")
            }
            (_, "/upstreams/drain" | "/upstreams/undrain") => {
                Page::error(StatusCode::METHOD_NOT_ALLOWED, "this is for POST")
            }
            _ => Page::error(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    fn carry_out(&self, order: &Order, is_drain: bool) -> Page {
        let pools = self.pools.load();
        let Some(pool) = pools.iter().find(|pool| pool.upstream().name == order.upstream) else {
            return Page::error(StatusCode::BAD_REQUEST, "no upstream has this name");
        };
        let done = if is_drain { pool.drain(order.server, order.force) } else { pool.undrain(order.server) };
        if let Err(error) = done {
            let status = match error {
                DrainError::NoSuchServer => StatusCode::BAD_REQUEST,
                DrainError::LastServer => StatusCode::CONFLICT,
            };
            return Page::error(status, &error.to_string());
        }
        match pool.states().find(|state| state.address == order.server) {
            Some(state) => Page::of(StatusCode::OK, &state),
            None => Page::error(StatusCode::BAD_REQUEST, &DrainError::NoSuchServer.to_string()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Page { status, content_type, body } = self.page(session).await;
        let mut response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, body.len());
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let is_order = session.req_header().uri.path().starts_with("/upstreams/");
            response = response.header(header::ALLOW, if is_order { "POST" } else { "GET" });
        }
        response.body(body.into_bytes()).expect("constant fields make a response")
    }
}

impl Page {
    fn of(status: StatusCode, content: &impl Serialize) -> Self {
        let body = serde_json::to_string(content).expect("plain structs become JSON");
        Self { status, content_type: JSON, body }
    }

    fn error(status: StatusCode, what: &str) -> Self {
        Self::of(status, &json!({ "error": what }))
    }
}

async fn read_order(session: &mut ServerSession) -> Result<Order, Page> {
    let bad = |what: &str| Page::error(StatusCode::BAD_REQUEST, what);
    let mut body = Vec::new();
    while let Some(part) = session.read_request_body().await.map_err(|_| bad("the body can't be read"))? {
        body.extend_from_slice(&part);
        if body.len() > MAX_BODY_BYTES {
            return Err(bad("the body is too long"));
        }
    }
    serde_json::from_slice(&body).map_err(|error| bad(&format!("the body is no order: {error}")))
}
