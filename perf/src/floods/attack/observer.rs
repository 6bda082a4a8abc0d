//! What the edge says on an attacker's connection.

use std::collections::BTreeMap;

use crate::floods::attack::script::Protocol;
use crate::h2::{FrameReader, frame, hpack};

/// How often each thing was seen.
pub(super) type Seen = BTreeMap<String, u64>;

const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

/// Reads what comes and counts it.
pub(super) struct Observer {
    protocol: Protocol,
    frames: FrameReader,
    /// The end of what was read before, where a status line may have been cut.
    tail: Vec<u8>,
    has_settings: bool,
    pub(super) seen: Seen,
}

impl Observer {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            frames: FrameReader::default(),
            tail: Vec::new(),
            has_settings: false,
            seen: Seen::new(),
        }
    }

    /// Counts what the bytes say, and gives what must be replied at once: a client has to acknowledge the edge's
    /// settings. Nothing else is answered.
    pub(super) fn observe(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self.protocol {
            Protocol::Tcp => self.count("bytes without TLS".to_owned()),
            Protocol::Http1 => self.observe_status_lines(bytes),
            Protocol::Http2 => return self.observe_frames(bytes),
        }
        Vec::new()
    }

    /// Whether an attack may begin. In HTTP/2 only after the edge's settings: their acknowledgement must not come
    /// between the parts of a header block.
    pub(super) fn is_ready(&self) -> bool {
        self.has_settings || self.protocol != Protocol::Http2
    }

    /// Counts one more of what was seen.
    pub(super) fn count(&mut self, what: String) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn observe_status_lines(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let line = STATUS_LINE.len() + 3;
        let found: Vec<String> = self
            .tail
            .windows(line)
            .filter_map(|window| window.strip_prefix(STATUS_LINE))
            .map(|status| String::from_utf8_lossy(status).into_owned())
            .collect();
        found.into_iter().for_each(|status| self.count(status));
        self.tail.drain(..self.tail.len().saturating_sub(line - 1));
    }

    fn observe_frames(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        self.frames.feed(bytes);
        while let Some(frame) = self.frames.next() {
            let is_answer = frame.flags & frame::ACK != 0;
            match frame.kind {
                frame::SETTINGS if is_answer => self.count("SETTINGS acknowledged".to_owned()),
                frame::SETTINGS if !self.has_settings => {
                    self.has_settings = true;
                    frame::push(&mut reply, frame::SETTINGS, frame::ACK, 0, &[]);
                }
                frame::PING if is_answer => self.count("PING answered".to_owned()),
                frame::GOAWAY => self.count(format!("GOAWAY {}", error_at(&frame.payload, 4))),
                frame::RST_STREAM => self.count(format!("RST_STREAM {}", error_at(&frame.payload, 0))),
                frame::HEADERS => {
                    let status = hpack::status(&frame.payload);
                    self.count(status.map_or_else(|| "an answer".to_owned(), |status| status.to_string()));
                }
                _ => {}
            }
        }
        reply
    }
}

fn error_at(payload: &[u8], offset: usize) -> &'static str {
    let code = payload.get(offset..offset + 4).and_then(|code| code.try_into().ok());
    code.map_or("without a code", |code| frame::error_name(u32::from_be_bytes(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_counts_once_however_it_is_cut() {
        let mut observer = Observer::new(Protocol::Http1);
        for byte in b"HTTP/1.1 200 OK\r\n\r\nbodyHTTP/1.1 429 Too Many\r\n\r\n" {
            assert!(observer.observe(&[*byte]).is_empty());
        }
        assert_eq!(observer.seen, Seen::from([("200".into(), 1), ("429".into(), 1)]));
    }

    #[test]
    fn the_first_settings_are_acknowledged_and_make_ready() {
        let mut observer = Observer::new(Protocol::Http2);
        let mut settings = Vec::new();
        frame::push_settings(&mut settings, &[]);
        assert!(!observer.is_ready());
        assert_eq!(observer.observe(&settings), [0, 0, 0, 4, 1, 0, 0, 0, 0]);
        assert!(observer.is_ready());
        assert!(observer.observe(&settings).is_empty());
    }

    #[test]
    fn ends_are_counted_by_their_codes() {
        let mut observer = Observer::new(Protocol::Http2);
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::RST_STREAM, 0, 1, &7_u32.to_be_bytes());
        frame::push(&mut bytes, frame::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]);
        frame::push(&mut bytes, frame::HEADERS, 4, 1, &[0x88]);
        observer.observe(&bytes);
        let seen: Vec<_> = observer.seen.keys().map(String::as_str).collect();
        assert_eq!(seen, ["200", "GOAWAY ENHANCE_YOUR_CALM", "RST_STREAM REFUSED_STREAM"]);
    }
}
