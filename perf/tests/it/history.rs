//! Bookings under misfortune keep the service's promises, and the checker would notice if they didn't.

use std::path::Path;
use std::process::{Command, Output};

fn history(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_perf"));
    let backend = program.with_file_name("backend");
    assert!(backend.exists(), "cargo build --workspace makes the backend that is tested");
    Command::new(program).arg("history").args(arguments).output().expect("perf runs")
}

#[track_caller]
fn expect_no_violation(database: &str) {
    let output = history(&["--attempts", "1500", "--users", "16", "--database", database]);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("violations: 0"), "{said}{complained}");
    assert!(said.contains("ok "), "{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn sqlite_keeps_its_promises_whatever_happens() {
    expect_no_violation("sqlite");
}

#[test]
fn postgresql_keeps_its_promises_whatever_happens() {
    expect_no_violation("postgres");
}

#[test]
fn a_rule_that_is_let_go_of_is_missed() {
    let output = history(&["--attempts", "500", "--users", "8", "--database", "sqlite", "--break-the-rule"]);
    let complained = text(&output.stderr);
    assert!(!output.status.success() && complained.contains("too many have"), "{complained}");
}
