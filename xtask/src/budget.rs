//! Holds the files that follow from `config/budget.toml` to it.

use std::fs;

use toml_edit::{DocumentMut, Item};

use crate::workspace;

const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
/// What one open chat socket costs a backend, measured with tungstenite's small buffers.
const SOCKET_KIB: i64 = 6;
/// What the edge has read of large files and clients haven't taken yet: `files/body.rs`.
const FILE_CHUNKS_KIB: i64 = 512;

fn text(path: &str) -> String {
    fs::read_to_string(workspace::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> DocumentMut {
    text(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn at<'a>(document: &'a DocumentMut, key: &str) -> &'a Item {
    key.split('.')
        .try_fold(document.as_item(), |item, key| item.get(key))
        .unwrap_or_else(|| panic!("no {key}"))
}

fn number(document: &DocumentMut, key: &str) -> i64 {
    at(document, key).as_integer().unwrap_or_else(|| panic!("{key} is no whole number"))
}

#[test]
fn the_parts_of_each_process_fit_into_its_memory_and_all_into_the_total() {
    let budget = document("config/budget.toml");
    let mut total = 0;
    for process in ["edge", "backend", "redis"] {
        let memory = number(&budget, &format!("{process}.memory"));
        let parts = at(&budget, &format!("{process}.parts")).as_table_like().expect("a table");
        let sum: i64 = parts.iter().map(|(_, part)| part.as_integer().expect("MiB")).sum();
        assert!(sum <= memory, "{process}: parts of {sum} MiB in {memory} MiB");
        assert!(number(&budget, &format!("{process}.reservation")) <= memory, "{process}");
        total += memory * if process == "backend" { number(&budget, "backend.count") } else { 1 };
    }
    assert!(total <= number(&budget, "total_memory"), "{total} MiB");
}

#[test]
fn the_edges_connections_fit_into_their_part() {
    let edge = number(&document("config/edge.toml"), "connections.memory_mib");
    assert_eq!(edge, number(&document("config/budget.toml"), "edge.parts.connections"));
}

#[test]
fn the_edges_files_and_encoders_fit_into_their_parts() {
    let (edge, budget) = (document("config/edge.toml"), document("config/budget.toml"));
    let files = number(&edge, "files.memory_kib") + FILE_CHUNKS_KIB;
    assert_eq!(files * KIB, number(&budget, "edge.parts.files") * MIB);
    let encoders = number(&edge, "compression.memory_kib");
    assert_eq!(encoders * KIB, number(&budget, "edge.parts.compression") * MIB);
}

#[test]
fn the_settings_of_backends_and_redis_are_the_budgets() {
    let budget = document("config/budget.toml");
    let backend = document("config/backend.toml");
    let connections = number(&backend, "database.readers") + number(&backend, "database.writers");
    let pages = connections * number(&backend, "database.page_cache_kib") * KIB;
    assert_eq!(pages, number(&budget, "backend.parts.page_caches") * MIB);
    let sockets = number(&backend, "chat.max_connections") * SOCKET_KIB * KIB;
    assert!(sockets <= number(&budget, "backend.parts.sockets") * MIB, "{sockets}");
    assert_eq!(number(&backend, "chat.total_queue_bytes"), number(&budget, "backend.parts.queues") * MIB);
    let maxmemory = format!("maxmemory {}mb", number(&budget, "redis.parts.data"));
    assert!(text("config/redis.conf").lines().any(|line| line == maxmemory), "{maxmemory}");
}

/// The lines of a block of a compose file: those below its head that are indented deeper.
fn block(compose: &str, head: &str) -> Vec<String> {
    let depth = head.len() - head.trim_start().len();
    let mut lines = compose.lines().skip_while(|line| !line.starts_with(head));
    assert!(lines.next().is_some(), "the compose file has no `{head}`");
    let is_inside = |line: &&str| line.is_empty() || line.len() - line.trim_start().len() > depth;
    lines.take_while(is_inside).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_compose_files_limits_are_the_budgets() {
    let budget = document("config/budget.toml");
    let compose = text("docker-compose.yml");
    for backend in ["  backend-0:", "  backend-1:"] {
        assert!(block(&compose, backend).contains(&"<<: *backend".to_owned()), "{backend}");
    }
    for (head, process) in
        [("x-gateway: &gateway", "edge"), ("x-backend: &backend", "backend"), ("  redis:", "redis")]
    {
        let lines = block(&compose, head);
        let cpus = at(&budget, &format!("{process}.cpus")).as_float().expect("a number");
        for expected in [
            format!("mem_limit: {}m", number(&budget, &format!("{process}.memory"))),
            format!("mem_reservation: {}m", number(&budget, &format!("{process}.reservation"))),
            format!("cpus: {cpus:?}"),
            format!("pids_limit: {}", number(&budget, &format!("{process}.pids"))),
        ] {
            assert!(lines.contains(&expected), "`{head}` has no `{expected}`");
        }
    }
    let arenas = format!("MALLOC_ARENA_MAX: {}", number(&budget, "allocator.MALLOC_ARENA_MAX"));
    assert_eq!(compose.matches(&arenas).count(), 2, "the gateway's and the backends' {arenas}");
}
