//! Two backends: turns, failures, retries, draining, and the edge's own end.

use std::process::Command;

use reqwest::StatusCode;

use crate::edge_process::{Edge, problem_of};

async fn get(edge: &Edge) -> StatusCode {
    edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer").status()
}

#[tokio::test]
async fn both_backends_take_turns() {
    let edge = Edge::start().await;
    for _ in 0..10 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!([edge.backends[0].received().len(), edge.backends[1].received().len()], [5, 5]);
}

#[tokio::test]
async fn a_backend_that_is_not_ready_gets_nothing_and_comes_back() {
    let edge = Edge::start().await;
    edge.backends[0].set_ready(false);
    edge.wait_until_healthy(0, false).await;
    for _ in 0..6 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert!(edge.backends[0].received().is_empty());
    edge.backends[0].set_ready(true);
    edge.wait_until_healthy(0, true).await;
    for _ in 0..6 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.backends[0].received().len(), 3);
}

#[tokio::test]
async fn no_get_fails_while_a_backend_dies() {
    let mut edge = Edge::start().await;
    for turn in 0..60 {
        if turn == 20 {
            edge.backends[1].kill();
        }
        assert_eq!(get(&edge).await, StatusCode::OK, "turn {turn}");
    }
}

#[tokio::test]
async fn a_get_whose_backend_breaks_off_is_repeated_once() {
    let edge = Edge::start().await;
    edge.backends[0].break_next(1);
    edge.backends[1].break_next(0);
    for _ in 0..2 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.received().len(), 3);
}

#[tokio::test]
async fn a_post_whose_backend_breaks_off_is_never_repeated() {
    let edge = Edge::start().await;
    edge.backends[0].break_next(1);
    edge.backends[1].break_next(1);
    let post = edge.client().post(edge.url("/api/auth/refresh")).body("{}");
    let response = post.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(problem_of(response).await, "bad-gateway");
    assert_eq!(edge.received().len(), 1);
    assert_eq!(edge.received()[0].method, "POST");
}

#[tokio::test]
async fn with_both_backends_down_the_answer_is_503_at_once() {
    let mut edge = Edge::start().await;
    edge.backends[0].kill();
    edge.backends[1].kill();
    // Whether or not the health checks have noticed yet.
    for _ in 0..3 {
        let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(problem_of(response).await, "unavailable");
    }
    let page = edge.client().get(edge.url("/")).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stopped_edge_ends_by_itself_and_its_health_check_says_so() {
    let mut edge = Edge::start().await;
    assert!(edge.healthcheck().status.success());
    let status = Command::new("kill").args(["-TERM", &edge.pid().to_string()]).status().expect("kill runs");
    assert!(status.success());
    let started = std::time::Instant::now();
    while edge.is_running() {
        assert!(started.elapsed().as_secs() < 20, "still running");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let output = edge.healthcheck();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
}
