//! What waits to be written to one socket, bounded by its bytes, and by what waits in the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// What takes frames out.
pub(super) type Frames = mpsc::UnboundedReceiver<Utf8Bytes>;

/// While the process's space is used up, a socket may let this much wait before it counts as too slow: those who read
/// go on, and those who made the others' frames pile up are closed.
const CROWDED_LIMIT_BYTES: usize = 4096;

/// What may wait in all outboxes of the process. Clones share it.
#[derive(Clone)]
pub(super) struct QueueSpace {
    waiting_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

impl QueueSpace {
    /// Space for `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { waiting_bytes: Arc::default(), limit_bytes }
    }

    fn is_used_up(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) > self.limit_bytes
    }
}

/// The sending side: never waits. What doesn't fit marks the reader as too slow.
pub(super) struct Outbox {
    frames: mpsc::UnboundedSender<Utf8Bytes>,
    waiting_bytes: AtomicUsize,
    limit_bytes: usize,
    space: QueueSpace,
    written: Notify,
    overflow: CancellationToken,
}

impl Outbox {
    /// An outbox that holds at most `limit_bytes` of the process's space, and what takes frames from it.
    pub(super) fn new(limit_bytes: usize, space: QueueSpace) -> (Self, Frames) {
        let (frames, receiver) = mpsc::unbounded_channel();
        let outbox = Self {
            frames,
            waiting_bytes: AtomicUsize::new(0),
            limit_bytes,
            space,
            written: Notify::new(),
            overflow: CancellationToken::new(),
        };
        (outbox, receiver)
    }

    /// Puts a frame in, unless it doesn't fit.
    pub(super) fn push(&self, frame: Utf8Bytes) {
        let size = frame.len();
        self.space.waiting_bytes.fetch_add(size, Ordering::AcqRel);
        let before = self.waiting_bytes.fetch_add(size, Ordering::AcqRel);
        let is_too_slow =
            before + size > self.limit_bytes || (before > CROWDED_LIMIT_BYTES && self.space.is_used_up());
        if is_too_slow || self.frames.send(frame).is_err() {
            self.forget(size);
            self.overflow.cancel();
        }
    }

    /// To be called when a frame has been written.
    pub(super) fn note_written(&self, frame: &Utf8Bytes) {
        self.forget(frame.len());
        self.written.notify_waiters();
    }

    fn forget(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.space.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
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

impl Drop for Outbox {
    fn drop(&mut self) {
        let left = *self.waiting_bytes.get_mut();
        self.space.waiting_bytes.fetch_sub(left, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_process_is_crowded_only_those_who_read_go_on() {
        let space = QueueSpace::new(10_000);
        let (slow, _never_read) = Outbox::new(20_000, space.clone());
        for _ in 0..2 {
            slow.push("x".repeat(4000).into());
        }
        let (quick, _frames) = Outbox::new(20_000, space.clone());
        quick.push("x".repeat(4000).into());
        assert!(space.is_used_up());
        assert!(!slow.overflow.is_cancelled() && !quick.overflow.is_cancelled());
        slow.push("x".into());
        assert!(slow.overflow.is_cancelled());
        drop(slow);
        assert!(!space.is_used_up());
        drop(quick);
        assert_eq!(space.waiting_bytes.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn what_does_not_fit_marks_the_reader_as_too_slow() {
        let (outbox, mut frames) = Outbox::new(10, QueueSpace::new(10));
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
        let (outbox, mut frames) = Outbox::new(10, QueueSpace::new(10));
        outbox.push("123456".into());
        let wait = outbox.has_room();
        let write = async {
            tokio::task::yield_now().await;
            outbox.note_written(&frames.recv().await.expect("a frame"));
        };
        tokio::join!(wait, write);
    }
}
