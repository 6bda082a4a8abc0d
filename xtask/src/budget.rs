//! Holds the files that follow from `config/budget.toml` to it.

use std::fs;

use toml_edit::{DocumentMut, Item};

use crate::workspace;

const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
/// What one open chat socket costs a backend, measured with tungstenite's small buffers.
const SOCKET_KIB: i64 = 6;

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
