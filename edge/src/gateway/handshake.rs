//! A WebSocket's handshake: the edge makes it with a server itself, and looks at the server's agreement. Then tunnel.rs takes
//! over.

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use super::tunnel::Agreed;
use super::{FORWARDED_FOR, Gateway, REQUEST_ID, Session, exchange, pool_of};
use crate::context::Context;
use crate::problem::Problem;
use crate::upstream::Failure;
use crate::websocket::{is_agreed, is_hop_by_hop};

/// A server's header.
const MOST_HEADER_BYTES: usize = 32 * 1024;

/// A server that has been asked.
struct Asked {
    answer: Response<Incoming>,
    /// What drives the connection until it is upgraded.
    _connection: JoinSet<()>,
}

impl Gateway {
    /// Asks a server for the WebSocket that a request with this key asks for. What the server agrees to is returned; any
    /// other answer has gone to the client.
    pub(super) async fn ask_for_websocket(
        &self,
        session: &mut Session,
        context: &mut Context,
        key: &HeaderValue,
    ) -> Result<Option<Agreed>> {
        let stream = match connect(session, context).await? {
            Ok(stream) => stream,
            Err(problem) => {
                let retry_after = vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))];
                self.respond_problem(session, context, &problem, retry_after).await?;
                return Ok(None);
            }
        };
        let patience = pool_of(&context.site, context.route)?.upstream().read_timeout;
        let request = request(session, context)?;
        // On the heap: what the handshake takes is given back when it is done.
        let asked = match timeout(patience, Box::pin(ask(stream, request))).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) => {
                tracing::warn!(%error, request_id = context.request_id, "no answer to a WebSocket's handshake");
                return self.refuse_websocket(session, context).await;
            }
            Err(_) => return self.refuse_websocket(session, context).await,
        };
        let status = asked.answer.status();
        let asking = exchange::asking(session, context);
        let Context { exchange, site, route, .. } = &mut *context;
        // It isn't asked again elsewhere: what the server says of it, it says for all.
        exchange.answered(pool_of(site, *route)?, status, asking, false);
        let mut header = ResponseHeader::build(status, None)?;
        for (name, value) in asked.answer.headers() {
            if !is_hop_by_hop(name) && name != header::CONTENT_LENGTH {
                header.append_header(name.clone(), value.clone())?;
            }
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            Box::pin(self.relay(session, context, header, asked, patience)).await?;
            return Ok(None);
        }
        if !is_agreed(asked.answer.headers(), key) {
            let request_id = &context.request_id;
            tracing::warn!(request_id, "a server agrees to a WebSocket that nobody asked for");
            return self.refuse_websocket(session, context).await;
        }
        header.insert_header(header::UPGRADE, "websocket")?;
        header.insert_header(header::CONNECTION, "upgrade")?;
        self.finish_header(session, &mut header, context)?;
        // Pingora gives the connection back as it does between two requests.
        session.set_keepalive(Some(0));
        session.set_keepalive_reuses_remaining(None);
        let idle = pool_of(&context.site, context.route)?.upstream().websocket_idle;
        let upgraded = hyper::upgrade::on(asked.answer).await.or_else(|error| {
            Error::e_because(ErrorType::ConnectionClosed, "a server that switched protocols", error)
        })?;
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| {
            Error::explain(ErrorType::InternalError, "an upgraded connection of another kind")
        })?;
        Ok(Some(Agreed { header, server: parts.io.into_inner(), early: parts.read_buf, idle }))
    }

    async fn refuse_websocket(&self, session: &mut Session, context: &mut Context) -> Result<Option<Agreed>> {
        self.respond_problem(session, context, &Problem::bad_gateway(), Vec::new()).await?;
        Ok(None)
    }

    /// Hands on an answer that is no agreement: the service's own reason.
    async fn relay(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut response: ResponseHeader,
        asked: Asked,
        patience: Duration,
    ) -> Result<()> {
        self.finish_header(session, &mut response, context)?;
        // Its end is told by the connection's.
        session.set_keepalive(None);
        session.write_response_header(Box::new(response), false).await?;
        let mut body = asked.answer.into_body();
        while let Ok(Some(Ok(frame))) = timeout(patience, body.frame()).await {
            if let Ok(bytes) = frame.into_data() {
                session.write_response_body(Some(bytes), false).await?;
            }
        }
        session.write_response_body(None, true).await
    }
}

/// A connection to a server of the route, or what the client is told where there is none. Nothing was sent yet: another
/// server may be tried.
async fn connect(
    session: &Session,
    context: &mut Context,
) -> Result<std::result::Result<TcpStream, Problem>> {
    let asking = exchange::asking(session, context);
    let Context { exchange, site, route, .. } = context;
    let pool = pool_of(site, *route)?;
    loop {
        let Some(server) = exchange.choose(pool, asking) else { return Ok(Err(Problem::unavailable())) };
        let failure = match timeout(pool.upstream().connect_timeout, connect_to(server)).await {
            Ok(Ok(stream)) => return Ok(Ok(stream)),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Some(Failure::Refused),
            // No free port, no free descriptor: the edge's own need.
            Ok(Err(_)) => None,
            Err(_) => Some(Failure::NoConnection),
        };
        if !exchange.failed(pool, failure, asking, true) {
            return Ok(Err(Problem::unavailable()));
        }
    }
}

async fn connect_to(server: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The request as the server gets it: what was admitted, and what only a gateway may say.
fn request(session: &Session, context: &Context) -> Result<Request<Empty<Bytes>>> {
    let asked = session.req_header();
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = asked.uri.clone();
    let fields =
        asked.headers.iter().filter(|(name, _)| !is_hop_by_hop(name) && *name != header::CONTENT_LENGTH);
    request.headers_mut().extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    let illegal = |_| Error::explain(ErrorType::InternalError, "a field of our own is illegal");
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(REQUEST_ID, HeaderValue::from_str(&context.request_id).map_err(illegal)?);
    if let Some(client) = context.known.client {
        headers.insert(FORWARDED_FOR, HeaderValue::from_str(&client.to_string()).map_err(illegal)?);
    }
    Ok(request)
}

async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>) -> hyper::Result<Asked> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // What it fails with, the answer's reader hears too.
        let _ = connection.with_upgrades().await;
    });
    Ok(Asked { answer: sender.send_request(request).await?, _connection: driver })
}
