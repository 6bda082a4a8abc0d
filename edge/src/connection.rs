//! What a request must know of the connection that it came on, and what its connection must know of it. Pingora hands
//! neither through: both are bound to the task that serves the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::Pace;
use crate::drain::Drain;

tokio::task_local! {
    static CURRENT: Served;
}

/// A request that is being served.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The connection that it came on.
    pub connection: Arc<Connection>,
    /// How its body comes along.
    pub body: Arc<BodyWatch>,
}

impl Served {
    /// A request that has just come on this connection.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, body: Arc::default() }
    }
}

/// Both directions of a client's connection, below HTTP.
pub trait ClientIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ClientIo for T {}

/// What goes on with a connection when the protocol was switched (RFC 9110, section 7.8).
pub type Tunnel = Box<dyn FnOnce(Box<dyn ClientIo>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One client's connection.
#[derive(Default)]
pub struct Connection {
    /// The name that the client asked for when it connected; `None` without TLS, or when it asked for an address.
    pub server_name: Option<String>,
    drain: Arc<Drain>,
    tunnel: Mutex<Option<Tunnel>>,
    is_tunnel: AtomicBool,
    is_request_read: AtomicBool,
    written_bytes: AtomicU64,
}

impl Connection {
    /// A connection to this name, which ends when `drain` says so.
    pub fn new(server_name: Option<String>, drain: Arc<Drain>) -> Self {
        Self { server_name, drain, ..Self::default() }
    }

    /// The end that it waits for.
    pub fn drain(&self) -> &Arc<Drain> {
        &self.drain
    }

    /// Leaves this to go on with the connection once the request that opens it is over.
    pub fn open_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// What goes on with the connection, if anything does; then all bytes pass, in both directions.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        let tunnel = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if tunnel.is_some() {
            self.is_tunnel.store(true, Ordering::Release);
        }
        tunnel
    }

    /// Whether the request that is being served has been read to its end: what comes now is another's.
    pub fn is_request_read(&self) -> bool {
        self.is_request_read.load(Ordering::Acquire)
    }

    /// Notes that it has, or that another begins.
    pub fn set_request_read(&self, is_read: bool) {
        self.is_request_read.store(is_read, Ordering::Release);
    }

    /// So many bytes more of answers have gone to the system.
    pub fn note_written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many have gone over HTTP/2; of HTTP/1 nobody asks.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Whether it is a tunnel now.
    pub fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// The request that the running task serves; an empty one outside of [`serve`].
pub fn current() -> Served {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Runs a request to its end, or drops it (`None`) when its body comes too slowly; that is counted here, as nobody else
/// hears of it.
pub async fn serve<T>(served: Served, pace: Pace, request: impl Future<Output = T>) -> Option<T> {
    let body = Arc::clone(&served.body);
    tokio::select! {
        biased;
        answer = CURRENT.scope(served, request) => Some(answer),
        () = body.is_late(pace) => {
            metrics::counter!("edge_refusals_total", "guard" => "body-pace").increment(1);
            tracing::info!(target: "access", refused_by = "body-pace", received_bytes = body.received_bytes());
            None
        }
    }
}

/// Watches the body of one request.
#[derive(Debug, Default)]
pub struct BodyWatch {
    received_bytes: AtomicU64,
    is_over: AtomicBool,
    begun: Notify,
}

impl BodyWatch {
    /// A body is awaited from now on.
    pub fn begin(&self) {
        self.begun.notify_one();
    }

    /// So many bytes more have come.
    pub fn receive(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many have come.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// The body is complete, or no longer of interest.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends when a body that was begun has not come along as it must; never for one that has.
    async fn is_late(&self, pace: Pace) {
        self.begun.notified().await;
        let begun = Instant::now();
        loop {
            let due = begun + pace.allowance(self.received_bytes());
            sleep_until(due).await;
            if self.is_over.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            if due >= begun + pace.allowance(self.received_bytes()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PACE: Pace = Pace { grace: Duration::from_secs(10), bytes_per_second: 100 };

    /// Serves a request that gets these many bytes each second, of so many in all.
    async fn upload(bytes_each_second: usize, total: usize) -> Option<()> {
        let served = Served::default();
        let body = Arc::clone(&served.body);
        serve(served, PACE, async move {
            body.begin();
            for _ in 0..total / bytes_each_second {
                tokio::time::sleep(Duration::from_secs(1)).await;
                body.receive(bytes_each_second);
            }
            body.end();
            // The answer may take its time.
            tokio::time::sleep(Duration::from_secs(1000)).await;
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_the_request_and_one_at_pace_does_not() {
        assert_eq!(upload(1, 100).await, None);
        assert_eq!(upload(99, 99 * 2000).await, None);
        assert_eq!(upload(100, 100_000).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_body_has_no_such_deadline() {
        let request = tokio::time::sleep(Duration::from_secs(1000));
        assert_eq!(serve(Served::default(), PACE, request).await, Some(()));
    }

    #[tokio::test]
    async fn what_is_served_is_known_to_the_task_only() {
        let connection = Arc::new(Connection::new(Some("a.example".into()), Arc::default()));
        let served = Served { connection, ..Served::default() };
        let name = serve(served, PACE, async { current().connection.server_name.clone() }).await;
        assert_eq!(name, Some(Some("a.example".into())));
        assert_eq!(current().connection.server_name, None);
    }
}
