//! A client's connection below HTTP: TCP, with or without TLS. Pingora's own socket would take the time of each read and
//! write, which nobody here asks for.

use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora::protocols::SocketDigest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::capacity::{Held, Place};

/// What a handshake takes of most clients. One that sends more counts for what rustls may keep of it: a message that isn't
/// whole, or the first record behind it.
const HANDSHAKE_BYTES: usize = 8 * 1024;
const LONG_HANDSHAKE_BYTES: usize = 40 * 1024;

/// A socket of which so many bytes may be read, until the bound is lifted.
#[derive(Debug)]
pub(super) struct Socket {
    socket: TcpStream,
    digest: Arc<SocketDigest>,
    left: usize,
    place: Option<Arc<Place>>,
    held: Option<Held>,
}

impl Socket {
    /// Without a bound.
    pub(super) fn new(socket: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        // It is fresh: nobody has looked it up.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Self { socket, digest: Arc::new(digest), left: usize::MAX, place: None, held: None }
    }

    /// With the bound of a handshake.
    pub(super) fn bounded(mut self, place: &Arc<Place>) -> Self {
        (self.left, self.place) = (HANDSHAKE_BYTES, Some(Arc::clone(place)));
        self
    }

    /// What Pingora knows of it.
    pub(super) fn digest(&self) -> &Arc<SocketDigest> {
        &self.digest
    }

    /// Its number in this process.
    pub(super) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// From now on all is read.
    pub(super) fn lift_bound(&mut self) {
        self.left = usize::MAX;
        (self.place, self.held) = (None, None);
    }

    fn extend_bound(&mut self) -> Result<()> {
        let room = self.place.take().and_then(|place| place.hold(LONG_HANDSHAKE_BYTES).ok());
        self.held = Some(room.ok_or(ErrorKind::OutOfMemory)?);
        self.left = LONG_HANDSHAKE_BYTES;
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            this.extend_bound()?;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        if this.left != usize::MAX {
            this.left = this.left.saturating_sub(buf.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

/// One of both.
#[derive(Debug)]
pub(super) enum Transport {
    /// TCP
    Plain(Socket),
    /// TLS over TCP
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    /// The socket at the bottom.
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
