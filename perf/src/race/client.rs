//! A client that asks through TLS, by HTTP/1.1 or HTTP/2.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio_util::task::AbortOnDropHandle;

use crate::connection::{self, Appetite, connect_tls};
use crate::race::upstreams::PAGE;
use crate::target::Target;

/// The version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Whom is asked, and how.
#[derive(Clone)]
pub(super) struct Client {
    target: Target,
    protocol: Protocol,
    config: Arc<ClientConfig>,
    token: Option<HeaderValue>,
}

impl Client {
    /// A client that trusts `ca`, resumes no session, and brings a token if it has one.
    pub(super) fn new(
        target: &Target,
        protocol: Protocol,
        ca: &Path,
        token: Option<&str>,
    ) -> anyhow::Result<Self> {
        let name = match protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        };
        let config = Arc::new(connection::client(ca, name, Resumption::disabled())?);
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose()?;
        Ok(Self { target: target.clone(), protocol, config, token })
    }

    pub(super) async fn connect(&self, from: Ipv4Addr) -> anyhow::Result<Connection> {
        let stream = connect_tls(from, &self.target, &self.config, Appetite::Normal).await?;
        let io = TokioIo::new(stream);
        // That a connection breaks shows in the requests on it.
        let (requests, driver) = match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                (Requests::Http1(sender), tokio::spawn(async { drop(connection.await) }))
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                (Requests::Http2(sender), tokio::spawn(async { drop(connection.await) }))
            }
        };
        Ok(Connection { requests, driver: Arc::new(AbortOnDropHandle::new(driver)) })
    }

    fn request(&self) -> anyhow::Result<Request<Empty<Bytes>>> {
        let authority = self.target.authority();
        let request = match self.protocol {
            Protocol::Http1 => Request::get(PAGE).header(HOST, authority),
            Protocol::Http2 => Request::get(format!("https://{authority}{PAGE}")),
        };
        let mut request = request.body(Empty::new())?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }
}

/// A connection; it ends when it is dropped.
pub(super) struct Connection {
    requests: Requests,
    driver: Arc<AbortOnDropHandle<()>>,
}

enum Requests {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    /// Another user of it; only HTTP/2 has several.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.requests {
            Requests::Http1(_) => None,
            Requests::Http2(sender) => {
                Some(Self { requests: Requests::Http2(sender.clone()), driver: Arc::clone(&self.driver) })
            }
        }
    }

    /// Whether the server still takes requests on it.
    pub(super) async fn is_open(&mut self) -> bool {
        match &mut self.requests {
            Requests::Http1(sender) => sender.ready().await.is_ok(),
            Requests::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Asks for the page and reads all of it.
    pub(super) async fn ask(&mut self, client: &Client) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = client.request()?;
        let answer = match &mut self.requests {
            Requests::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Requests::Http2(sender) => sender.send_request(request).await,
        };
        let answer = answer.context("no answer")?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await.context("half an answer")?.to_bytes()))
    }

    /// Takes leave and waits until it is over.
    pub(super) async fn close(self) {
        let Self { requests, driver } = self;
        drop(requests);
        if let Some(driver) = Arc::into_inner(driver) {
            // It was neither aborted nor did it panic; and if it was, it is over all the same.
            let _ = driver.await;
        }
    }
}
