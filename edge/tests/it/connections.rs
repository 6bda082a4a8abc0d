//! How many connections there may be, and what a request may weigh.

use crate::edge_process::Edge;
use crate::http2_wire::{END_HEADERS, END_STREAM, HEADERS, Http2Wire, RST_STREAM, frame, request};
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
async fn requests_together_have_a_bound_and_leave_room_for_others() {
    let edge = Edge::start_with(|config| config.replace("memory_mib = 52", "memory_mib = 2")).await;
    // Answers that don't fit into their windows: each request stays.
    std::fs::write(edge.folder().join("web/large"), vec![b'x'; 1 << 20]).expect("a file");
    let get = request("GET", "/large", &[]);
    let mut greedy = Http2Wire::open(&edge, [127, 0, 0, 66]).await;
    for stream in (1..200).step_by(2) {
        let _ = greedy.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get)).await;
    }
    let mut refused = 0;
    while let Some(frame) = greedy.next().await {
        refused += usize::from(frame.kind == RST_STREAM);
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 10, "a hundred requests of 27 KiB fit into 2 MiB");
    // There is still room for others, one by one, and at its cost.
    for number in 1..20 {
        let mut modest = Wire::open_from(&edge, [127, 0, 3, number]).await;
        modest.send(GOOD).await.expect("sent");
        assert_eq!(modest.answer().await.expect("an answer").status, 200, "{number}");
    }
}
