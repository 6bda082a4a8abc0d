//! A WebSocket through the gate. The edge makes the handshake with a server itself and then passes bytes on, both ways, until
//! one side ends, is silent for too long, or the edge leaves.

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout, timeout_at};

use super::{FORWARDED_FOR, Gateway, REQUEST_ID, Session, exchange, pool_of};
use crate::context::Context;
use crate::drain::Phase;
use crate::problem::Problem;
use crate::upstream::Failure;
use crate::websocket::{Budget, CLOSE, FrameBoundary, is_agreed, is_hop_by_hop};

/// Read at once of what a server says.
const READ_BYTES: usize = 8 * 1024;
/// A server's header.
const MOST_HEADER_BYTES: usize = 32 * 1024;
/// All of them together would come back together.
const SPREAD: Duration = Duration::from_millis(1500);
/// What a client has to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server that has been asked.
struct Asked {
    answer: Response<Incoming>,
    /// What drives the connection until it is upgraded.
    _connection: JoinSet<()>,
}

impl Gateway {
    /// Opens the WebSocket that a request with this key asks for, and stays until it ends.
    pub(super) async fn open_websocket(
        &self,
        session: &mut Session,
        context: &mut Context,
        key: &HeaderValue,
    ) -> Result<()> {
        let stream = match connect(session, context).await? {
            Ok(stream) => stream,
            Err(problem) => {
                let retry_after = vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))];
                return self.respond_problem(session, context, &problem, retry_after).await;
            }
        };
        let patience = pool_of(&context.site, context.route)?.upstream().read_timeout;
        let request = request(session, context)?;
        // On the heap: what the handshake takes is given back when it is done.
        let asked = match timeout(patience, Box::pin(ask(stream, request))).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) => {
                tracing::warn!(%error, request_id = context.request_id, "no answer to a WebSocket's handshake");
                return self.respond_problem(session, context, &Problem::bad_gateway(), Vec::new()).await;
            }
            Err(_) => {
                return self.respond_problem(session, context, &Problem::bad_gateway(), Vec::new()).await;
            }
        };
        let status = asked.answer.status();
        let asking = exchange::asking(session, context);
        let Context { exchange, site, route, .. } = &mut *context;
        // It isn't asked again elsewhere: what the server says of it, it says for all.
        exchange.answered(pool_of(site, *route)?, status, asking, false);
        let mut response = ResponseHeader::build(status, None)?;
        for (name, value) in asked.answer.headers() {
            if !is_hop_by_hop(name) && name != header::CONTENT_LENGTH {
                response.append_header(name.clone(), value.clone())?;
            }
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Box::pin(self.relay(session, context, response, asked, patience)).await;
        }
        if !is_agreed(asked.answer.headers(), key) {
            tracing::warn!(
                request_id = context.request_id,
                "a server agrees to a WebSocket that nobody asked for"
            );
            return self.respond_problem(session, context, &Problem::bad_gateway(), Vec::new()).await;
        }
        response.insert_header(header::UPGRADE, "websocket")?;
        response.insert_header(header::CONNECTION, "upgrade")?;
        self.finish_header(session, &mut response, context)?;
        let upgraded = hyper::upgrade::on(asked.answer).await.or_else(|error| {
            Error::e_because(ErrorType::ConnectionClosed, "a server that switched protocols", error)
        })?;
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| {
            Error::explain(ErrorType::InternalError, "an upgraded connection of another kind")
        })?;
        context.served.connection.open_tunnel();
        session.write_response_header(Box::new(response), false).await?;
        pass(session, context, parts.io.into_inner(), parts.read_buf).await
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

/// Passes bytes on until the tunnel ends. While a server takes nothing, nothing is read of the client, and the other way
/// round: what waits here is one part each way.
async fn pass(
    session: &mut Session,
    context: &mut Context,
    mut server: TcpStream,
    early: Bytes,
) -> Result<()> {
    let idle = pool_of(&context.site, context.route)?.upstream().websocket_idle;
    let drain = std::sync::Arc::clone(context.served.connection.drain());
    let mut must_go = std::pin::pin!(async move {
        drain.reached(Phase::ClosingTunnels).await;
        sleep(SPREAD.mul_f64(rand::random())).await;
    });
    let mut budget = Budget::new(context.site.policy.connections.websocket_bytes_per_second);
    let mut boundary = FrameBoundary::default();
    let (mut to_server, mut from_server) = (Bytes::new(), early);
    let (mut client_heard, mut server_heard) = (Instant::now(), Instant::now());
    loop {
        if !from_server.is_empty() {
            boundary.pass(&from_server);
            session.write_response_body(Some(std::mem::take(&mut from_server)), false).await?;
        }
        let (reader, mut writer) = server.split();
        tokio::select! {
            () = &mut must_go, if boundary.is_reached() => {
                return say_goodbye(session).await;
            }
            said = async { budget.ready().await; session.read_request_body().await }, if to_server.is_empty() => {
                let Some(bytes) = said? else { return Ok(()) };
                budget.spend(bytes.len());
                client_heard = Instant::now();
                to_server = bytes;
            }
            written = writer.write(&to_server), if !to_server.is_empty() => {
                let written = written.or_else(lost)?;
                let _ = to_server.split_to(written);
            }
            readable = reader.readable() => {
                readable.or_else(lost)?;
                // Here and not before: a socket that waits holds no buffer.
                let mut part = BytesMut::with_capacity(READ_BYTES);
                match reader.try_read_buf(&mut part) {
                    Ok(0) => return session.write_response_body(None, true).await,
                    Ok(_) => {
                        server_heard = Instant::now();
                        from_server = part.freeze();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return lost(error),
                }
            }
            () = sleep_until(client_heard.min(server_heard) + idle) => {
                return match boundary.is_reached() {
                    true => say_goodbye(session).await,
                    false => Ok(()),
                };
            }
        }
    }
}

fn lost<T>(error: std::io::Error) -> Result<T> {
    Error::e_because(ErrorType::ConnectionClosed, "a server's WebSocket", error).map_err(
        |mut error: Box<Error>| {
            error.esource = ErrorSource::Upstream;
            error
        },
    )
}

/// Tells the client to come again, and hears it out: what it was sending must not make the system throw the goodbye away.
async fn say_goodbye(session: &mut Session) -> Result<()> {
    let due = Instant::now() + GOODBYE;
    session.write_response_body(Some(Bytes::from_static(CLOSE)), false).await?;
    while let Ok(Ok(Some(_))) = timeout_at(due, session.read_request_body()).await {}
    Ok(())
}
