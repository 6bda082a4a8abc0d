//! A connection that asks through TLS, by HTTP/1.1 or HTTP/2, and the difference between a request that failed and one that
//! was never looked at.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::record::Failure;
use crate::connection::{self, Appetite, connect};
use crate::target::Target;

/// Whom is asked.
pub(in crate::disruptions) struct Door {
    pub(super) target: Target,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// The version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Door {
    /// Each connection has a handshake of its own: no session is resumed.
    pub(in crate::disruptions) fn new(target: Target, ca: &Path) -> anyhow::Result<Self> {
        let client = |protocol| connection::client(ca, protocol, Resumption::disabled()).map(Arc::new);
        Ok(Self { target, http1: client("http/1.1")?, http2: client("h2")? })
    }

    /// The certificate that a new connection is shown.
    pub(in crate::disruptions) async fn certificate(&self) -> anyhow::Result<Vec<u8>> {
        let stream = self.stream(Ipv4Addr::LOCALHOST, Protocol::Http1).await;
        let stream = stream.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
        Ok(shown.map(|certificate| certificate.to_vec()).unwrap_or_default())
    }

    pub(super) async fn stream(
        &self,
        from: Ipv4Addr,
        protocol: Protocol,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        let stream = connect(from, self.target.address, Appetite::Normal).await;
        let stream = stream.map_err(|_| Failure::Connect)?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(self.target.name.clone(), stream).await.map_err(|_| Failure::Tls)
    }

    pub(super) async fn connect(&self, from: Ipv4Addr, protocol: Protocol) -> Result<Connection, Failure> {
        let io = TokioIo::new(self.stream(from, protocol).await?);
        let broken = |error: hyper::Error| Failure::Reset(error.to_string());
        // That a connection breaks shows in the requests on it.
        let (requests, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
                (Requests::Http1(sender), tokio::spawn(async { drop(connection.await) }))
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = handshake.map_err(broken)?;
                (Requests::Http2(sender), tokio::spawn(async { drop(connection.await) }))
            }
        };
        Ok(Connection { requests, _driver: Arc::new(AbortOnDropHandle::new(driver)) })
    }
}

/// A connection; it ends when the last who shares it drops it.
pub(super) struct Connection {
    requests: Requests,
    _driver: Arc<AbortOnDropHandle<()>>,
}

enum Requests {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It wasn't looked at, as far as a client can know: asking again is right.
    Unheard,
    Failed(Failure),
}

impl Connection {
    /// Another user of it; only HTTP/2 has several.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.requests {
            Requests::Http1(_) => None,
            Requests::Http2(sender) => {
                let requests = Requests::Http2(sender.clone());
                Some(Self { requests, _driver: Arc::clone(&self._driver) })
            }
        }
    }

    /// Whether the server has closed it, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        match &self.requests {
            Requests::Http1(sender) => sender.is_closed(),
            Requests::Http2(sender) => sender.is_closed(),
        }
    }

    /// Asks for a path and reads the whole answer.
    pub(super) async fn ask(&mut self, door: &Door, path: &str) -> Result<(), NoAnswer> {
        let authority = door.target.authority();
        let broken = |error: hyper::Error| NoAnswer::Failed(Failure::Reset(innermost(&error)));
        let answer = match &mut self.requests {
            Requests::Http1(sender) => {
                let request = Request::get(path).header(HOST, authority).body(Empty::new());
                sender.ready().await.map_err(|_| NoAnswer::Unheard)?;
                // The connection ended before an answer began: who was to answer may have been about to let it go.
                sender.send_request(request.expect("a request")).await.map_err(|_| NoAnswer::Unheard)
            }
            Requests::Http2(sender) => {
                let request = Request::get(format!("https://{authority}{path}")).body(Empty::new());
                sender.ready().await.map_err(|_| NoAnswer::Unheard)?;
                let answer = sender.send_request(request.expect("a request")).await;
                answer.map_err(|error| if is_unheard(&error) { NoAnswer::Unheard } else { broken(error) })
            }
        }?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(broken)?;
        if status == 200 { Ok(()) } else { Err(NoAnswer::Failed(Failure::Status(status))) }
    }
}

/// Not sent, or refused unseen, or above the last stream that a GOAWAY speaks of (RFC 9113, section 8.7).
fn is_unheard(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_canceled()
        || cause.is_some_and(|cause| {
            cause.reason() == Some(h2::Reason::REFUSED_STREAM)
                || cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR)
        })
}

fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
