//! The command's refusals: it must not be reachable by accident.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

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

#[test]
fn in_a_container_it_listens_for_others_and_keeps_the_name_it_is_given() {
    let mut arguments = vec!["--development", "--in-container", "--listen", "0.0.0.0:0"];
    arguments.extend(["--base-url", "http://127.0.0.1:9000"]);
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_identity-provider"))
        .args(arguments)
        .arg("--state-dir")
        .arg(state.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
    let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("ready")));
    child.kill().expect("it ran until now");
    child.wait().expect("it has ended");
    let line = ready.expect("it gets ready").expect("text");
    assert!(line.contains("http://127.0.0.1:9000"), "{line}");
}
