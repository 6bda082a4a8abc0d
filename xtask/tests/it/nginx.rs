//! The same stack behind nginx, which does what the edge does.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{address, browser};
use crate::stack::Stack;
use crate::walk::walk;

#[tokio::test]
async fn behind_nginx_people_book_and_chat_and_its_death_is_short() {
    let stack = Stack::behind("nginx");
    walk(&stack, "nginx").await;
    let killed = stack.file.pids["nginx"];
    assert!(Command::new("kill").args(["-9", &killed.to_string()]).status().expect("kill runs").success());
    let started = Instant::now();
    let http = browser(&stack.file, address(1));
    // Its workers go with it: they would keep the ports that its successor needs.
    while stack.reread().pids["nginx"] == killed
        || http.get(format!("{}/", stack.file.https)).send().await.is_err()
    {
        assert!(started.elapsed() < Duration::from_secs(20), "nginx doesn't come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
