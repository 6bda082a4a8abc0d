//! How many connections there may be, and what a request may weigh.

use crate::edge_process::Edge;
use crate::wire::Wire;

const GOOD: &str = "GET /api/vendors HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn an_address_has_so_many_connections_and_others_have_theirs() {
    let edge =
        Edge::start_with(|config| config.replace("max_per_address = 2048", "max_per_address = 3")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Wire::open_from(&edge, [127, 0, 0, 2]).await);
    }
    let one_more = edge.dial(edge.tls_client(&[]), "localhost", [127, 0, 0, 2]).await;
    assert!(one_more.is_err());
    let mut other = Wire::open_from(&edge, [127, 0, 0, 3]).await;
    other.send(GOOD).await.expect("sent");
    assert_eq!(other.answer().await.expect("an answer").status, 200);
    drop(held.pop());
    edge.wait_until("a place is free again", async || {
        edge.dial(edge.tls_client(&[]), "localhost", [127, 0, 0, 2]).await.is_ok()
    })
    .await;
    assert!(edge.metric(r#"edge_connections_refused_total{reason="address"}"#).await >= 1.0);
}

#[tokio::test]
async fn who_only_waits_makes_room_for_who_asks() {
    let edge = Edge::start_with(|config| config.replace("max = 4096", "max = 10")).await;
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(Wire::open_from(&edge, [127, 0, 1, number]).await);
    }
    for number in 0..5 {
        let mut client = Wire::open_from(&edge, [127, 0, 2, number]).await;
        client.send(GOOD).await.expect("sent");
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert!(waiting[0].ends().await, "the one that waited longest made room");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_and_while_it_comes() {
    let edge =
        Edge::start_with(|config| config.replace("max_body_bytes = 1048576", "max_body_bytes = 1000")).await;
    let post =
        |fields: &str| format!("POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    let mut wire = Wire::open(&edge).await;
    wire.send(post("Content-Length: 1001")).await.expect("sent");
    let answer = wire.answer().await.expect("an answer");
    assert!(answer.status == 413 && answer.body.contains("/problems/body-too-large"), "{answer:?}");
    assert!(wire.ends().await);
    let mut wire = Wire::open(&edge).await;
    wire.send(post("Transfer-Encoding: chunked")).await.expect("sent");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let _ = wire.send(format!("{}0\r\n\r\n", chunk.repeat(3))).await;
    let answer = wire.answer().await.expect("an answer");
    assert!(answer.status == 413 && answer.body.contains("/problems/body-too-large"), "{answer:?}");
    assert!(edge.received().is_empty());
    let mut wire = Wire::open(&edge).await;
    wire.send(format!("{}{}", post("Content-Length: 1000"), "x".repeat(1000))).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_stopping_edge_lets_waiting_clients_go_and_answers_the_others() {
    let edge = Edge::start().await;
    let mut waiting = Wire::open(&edge).await;
    waiting.send(GOOD).await.expect("sent");
    assert_eq!(waiting.answer().await.expect("an answer").status, 200);
    let mut speaking = Wire::open(&edge).await;
    speaking.send(&GOOD[..20]).await.expect("sent");
    edge.signal("TERM");
    assert!(waiting.ends().await);
    speaking.send(&GOOD[20..]).await.expect("sent");
    let answer = speaking.answer().await.expect("an answer");
    assert!(answer.status == 200 && answer.head.contains("connection: close"), "{answer:?}");
    assert!(speaking.ends().await);
}

#[tokio::test]
async fn the_headers_of_all_requests_together_have_a_bound() {
    let edge = Edge::start_with(|config| {
        config.replace("max_header_bytes_in_all = 6291456", "max_header_bytes_in_all = 40000")
    })
    .await;
    let large = "x".repeat(30_000);
    let waits = format!(
        "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nX-Large: {large}\r\nContent-Length: 5\r\n\r\n"
    );
    let mut first = Wire::open(&edge).await;
    first.send(&waits).await.expect("sent");
    edge.wait_until("a second one finds no room", async || {
        let mut second = Wire::open(&edge).await;
        second.send(&waits).await.expect("sent");
        // While the first hasn't been read, the second is served: it waits for its body.
        let answer = tokio::time::timeout(std::time::Duration::from_millis(200), second.answer()).await;
        matches!(answer, Ok(Some(answer)) if answer.status == 503 && answer.body.contains("/problems/unavailable"))
    })
    .await;
    let mut small = Wire::open(&edge).await;
    small.send(GOOD).await.expect("sent");
    assert_eq!(small.answer().await.expect("an answer").status, 200);
    first.send("hello").await.expect("sent");
    assert_eq!(first.answer().await.expect("an answer").status, 200);
    edge.wait_until("its room is given back", async || {
        let mut next = Wire::open(&edge).await;
        next.send(format!("{waits}hello")).await.expect("sent");
        next.answer().await.is_some_and(|answer| answer.status == 200)
    })
    .await;
}
