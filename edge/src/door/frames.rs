//! Counts the frames of an HTTP/2 connection that cost us work and the client nothing. Only frame headers are looked at
//! (RFC 9113, section 4.1); what frames mean is h2's to say.

use std::time::Instant;

const PREFACE_LEN: u32 = 24;
const HEADER_LEN: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// What a client may spend at once, and again each second. A browser that leaves a page cancels dozens of requests.
const BURST: f64 = 2000.0;
const REFILL_PER_SECOND: f64 = 200.0;
/// Who reads what we send must acknowledge it: so much is earned by each KiB.
const EARNED_PER_KIB: f64 = 1.0;

/// More frames than any honest client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a flood of HTTP/2 frames")]
pub struct Flood;

/// What a client has left to spend.
#[derive(Debug)]
pub struct FrameMeter {
    /// Of the preface, or of the payload that is passing.
    skip: u32,
    header: [u8; HEADER_LEN],
    header_len: usize,
    left: f64,
    refilled: Instant,
    /// Whether a whole frame has come.
    has_begun: bool,
    /// Whether a header is being sent: its last frame hasn't begun.
    is_in_header: bool,
    /// Whether the frame that is passing belongs to one.
    is_header_frame: bool,
}

impl FrameMeter {
    /// The meter of a connection that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE_LEN,
            header: [0; HEADER_LEN],
            header_len: 0,
            left: BURST,
            refilled: now,
            has_begun: false,
            is_in_header: false,
            is_header_frame: false,
        }
    }

    /// Looks at bytes that the client has sent, in any pieces.
    pub fn receive(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.left = (self.left + elapsed * REFILL_PER_SECOND).min(BURST);
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.skip as usize);
            self.skip -= skipped as u32;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(HEADER_LEN - self.header_len);
            self.header[self.header_len..self.header_len + taken].copy_from_slice(&bytes[..taken]);
            self.header_len += taken;
            bytes = &bytes[taken..];
            if self.header_len == HEADER_LEN {
                self.header_len = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.skip = u32::from_be_bytes([0, high, middle, low]);
                self.left -= cost(kind, flags, self.skip);
                self.has_begun = true;
                self.is_header_frame = matches!(kind, HEADERS | CONTINUATION);
                if self.is_header_frame {
                    self.is_in_header = flags & END_HEADERS == 0;
                }
            }
        }
        if self.left < 0.0 { Err(Flood) } else { Ok(()) }
    }

    /// Whether the client has begun something that it must not take its time with: the connection, or a header.
    pub fn is_owed_more(&self) -> bool {
        !self.has_begun || self.is_in_header || (self.is_header_frame && self.skip > 0)
    }

    /// Notes bytes that were sent to the client.
    pub fn send(&mut self, bytes: usize) {
        self.left = (self.left + bytes as f64 / 1024.0 * EARNED_PER_KIB).min(BURST);
    }
}

/// Streams that are opened and data are work of their own, bounded elsewhere. A reset throws away work that has begun
/// (CVE-2023-44487); a header that is cut into many pieces is one that is hidden (CVE-2024-27316).
fn cost(kind: u8, flags: u8, length: u32) -> f64 {
    const END_STREAM: u8 = 0x1;
    match kind {
        0x0 if length == 0 && flags & END_STREAM == 0 => 1.0,
        0x0 | HEADERS => 0.0,
        0x3 | CONTINUATION => 10.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How many of these frames pass, sent at one moment.
    fn passed(kind: u8, payload: &[u8]) -> usize {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        meter.receive(&[0; 24], now).expect("the preface passes");
        (0..100_000).take_while(|_| meter.receive(&frame(kind, 0, payload), now).is_ok()).count()
    }

    #[test]
    fn floods_end_and_honest_frames_do_not() {
        assert_eq!(passed(0x3, &[0; 4]), 200, "resets");
        assert_eq!(passed(0x9, &[0; 100]), 200, "continuations");
        for kind in [0x2, 0x4, 0x6, 0x8, 0x42] {
            assert_eq!(passed(kind, &[0; 8]), 2000, "kind {kind}");
        }
        assert_eq!(passed(0x0, &[]), 2000, "empty data");
        assert_eq!(passed(0x0, &[0; 10]), 100_000, "data");
        assert_eq!(passed(0x1, &[0; 10]), 100_000, "headers");
    }

    #[test]
    fn what_was_spent_comes_back_with_time_and_with_what_is_read() {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        meter.receive(&[0; 24], now).expect("the preface passes");
        let resets: Vec<u8> = (0..200).flat_map(|_| frame(0x3, 0, &[0; 4])).collect();
        meter.receive(&resets, now).expect("the burst passes");
        assert_eq!(meter.receive(&frame(0x3, 0, &[0; 4]), now), Err(Flood));
        let later = now + Duration::from_secs(1);
        meter.receive(&frame(0x3, 0, &[0; 4]), later).expect("refilled");
        for _ in 0..10_000 {
            meter.send(16 * 1024);
            let update = frame(0x8, 0, &[0; 4]);
            meter.receive(&update, later).expect("who downloads may acknowledge");
        }
    }

    #[test]
    fn a_header_is_owed_until_its_last_byte() {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        let mut owed = |bytes: &[u8]| {
            meter.receive(bytes, now).expect("no flood");
            meter.is_owed_more()
        };
        assert!(owed(&[0; 20]) && owed(&[0; 4]), "the preface, and a first frame");
        assert!(!owed(&frame(0x4, 0, &[])));
        let headers = frame(HEADERS, 0, &[0; 10]);
        assert!(owed(&headers[..12]) && owed(&headers[12..]), "no END_HEADERS");
        let last = frame(CONTINUATION, END_HEADERS, &[0; 10]);
        assert!(owed(&last[..18]) && !owed(&last[18..]));
        assert!(!owed(&frame(0x0, 0, &[0; 10])[..12]), "data has a pace of its own");
    }

    proptest! {
        /// However the bytes are cut, the same is counted.
        #[test]
        fn pieces_make_no_difference(
            frames in prop::collection::vec((0u8..12, 0u8..8, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
            cuts in prop::collection::vec(1usize..50, 1..200),
        ) {
            let now = Instant::now();
            let bytes: Vec<u8> = std::iter::repeat_n(0, 24)
                .chain(frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, payload)))
                .collect();
            let mut whole = FrameMeter::new(now);
            prop_assert!(whole.receive(&bytes, now).is_ok());
            let mut pieces = FrameMeter::new(now);
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                prop_assert!(pieces.receive(piece, now).is_ok());
                rest = tail;
            }
            prop_assert_eq!(whole.left, pieces.left);
            let spent: f64 = frames.iter().map(|(kind, flags, payload)| cost(*kind, *flags, payload.len() as u32)).sum();
            prop_assert_eq!(whole.left, BURST - spent);
        }
    }
}
