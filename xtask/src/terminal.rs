//! What is said to the person at the terminal.

use std::io::{Write, stderr, stdout};

/// A line on standard output. A terminal that has been closed must not bring down what it was watching, so a
/// line that can't be written is dropped.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stdout().lock(), "{line}");
}

/// A line on standard error; likewise.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}
