//! What an HTTP/2 connection's frames cost is what a slow reading of the whole stream says, however it is cut.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use edge::door::frames::{Flood, FrameMeter};
use libfuzzer_sys::fuzz_target;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// So many parts of what one frame costs: what a millisecond and what a byte earn are whole numbers of them.
const PARTS: i64 = 1024 * 1000;
const BURST: i64 = 2000 * PARTS;

/// A longer script says nothing new, slowly.
const MAX_STEPS: usize = 60;

enum Step<'a> {
    /// The same frame so many times.
    Frames {
        kind: u8,
        flags: u8,
        length: u16,
        times: u8,
    },
    /// Whatever bytes.
    Bytes(&'a [u8]),
    Wait {
        ms: u16,
    },
    Send {
        bytes: u32,
    },
}

fuzz_target!(|data: &[u8]| {
    let [cuts, script @ ..] = data else { return };
    let mut now = *START;
    let (mut whole, mut pieces, mut model) = (FrameMeter::new(now), FrameMeter::new(now), Model::new());
    for step in steps(script) {
        let received = match step {
            Step::Frames { kind, flags, length, times } => frame(kind, flags, length).repeat(times.into()),
            Step::Bytes(bytes) => bytes.to_vec(),
            Step::Wait { ms } => {
                now += Duration::from_millis(ms.into());
                model.earn(i64::from(ms) * 200 * PARTS / 1000);
                Vec::new()
            }
            Step::Send { bytes } => {
                whole.send(bytes as usize);
                pieces.send(bytes as usize);
                model.earn(i64::from(bytes) * PARTS / 1024);
                Vec::new()
            }
        };
        let verdict = whole.receive(&received, now);
        assert_eq!(verdict, in_pieces(&mut pieces, &received, now, *cuts));
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "pieces make a difference");
        model.receive(&received);
        // Fractions are not exact in the meter.
        if model.left.abs() > PARTS / 100 {
            assert_eq!(verdict.is_err(), model.left < 0, "{}", model.left);
        }
    }
});

fn in_pieces(meter: &mut FrameMeter, bytes: &[u8], now: Instant, cuts: u8) -> Result<(), Flood> {
    let mut verdict = meter.receive(&[], now);
    for piece in bytes.chunks(usize::from(cuts) + 1) {
        let next = meter.receive(piece, now);
        assert!(verdict.is_ok() || next.is_err(), "a flood is one until time passes");
        verdict = next;
    }
    verdict
}

/// Five bytes a step; the last kind has its bytes behind it.
fn steps(mut script: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    while let ([kind, a, b, c, d, rest @ ..], true) = (script, steps.len() < MAX_STEPS) {
        script = rest;
        steps.push(match kind % 8 {
            0..=4 => Step::Frames { kind: *a, flags: *b, length: u16::from(*c), times: *d % 64 },
            5 => Step::Wait { ms: u16::from_be_bytes([*a, *b]) },
            6 => Step::Send { bytes: u32::from_be_bytes([0, *a, *b, *c]) },
            _ => {
                let (bytes, after) = rest.split_at(rest.len().min(usize::from(*a)));
                script = after;
                Step::Bytes(bytes)
            }
        });
    }
    steps
}

fn frame(kind: u8, flags: u8, length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut frame = vec![0, high, low, kind, flags, 0, 0, 0, 1];
    frame.resize(9 + usize::from(length), 0xa5);
    frame
}

/// Keeps all that came and reads it from the front.
struct Model {
    stream: Vec<u8>,
    read: usize,
    left: i64,
}

impl Model {
    /// The preface is passed over (RFC 9113, section 3.4).
    fn new() -> Self {
        Self { stream: Vec::new(), read: 24, left: BURST }
    }

    fn earn(&mut self, parts: i64) {
        self.left = (self.left + parts).min(BURST);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.stream.extend(bytes);
        while let Some(header) = self.stream.get(self.read..self.read + 9) {
            let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            self.left -= PARTS * cost(header[3], header[4] & 1 == 1, length);
            self.read += 9 + length;
        }
    }
}

/// By the names of the frames (RFC 9113, section 6).
fn cost(kind: u8, ends_stream: bool, length: usize) -> i64 {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const CONTINUATION: u8 = 9;
    match kind {
        DATA if length > 0 || ends_stream => 0,
        HEADERS => 0,
        RST_STREAM | CONTINUATION => 10,
        _ => 1,
    }
}
