//! The command line: what an operator and `cargo xtask up` rely on.

use std::process::{Command, Output};

use crate::harness::{Stack, eventually};

fn backend(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_backend")).args(arguments).output().expect("started")
}

#[tokio::test]
async fn keys_are_made_once() {
    let stack = Stack::start().await;
    let config = stack.folder().join("config/backend.toml");
    let config = config.to_str().expect("text");
    let keys = stack.folder().join("var/keys");
    std::fs::remove_dir_all(&keys).expect("removed");
    for _ in 0..2 {
        assert!(backend(&["keys", "init", config]).status.success());
    }
    let files = std::fs::read_dir(keys).expect("there").filter_map(Result::ok);
    assert_eq!(files.filter(|file| file.path().extension().is_some_and(|e| e == "pem")).count(), 1);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_the_start_with_every_fault() {
    let stack = Stack::start().await;
    let config = stack.folder().join("config/backend.toml");
    std::fs::remove_dir_all(stack.folder().join("var/secrets")).expect("removed");
    let output = backend(&["run", config.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("redis.password_file") && said.contains("tokens.refresh_secret_file"), "{said}");
}

#[tokio::test]
async fn a_health_check_tells_a_ready_backend_from_one_that_is_gone() {
    let mut stack = Stack::start().await;
    let config = stack.folder().join("config/backend.toml");
    let management = stack.management_url(0, "").replace("http://", "");
    let text = std::fs::read_to_string(&config).expect("read");
    let text = text.replace("management = \"127.0.0.1:0\"", &format!("management = \"{management}\""));
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("text").to_owned();
    let check = async || {
        let config = config.clone();
        tokio::task::spawn_blocking(move || backend(&["healthcheck", &config])).await.expect("run")
    };
    assert!(check().await.status.success());
    stack.take_backend(0).stop().await;
    let output = check().await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
}

#[tokio::test]
async fn a_backend_ends_in_order_when_asked_to() {
    let stack = Stack::start().await;
    let config = stack.folder().join("config/backend.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_backend"))
        .arg("run")
        .arg(config)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let stderr = child.stderr.take().expect("piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    let said = lines.next().expect("a line").expect("text");
    assert!(said.contains("serving"), "{said}");
    let pid = child.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().expect("kill is installed");
    let mut ended = None;
    eventually("the backend has ended", async || {
        ended = child.try_wait().expect("asked");
        ended.is_some()
    })
    .await;
    assert!(ended.is_some_and(|status| status.success()));
}
