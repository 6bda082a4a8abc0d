//! The form of the file: every key known, every value of its type, nothing missing. All faults of form are told at once:
//! what can't be read is blanked out, what is missing is made up, and the rest is read again.

use super::file::File;
use super::{Fault, Places};

/// A file with more faults than this is not the right file.
const MAX_FAULTS: usize = 50;

/// Made up for keys that are missing, so that the rest can be judged. Nothing runs with them: a fault was told.
const MADE_UP: [(&str, &[&str]); 5] = [
    (
        "1",
        &[
            "warn_days",
            "max",
            "max_per_address",
            "handshake_timeout_ms",
            "header_timeout_ms",
            "idle_timeout_ms",
            "body_timeout_ms",
            "body_bytes_per_second",
            "write_timeout_ms",
            "write_bytes_per_second",
            "max_header_bytes",
            "websocket_bytes_per_second",
            "memory_mib",
            "max_header_fields",
            "max_target_bytes",
            "max_body_bytes",
            "max_streams",
            "grace_seconds",
            "drain_seconds",
            "refresh_seconds",
            "health_interval_ms",
            "connect_timeout_ms",
            "read_timeout_ms",
            "websocket_idle_ms",
            "retries",
            "requests",
            "seconds",
            "max_age_seconds",
            "level",
            "min_bytes",
            "memory_kib",
        ],
    ),
    ("\"127.0.0.1:1\"", &["https", "http", "admin"]),
    (
        "\"/\"",
        &[
            "issuer",
            "audience",
            "upstream",
            "jwks_path",
            "health_path",
            "certificate",
            "private_key",
            "directory",
            "state",
            "folder",
        ],
    ),
    ("false", &["session_tickets"]),
    ("[]", &["hosts", "versions", "servers", "codings"]),
];

/// What was read of a file.
pub(super) struct Read {
    /// The file as far as it could be read; `None` where too much is missing to go on.
    pub(super) file: Option<File>,
    /// What couldn't.
    pub(super) faults: Vec<Fault>,
    /// The text that was read in the end: its places are the file's spans.
    pub(super) text: String,
    /// Lines of it, from 1 and in order, that the original doesn't have.
    pub(super) inserted: Vec<usize>,
}

pub(super) fn read(text: &str) -> Read {
    let mut read = Read { file: None, faults: Vec::new(), text: text.to_owned(), inserted: Vec::new() };
    // Sections in which something was blanked out.
    let mut broken = Vec::new();
    loop {
        let error = match toml::from_str::<File>(&read.text) {
            Ok(file) => {
                read.file = Some(file);
                return read;
            }
            Err(error) => error,
        };
        let message = error.message().replace('\n', ", ");
        let places = Places::with_inserted(&read.text, read.inserted.clone());
        let span = error.span().unwrap_or(0..0);
        let (start, end) = (places.floor(span.start), places.floor(span.end));
        let fault = places.fault(start, &*message);
        let header = places.header(start);
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        // What was blanked out is missing now; that is no fault of its own.
        if missing.is_none() || !broken.contains(&places.original(header)) {
            read.faults.push(fault);
        }
        if read.faults.len() >= MAX_FAULTS {
            return read;
        }
        match missing.map(|key| (key, made_up(key), places.is_header(start))) {
            // A key of a table; of an inline table the whole line goes.
            Some((key, Some(value), true)) => insert(&mut read, header, &format!("{key} = {value}")),
            Some((_, None, true)) => return read,
            _ if missing.is_some()
                || message.starts_with("unknown field")
                || message.starts_with("invalid") =>
            {
                broken.push(places.original(header));
                blank(&mut read.text, start, end);
            }
            _ => return read,
        }
    }
}

fn made_up(key: &str) -> Option<&'static str> {
    MADE_UP.iter().find(|(_, keys)| keys.contains(&key)).map(|(value, _)| *value)
}

/// Puts a line behind the line of a header; behind line 0: before all.
fn insert(read: &mut Read, header: usize, line: &str) {
    let ends = read.text.match_indices('\n').map(|(at, _)| at + 1);
    let offset = if header == 0 { 0 } else { ends.clone().nth(header - 1).unwrap_or(read.text.len()) };
    let before = if read.text[..offset].ends_with('\n') || offset == 0 { "" } else { "\n" };
    read.text.insert_str(offset, &format!("{before}{line}\n"));
    let new = header + 1;
    for inserted in read.inserted.iter_mut().filter(|inserted| **inserted >= new) {
        *inserted += 1;
    }
    read.inserted.push(new);
    read.inserted.sort_unstable();
}

/// Replaces the lines from `start` to `end` by empty ones; of a table's header the whole table. A list that is begun there
/// goes to its end.
fn blank(text: &mut String, start: usize, end: usize) {
    let first = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |newline| from + newline);
    let mut last = match text[first..].starts_with('[') {
        true => text[first + 1..].find("\n[").map_or(text.len(), |next| first + 1 + next),
        false => line_end(end.max(start)),
    };
    while is_open(&text[first..last]) && last < text.len() {
        last = line_end(last + 1);
    }
    let blanks: String = text[first..last].chars().filter(|character| *character == '\n').collect();
    // Offsets of what follows must stay: the blanks are as long as what they replace.
    let padding = " ".repeat(last - first - blanks.len());
    text.replace_range(first..last, &format!("{padding}{blanks}"));
}

/// Whether a bracket is open at the text's end. Brackets in strings come in pairs, or it is blanked a little more.
fn is_open(text: &str) -> bool {
    let count = |bracket: char| text.matches(bracket).count();
    count('[') > count(']') || count('{') > count('}')
}
