//! The house rules that a compiler doesn't hold: who may import whom, and how long a file may be.

use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

/// What every feature may use.
const GROUND: &[&str] =
    &["clock", "config", "database", "extract", "jobs", "pagination", "problem", "redis", "request_id"];

/// Rooms and what else each may import, besides itself. `a::b` allows only that part of a room.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["app", "auth::keys", "config", "database", "demo_data", "health", "telemetry"]),
    (
        "app",
        &[
            "admin",
            "auth",
            "chat",
            "health",
            "notifications",
            "prometheus",
            "reservations",
            "server",
            "statistics",
            "vendors",
        ],
    ),
    ("admin", &["auth::current_user", "auth::model", "auth::service"]),
    ("notifications", &["auth::current_user"]),
    ("prometheus", &[]),
    ("statistics", &[]),
    ("server", &[]),
    ("health", &[]),
    ("demo_data", &["vendors::hours"]),
    ("auth", &["notifications::model", "notifications::service"]),
    ("vendors", &["auth::current_user"]),
    (
        "reservations",
        &[
            "auth::current_user",
            "notifications::model",
            "notifications::outbox",
            "notifications::service",
            "vendors::hours",
            "vendors::model",
            "vendors::service",
        ],
    ),
    ("chat", &["auth::current_user"]),
];

/// The ground's own arrows; it knows no feature.
const GROUND_ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("request_id", &[]),
    ("database", &["config"]),
    ("redis", &["config"]),
    ("jobs", &["clock", "config", "database", "redis"]),
    ("problem", &["database", "redis", "request_id"]),
    ("extract", &["problem"]),
    ("pagination", &["problem"]),
];

/// Inside a feature imports run down this list only.
const LAYERS: &[&str] = &["http", "service", "store", "model"];

#[test]
fn rooms_import_only_along_the_arrows() {
    let faults: Vec<String> = sources().iter().flat_map(|path| faults(path)).collect();
    assert!(faults.is_empty(), "imports against the arrows:\n{}", faults.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_reading() {
    for path in sources() {
        let lines = read(&path).lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, more than {MAX_LINES}", path.display());
    }
}

#[test]
fn a_forbidden_import_is_found() {
    let fault = |room, layer, line| check(room, layer, line).is_some();
    assert!(fault("chat", "service", "use crate::auth::sessions::Sessions;"));
    assert!(fault("auth", "store", "use crate::auth::{http, keys};"));
    assert!(fault("redis", "redis", "let x = crate::auth::keys::init();"));
    assert!(!fault("chat", "http", "use crate::auth::current_user::CurrentUser;"));
    assert!(!fault("chat", "store", "use crate::{clock::EpochMillis, read};"));
}

fn faults(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(root()).expect("below the root");
    let first = relative.iter().next().expect("a file").to_string_lossy();
    let room = first.trim_end_matches(".rs").to_owned();
    let layer = path.file_stem().expect("a name").to_string_lossy().into_owned();
    if room == "lib" {
        return Vec::new();
    }
    let source = read(path);
    statements(&source)
        .into_iter()
        .filter_map(|(line, text)| {
            check(&room, &layer, &text).map(|to| format!("{}:{line}: {room} → {to}", relative.display()))
        })
        .collect()
}

/// The first import in `text` that `room` isn't allowed.
fn check(room: &str, layer: &str, text: &str) -> Option<String> {
    paths(text).into_iter().find(|path| !is_allowed(room, layer, path))
}

fn is_allowed(room: &str, layer: &str, path: &str) -> bool {
    let (target, rest) = path.split_once("::").unwrap_or((path, ""));
    // The database's macros stand at the crate's root.
    let target =
        if ["read", "write", "transaction", "within"].contains(&target) { "database" } else { target };
    if target == room {
        let level = |name: &str| LAYERS.iter().position(|layer| *layer == name);
        let to = rest.split("::").next().unwrap_or_default();
        return match (level(layer), level(to)) {
            (Some(from), Some(to)) => from <= to,
            _ => true,
        };
    }
    let matches = |allowed: &&str| {
        let path = if rest.is_empty() { target.to_owned() } else { format!("{target}::{rest}") };
        path == **allowed || path.starts_with(&format!("{allowed}::"))
    };
    let find = |table: &'static [(&str, &'static [&'static str])]| {
        table.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed)
    };
    match (find(ARROWS), find(GROUND_ARROWS)) {
        (Some(allowed), _) => GROUND.contains(&target) || allowed.iter().any(matches),
        (None, Some(allowed)) => allowed.iter().any(matches),
        (None, None) => false,
    }
}

/// The paths below the crate that a statement names: `use crate::{a, b::c}` names `a` and `b::c`.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "backend::"] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            expand("", &text[at + root.len()..], &mut found);
        }
    }
    found
}

fn expand(prefix: &str, rest: &str, found: &mut Vec<String>) {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let head = format!("{prefix}{}", &rest[..end]);
    if !rest[end..].starts_with('{') {
        found.push(head.trim_end_matches(':').to_owned());
        return;
    }
    let (mut depth, mut start) = (0, end + 1);
    for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < end) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return expand(&head, rest[start..at].trim(), found),
            '}' => depth -= 1,
            ',' if depth == 1 => {
                expand(&head, rest[start..at].trim(), found);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Statements with the line that each begins at: `use` over several lines is one, any other line stands alone.
fn statements(source: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in source.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        match statements.last_mut().filter(|_| is_open) {
            Some((_, text)) => text.push_str(line),
            None => statements.push((number + 1, line.to_owned())),
        }
        is_open =
            (is_open || line.starts_with("use ") || line.starts_with("pub use ")) && !line.ends_with(';');
    }
    statements
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    assert!(files.len() > 10, "the sources are there");
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}
