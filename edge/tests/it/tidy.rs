//! The house rules that a compiler doesn't hold: arrows between rooms, and files that fit in one reading.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and what each may import, as `src/lib.rs` draws it.
const ARROWS: [(&str, &[&str]); 36] = [
    ("main", &["server", "explain", "nginx", "healthcheck", "config"]),
    ("nginx", &["tls", "guards", "routes", "client_ip", "problem", "config"]),
    (
        "explain",
        &["admission", "config", "routes", "guards", "request", "problem", "redirects", "response_headers"],
    ),
    ("admission", &["client_ip", "path", "routes", "redirect", "problem", "config"]),
    ("healthcheck", &["upstream", "config"]),
    (
        "server",
        &[
            "acme",
            "door",
            "drain",
            "gateway",
            "site",
            "admin",
            "redirect",
            "tls",
            "key_refresh",
            "revocation_feed",
            "upstream",
            "guards",
            "files",
            "compression",
            "access_log",
            "metrics",
            "config",
        ],
    ),
    ("door", &["connection", "drain", "client_ip", "problem", "config"]),
    ("connection", &["drain", "config"]),
    (
        "gateway",
        &[
            "admission",
            "context",
            "site",
            "target",
            "request",
            "routes",
            "guards",
            "upstream",
            "http1",
            "files",
            "compression",
            "redirects",
            "response_headers",
            "headers",
            "problem",
            "access_log",
            "metrics",
            "websocket",
            "connection",
            "drain",
            "config",
        ],
    ),
    ("websocket", &["request"]),
    ("admin", &["drain", "upstream"]),
    ("redirect", &["acme", "path", "problem"]),
    ("key_refresh", &["site", "guards", "upstream"]),
    ("site", &["guards", "routes", "upstream", "metrics", "config"]),
    ("revocation_feed", &["config"]),
    ("tls", &["acme", "config"]),
    ("target", &["problem", "config"]),
    ("guards", &["client_ip", "request", "routes", "problem", "config"]),
    ("upstream", &["client_ip", "config"]),
    ("compression", &["config"]),
    ("acme", &["config"]),
    ("files", &["compression", "problem", "config"]),
    ("context", &["admission", "site", "guards", "connection", "upstream", "compression"]),
    ("access_log", &["context"]),
    ("metrics", &[]),
    ("http1", &[]),
    ("response_headers", &["routes", "config"]),
    ("redirects", &["path", "config"]),
    ("routes", &["config"]),
    ("drain", &[]),
    ("headers", &[]),
    ("problem", &[]),
    ("request", &[]),
    ("client_ip", &[]),
    ("path", &[]),
    ("config", &[]),
];

const MAX_LINES: usize = 400;

fn sources() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a line names: after `crate::` or, in the program, `edge::`; grouped imports name several.
fn rooms_in(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for prefix in ["crate::", "edge::"] {
        for (start, _) in line.match_indices(prefix) {
            let rest = &line[start + prefix.len()..];
            let group =
                rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(inner, _)| inner);
            for item in group.unwrap_or(rest).split(',').take(if group.is_some() { usize::MAX } else { 1 }) {
                let name: String =
                    item.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                rooms.push(name);
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_along_the_arrows_only() {
    for file in sources() {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let (_, allowed) =
            ARROWS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} is not drawn"));
        let text = fs::read_to_string(&file).expect("a source");
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for target in
                rooms_in(line).into_iter().filter(|target| ARROWS.iter().any(|(name, _)| name == target))
            {
                assert!(
                    target == room || allowed.contains(&target.as_str()),
                    "{}:{}: {room} may not import {target}",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn arrows_form_no_circle() {
    fn visit(room: &str, trail: &mut Vec<String>) {
        assert!(!trail.iter().any(|seen| seen == room), "a circle: {trail:?} → {room}");
        trail.push(room.to_owned());
        for next in
            ARROWS.iter().find(|(name, _)| *name == room).map(|(_, targets)| *targets).unwrap_or_default()
        {
            visit(next, trail);
        }
        trail.pop();
    }
    for (room, _) in ARROWS {
        visit(room, &mut Vec::new());
    }
}

#[test]
fn a_file_fits_in_one_reading() {
    for file in sources() {
        let lines = fs::read_to_string(&file).expect("a source").lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}
