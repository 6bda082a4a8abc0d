//! How long an answer may take to begin. Pingora has one time for all silence of a server, in the middle of an answer too;
//! a request that can be repeated elsewhere needn't wait as long, least of all for a server that turns out to hang.

use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::time::{Instant, sleep_until};

use super::server::Server;

/// How often a waiting request looks after its server.
const LOOK: Duration = Duration::from_millis(250);

/// Watches one request's wait for an answer.
#[derive(Default)]
pub struct Patience {
    wait: Mutex<Option<Wait>>,
}

struct Wait {
    connection: RawFd,
    until: Instant,
    server: Arc<Server>,
    is_over: bool,
}

impl Patience {
    /// The request has been given this connection; it waits on it until [`Patience::end`] is called.
    pub(super) fn begin(&self, connection: RawFd, time: Duration, server: Arc<Server>) {
        let until = Instant::now() + time;
        *self.wait() = Some(Wait { connection, until, server, is_over: false });
    }

    /// The answer has begun, or there will be none. Whether it was cut short here.
    pub fn end(&self) -> bool {
        self.wait().take().is_some_and(|wait| wait.is_over)
    }

    /// Never ends. Ends the connection on which the answer doesn't come, so that Pingora finds it closed.
    ///
    /// Must be polled by the task that serves the request, after the request itself: Pingora then stands still in the
    /// middle of the exchange and holds the connection, so that its descriptor is no other's. Each way out of the exchange
    /// passes [`Patience::end`] before it gives way to another task.
    pub async fn run(&self) -> std::convert::Infallible {
        let mut look = pin!(sleep_until(Instant::now()));
        let mut watched = None;
        poll_fn(|context| {
            loop {
                let Some(until) = self.give_up_or_wait() else {
                    watched = None;
                    return Poll::Pending;
                };
                if watched != Some(until) || look.is_elapsed() {
                    watched = Some(until);
                    look.as_mut().reset(until.min(Instant::now() + LOOK));
                }
                if look.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Until when the request may wait; `None` when it doesn't, or no longer.
    fn give_up_or_wait(&self) -> Option<Instant> {
        let mut wait = self.wait();
        let wait = wait.as_mut().filter(|wait| !wait.is_over)?;
        if Instant::now() < wait.until && !wait.server.is_silent() {
            return Some(wait.until);
        }
        wait.is_over = true;
        // A connection that is closed already has ended as it should.
        let _ = shutdown(wait.connection, Shutdown::Both);
        None
    }

    fn wait(&self) -> MutexGuard<'_, Option<Wait>> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::AsRawFd;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::*;

    /// A connection to somebody who never answers, and a server.
    async fn silence() -> (TcpListener, TcpStream, Arc<Server>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        (listener, stream, Arc::new(Server::new("backend", address)))
    }

    /// Reads as a request does, beside its patience; whether the connection ended.
    async fn reads_to_the_end(patience: &Patience, stream: &mut TcpStream, at_most: Duration) -> bool {
        let mut buffer = [0; 1];
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => read.is_ok_and(|bytes| bytes == 0),
            () = tokio::time::sleep(at_most) => false,
            never = patience.run() => match never {},
        }
    }

    #[tokio::test]
    async fn a_connection_ends_when_its_answer_is_late_and_only_then() {
        let (_listener, mut stream, server) = silence().await;
        let patience = Patience::default();
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(20));
        patience.begin(stream.as_raw_fd(), short, Arc::clone(&server));
        assert!(!patience.end(), "the answer came in time");
        assert!(!reads_to_the_end(&patience, &mut stream, short * 4).await);
        patience.begin(stream.as_raw_fd(), short, server);
        assert!(reads_to_the_end(&patience, &mut stream, long).await);
        assert!(patience.end());
        assert!(!patience.end());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_server_that_turns_out_to_hang() {
        let (_listener, mut stream, server) = silence().await;
        let patience = Patience::default();
        patience.begin(stream.as_raw_fd(), Duration::from_secs(3600), Arc::clone(&server));
        server.note_silence();
        assert!(reads_to_the_end(&patience, &mut stream, Duration::from_secs(20)).await);
        assert!(patience.end());
    }
}
