//! nginx in the edge's place, and back.

use reqwest::StatusCode;

use crate::client::{address, browser};
use crate::docker::{compose, up};
use crate::stack::Stack;
use crate::walk::walk;

#[tokio::test]
async fn nginx_takes_the_edges_place_and_gives_it_back() {
    let stack = Stack::start();
    let server = async || {
        let page = browser(&stack.file, address(1)).get(format!("{}/", stack.file.https)).send().await;
        let page = page.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
        page.headers().get("server").map(|server| server.to_str().expect("text").to_owned())
    };
    let nginx =
        ["--profile", "nginx", "up", "--detach", "--wait", "--wait-timeout", "120", "--scale", "edge=0"];
    compose(&nginx);
    assert_eq!(server().await.as_deref(), Some("nginx"));
    walk(&stack, "nginx").await;
    compose(&["--profile", "nginx", "rm", "--stop", "--force", "nginx"]);
    up();
    assert_eq!(server().await, None);
}
