//! Row C01: a faulty configuration is refused with all that is wrong with it.

use std::process::{Command, Output};

use crate::edge_process::shipped_path;

/// A file of the shipped text, changed, and its own line of each of some texts.
fn faulty() -> (String, Vec<usize>) {
    let shipped = std::fs::read_to_string(shipped_path()).expect("the shipped config");
    let text = shipped
        .replace("grace_seconds = 10", "grace_secs = 2")
        .replace("127.0.0.1/32", "127.0.0.1/33")
        .replace("exact = \"/api/openapi.json\"", "exact = \"/api/vendors\"")
        .replace("x-frame-options = \"DENY\"", "content-length = \"DENY\"");
    let line = |needle: &str| text[..text.find(needle).expect(needle)].matches('\n').count() + 1;
    let twin = text.rfind("exact = \"/api/vendors\"\n").expect("the second");
    let twin = text[..twin].rfind("[[routes]]").expect("its header");
    let lines = vec![
        line("grace_secs"),
        line("content-length"),
        line("127.0.0.1/33"),
        text[..twin].matches('\n').count() + 1,
    ];
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    (text, sorted)
}

fn check(text: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    command.arg("check").arg(&file).args(options).output().expect("it runs")
}

#[test]
fn all_faults_are_told_at_once_with_line_and_column() {
    let (text, lines) = faulty();
    let output = check(&text, &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).expect("text");
    let places: Vec<usize> = told
        .lines()
        .filter_map(|line| line.split("edge.toml:").nth(1)?.split(':').next()?.parse().ok())
        .collect();
    assert_eq!(places, lines, "{told}");
    for words in
        ["unknown field `grace_secs`", "`127.0.0.1/33` is not a network", "the same host, path and method"]
    {
        assert!(told.contains(words), "{told}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_machine_may_read_the_faults() {
    let (text, lines) = faulty();
    let output = check(&text, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let faults: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let faults = faults.as_array().expect("a list");
    let told: Vec<_> = faults.iter().map(|fault| fault["line"].as_u64().expect("a line") as usize).collect();
    assert_eq!(told, lines);
    assert!(faults.iter().all(|fault| fault["column"].as_u64() >= Some(1) && fault["message"].is_string()));
}

#[test]
fn the_shipped_configuration_has_none() {
    let shipped = std::fs::read_to_string(shipped_path()).expect("the shipped config");
    let output = check(&shipped, &["--json"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"[]\n".as_slice()));
}

#[test]
fn an_edge_does_not_start_with_a_fault() {
    let (text, _) = faulty();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_edge")).arg("run").arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("grace_secs"));
}
