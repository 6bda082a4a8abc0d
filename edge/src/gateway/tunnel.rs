//! An open WebSocket: bytes pass both ways until one side ends, is silent for too long, or the edge leaves. It holds what
//! that takes and no more; Pingora's state of the request, with its buffers, is gone by then.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout_at};

use super::pool_of;
use crate::access_log;
use crate::connection::{ClientIo, Served};
use crate::context::Context;
use crate::drain::{Drain, Phase};
use crate::websocket::{Budget, CLOSE, FrameBoundary};

/// Read at once of what either side says.
const READ_BYTES: usize = 8 * 1024;
/// All of them together would come back together.
const SPREAD: Duration = Duration::from_millis(1500);
/// What a client has to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A WebSocket that a server has agreed to.
pub(super) struct Agreed {
    /// What the client is told, whole.
    pub(super) header: ResponseHeader,
    /// The server, which speaks the WebSocket's protocol from now on.
    pub(super) server: TcpStream,
    /// What it has said already.
    pub(super) early: Bytes,
    /// How long either may be silent.
    pub(super) idle: Duration,
}

/// Who ended it before its time.
enum Broken {
    Client(io::Error),
    Server(io::Error),
}

impl Agreed {
    /// Leaves the tunnel with the client's connection, which goes on with it once Pingora has given it back; the request
    /// ends, and is logged, when the tunnel does.
    pub(super) fn open(self, mut context: Context) {
        // The connection is about to hold this: it mustn't hold the connection.
        let Served { connection, .. } = std::mem::take(&mut context.served);
        let drain = Arc::clone(connection.drain());
        connection.open_tunnel(Box::new(move |client| Box::pin(self.serve(client, context, drain))));
    }

    async fn serve(self, mut client: Box<dyn ClientIo>, mut context: Context, drain: Arc<Drain>) {
        let Self { header, server, early, idle } = self;
        let mut tunnel = Tunnel {
            server,
            idle,
            budget: Budget::new(context.site.policy.connections.websocket_bytes_per_second),
            boundary: FrameBoundary::default(),
            sent_bytes: 0,
        };
        let ended = match greet(&mut client, header).await {
            Ok(()) => tunnel.pass(&mut client, early, &drain).await,
            Err(error) => Err(Broken::Client(error)),
        };
        // It is as gone when this fails.
        let _ = client.shutdown().await;
        log(&mut context, tunnel.sent_bytes, ended.err().as_ref());
    }
}

/// Tells the client of the agreement.
async fn greet(client: &mut Box<dyn ClientIo>, header: ResponseHeader) -> io::Result<()> {
    let mut bytes = BytesMut::from("HTTP/1.1 101 Switching Protocols\r\n");
    header.header_to_h1_wire(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    client.write_all(&bytes).await?;
    client.flush().await
}

struct Tunnel {
    server: TcpStream,
    idle: Duration,
    budget: Budget,
    boundary: FrameBoundary,
    sent_bytes: usize,
}

impl Tunnel {
    /// Passes bytes on until the tunnel ends. While one side takes nothing, nothing is read of the other: what waits here
    /// is one part each way.
    async fn pass(
        &mut self,
        client: &mut Box<dyn ClientIo>,
        early: Bytes,
        drain: &Arc<Drain>,
    ) -> Result<(), Broken> {
        let Self { server, idle, budget, boundary, sent_bytes } = self;
        let mut must_go = std::pin::pin!(async move {
            drain.reached(Phase::ClosingTunnels).await;
            sleep(SPREAD.mul_f64(rand::random())).await;
        });
        let (mut to_server, mut to_client) = (Bytes::new(), early);
        let (mut client_heard, mut server_heard) = (Instant::now(), Instant::now());
        loop {
            if !to_client.is_empty() {
                let part = std::mem::take(&mut to_client);
                boundary.pass(&part);
                *sent_bytes += part.len();
                write(client, &part).await.map_err(Broken::Client)?;
            }
            let (mut reader, mut writer) = server.split();
            tokio::select! {
                () = &mut must_go, if boundary.is_reached() => {
                    *sent_bytes += CLOSE.len();
                    return say_goodbye(client).await.map_err(Broken::Client);
                }
                said = async { budget.ready().await; read(client).await }, if to_server.is_empty() => {
                    let said = said.map_err(Broken::Client)?;
                    if said.is_empty() {
                        return Ok(());
                    }
                    budget.spend(said.len());
                    client_heard = Instant::now();
                    to_server = said;
                }
                written = writer.write(&to_server), if !to_server.is_empty() => {
                    let _ = to_server.split_to(written.map_err(Broken::Server)?);
                }
                said = read(&mut reader) => {
                    to_client = said.map_err(Broken::Server)?;
                    if to_client.is_empty() {
                        return Ok(());
                    }
                    server_heard = Instant::now();
                }
                () = sleep_until(client_heard.min(server_heard) + *idle) => {
                    if !boundary.is_reached() {
                        return Ok(());
                    }
                    *sent_bytes += CLOSE.len();
                    return say_goodbye(client).await.map_err(Broken::Client);
                }
            }
        }
    }
}

/// What has come, by way of the stack: a socket that waits holds no buffer. Nothing at the end.
async fn read(from: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Bytes> {
    poll_fn(|context| {
        let mut scrap = [MaybeUninit::uninit(); READ_BYTES];
        let mut part = ReadBuf::uninit(&mut scrap);
        ready!(std::pin::Pin::new(&mut *from).poll_read(context, &mut part))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(part.filled())))
    })
    .await
}

async fn write(client: &mut Box<dyn ClientIo>, bytes: &[u8]) -> io::Result<()> {
    client.write_all(bytes).await?;
    client.flush().await
}

/// Tells the client to come again, and hears it out: what it was sending must not make the system throw the goodbye away.
async fn say_goodbye(client: &mut Box<dyn ClientIo>) -> io::Result<()> {
    let due = Instant::now() + GOODBYE;
    write(client, CLOSE).await?;
    while timeout_at(due, read(client)).await.is_ok_and(|said| said.is_ok_and(|said| !said.is_empty())) {}
    Ok(())
}

fn log(context: &mut Context, sent_bytes: usize, broken: Option<&Broken>) {
    let Context { exchange, site, route, .. } = &mut *context;
    if let Ok(pool) = pool_of(site, *route) {
        exchange.end(pool);
    }
    let counts = context.site.counts.of(context.route);
    let status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    counts.record(status, context.started.elapsed());
    let entry = access_log::Entry {
        method: "GET",
        route: counts.route(),
        has_secret: context.site.routes.has_secret(&context.known.path),
        status,
        sent_bytes,
        failure: broken.map(|broken| {
            let (side, error) = match broken {
                Broken::Client(error) => ("Downstream", error),
                Broken::Server(error) => ("Upstream", error),
            };
            access_log::Failure { side, kind: kind(error) }
        }),
    };
    access_log::write(context, &entry);
}

fn kind(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::TimedOut => "TimedOut",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => "ConnectionClosed",
        _ => "ReadOrWriteError",
    }
}
