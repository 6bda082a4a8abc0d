//! What one connection of an attack sends, and how fast it reads.

use std::time::Duration;

use crate::h2::frame;

/// No connection sends more batches than this, however long it is let.
pub(crate) const MAX_BATCHES: u32 = 50_000;

/// What the connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Nothing: TLS never begins.
    Tcp,
    /// TLS and HTTP/1.1.
    Http1,
    /// TLS and HTTP/2.
    Http2,
}

/// How fast answers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As fast as they come.
    Eager,
    /// One byte a second, into a small buffer.
    Trickle,
}

type Batches = Box<dyn FnMut(u32) -> Option<Vec<u8>> + Send>;

/// One connection's part.
pub(crate) struct Script {
    pub(crate) protocol: Protocol,
    pub(crate) reading: Reading,
    /// Between two batches.
    pub(crate) pause: Duration,
    opening: Option<Vec<u8>>,
    batches: Batches,
    count: u32,
}

impl Script {
    /// Sends `opening`, and then what `batches` gives for 0, 1, 2, … with a pause after each, until it gives nothing.
    pub(crate) fn new(
        protocol: Protocol,
        pause: Duration,
        opening: Vec<u8>,
        batches: impl FnMut(u32) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        Self {
            protocol,
            reading: Reading::Eager,
            pause,
            opening: Some(opening),
            batches: Box::new(batches),
            count: 0,
        }
    }

    /// HTTP/2: first the preface and settings. The edge shall keep no header table for its answers, so that they can be
    /// read one by one.
    pub(crate) fn http2(
        pause: Duration,
        settings: &[(u16, u32)],
        batches: impl FnMut(u32) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let mut opening = frame::PREFACE.to_vec();
        let mut all = vec![(frame::HEADER_TABLE_SIZE, 0)];
        all.extend_from_slice(settings);
        frame::push_settings(&mut opening, &all);
        Self::new(Protocol::Http2, pause, opening, batches)
    }

    /// The same, read at one byte a second.
    pub(crate) fn reading_slowly(self) -> Self {
        Self { reading: Reading::Trickle, ..self }
    }

    /// What to send next; nothing once all is sent.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        if self.count >= MAX_BATCHES {
            return None;
        }
        let batch = (self.batches)(self.count)?;
        self.count += 1;
        Some(batch)
    }
}

/// The stream of a client's request number `index`; none once a connection has had all that there are.
pub(crate) fn stream_id(index: u32) -> Option<u32> {
    index.checked_mul(2)?.checked_add(1).filter(|&id| id < 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_ends_by_itself() {
        let mut script = Script::new(Protocol::Http1, Duration::ZERO, b"open".to_vec(), |_| Some(vec![0]));
        assert_eq!(script.next(), Some(b"open".to_vec()));
        let rest = std::iter::from_fn(|| script.next()).count();
        assert_eq!(rest, MAX_BATCHES as usize);
    }

    #[test]
    fn streams_of_a_client_are_odd_and_have_an_end() {
        assert_eq!((stream_id(0), stream_id(7)), (Some(1), Some(15)));
        assert_eq!(stream_id((1 << 30) - 1), Some((1 << 31) - 1));
        assert_eq!(stream_id(1 << 30), None);
        assert_eq!(stream_id(u32::MAX), None);
    }
}
