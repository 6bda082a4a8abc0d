//! A client's connection as Pingora sees it. Of an HTTP/1 connection Pingora gets the bytes of one request and no more,
//! so that what is pipelined behind it is looked at before it is read; of an HTTP/2 connection the frames are counted.
//! A client that doesn't take its answer is let go.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::frames::FrameMeter;
use super::stall::Stall;
use super::transport::Transport;
use crate::config::ConnectionPolicy;
use crate::connection::Connection;

/// Read at once of a header; more than most have.
pub(super) const READ_BYTES: usize = 2048;
/// So much of an answer waits for what follows it, at most: a TLS record.
const LATE_BYTES: usize = 16 * 1024;
/// What a client still sends after its answer is thrown away for so long, and so much of it, before the connection is
/// closed: closed at once, the answer could be lost with it (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    transport: Transport,
    connection: Arc<Connection>,
    protocol: Protocol,
    stall: Stall,
    closing: Closing,
}

#[derive(Debug)]
enum Protocol {
    Http1 {
        /// What waits to be written together: a header and the body that follows it are one record, one segment, one
        /// wake of the client.
        late: BytesMut,
        /// What came before it was asked for.
        early: BytesMut,
        /// Bytes that belong to the request that is being served.
        allowed: u64,
    },
    Http2 {
        meter: FrameMeter,
        /// For what the client has begun and must not take its time with.
        patience: Duration,
        due: Option<Pin<Box<Sleep>>>,
    },
}

/// How far a goodbye has come.
#[derive(Debug, Default)]
enum Closing {
    #[default]
    No,
    Goodbye(Pin<Box<Sleep>>),
    /// So many bytes more are heard out.
    Lingering(Pin<Box<Sleep>>, usize),
}

impl ClientStream {
    /// An HTTP/1 connection; nothing of it is handed on before [`Self::allow`].
    pub(super) fn http1(
        transport: Transport,
        connection: Arc<Connection>,
        policy: &ConnectionPolicy,
    ) -> Self {
        let protocol = Protocol::Http1 { late: BytesMut::new(), early: BytesMut::new(), allowed: 0 };
        let stall = Stall::new(policy.write_pace);
        Self { transport, connection, protocol, stall, closing: Closing::No }
    }

    /// An HTTP/2 connection, which may take a header's time for its beginning and for each header.
    pub(super) fn http2(
        transport: Transport,
        connection: Arc<Connection>,
        policy: &ConnectionPolicy,
    ) -> Self {
        let patience = policy.header_timeout;
        let meter = FrameMeter::new(std::time::Instant::now());
        let protocol = Protocol::Http2 { meter, patience, due: None };
        Self { transport, connection, protocol, stall: Stall::new(policy.write_pace), closing: Closing::No }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What has come and belongs to nobody yet.
    pub(super) fn early(&self) -> &[u8] {
        match &self.protocol {
            Protocol::Http1 { early, .. } => early,
            Protocol::Http2 { .. } => &[],
        }
    }

    /// Forgets the first bytes of [`Self::early`].
    pub(super) fn skip(&mut self, bytes: usize) {
        if let Protocol::Http1 { early, .. } = &mut self.protocol {
            early.advance(bytes);
        }
    }

    /// Waits for more to be added to [`Self::early`]; 0 at the connection's end. Cancelling loses nothing.
    pub(super) async fn read_early(&mut self) -> Result<usize> {
        let Protocol::Http1 { early, .. } = &mut self.protocol else { return Ok(0) };
        poll_fn(|cx| poll_early(&mut self.transport, early, cx)).await
    }

    /// So many bytes, from the first of [`Self::early`] on, are the next request.
    pub(super) fn allow(&mut self, bytes: u64) {
        if let Protocol::Http1 { allowed, .. } = &mut self.protocol {
            *allowed = bytes;
        }
    }

    /// Says goodbye, and hears the client out for a moment.
    pub(super) async fn close(&mut self) {
        // It is as gone when this fails.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let Self { transport, connection, protocol, .. } = self.get_mut();
        match protocol {
            Protocol::Http2 { meter, patience, due } => {
                let before = buf.filled().len();
                let read = Pin::new(transport).poll_read(cx, buf);
                let received = &buf.filled()[before..];
                if let Err(flood) = meter.receive(received, std::time::Instant::now()) {
                    metrics::counter!("edge_floods_total").increment(1);
                    return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, flood)));
                }
                if !meter.is_owed_more() {
                    *due = None;
                } else if due.get_or_insert_with(|| Box::pin(sleep(*patience))).as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                }
                read
            }
            Protocol::Http1 { early, allowed, .. } => {
                if connection.is_tunnel() {
                    *allowed = u64::MAX;
                } else if connection.is_request_read() {
                    *allowed = 0;
                }
                if *allowed == 0 {
                    return poll_end(transport, early, cx);
                }
                let read = ready!(read_allowed(transport, early, *allowed, cx, buf))?;
                if *allowed != u64::MAX {
                    *allowed -= read as u64;
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Reads of the request that is being served: first what came early, and never past its end.
fn read_allowed(
    transport: &mut Transport,
    early: &mut BytesMut,
    allowed: u64,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<Result<usize>> {
    let most = buf.remaining().min(usize::try_from(allowed).unwrap_or(usize::MAX));
    if !early.is_empty() {
        let read = most.min(early.len());
        buf.put_slice(&early[..read]);
        early.advance(read);
        if early.is_empty() {
            // A connection that waits keeps no memory of what it once sent.
            *early = BytesMut::new();
        }
        return Poll::Ready(Ok(read));
    }
    if most == buf.remaining() {
        let before = buf.filled().len();
        ready!(Pin::new(transport).poll_read(cx, buf))?;
        return Poll::Ready(Ok(buf.filled().len() - before));
    }
    let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
    ready!(Pin::new(transport).poll_read(cx, &mut part))?;
    let read = part.filled().len();
    buf.advance(read);
    Poll::Ready(Ok(read))
}

/// The request is read; whoever goes on reading wants to know whether the client is still there. What it sends meanwhile
/// is the next request's.
fn poll_end(transport: &mut Transport, early: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Result<()>> {
    // While something is kept, no more is taken in: a client that pipelines is bound to wait.
    if !early.is_empty() {
        return Poll::Pending;
    }
    match ready!(poll_early(transport, early, cx))? {
        0 => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

/// Adds what has come, 0 bytes at the end. By way of the stack: a connection that waits holds no buffer.
fn poll_early(transport: &mut Transport, early: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Result<usize>> {
    let mut scrap = [MaybeUninit::uninit(); READ_BYTES];
    let mut part = ReadBuf::uninit(&mut scrap);
    ready!(Pin::new(transport).poll_read(cx, &mut part))?;
    early.extend_from_slice(part.filled());
    Poll::Ready(Ok(part.filled().len()))
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let Self { transport, connection, protocol, stall, .. } = self.get_mut();
        if let Protocol::Http1 { late, .. } = protocol {
            if late.len() + bytes.len() <= LATE_BYTES {
                late.extend_from_slice(bytes);
                return Poll::Ready(Ok(bytes.len()));
            }
            ready!(write_late(transport, late, stall, cx))?;
        }
        let written = stall.watch(cx, |cx| Pin::new(transport).poll_write(cx, bytes));
        if let Poll::Ready(Ok(written)) = &written {
            note_written(protocol, connection, stall, *written);
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if matches!(self.protocol, Protocol::Http1 { .. }) {
            let part = bytes.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
            return self.poll_write(cx, part);
        }
        let Self { transport, connection, protocol, stall, .. } = self.get_mut();
        let written = stall.watch(cx, |cx| Pin::new(transport).poll_write_vectored(cx, bytes));
        if let Poll::Ready(Ok(written)) = &written {
            note_written(protocol, connection, stall, *written);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { transport, protocol, stall, .. } = self.get_mut();
        if let Protocol::Http1 { late, .. } = protocol {
            ready!(write_late(transport, late, stall, cx))?;
        }
        let flushed = stall.watch(cx, |cx| Pin::new(transport).poll_flush(cx));
        if flushed.is_ready() {
            stall.end();
        }
        flushed
    }

    /// Says goodbye, then hears the client out: closed while it is still sending, the connection would be reset, and the
    /// answer lost with it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { transport, protocol, closing, stall, .. } = self.get_mut();
        loop {
            match closing {
                Closing::No => *closing = Closing::Goodbye(Box::pin(sleep(LINGER))),
                Closing::Goodbye(due) => {
                    if due.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                    }
                    if let Protocol::Http1 { late, .. } = &mut *protocol {
                        ready!(write_late(transport, late, stall, cx))?;
                    }
                    ready!(Pin::new(&mut *transport).poll_shutdown(cx))?;
                    if matches!(protocol, Protocol::Http2 { .. }) {
                        return Poll::Ready(Ok(()));
                    }
                    *closing = Closing::Lingering(Box::pin(sleep(LINGER)), LINGER_BYTES);
                }
                Closing::Lingering(due, left) => {
                    if *left == 0 || due.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    match ready!(poll_early(transport, &mut BytesMut::new(), cx)) {
                        Ok(bytes @ 1..) => *left = left.saturating_sub(bytes),
                        Ok(0) | Err(_) => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }
}

/// Writes what waits.
fn write_late(
    transport: &mut Transport,
    late: &mut BytesMut,
    stall: &mut Stall,
    cx: &mut Context<'_>,
) -> Poll<Result<()>> {
    while !late.is_empty() {
        let written = ready!(stall.watch(cx, |cx| Pin::new(&mut *transport).poll_write(cx, late)))?;
        if written == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        stall.progress(written);
        late.advance(written);
    }
    // A connection that waits keeps no memory of what it once took.
    *late = BytesMut::new();
    Poll::Ready(Ok(()))
}

fn note_written(protocol: &mut Protocol, connection: &Connection, stall: &mut Stall, bytes: usize) {
    stall.progress(bytes);
    if let Protocol::Http2 { meter, .. } = protocol {
        meter.send(bytes);
        connection.note_written(bytes);
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        self.close().await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.transport.socket().number()
    }
}

impl Ssl for ClientStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(match self.protocol {
            Protocol::Http1 { .. } => ALPN::H1,
            Protocol::Http2 { .. } => ALPN::H2,
        })
    }
}

impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(self.transport.socket().digest()))
    }
}
