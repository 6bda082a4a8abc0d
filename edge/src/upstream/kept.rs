//! Connections to one server that wait for the next request. No task looks after them: one that has ended is found out
//! when it is taken, and one that has waited for too long is dropped by the checker.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;

/// How long a connection to a server is kept without a request. The backends close theirs after 90 s: ours go first, so
/// that hardly ever a request meets a connection that is just being closed.
const KEPT_IDLE: Duration = Duration::from_secs(30);
/// As many as requests run at once on a busy server: opening them anew costs half as much CPU again.
const MOST_KEPT: usize = 512;

/// Kept connections, the one that was used last on top.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<(TcpStream, Duration)>>);

impl Kept {
    /// Keeps a connection on which nothing is under way.
    pub(super) fn put(&self, connection: TcpStream, now: Duration) {
        let mut kept = self.lock();
        if kept.len() < MOST_KEPT {
            kept.push((connection, now));
        }
    }

    /// One that is still good, as far as can be seen. The last one used: so few are kept as are needed.
    pub(super) fn take(&self, now: Duration) -> Option<TcpStream> {
        loop {
            let (connection, since) = self.lock().pop()?;
            // A server has nothing to say unasked: what can be read is the connection's end, or an answer to nobody.
            let is_quiet = || {
                let read = connection.try_read(&mut [0]);
                read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
            };
            if now.saturating_sub(since) < KEPT_IDLE && is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Closes those that have waited for too long.
    pub(super) fn close_idle(&self, now: Duration) {
        let mut kept = self.lock();
        let fresh = kept.partition_point(|(_, since)| now.saturating_sub(*since) >= KEPT_IDLE);
        let idle: Vec<_> = kept.drain(..fresh).collect();
        drop(kept);
        drop(idle);
    }

    /// Closes all.
    pub(super) fn close(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TcpStream, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    /// Connections, and their other ends.
    async fn connections<const N: usize>() -> ([TcpStream; N], Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..N {
            ours.push(TcpStream::connect(address).await.expect("a connection"));
            theirs.push(listener.accept().await.expect("a connection").0);
        }
        (ours.try_into().expect("as many"), theirs)
    }

    fn port(connection: Option<TcpStream>) -> Option<u16> {
        connection.map(|connection| connection.local_addr().expect("an address").port())
    }

    #[tokio::test]
    async fn the_last_one_used_is_taken_first_and_none_that_waited_for_too_long() {
        let ([first, second], _theirs) = connections().await;
        let second_port = second.local_addr().expect("an address").port();
        let kept = Kept::default();
        kept.put(first, NOW);
        kept.put(second, NOW + KEPT_IDLE / 2);
        kept.close_idle(NOW + KEPT_IDLE);
        assert_eq!(port(kept.take(NOW + KEPT_IDLE)), Some(second_port));
        assert!(kept.take(NOW + KEPT_IDLE).is_none());
        let ([old], _theirs) = connections().await;
        kept.put(old, NOW);
        assert!(kept.take(NOW + KEPT_IDLE).is_none());
    }

    #[tokio::test]
    async fn one_that_was_closed_or_has_something_to_say_is_not_taken() {
        let ([good, closed, talking], mut theirs) = connections().await;
        let good_port = good.local_addr().expect("an address").port();
        theirs[2].write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("sent");
        drop(theirs.remove(1));
        closed.readable().await.expect("its end");
        talking.readable().await.expect("words");
        let kept = Kept::default();
        [good, closed, talking].into_iter().for_each(|connection| kept.put(connection, NOW));
        assert_eq!(port(kept.take(NOW)), Some(good_port));
        assert!(kept.take(NOW).is_none());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_is_room_for() {
        let kept = Kept::default();
        let (ours, _theirs) = connections::<{ MOST_KEPT + 1 }>().await;
        ours.into_iter().for_each(|connection| kept.put(connection, NOW));
        assert_eq!(kept.lock().len(), MOST_KEPT);
        kept.close();
        assert!(kept.take(NOW).is_none());
    }
}
