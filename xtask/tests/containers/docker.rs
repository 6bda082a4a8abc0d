//! Docker's command line, told by the environment which engine and which project are meant.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs docker; gives what it has printed.
pub(crate) fn docker(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Runs docker, whatever comes of it.
pub(crate) fn run(words: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    Command::new("docker").args(words).current_dir(root).output().expect("docker runs")
}

/// Runs docker compose.
pub(crate) fn compose(words: &[&str]) -> String {
    docker(&[&["compose"], words].concat())
}

/// All that docker knows of a service's container.
pub(crate) fn inspect(service: &str) -> Value {
    let id = compose(&["ps", "--quiet", service]);
    let text = docker(&["inspect", &id]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].take()
}

/// Brings the whole project up and waits until it is healthy.
pub(crate) fn up() {
    compose(&["up", "--detach", "--wait", "--wait-timeout", "120"]);
}
