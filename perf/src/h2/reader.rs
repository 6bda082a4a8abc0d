//! Frames as they are received.

use crate::h2::frame::MAX_PAYLOAD_BYTES;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

/// Takes bytes as they come and gives whole frames.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    received: Vec<u8>,
    /// How much of it has been given.
    given: usize,
}

impl FrameReader {
    /// Adds what was read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.received.drain(..self.given);
        self.given = 0;
        self.received.extend_from_slice(bytes);
    }

    /// The next whole frame. What comes after one that is longer than we allow is no longer read.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let rest = &self.received[self.given..];
        let &[high, middle, low, kind, flags, ..] = rest.first_chunk::<9>()?;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        if length > MAX_PAYLOAD_BYTES {
            self.given = self.received.len();
            return None;
        }
        let payload = rest.get(9..9 + length)?.to_vec();
        self.given += 9 + length;
        Some(Frame { kind, flags, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::frame::{self, ACK, PING, SETTINGS};

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut sent = Vec::new();
        frame::push(&mut sent, SETTINGS, ACK, 0, &[]);
        frame::push(&mut sent, PING, 0, 0, b"12345678");
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for byte in sent {
            reader.feed(&[byte]);
            frames.extend(reader.next());
        }
        let expected = [
            Frame { kind: SETTINGS, flags: ACK, payload: vec![] },
            Frame { kind: PING, flags: 0, payload: b"12345678".to_vec() },
        ];
        assert_eq!(frames, expected);
    }
}
