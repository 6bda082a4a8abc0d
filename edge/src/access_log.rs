//! One line a request: who, what, how it ended. Never a query, a token or a secret of the path.
//!
//! A request leaves its line in a buffer, and a thread of its own writes what has gathered: a slow disk or terminal keeps
//! nobody waiting. When the buffer is full, lines are lost and counted.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::context::Context;

/// The target of access log events; `RUST_LOG=access=off` silences them.
pub const TARGET: &str = "access";

/// What may wait to be written.
const MOST_BYTES: usize = 1024 * 1024;
/// `2026-11-25T01:35:46`
const SECOND_LENGTH: usize = 19;
/// Lines gather for so long: one write for many.
const GATHER: Duration = Duration::from_millis(10);

static LOG: OnceLock<Arc<Buffer>> = OnceLock::new();

thread_local! {
    /// The last second that was written, and how.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    /// Lines are made here, so that the buffer is held for a copy only.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is logged beside the context.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The decisive route's pattern, `-` without one.
    pub route: &'a str,
    /// Whether a segment of the path is a secret: then the pattern is logged in its place.
    pub has_secret: bool,
    /// The answer's status; 0 when none was sent.
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent_bytes: usize,
    /// What went wrong, and on which side.
    pub failure: Option<Failure<'a>>,
}

/// How an exchange broke off.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Failure<'a> {
    /// `Upstream`, `Downstream` or `Internal`.
    pub side: &'a str,
    /// The kind of error.
    pub kind: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    target: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    route: &'a str,
    status: u16,
    sent_bytes: usize,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<SocketAddr>,
    tries: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
}

/// Leaves a request's line to be written.
pub fn write(context: &Context, entry: &Entry<'_>) {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return;
    }
    let Some(log) = LOG.get() else { return };
    let timestamp = timestamp();
    let line = Line {
        timestamp: &timestamp,
        level: "INFO",
        target: TARGET,
        request_id: &context.request_id,
        client: context.known.client,
        method: entry.method,
        path: if entry.has_secret { entry.route } else { &context.known.path },
        route: entry.route,
        status: entry.status,
        sent_bytes: entry.sent_bytes,
        duration_ms: context.started.elapsed().as_micros() as f64 / 1000.0,
        upstream: context.exchange.tried.last().copied(),
        tries: context.exchange.tried.len(),
        refused_by: context.refused_by,
        failure: entry.failure,
    };
    LINE.with_borrow_mut(|bytes| {
        bytes.clear();
        if serde_json::to_writer(&mut *bytes, &line).is_ok() {
            bytes.push(b'\n');
            log.push(bytes);
        }
    });
}

/// Now, in microseconds, as the other lines of the log have it. The date and the second are written once for all lines of
/// that second.
fn timestamp() -> String {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = String::with_capacity(32);
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != now.as_secs() || written.is_empty() {
            written.clear();
            // Writing to a String doesn't fail.
            let _ = SystemTime.format_time(&mut Writer::new(written));
            written.truncate(SECOND_LENGTH);
            // It looked at the clock itself, perhaps a second later.
            let is_of_this_second = written.ends_with(&format!(":{:02}", now.as_secs() % 60));
            *second = if is_of_this_second { now.as_secs() } else { 0 };
        }
        text.push_str(written);
    });
    let _ = write!(text, ".{:06}Z", now.subsec_micros());
    text
}

/// Lines that wait to be written.
#[derive(Default)]
struct Buffer {
    waiting: Mutex<Waiting>,
    has_lines: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    is_over: bool,
}

impl Buffer {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > MOST_BYTES {
            drop(waiting);
            return metrics::counter!("edge_access_log_dropped_total").increment(1);
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.has_lines.notify_one();
        }
    }

    /// Swaps the lines that wait for an empty buffer, once there are some; false when there will be no more.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let waiting = self.lock();
        let wait = self.has_lines.wait_while(waiting, |waiting| waiting.lines.is_empty() && !waiting.is_over);
        let is_over = wait.unwrap_or_else(PoisonError::into_inner).is_over;
        if !is_over {
            std::thread::sleep(GATHER);
        }
        let mut waiting = self.lock();
        lines.clear();
        std::mem::swap(&mut waiting.lines, lines);
        !(lines.is_empty() && waiting.is_over)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, until it is finished.
pub struct AccessLog {
    buffer: Arc<Buffer>,
    writer: JoinHandle<()>,
}

/// Opens the log of this process, at standard output.
pub fn open() -> std::io::Result<AccessLog> {
    let buffer = Arc::clone(LOG.get_or_init(Arc::default));
    let lines = Arc::clone(&buffer);
    let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || {
        let mut bytes = Vec::new();
        while lines.take(&mut bytes) {
            // A full disk must not end the edge.
            if std::io::stdout().lock().write_all(&bytes).is_err() {
                metrics::counter!("edge_access_log_failures_total").increment(1);
            }
        }
    })?;
    Ok(AccessLog { buffer, writer })
}

impl AccessLog {
    /// Writes what waits, and ends.
    pub fn finish(self) {
        self.buffer.lock().is_over = true;
        self.buffer.has_lines.notify_one();
        // It has nothing to say that could be told to anybody.
        let _ = self.writer.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_in_order_and_no_more_than_there_is_room_for() {
        let buffer = Buffer::default();
        buffer.push(b"1\n");
        buffer.push(b"2\n");
        buffer.push(&[b'x'; MOST_BYTES]);
        let mut lines = Vec::new();
        assert!(buffer.take(&mut lines));
        assert_eq!(lines, b"1\n2\n");
        buffer.lock().is_over = true;
        assert!(!buffer.take(&mut lines));
    }
}
