//! Where the body of an answer ends, and its bytes without what is between them (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use httparse::{Status, parse_chunk_size};

use super::Flaw;

/// A chunk's size, and what a server may say beside it.
const MOST_CHUNK_HEAD_BYTES: usize = 1024;
/// Fields behind the last chunk; they are dropped.
const MOST_TRAILER_BYTES: usize = 8 * 1024;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u64),
    /// Chunks, the last of which is empty.
    Chunked,
    /// All that comes until the connection ends.
    ToTheEnd,
}

/// Some bytes of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Not empty, unless it is the last one.
    pub bytes: Bytes,
    /// Whether the body ends with it.
    pub is_last: bool,
}

/// A body on its way.
#[derive(Debug)]
pub struct Body(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bytes(u64),
    ChunkHead,
    Chunk(u64),
    ChunkEnd,
    Trailers(usize),
    ToTheEnd,
    Over,
}

impl Body {
    /// One of which nothing has come.
    pub fn new(length: Length) -> Self {
        Self(match length {
            Length::Bytes(0) => State::Over,
            Length::Bytes(bytes) => State::Bytes(bytes),
            Length::Chunked => State::ChunkHead,
            Length::ToTheEnd => State::ToTheEnd,
        })
    }

    /// Whether all of it has come.
    pub fn is_over(&self) -> bool {
        self.0 == State::Over
    }

    /// Takes from `buffer` what there is of it; `None` when more has to come first.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Part>, Flaw> {
        let mut bytes = BytesMut::new();
        loop {
            match self.0 {
                State::Bytes(left) | State::Chunk(left) if !buffer.is_empty() => {
                    let taken =
                        buffer.split_to(buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    self.0 = after(self.0, left - taken.len() as u64);
                    match bytes.is_empty() {
                        true => bytes = taken,
                        // Small chunks that came together go on together.
                        false => bytes.extend_from_slice(&taken),
                    }
                }
                State::ToTheEnd => bytes = buffer.split(),
                _ => {}
            }
            if !self.take_framing(buffer)? {
                break;
            }
        }
        let is_last = self.is_over();
        Ok((is_last || !bytes.is_empty()).then(|| Part { bytes: bytes.freeze(), is_last }))
    }

    /// Nothing more will come. It may have been waited for.
    pub fn end(&mut self) -> Result<Part, Flaw> {
        match self.0 {
            State::ToTheEnd => {
                self.0 = State::Over;
                Ok(Part { bytes: Bytes::new(), is_last: true })
            }
            _ => Err(Flaw::BrokenOff),
        }
    }

    /// Takes what stands between two chunks or behind the last one. Whether bytes of the body may follow in the buffer.
    fn take_framing(&mut self, buffer: &mut BytesMut) -> Result<bool, Flaw> {
        loop {
            self.0 = match self.0 {
                State::ChunkHead => match parse_chunk_size(buffer) {
                    Ok(Status::Complete((length, size))) if length <= MOST_CHUNK_HEAD_BYTES => {
                        buffer.advance(length);
                        if size == 0 { State::Trailers(0) } else { State::Chunk(size) }
                    }
                    Ok(Status::Partial) if buffer.len() < MOST_CHUNK_HEAD_BYTES => return Ok(false),
                    Ok(_) | Err(_) => return Err(Flaw::Chunk),
                },
                State::ChunkEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        State::ChunkHead
                    }
                    None if matches!(&buffer[..], b"" | b"\r") => return Ok(false),
                    _ => return Err(Flaw::Chunk),
                },
                State::Trailers(before) => match buffer.iter().position(|byte| *byte == b'\n') {
                    Some(end) if end > 0 && buffer[end - 1] == b'\r' => {
                        buffer.advance(end + 1);
                        match before + end {
                            _ if end == 1 => State::Over,
                            bytes if bytes > MOST_TRAILER_BYTES => return Err(Flaw::Chunk),
                            bytes => State::Trailers(bytes),
                        }
                    }
                    None if before + buffer.len() <= MOST_TRAILER_BYTES => return Ok(false),
                    _ => return Err(Flaw::Chunk),
                },
                State::Chunk(_) => return Ok(!buffer.is_empty()),
                State::Bytes(_) | State::ToTheEnd | State::Over => return Ok(false),
            }
        }
    }
}

fn after(state: State, left: u64) -> State {
    match (state, left) {
        (State::Chunk(_), 0) => State::ChunkEnd,
        (State::Chunk(_), left) => State::Chunk(left),
        (_, 0) => State::Over,
        (_, left) => State::Bytes(left),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in these pieces; what it is, and what is left behind it.
    fn read<'a>(
        length: Length,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>), Flaw> {
        let (mut body, mut buffer, mut read) = (Body::new(length), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while !body.is_over() {
                let Some(part) = body.take(&mut buffer)? else { break };
                assert!(part.is_last || !part.bytes.is_empty());
                assert_eq!(part.is_last, body.is_over());
                read.extend_from_slice(&part.bytes);
            }
        }
        if !body.is_over() {
            body.end()?;
        }
        Ok((read, buffer.to_vec()))
    }

    fn chunked(text: &str) -> Result<(Vec<u8>, Vec<u8>), Flaw> {
        let whole = read(Length::Chunked, [text.as_bytes()]);
        // However it is cut, it is the same.
        for at in 0..text.len() {
            let (before, behind) = text.as_bytes().split_at(at);
            assert_eq!(read(Length::Chunked, [before, behind]), whole, "{text:?} cut at {at}");
        }
        assert_eq!(read(Length::Chunked, text.as_bytes().chunks(1)), whole, "{text:?} byte by byte");
        whole
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_is_left() {
        let text = "5;a=b\r\nhello\r\n1\r\n \r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\nB: y\r\n\r\nHTTP/1.1";
        assert_eq!(chunked(text), Ok((b"hello 0123456789".to_vec(), b"HTTP/1.1".to_vec())));
        assert_eq!(chunked("0\r\n\r\n"), Ok((Vec::new(), Vec::new())));
    }

    #[test]
    fn chunks_that_came_together_go_on_together() {
        let mut body = Body::new(Length::Chunked);
        let part = body.take(&mut "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n".into());
        assert_eq!(part, Ok(Some(Part { bytes: "abc".into(), is_last: true })));
    }

    #[test]
    fn broken_chunks_are_refused() {
        for text in [
            "x\r\n",
            "-1\r\na\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(chunked(text), Err(Flaw::Chunk), "{text:?}");
        }
        for text in ["", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\n\r", "0\r\nA: b\r\n"] {
            assert_eq!(chunked(text), Err(Flaw::BrokenOff), "{text:?}");
        }
        assert_eq!(chunked(&format!("1;{}\r\n", "x".repeat(2000))), Err(Flaw::Chunk));
        assert_eq!(
            read(Length::Chunked, [format!("0\r\n{}", "A: b\r\n".repeat(2000)).as_bytes()]),
            Err(Flaw::Chunk)
        );
    }

    #[test]
    fn a_length_is_neither_more_nor_less() {
        assert_eq!(
            read(Length::Bytes(5), [&b"hel"[..], b"lo, and"]),
            Ok((b"hello".to_vec(), b", and".to_vec()))
        );
        assert_eq!(read(Length::Bytes(5), [&b"hell"[..]]), Err(Flaw::BrokenOff));
        assert_eq!(read(Length::Bytes(0), [&b"x"[..]]), Ok((Vec::new(), b"x".to_vec())));
        assert_eq!(read(Length::ToTheEnd, [&b"hel"[..], b"lo"]), Ok((b"hello".to_vec(), Vec::new())));
    }

    proptest! {
        #[test]
        fn what_is_written_in_chunks_is_read_back(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let mut wire = BytesMut::new();
            parts.iter().for_each(|part| crate::http1::write_chunk(&mut wire, part));
            wire.extend_from_slice(crate::http1::LAST_CHUNK);
            wire.extend_from_slice(b"next");
            let (mut rest, mut pieces) = (&wire[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(read(Length::Chunked, pieces), Ok((parts.concat(), b"next".to_vec())));
        }
    }
}
