//! Encoders: small ones, counted by what each was measured to take. When there is no room for another, an answer goes out
//! as it is.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

use crate::config::{Coding, CompressionPolicy};

/// What an encoder is given at once: brotli's hash table is as large as its input, and what it takes was measured so.
const PIECE_BYTES: usize = 32 * 1024;
const BROTLI_BUFFER_BYTES: usize = 4096;
const BROTLI_WINDOW_LOG: u32 = 16;

const KIB: usize = 1024;

/// How a coding is done at a level, and what an encoder takes, all of it measured on JSON in pieces of 32 KiB.
struct Effort {
    quality: u32,
    /// Of zstd: window, hash and chain tables, each as a power of two.
    tables: (u32, u32),
    bytes: usize,
}

/// Brotli beyond quality 4 takes 2 to 30 MiB for an encoder; zstd and gzip are as good for a quarter of a MiB.
fn effort(coding: Coding, level: u8) -> Effort {
    let (quality, tables, kib) = match (coding, level) {
        (Coding::Brotli, ..=1) => (1, (0, 0), 210),
        (Coding::Brotli, 2) => (3, (0, 0), 700),
        (Coding::Brotli, 3..) => (4, (0, 0), 1200),
        (Coding::Zstd, ..=1) => (1, (15, 13), 200),
        (Coding::Zstd, 2) => (3, (16, 14), 320),
        (Coding::Zstd, 3..) => (5, (16, 15), 360),
        (Coding::Gzip, ..=1) => (2, (0, 0), 300),
        (Coding::Gzip, 2) => (4, (0, 0), 300),
        (Coding::Gzip, 3..) => (6, (0, 0), 300),
    };
    Effort { quality, tables, bytes: kib * KIB }
}

/// Counts what all encoders of the process take.
#[derive(Debug, Default)]
pub struct Encoders {
    taken_bytes: AtomicUsize,
}

/// An encoder at work; its room is free again when it is dropped.
pub struct Encoder {
    /// `None` once it has ended.
    kind: Option<Kind>,
    _room: Room,
}

enum Kind {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

struct Room {
    encoders: Arc<Encoders>,
    bytes: usize,
}

impl Encoders {
    /// A new encoder, if there is room for one.
    pub fn open(self: &Arc<Self>, policy: &CompressionPolicy, coding: Coding) -> Option<Encoder> {
        let effort = effort(coding, policy.level);
        let with_it = |taken: usize| Some(taken + effort.bytes).filter(|all| *all <= policy.memory_bytes);
        if self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it).is_err() {
            metrics::counter!("edge_compression_without_room_total").increment(1);
            return None;
        }
        let room = Room { encoders: Arc::clone(self), bytes: effort.bytes };
        Some(Encoder { kind: Some(Kind::new(coding, &effort).ok()?), _room: room })
    }

    /// A whole body at once.
    pub fn compress(
        self: &Arc<Self>,
        policy: &CompressionPolicy,
        coding: Coding,
        body: &[u8],
    ) -> Option<Bytes> {
        self.open(policy, coding)?.encode(body, true).ok()
    }

    /// What those that are open take.
    pub fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.encoders.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Encoder {
    /// What there is to send for more of the body. All that was given can be read by the client then: a slow stream isn't
    /// held back.
    pub fn encode(&mut self, input: &[u8], is_end: bool) -> io::Result<Bytes> {
        let Some(kind) = &mut self.kind else { return Ok(Bytes::new()) };
        for piece in input.chunks(PIECE_BYTES) {
            kind.writer().write_all(piece)?;
        }
        if is_end {
            return self.kind.take().map_or(Ok(Bytes::new()), Kind::finish);
        }
        if !input.is_empty() {
            kind.writer().flush()?;
        }
        Ok(std::mem::take(kind.output()).into())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Kind {
    fn new(coding: Coding, effort: &Effort) -> io::Result<Self> {
        Ok(match coding {
            Coding::Brotli => {
                let (buffer, window) = (BROTLI_BUFFER_BYTES, BROTLI_WINDOW_LOG);
                let writer = CompressorWriter::new(Vec::new(), buffer, effort.quality, window);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), effort.quality as i32)?;
                let (window, tables) = effort.tables;
                encoder.set_parameter(CParameter::WindowLog(window))?;
                encoder.set_parameter(CParameter::HashLog(tables))?;
                encoder.set_parameter(CParameter::ChainLog(tables))?;
                Self::Zstd(encoder)
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(effort.quality))),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(writer) => &mut **writer,
            Self::Zstd(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Brotli(writer) => writer.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Brotli(writer) => writer.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}
