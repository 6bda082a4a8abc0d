//! Servers that fail: left out, tried, brought back. And clients that only look as if a server failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Client, StatusCode};

use crate::edge_process::Edge;
use crate::raw_backend::{RawBackend, beside};
use crate::wire::Wire;

/// Each request has a new connection: what happens on one that is used again proves nothing.
const CLOSING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";

/// The shipped policy, but that a test may ask as often as it likes.
async fn edge() -> Edge {
    Edge::start_with(|config| {
        config
            .replace("requests = 100\n", "requests = 1000000\n")
            .replace("requests = 1200\n", "requests = 1000000\n")
    })
    .await
}

async fn get(edge: &Edge, client: &Client, path: &str) -> StatusCode {
    client.get(edge.url(path)).send().await.expect("an answer").status()
}

async fn post(edge: &Edge, client: &Client, query: &str) -> StatusCode {
    let url = edge.url(&format!("/api/auth/refresh{query}"));
    client.post(url).body("{}").send().await.expect("an answer").status()
}

async fn is_ejected(edge: &Edge, backend: usize) -> bool {
    edge.server_state(backend).await["ejected"] == true
}

async fn ejections(edge: &Edge, backend: usize, reason: &str) -> f64 {
    let text = edge.admin_text("/metrics").await;
    let (server, reason) = (format!("\"{}\"", edge.backends[backend].api), format!("\"{reason}\""));
    let of_it = |line: &&str| {
        line.starts_with("edge_upstream_ejections_total{") && line.contains(&server) && line.contains(&reason)
    };
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse().ok());
    text.lines().find(of_it).and_then(value).unwrap_or(0.0)
}

#[tokio::test]
async fn a_backend_that_answers_500_is_left_out_tried_once_at_a_time_and_comes_back() {
    let edge = edge().await;
    let client = edge.client();
    edge.backends[0].set_status(500);
    let mut asked = 0;
    while !is_ejected(&edge, 0).await {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
        asked += 1;
        assert!(asked < 50, "still not ejected");
    }
    assert_eq!(edge.backends[0].received().len(), 5);
    assert_eq!(edge.metric("edge_retries_total{upstream=\"backend\",result=\"answered\"}").await, 5.0);
    // Its time is over after a second: one request tries it, in vain, and the client doesn't notice.
    edge.wait_until("it was tried once", async || {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
        edge.backends[0].received().len() > 5
    })
    .await;
    for _ in 0..20 {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
    }
    assert_eq!(edge.backends[0].received().len(), 6);
    edge.backends[0].set_status(200);
    edge.wait_until("it is back", async || {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
        !is_ejected(&edge, 0).await
    })
    .await;
    for _ in 0..10 {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
    }
    assert_eq!(edge.backends[0].received().len(), 7 + 5);
    assert_eq!(ejections(&edge, 0, "status").await, 1.0);
}

#[tokio::test]
async fn requests_that_fail_everywhere_eject_no_server_and_the_answer_is_the_servers() {
    let edge = edge().await;
    let client = edge.client();
    for _ in 0..60 {
        let answer = client.get(edge.url("/api/vendors?status=500")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.text().await.expect("a text").contains("\"backend\""));
        post(&edge, &client, "?status=503").await;
    }
    assert!(!is_ejected(&edge, 0).await && !is_ejected(&edge, 1).await);
}

#[tokio::test]
async fn one_client_ejects_nobody_by_what_it_sends_and_several_show_a_failing_server() {
    let edge = edge().await;
    let client = edge.client();
    // In turn: what fails meets one server only.
    for _ in 0..60 {
        assert_eq!(post(&edge, &client, "?status=500").await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(post(&edge, &client, "").await, StatusCode::OK);
    }
    assert!(!is_ejected(&edge, 0).await && !is_ejected(&edge, 1).await);

    edge.backends[0].set_status(500);
    // An odd number, so that each of them meets it.
    let clients = [1, 2, 3, 4, 5, 6, 7].map(|last| edge.client_at([127, 0, 0, last]));
    edge.wait_until("it is ejected", async || {
        for client in &clients {
            post(&edge, client, "").await;
        }
        is_ejected(&edge, 0).await
    })
    .await;
    assert!(!is_ejected(&edge, 1).await);
}

#[tokio::test]
async fn the_last_server_stays_and_its_failures_are_passed_on() {
    let edge = edge().await;
    let client = edge.client();
    edge.backends[1].set_ready(false);
    edge.wait_until_healthy(1, false).await;
    edge.backends[0].set_status(500);
    for last in [1, 2, 3, 4, 5] {
        let other = edge.client_at([127, 0, 0, last]);
        for _ in 0..5 {
            assert_eq!(get(&edge, &other, "/api/vendors").await, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(post(&edge, &other, "").await, StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
    assert!(!is_ejected(&edge, 0).await);
    edge.backends[0].set_status(200);
    assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
}

#[tokio::test]
async fn no_get_fails_under_load_while_a_backend_hangs() {
    let edge = Arc::new(edge().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..32)
        .map(|_| {
            let (edge, is_over, client) = (Arc::clone(&edge), Arc::clone(&is_over), edge.client());
            tokio::spawn(async move {
                let mut answered = 0;
                while !is_over.load(Ordering::SeqCst) {
                    assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    edge.wait_until("load", async || edge.received().len() > 200).await;
    edge.backends[0].set_hanging(true);
    edge.wait_until("it is ejected", async || is_ejected(&edge, 0).await).await;
    assert_eq!(ejections(&edge, 0, "silent").await, 1.0);
    let before = edge.backends[1].received().len();
    edge.wait_until("the other one serves", async || edge.backends[1].received().len() > before + 200).await;
    edge.backends[0].set_hanging(false);
    edge.wait_until("it is back", async || !is_ejected(&edge, 0).await).await;
    let before = edge.backends[0].received().len();
    edge.wait_until("it serves", async || edge.backends[0].received().len() > before + 50).await;
    is_over.store(true, Ordering::SeqCst);
    for worker in workers {
        assert!(worker.await.expect("no request failed") > 0);
    }
}

#[tokio::test]
async fn a_get_whose_answer_is_late_is_answered_by_another_server() {
    let edge =
        Edge::start_with(|config| config.replace("answer_timeout_ms = 10000", "answer_timeout_ms = 300"))
            .await;
    let client = edge.client();
    edge.backends[0].set_hanging(true);
    edge.backends[1].set_hanging(true);
    let waiting = tokio::spawn(client.get(edge.url("/api/vendors")).send());
    edge.wait_until("both were asked", async || edge.received().len() == 2).await;
    edge.backends[0].set_hanging(false);
    edge.backends[1].set_hanging(false);
    assert_eq!(waiting.await.expect("it ran").expect("an answer").status(), StatusCode::OK);
    // A POST waits for the one server that may have read it.
    edge.backends[0].set_hanging(true);
    edge.backends[1].set_hanging(true);
    let url = edge.url("/api/auth/refresh");
    let waiting = tokio::spawn(client.post(url).body("{}").send());
    edge.wait_until("it was sent", async || edge.received().len() == 3).await;
    let other = tokio::spawn(client.get(edge.url("/api/vendors")).send());
    edge.wait_until("the time is over", async || edge.received().len() == 5).await;
    edge.backends[0].set_hanging(false);
    edge.backends[1].set_hanging(false);
    assert_eq!(waiting.await.expect("it ran").expect("an answer").status(), StatusCode::OK);
    assert_eq!(other.await.expect("it ran").expect("an answer").status(), StatusCode::OK);
    assert_eq!(edge.received().iter().filter(|request| request.method == "POST").count(), 1);
}

#[tokio::test]
async fn clients_that_break_off_or_dawdle_eject_nobody() {
    let edge = edge().await;
    for _ in 0..20 {
        let mut going = Wire::open(&edge).await;
        going.send("GET /api/vendors?wait_ms=200 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        let mut broken = Wire::open(&edge).await;
        let head = "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
        broken.send(head).await.expect("sent");
        broken.send("half of it").await.expect("sent");
        let mut too_large = Wire::open(&edge).await;
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
        let chunked = head.replace("Content-Length: 1000", "Transfer-Encoding: chunked");
        // The edge may have refused it before all was written.
        let _ = too_large.send(format!("{chunked}{chunk}{chunk}")).await;
    }
    edge.wait_until_state(0, "requests", 0).await;
    edge.wait_until_state(1, "requests", 0).await;
    assert!(!is_ejected(&edge, 0).await && !is_ejected(&edge, 1).await);
    let metrics = edge.admin_text("/metrics").await;
    assert!(!metrics.contains("edge_upstream_ejections_total{"), "{metrics}");
}

#[tokio::test]
async fn a_server_that_gives_up_on_slow_uploads_is_not_ejected_for_it() {
    let backend = RawBackend::start_impatient(CLOSING).await;
    let edge = beside(&backend).await;
    assert_eq!(get(&edge, &edge.client(), "/api/vendors").await, StatusCode::OK);
    for last in (1..=6).cycle().take(40) {
        // In turn: each upload meets this server, and the other one has good answers to show.
        let client = edge.client_at([127, 0, 0, last]);
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
        let mut uploading = Wire::open_from(&edge, [127, 0, 0, last]).await;
        let head = "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
        uploading.send(head).await.expect("sent");
        assert_eq!(uploading.answer().await.expect("an answer").status, 502);
    }
    assert_eq!(backend.received().matches("POST ").count(), 40);
    assert_eq!(edge.server_state_at(backend.address).await["ejected"], false);
}

#[tokio::test]
async fn a_backend_that_dies_is_ejected_at_once_and_back_when_it_is_started_again() {
    let mut edge = edge().await;
    let client = edge.client();
    edge.backends[0].kill();
    for _ in 0..4 {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
    }
    // By its checks or by a request: either way no further one goes there.
    edge.wait_until_healthy(0, false).await;
    edge.backends[0].start_again();
    edge.wait_until_healthy(0, true).await;
    edge.wait_until_state(0, "ejected", false).await;
    for _ in 0..4 {
        assert_eq!(get(&edge, &client, "/api/vendors").await, StatusCode::OK);
    }
    assert!(!edge.backends[0].received().is_empty());
}
