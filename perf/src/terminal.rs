//! What is said to the person at the terminal: results on standard output, progress on standard error.

use std::io::{Write, stderr, stdout};

/// A line of the result. One that can't be written, as the reader has gone, is dropped.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stdout().lock(), "{line}");
}

/// A line beside the result; likewise.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}
