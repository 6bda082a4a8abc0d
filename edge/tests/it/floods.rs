//! Clients that want the edge to drown: rows D02 and D04. The connection ends, others notice nothing, and memory stays.

use reqwest::StatusCode;

use crate::edge_process::Edge;
use crate::http2_wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2Wire, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, request,
};
use crate::wire::Wire;

const ATTACKER: [u8; 4] = [127, 0, 0, 66];
/// What a flood may cost.
const MOST_MEMORY: u64 = 10 * 1024 * 1024;

fn resident_bytes(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Floods with these bytes, and sees the connection end while others are served.
async fn is_withstood(what: &str, first: &[u8], flood: &[u8]) {
    let edge = Edge::start().await;
    // What a process takes for its first requests isn't the flood's.
    for _ in 0..50 {
        Http2Wire::open(&edge, ATTACKER).await;
    }
    let before = resident_bytes(&edge);
    let mut attacker = Http2Wire::open(&edge, ATTACKER).await;
    attacker.send(first).await.expect("sent");
    assert!(attacker.flood(flood, 100_000).await, "{what}: the connection stays");
    let grown = resident_bytes(&edge).saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{what}: {grown} bytes more");
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "{what}");
}

#[tokio::test]
async fn a_flood_of_frames_that_cost_the_client_nothing_ends_the_connection() {
    for (what, flood) in [
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("window updates", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        is_withstood(what, &[], &flood).await;
    }
}

#[tokio::test]
async fn data_without_a_byte_ends_the_connection() {
    let post = request("POST", "/api/auth/refresh", &[]);
    is_withstood("empty data", &frame(HEADERS, END_HEADERS, 1, &post), &frame(DATA, 0, 1, &[])).await;
}

#[tokio::test]
async fn a_header_without_an_end_ends_the_connection() {
    let start = frame(HEADERS, 0, 1, &request("GET", "/", &[]));
    let piece = crate::http2_wire::fields(&[("x-piece", "of a header that has no end")]);
    is_withstood("continuations", &start, &frame(CONTINUATION, 0, 1, &piece)).await;
}

/// Requests that are taken back as soon as they are made (CVE-2023-44487).
#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let edge = Edge::start_with(|config| config.replace("requests = 100\n", "requests = 100000\n")).await;
    let mut attacker = Http2Wire::open(&edge, ATTACKER).await;
    let get = request("GET", "/api/vendors", &[]);
    let mut sent = 0;
    for stream in (1..200_001).step_by(2) {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        sent += 1;
        if attacker.send(&[open, reset].concat()).await.is_err() {
            break;
        }
    }
    assert!(sent < 20_000, "{sent} requests went through");
    assert!(edge.received().len() < 1000, "{} reached a backend", edge.received().len());
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}

/// Streams that the client makes the edge reset (CVE-2025-8671).
#[tokio::test]
async fn a_client_that_makes_us_reset_its_streams_is_let_go() {
    let edge = Edge::start().await;
    let mut attacker = Http2Wire::open(&edge, ATTACKER).await;
    let get = request("GET", "/api/vendors", &[]);
    let mut sent = 0;
    for stream in (1..20_001).step_by(2) {
        let open = frame(HEADERS, END_HEADERS, stream, &get);
        let illegal = frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
        sent += 1;
        if attacker.send(&[open, illegal].concat()).await.is_err() {
            break;
        }
    }
    assert!(sent < 5_000, "{sent} streams were reset");
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn with_all_files_open_the_edge_recovers() {
    let edge = Edge::start_limited(Some(100), |config| config).await;
    let mut held = Vec::new();
    for _ in 0..150 {
        // Some of them wait in the kernel's queue.
        held.push(edge.dial_plain(ATTACKER).await.expect("a connection"));
    }
    drop(held);
    edge.wait_until("it serves again", async || {
        edge.client()
            .get(edge.url("/"))
            .send()
            .await
            .is_ok_and(|response| response.status() == StatusCode::OK)
    })
    .await;
    let mut wire = Wire::open(&edge).await;
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
}
