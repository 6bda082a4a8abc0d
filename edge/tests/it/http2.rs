//! HTTP/2 requests that are not as they must be: row S06 and what belongs to it.

use crate::edge_process::Edge;
use crate::http2_wire::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2Wire, Outcome, fields, frame, request};

const HERE: [u8; 4] = [127, 0, 0, 1];

/// Sends one request with a header block and perhaps data, and says what became of it.
async fn ask(edge: &Edge, block: &[u8], data: Option<&[u8]>) -> Outcome {
    let mut wire = Http2Wire::open(edge, HERE).await;
    let end = if data.is_none() { END_STREAM } else { 0 };
    wire.send(&frame(HEADERS, END_HEADERS | end, 1, block)).await.expect("sent");
    if let Some(data) = data {
        wire.send(&frame(DATA, END_STREAM, 1, data)).await.expect("sent");
    }
    wire.outcome(1).await
}

#[tokio::test]
async fn a_good_request_is_answered() {
    let edge = Edge::start().await;
    assert_eq!(ask(&edge, &request("GET", "/api/vendors", &[]), None).await, Outcome::Answered(200));
    let post = request("POST", "/api/auth/refresh", &[("content-length", "5")]);
    assert_eq!(ask(&edge, &post, Some(b"hello")).await, Outcome::Answered(200));
    assert_eq!(edge.received().len(), 2);
}

#[tokio::test]
async fn fields_of_a_connection_and_illegal_bytes_end_the_stream() {
    let edge = Edge::start().await;
    for field in [
        ("connection", "x-user-id"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("x", "a\r\nx-user-id: admin"),
        ("x", "a\0b"),
        ("X", "upper case"),
        ("x y", "a space"),
        (":path", "/admin"),
        ("content-length", "1, 2"),
        ("content-length", "-1"),
    ] {
        let outcome = ask(&edge, &request("GET", "/api/vendors", &[field]), None).await;
        let is_refused =
            matches!(outcome, Outcome::Reset | Outcome::Answered(400) | Outcome::ConnectionEnded);
        assert!(is_refused, "{field:?}: {outcome:?}");
    }
    for path in ["/api/vendors\r\nx: y", "/api/ven dors", "/api/vendors\0", "", "api/vendors", "/\u{e9}"] {
        let outcome = ask(&edge, &request("GET", path, &[]), None).await;
        assert!(matches!(outcome, Outcome::Reset | Outcome::Answered(400)), "{path:?}: {outcome:?}");
    }
    assert!(edge.received().is_empty(), "{:?}", edge.received());
}

#[tokio::test]
async fn a_length_that_the_data_does_not_have_ends_the_stream() {
    let edge = Edge::start().await;
    for length in ["4", "6"] {
        let post = request("POST", "/api/auth/refresh", &[("content-length", length)]);
        let outcome = ask(&edge, &post, Some(b"hello")).await;
        assert!(matches!(outcome, Outcome::Reset | Outcome::Answered(400)), "{length}: {outcome:?}");
    }
    assert!(edge.received().is_empty(), "{:?}", edge.received());
}

#[tokio::test]
async fn authority_and_host_name_the_same() {
    let edge = Edge::start().await;
    let pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/api/vendors")];
    for (names, status) in [
        (vec![(":authority", "localhost"), ("host", "127.0.0.1")], 400),
        (vec![(":authority", "localhost"), ("host", "localhost"), ("host", "localhost")], 400),
        (vec![], 400),
        (vec![(":authority", "user@localhost")], 400),
        (vec![(":authority", "evil.example")], 421),
        (vec![("host", "localhost")], 200),
    ] {
        // Pseudo-fields come first.
        let (first, last): (Vec<_>, Vec<_>) = names.iter().partition(|(name, _)| name.starts_with(':'));
        let block = fields(&[&pseudo, first.as_slice(), last.as_slice()].concat());
        let outcome = ask(&edge, &block, None).await;
        let is_reset = status == 400 && outcome == Outcome::Reset;
        assert!(is_reset || outcome == Outcome::Answered(status), "{names:?}: {outcome:?}");
    }
    assert_eq!(edge.received().len(), 1);
}

#[tokio::test]
async fn connect_and_trace_are_not_taken() {
    let edge = Edge::start().await;
    let connect = fields(&[(":method", "CONNECT"), (":authority", "localhost:443")]);
    assert_eq!(ask(&edge, &connect, None).await, Outcome::Answered(405));
    assert_eq!(ask(&edge, &request("TRACE", "/", &[]), None).await, Outcome::Answered(405));
}

#[tokio::test]
async fn too_many_fields_and_too_large_ones_are_a_problem_of_their_own() {
    let edge = Edge::start().await;
    let names: Vec<String> = (0..300).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "y")).collect();
    assert_eq!(ask(&edge, &request("GET", "/api/vendors", &many), None).await, Outcome::Answered(431));
    let long = "y".repeat(120);
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    let block = request("GET", "/api/vendors", &large);
    let mut wire = Http2Wire::open(&edge, HERE).await;
    // A frame holds 16 KiB; what is longer goes on in others.
    let mut pieces = block.chunks(16_000).peekable();
    let first = pieces.next().expect("a piece");
    wire.send(&frame(HEADERS, END_STREAM, 1, first)).await.expect("sent");
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        wire.send(&frame(crate::http2_wire::CONTINUATION, flags, 1, piece)).await.expect("sent");
    }
    assert_eq!(wire.outcome(1).await, Outcome::Answered(431));
    assert!(edge.received().is_empty());
}
