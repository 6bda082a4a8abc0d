//! Small requests of the edge's own to its upstreams: is it ready, which keys does it publish.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Longer answers are refused: a key set is under 2 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No whole answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection failed or broke.
    #[error("no connection: {0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off or was too long.
    #[error("the answer can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The answer's status is not 200.
    #[error("answered {0}")]
    Status(StatusCode),
}

/// A client for plain HTTP/1.1 GETs with a deadline and a bounded answer.
pub struct Probe {
    client: Client<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

impl Probe {
    /// A probe whose answers must be complete within `timeout`.
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, timeout }
    }

    /// The body of `GET http://server/path`, if it is answered with 200.
    pub async fn get(&self, server: SocketAddr, path: &str) -> Result<Bytes, ProbeError> {
        tokio::time::timeout(self.timeout, self.get_unbounded(server, path))
            .await
            .map_err(|_| ProbeError::Timeout(self.timeout))?
    }

    async fn get_unbounded(&self, server: SocketAddr, path: &str) -> Result<Bytes, ProbeError> {
        let request = Request::get(format!("http://{server}{path}"))
            .header(header::USER_AGENT, "daemun-edge")
            .body(Empty::new())
            .expect("an address and a checked path make a URI");
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(ProbeError::Body)?
            .to_bytes();
        if status == StatusCode::OK { Ok(body) } else { Err(ProbeError::Status(status)) }
    }
}
