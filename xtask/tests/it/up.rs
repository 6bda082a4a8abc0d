//! `up` and `down` as their user meets them.

use std::net::TcpListener;

use crate::client::port_of;
use crate::stack::{Stack, next_offset, up, xtask};

fn error_of(output: &std::process::Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn a_second_up_in_the_same_folder_says_that_it_is_running() {
    let stack = Stack::start();
    let error = error_of(&up(stack.state_dir(), stack.port_offset));
    assert!(error.contains("already running") && error.contains(&stack.file.https), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_port_in_use_is_named_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let offset = next_offset();
    let taken = 8443 + offset;
    let _listener = TcpListener::bind(("::", taken)).expect("a free port");
    let error = error_of(&up(folder.path(), offset));
    assert!(error.contains(&taken.to_string()) && error.contains("is in use"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn down_stops_everything_and_a_second_up_finds_its_data_again() {
    let stack = Stack::start();
    let ports =
        [port_of(&stack.file.https), port_of(&stack.file.backends[0].api), port_of(&stack.file.redis)];
    let folder = stack.state_dir().to_str().expect("a path").to_owned();
    let output = xtask(&["down", "--state-dir", &folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!stack.state_dir().join("stack.json").exists());
    for port in ports {
        TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    }
    let again = up(stack.state_dir(), stack.port_offset);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains(&stack.file.https), "{said}");
}

#[test]
fn down_without_a_stack_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = xtask(&["down", "--state-dir", folder.path().to_str().expect("a path")]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing runs in"));
}
