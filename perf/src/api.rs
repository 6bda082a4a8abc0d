//! One connection to a backend or the gateway, kept from request to request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// After this time a request is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where requests go: a service on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Service(SocketAddr);

impl Service {
    /// Reads `http://ADDRESS:PORT`; nothing but this machine is measured.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let authority = url.strip_prefix("http://").context("not an http URL")?;
        let address: SocketAddr = authority.trim_end_matches('/').parse().with_context(|| url.to_owned())?;
        ensure!(address.ip().is_loopback(), "{address} is no loopback address");
        Ok(Self(address))
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.0).await?;
        stream.set_nodelay(true)?;
        Connection::over(stream, &self.0.to_string()).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }
}

/// A request, and what it carries.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    /// With it, it is a POST.
    pub(crate) body: Option<Value>,
    /// Asked again with the same one, it is done once.
    pub(crate) idempotency_key: Option<String>,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self { path: path.into(), token: None, body: None, idempotency_key: None }
    }

    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self { path: path.into(), token: None, body: Some(body), idempotency_key: None }
    }

    pub(crate) fn once(self, key: &str) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    pub(crate) fn of(self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self }
    }
}

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// A connection that was made already, such as one through TLS.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned() })
    }

    /// Asks, and reads the whole answer; anything but a 2xx is an error.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Value> {
        let (status, body) = self.answer(ask).await?;
        ensure!(status.is_success(), "{} answered {status}", ask.path);
        Ok(body)
    }

    /// Asks, and reads the whole answer, whatever it is; a body that isn't JSON reads as null.
    pub(crate) async fn answer(&mut self, ask: &Ask) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(if ask.body.is_some() { "POST" } else { "GET" })
            .uri(&ask.path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &ask.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = &ask.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = ask.body.as_ref().map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(Full::new(body))?;
        let (status, bytes) = timeout(PATIENCE, self.send(request)).await.context("given up")??;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
