//! The form of the file: every key known, every value of its type. All faults of form are told at once: what can't be
//! read is blanked out, and the rest is read again.

use super::file::File;
use super::{Fault, Places};

/// A file with more faults than this is not the right file.
const MAX_FAULTS: usize = 50;

/// The file as far as it could be read, and what couldn't. No file where too much is missing to go on.
pub(super) fn read(text: &str, places: &Places<'_>) -> (Option<File>, Vec<Fault>) {
    let mut readable = text.to_owned();
    let mut faults = Vec::new();
    loop {
        let error = match toml::from_str::<File>(&readable) {
            Ok(file) => return (Some(file), faults),
            Err(error) => error,
        };
        let message = error.message().replace('\n', ", ");
        // What was blanked out is missing now; that is no fault of its own.
        let is_consequence = message.starts_with("missing field") && !faults.is_empty();
        if is_consequence || faults.len() >= MAX_FAULTS {
            return (None, faults);
        }
        let span = error.span().unwrap_or(0..0);
        faults.push(places.fault(span.start, &*message));
        if !message.starts_with("unknown field") && !message.starts_with("invalid") {
            return (None, faults);
        }
        blank(&mut readable, span.start, span.end);
    }
}

/// Replaces the lines from `start` to `end` by empty ones; of a table's header the whole table.
fn blank(text: &mut String, start: usize, end: usize) {
    let first = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |newline| from + newline);
    let last = match text[first..].starts_with('[') {
        true => text[first + 1..].find("\n[").map_or(text.len(), |next| first + 1 + next),
        false => line_end(end.max(start)),
    };
    let blanks: String = text[first..last].chars().filter(|character| *character == '\n').collect();
    // Offsets of what follows must stay: the blanks are as long as what they replace.
    let padding = " ".repeat(last - first - blanks.len());
    text.replace_range(first..last, &format!("{padding}{blanks}"));
}
