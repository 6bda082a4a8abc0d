//! Notices that a client doesn't take its answer. Time counts while there is something that can't be written; a client
//! that reads a byte now and then makes no progress that counts.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Pace;

/// The watch over one connection's writing.
#[derive(Debug)]
pub(super) struct Stall {
    pace: Pace,
    since: Option<Since>,
}

#[derive(Debug)]
struct Since {
    begun: Instant,
    bytes: u64,
    due: Pin<Box<Sleep>>,
}

impl Stall {
    /// A watch that begins when something can't be written.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, since: None }
    }

    /// Tries to write; an error once that has been in vain for too long.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let written = write(cx);
        if written.is_ready() {
            return written;
        }
        let pace = self.pace;
        let since = self.since.get_or_insert_with(|| {
            let begun = Instant::now();
            Since { begun, bytes: 0, due: Box::pin(sleep_until(begun + pace.grace)) }
        });
        while since.due.as_mut().poll(cx).is_ready() {
            let due = since.begun + pace.allowance(since.bytes);
            if due <= Instant::now() {
                let message = "the client doesn't take its answer";
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, message)));
            }
            since.due.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// So much was written.
    pub(super) fn progress(&mut self, bytes: usize) {
        if let Some(since) = &mut self.since {
            since.bytes += bytes as u64;
        }
    }

    /// All was written.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const PACE: Pace = Pace { grace: Duration::from_secs(10), bytes_per_second: 100 };

    /// How long a write waits that the client never takes.
    async fn waits(stall: &mut Stall) -> Duration {
        let begun = Instant::now();
        let written = poll_fn(|cx| stall.watch::<()>(cx, |_| Poll::Pending)).await;
        assert_eq!(written.expect_err("late").kind(), ErrorKind::TimedOut);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_ends_the_connection_in_time() {
        let mut stall = Stall::new(PACE);
        assert_eq!(waits(&mut stall).await.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_buys_time_and_a_byte_buys_next_to_none() {
        for (bytes, seconds) in [(1, 10), (2000, 30)] {
            let mut stall = Stall::new(PACE);
            assert!(poll_fn(|cx| Poll::Ready(stall.watch::<()>(cx, |_| Poll::Pending))).await.is_pending());
            stall.progress(bytes);
            assert_eq!(waits(&mut stall).await.as_secs(), seconds, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_begins_anew() {
        let mut stall = Stall::new(PACE);
        assert!(poll_fn(|cx| Poll::Ready(stall.watch::<()>(cx, |_| Poll::Pending))).await.is_pending());
        tokio::time::sleep(Duration::from_secs(9)).await;
        stall.end();
        assert_eq!(waits(&mut stall).await.as_secs(), 10);
    }
}
