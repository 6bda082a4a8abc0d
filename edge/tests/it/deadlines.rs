//! Clients that take their time: row D01. Whatever they are slow at, their connection ends at its deadline.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use crate::edge_process::Edge;
use crate::http2_wire::{
    DATA, END_HEADERS, HEADERS, Http2Wire, Outcome, PING, WINDOW_UPDATE, frame, request,
};
use crate::wire::Wire;

const HERE: [u8; 4] = [127, 0, 0, 1];

/// An edge without much patience.
async fn impatient() -> Edge {
    Edge::start_with(|config| {
        config
            .replace("handshake_timeout_ms = 10000", "handshake_timeout_ms = 2000")
            .replace("header_timeout_ms = 10000", "header_timeout_ms = 500")
            .replace("idle_timeout_ms = 60000", "idle_timeout_ms = 4000")
            .replace("body_timeout_ms = 20000", "body_timeout_ms = 500")
            .replace("write_timeout_ms = 30000", "write_timeout_ms = 500")
    })
    .await
}

/// Sends a byte of `text` now and then until the connection ends, and gives what was answered.
async fn trickle(wire: &mut Wire, text: &str) -> String {
    let mut answer = Vec::new();
    let (mut reader, mut writer) = tokio::io::split(&mut wire.stream);
    let reading = reader.read_to_end(&mut answer);
    let writing = async {
        for byte in text.bytes().cycle() {
            let sent = tokio::io::AsyncWriteExt::write_all(&mut writer, &[byte]).await;
            if sent.is_err() || tokio::io::AsyncWriteExt::flush(&mut writer).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = reading => {}
        () = writing => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the connection stays"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let edge = impatient().await;
    let mut silent = edge.dial_plain(HERE).await.expect("a connection");
    let mut scrap = Vec::new();
    let _ = silent.read_to_end(&mut scrap).await;
    assert!(edge.metric(r#"edge_handshakes_total{result="late"}"#).await >= 1.0);
    let mut secured = Wire::open(&edge).await;
    assert!(secured.ends().await);
}

#[tokio::test]
async fn a_header_that_trickles_is_answered_with_408() {
    let edge = impatient().await;
    let mut wire = Wire::open(&edge).await;
    let answer = trickle(&mut wire, "GET /").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("/problems/header-timeout"), "{answer}");
}

#[tokio::test]
async fn http_2_has_the_same_deadline_for_its_beginning_and_each_header() {
    let edge = impatient().await;
    for preface in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let stream = edge.dial(edge.tls_client(&["h2"]), "localhost", HERE).await.expect("TLS");
        let mut wire = Wire::new(stream);
        wire.send(preface).await.expect("sent");
        // The server's own settings may come first.
        wire.rest().await;
    }
    let mut http2 = Http2Wire::open(&edge, HERE).await;
    let whole = frame(HEADERS, END_HEADERS | 1, 1, &request("GET", "/api/vendors", &[]));
    http2.send(&whole).await.expect("sent");
    assert_eq!(http2.outcome(1).await, Outcome::Answered(200));
    http2.send(&whole[..20]).await.expect("sent");
    while http2.next().await.is_some() {}
}

#[tokio::test]
async fn a_second_header_has_the_same_deadline_and_waiting_for_it_another() {
    let edge = impatient().await;
    let good = "GET /api/vendors HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wire = Wire::open(&edge).await;
    wire.send(good).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
    // Longer than a header may take, shorter than a client may wait.
    tokio::time::sleep(Duration::from_millis(700)).await;
    wire.send(good).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
    let answer = trickle(&mut wire, "GET /").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut idle = Wire::open(&edge).await;
    idle.send(good).await.expect("sent");
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    assert!(idle.ends().await);
}

#[tokio::test]
async fn a_body_that_trickles_or_never_comes_ends_the_request() {
    let edge = impatient().await;
    let header = "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n";
    let mut wire = Wire::open(&edge).await;
    wire.send(header).await.expect("sent");
    assert_eq!(trickle(&mut wire, "x").await, "");
    let mut wire = Wire::open(&edge).await;
    wire.send(header).await.expect("sent");
    assert!(wire.ends().await);
    let mut http2 = Http2Wire::open(&edge, HERE).await;
    let post = request("POST", "/api/auth/refresh", &[("content-length", "5000")]);
    http2.send(&frame(HEADERS, END_HEADERS, 1, &post)).await.expect("sent");
    http2.send(&frame(DATA, 0, 1, b"x")).await.expect("sent");
    assert_eq!(http2.outcome(1).await, Outcome::Reset);
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let edge = impatient().await;
    // More than all buffers on the way hold.
    std::fs::write(edge.folder().join("web/large"), vec![b'x'; 64 << 20]).expect("a file");
    let mut wire = Wire::open(&edge).await;
    wire.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut http2 = Http2Wire::open(&edge, HERE).await;
    http2.send(&frame(HEADERS, END_HEADERS | 1, 1, &request("GET", "/large", &[]))).await.expect("sent");
    // The window is large; what is sent into it isn't read.
    http2.send(&frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0, 0, 0])).await.expect("sent");
    http2.send(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await.expect("sent");
    // Nothing is read here: that the connection is gone shows where something is sent.
    let ping = frame(PING, 0, 0, &[0; 8]);
    let (mut is_http1_open, mut is_http2_open) = (true, true);
    let started = Instant::now();
    while is_http1_open || is_http2_open {
        assert!(started.elapsed() < Duration::from_secs(20), "open: {is_http1_open}, {is_http2_open}");
        is_http1_open = is_http1_open && wire.send("x").await.is_ok();
        is_http2_open = is_http2_open && http2.send(&ping).await.is_ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(400), "before its deadline");
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_gets_all() {
    let edge = Edge::start_with(|config| {
        config
            .replace("write_timeout_ms = 30000", "write_timeout_ms = 1000")
            .replace("write_bytes_per_second = 500", "write_bytes_per_second = 100000")
    })
    .await;
    const BYTES: usize = 16 << 20;
    std::fs::write(edge.folder().join("web/large"), vec![b'x'; BYTES]).expect("a file");
    let mut wire = Wire::open(&edge).await;
    wire.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let started = Instant::now();
    let (mut buffer, mut read) = (vec![0; 64 * 1024], 0);
    while read < BYTES {
        match wire.stream.read(&mut buffer).await.expect("bytes") {
            0 => panic!("the connection ended after {read} bytes and {:?}", started.elapsed()),
            bytes => read += bytes,
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(1500), "it was no slow client");
}
