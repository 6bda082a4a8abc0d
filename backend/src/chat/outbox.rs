//! What waits to be written to one socket, bounded by its bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// What takes frames out.
pub(super) type Frames = mpsc::UnboundedReceiver<Utf8Bytes>;

/// The sending side: never waits. What doesn't fit marks the reader as too slow.
pub(super) struct Outbox {
    frames: mpsc::UnboundedSender<Utf8Bytes>,
    waiting_bytes: AtomicUsize,
    limit_bytes: usize,
    written: Notify,
    overflow: CancellationToken,
}

impl Outbox {
    /// An outbox that holds at most `limit_bytes`, and what takes frames from it.
    pub(super) fn new(limit_bytes: usize) -> (Self, Frames) {
        let (frames, receiver) = mpsc::unbounded_channel();
        let outbox = Self {
            frames,
            waiting_bytes: AtomicUsize::new(0),
            limit_bytes,
            written: Notify::new(),
            overflow: CancellationToken::new(),
        };
        (outbox, receiver)
    }

    /// Puts a frame in, unless it doesn't fit.
    pub(super) fn push(&self, frame: Utf8Bytes) {
        let size = frame.len();
        let before = self.waiting_bytes.fetch_add(size, Ordering::AcqRel);
        if before + size > self.limit_bytes || self.frames.send(frame).is_err() {
            self.overflow.cancel();
        }
    }

    /// To be called when a frame has been written.
    pub(super) fn note_written(&self, frame: &Utf8Bytes) {
        self.waiting_bytes.fetch_sub(frame.len(), Ordering::AcqRel);
        self.written.notify_waiters();
    }

    /// Waits until half of it is free: whoever fills it with what was asked for keeps to the reader's speed.
    pub(super) async fn has_room(&self) {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            if self.waiting_bytes.load(Ordering::Acquire) <= self.limit_bytes / 2 {
                return;
            }
            written.await;
        }
    }

    /// Waits until a frame didn't fit.
    pub(super) async fn overflowed(&self) {
        self.overflow.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_marks_the_reader_as_too_slow() {
        let (outbox, mut frames) = Outbox::new(10);
        outbox.push("12345".into());
        outbox.push("12345".into());
        assert!(!outbox.overflow.is_cancelled());
        let frame = frames.recv().await.expect("a frame");
        outbox.note_written(&frame);
        outbox.push("12345".into());
        assert!(!outbox.overflow.is_cancelled());
        outbox.push("1".into());
        outbox.overflowed().await;
    }

    #[tokio::test]
    async fn room_is_there_again_when_half_was_written() {
        let (outbox, mut frames) = Outbox::new(10);
        outbox.push("123456".into());
        let wait = outbox.has_room();
        let write = async {
            tokio::task::yield_now().await;
            outbox.note_written(&frames.recv().await.expect("a frame"));
        };
        tokio::join!(wait, write);
    }
}
