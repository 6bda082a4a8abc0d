//! An HTTP/2 connection, frame by frame (RFC 9113): what no client library would send.

use std::io::Result;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, timeout};

use crate::edge_process::{Edge, TlsConnection};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that has said hello.
pub(crate) struct Http2Wire {
    stream: TlsConnection,
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Http2Wire {
    pub(crate) async fn open(edge: &Edge, from: [u8; 4]) -> Self {
        let stream = edge.dial(edge.tls_client(&["h2"]), "localhost", from).await.expect("TLS");
        let mut wire = Self { stream };
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        wire.send(&frame(SETTINGS, 0, 0, &[])).await.expect("sent");
        wire
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends the same again and again until the edge has had enough, `most` times at most. Whether it had.
    pub(crate) async fn flood(&mut self, bytes: &[u8], most: usize) -> bool {
        for _ in 0..most {
            if timeout(PATIENCE, self.send(bytes)).await.expect("the edge reads").is_err() {
                return true;
            }
        }
        // What was sent last may still be on its way.
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY && frame.payload[4..8] != [0; 4] {
                return true;
            }
        }
        true
    }

    /// The next frame; `None` at the connection's end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, async {
            let mut header = [0; 9];
            self.stream.read_exact(&mut header).await.ok()?;
            let [a, b, c, kind, flags, s @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, stream: u32::from_be_bytes(s), payload })
        })
        .await
        .expect("a frame, or an end, in time")
    }

    /// What becomes of a stream: its answer's header, its reset, or nothing any more.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Answered(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset,
                GOAWAY => return Outcome::ConnectionEnded,
                _ => {}
            }
        }
        Outcome::ConnectionEnded
    }
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(u16),
    Reset,
    ConnectionEnded,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals, not to be remembered and not compressed (RFC 7541, section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "no length of several bytes");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The pseudo-fields of a request, and others.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    fields(&[&pseudo, more].concat())
}

/// The status of a header block that begins with it: indexed, or with an indexed name.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first @ 0x88..=0x8e, ..] => INDEXED[usize::from(first - 0x88)],
        // A literal; h2 writes three digits in Huffman code, two bytes, or plain.
        [_, 3, digits @ ..] => {
            std::str::from_utf8(&digits[..3]).ok().and_then(|d| d.parse().ok()).unwrap_or(0)
        }
        [_, length, rest @ ..] if length & 0x80 != 0 => huffman_digits(&rest[..usize::from(length & 0x7f)]),
        _ => 0,
    }
}

/// Digits in the Huffman code of RFC 7541, appendix B: `0`, `1`, `2` have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut at, mut number) = (0, 0);
    let value = |range: &[u8]| range.iter().fold(0u16, |value, bit| value << 1 | u16::from(*bit));
    for _ in 0..3 {
        let five = value(&bits[at..at + 5]);
        let (digit, length) = if five <= 2 { (five, 5) } else { (value(&bits[at..at + 6]) - 0x19 + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    number
}
