//! The command's refusals: it must not be reachable by accident.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().expect("a temporary folder");
    // If it doesn't refuse, it must not run for ever.
    Command::new("timeout")
        .args(["10", env!("CARGO_BIN_EXE_identity-provider")])
        .args(arguments)
        .arg("--state-dir")
        .arg(state.path())
        .output()
        .expect("the program runs")
}

#[test]
fn it_refuses_to_start_without_the_development_flag() {
    let output = run(&["--listen", "127.0.0.1:0"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--development"));
}

#[test]
fn it_refuses_an_address_that_others_can_reach() {
    let output = run(&["--development", "--listen", "0.0.0.0:0"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}
