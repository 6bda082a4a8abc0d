//! The sockets that clients come to: bound here, or taken over from an edge that goes.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::config::Listen;

/// Connections that the system completes before they are accepted; it allows what it is set to.
const BACKLOG: u32 = 4096;
/// No more files may be opened: accepting again at once would fail again at once.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// One socket for each kind of client.
#[derive(Debug)]
pub(super) struct Listeners {
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub(super) https: TcpListener,
    /// Redirects to HTTPS.
    pub(super) http: TcpListener,
    /// Metrics, health and upstreams.
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Binds the policy's addresses; fails with the first that can't be.
    pub(super) fn bind(listen: &Listen) -> anyhow::Result<Self> {
        let bind =
            |address, what| bind(address).with_context(|| format!("{address} ({what}) can't be listened on"));
        Ok(Self {
            https: bind(listen.https, "HTTPS")?,
            http: bind(listen.http, "HTTP")?,
            admin: bind(listen.admin, "admin")?,
        })
    }

    /// The same sockets once more.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let Self { https, http, admin } = self;
        Ok(Self { https: https.try_clone()?, http: http.try_clone()?, admin: admin.try_clone()? })
    }

    /// Whether these are the sockets of these addresses.
    pub(super) fn are_at(&self, listen: &Listen) -> bool {
        let pairs = [(&self.https, listen.https), (&self.http, listen.http), (&self.admin, listen.admin)];
        pairs.into_iter().all(|(socket, address)| socket.local_addr().is_ok_and(|bound| bound == address))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A restart needn't wait for what is left of old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Gives every connection to `take_in`, for as long as it is polled.
pub(super) async fn accept(socket: TcpListener, take_in: impl Fn(TcpStream, SocketAddr)) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(socket)?;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Answers go out at once. It fails for a client that is gone already.
                let _ = socket.set_nodelay(true);
                take_in(socket, peer);
            }
            // One that gave up while it waited says nothing of the others.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                metrics::counter!("edge_accept_failures_total").increment(1);
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}
