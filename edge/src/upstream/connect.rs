//! How a server is connected to.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout,
};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::config::Upstream;

/// Signs of life that a server may leave out, one after the other.
const PROBES: u32 = 3;

/// A connection that sends what it is given at once, and notices when the server's machine is gone.
pub(super) async fn connect(server: SocketAddr, upstream: &Upstream) -> io::Result<TcpStream> {
    let connecting = timeout(upstream.connect_timeout, TcpStream::connect(server));
    let connection = connecting.await.map_err(|_| ErrorKind::TimedOut)??;
    connection.set_nodelay(true)?;
    set_socket_keepalive(&connection, true)?;
    // The system counts in seconds, and takes no 0.
    let seconds = |time: Duration| time.max(Duration::from_secs(1));
    set_tcp_keepidle(&connection, seconds(upstream.read_timeout))?;
    set_tcp_keepintvl(&connection, seconds(upstream.connect_timeout))?;
    set_tcp_keepcnt(&connection, PROBES)?;
    let user_timeout_ms = u32::try_from(upstream.read_timeout.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(&connection, user_timeout_ms)?;
    Ok(connection)
}
