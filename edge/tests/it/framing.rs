//! Requests that two servers would read differently: rows S of what an edge must withstand. Each is sent alone, on a
//! kept-alive connection, and pipelined behind a good request.

use crate::edge_process::Edge;
use crate::raw_backend::{RawBackend, in_front_of};
use crate::wire::Wire;

const GOOD: &str = "GET /api/vendors HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A request with these lines behind its Host.
fn post(fields: &str, body: &str) -> String {
    format!("POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}")
}

/// Sends a request in each of the three ways and sees it refused with this status, the connection ended, and nothing
/// of it at a backend.
async fn is_refused(edge: &Edge, request: &str, status: u16) {
    let before = edge.received().len();
    for (way, good_ones) in [("alone", 0), ("kept alive", 1), ("pipelined", 1)] {
        let mut wire = Wire::open(edge).await;
        match way {
            "pipelined" => wire.send(format!("{GOOD}{request}")).await.expect("sent"),
            "kept alive" => wire.send(GOOD).await.expect("sent"),
            _ => {}
        }
        if good_ones == 1 {
            assert_eq!(wire.answer().await.expect("an answer").status, 200, "{way}: {request:?}");
        }
        if way != "pipelined" {
            wire.send(request).await.expect("sent");
        }
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer, {way}: {request:?}"));
        assert_eq!(answer.status, status, "{way}: {request:?}: {answer:?}");
        assert!(answer.head.contains("application/problem+json"), "{answer:?}");
        assert!(
            answer.head.contains("x-request-id: ") && answer.head.contains("connection: close"),
            "{answer:?}"
        );
        assert!(wire.ends().await, "{way}: {request:?}");
    }
    assert_eq!(edge.received().len() - before, 2, "only the good ones are for a backend: {request:?}");
}

#[tokio::test]
async fn a_request_with_two_lengths_is_refused_before_a_backend_sees_it() {
    let edge = Edge::start().await;
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for fields in [
        "Content-Length: 45\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 45",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999",
    ] {
        is_refused(&edge, &post(fields, smuggled), 400).await;
    }
}

#[tokio::test]
async fn an_encoding_that_is_not_chunked_alone_is_refused() {
    let edge = Edge::start().await;
    for fields in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n Transfer-Encoding: chunked",
    ] {
        is_refused(&edge, &post(fields, "0\r\n\r\n"), 400).await;
    }
    let old =
        "POST /api/auth/refresh HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    is_refused(&edge, old, 400).await;
}

#[tokio::test]
async fn lines_end_in_cr_lf_and_hold_no_controls() {
    let edge = Edge::start().await;
    for request in [
        GOOD.replace("\r\n", "\n"),
        GOOD.replacen("\r\n", "\n", 1),
        GOOD.replace("localhost\r\n", "localhost\n"),
        GOOD.replace("localhost\r\n", "localhost\r"),
        GOOD.replace("localhost", "local\0host"),
        post("X: a\rb", ""),
        post("X: a\x1bb", ""),
        GOOD.replace(" /api", " /\u{e9}"),
        GOOD.replace(" /api", "  /api"),
        GOOD.replace("HTTP/1.1", "HTTP/1.1 x"),
        GOOD.replace("GET", "G\u{e9}T"),
    ] {
        is_refused(&edge, &request, 400).await;
    }
    for version in ["HTTP/3.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"] {
        is_refused(&edge, &GOOD.replace("HTTP/1.1", version), 505).await;
    }
}

#[tokio::test]
async fn a_body_whose_chunks_are_wrong_never_becomes_a_request() {
    let edge = Edge::start().await;
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let many_trailers = format!("0\r\n{}\r\n", "Trailer: x\r\n".repeat(10_000));
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET /admin HTTP/1.1\nHost: localhost\r\n\r\n",
        &long_extension,
        &many_trailers,
    ] {
        let mut wire = Wire::open(&edge).await;
        // Whether all of it can be sent depends on when the edge has had enough.
        let _ = wire.send(post("Transfer-Encoding: chunked", chunks)).await;
        let shown = &chunks[..chunks.len().min(60)];
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert!(matches!(answer.status, 400 | 413), "{shown:?}: {answer:?}");
        assert!(wire.ends().await, "{shown:?}");
    }
    assert!(edge.received().is_empty(), "{:?}", edge.received());
}

#[tokio::test]
async fn good_bodies_arrive_one_after_the_other_however_they_are_sent() {
    let edge = Edge::start().await;
    let chunked = post("Transfer-Encoding: chunked", "5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n");
    let counted = post("Content-Length: 5", "hello");
    let mut wire = Wire::open(&edge).await;
    // An empty line is forgiven, and a request may come in pieces.
    for piece in ["\r\n", &counted[..20], &counted[20..], &counted, &counted, GOOD, &chunked] {
        wire.send(piece).await.expect("sent");
    }
    for body in ["hello", "hello", "hello", "", "hello"] {
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(&format!("\"body\":\"{body}\"")), "{answer:?}");
    }
    // Behind chunks too, a request is served, or the connection ends: its bytes are never lost in between.
    wire.send(&chunked).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_request_behind_chunks_waits_for_its_turn() {
    let edge = Edge::start().await;
    let chunked = post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n");
    let mut wire = Wire::open(&edge).await;
    for _ in 0..20 {
        wire.send(&chunked).await.expect("sent");
        // Whether or not the chunks have been read by now.
        wire.send(&GOOD[..30]).await.expect("sent");
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        wire = if answer.head.contains("connection: close") || wire.send(&GOOD[30..]).await.is_err() {
            Wire::open(&edge).await
        } else {
            match wire.answer().await {
                Some(answer) => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    wire
                }
                None => Wire::open(&edge).await,
            }
        };
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_its_refusal() {
    let edge = Edge::start().await;
    let body = "x".repeat(200_000);
    for (request, status) in [
        (format!("POST /api/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n{body}"), 401),
        (format!("POST /api/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 3\r\n\r\n{body}"), 400),
        (post("Content-Length: 2000000", &body), 413),
    ] {
        let mut wire = Wire::open(&edge).await;
        // All of it is taken, though nobody wants it: a reset could overtake the answer.
        wire.send(&request).await.expect("sent");
        assert_eq!(wire.answer().await.expect("an answer").status, status);
    }
}

#[tokio::test]
async fn what_follows_a_refused_body_is_no_request() {
    let edge = Edge::start().await;
    let mut wire = Wire::open_from(&edge, [127, 0, 0, 2]).await;
    let header =
        "POST /admin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n";
    wire.send(header).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 403);
    let _ = wire.send(GOOD.repeat(3)).await;
    assert!(wire.ends().await);
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn who_expects_to_be_told_to_continue_is() {
    let edge = Edge::start().await;
    let mut wire = Wire::open(&edge).await;
    wire.send(post("Content-Length: 5\r\nExpect: 100-continue", "")).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 100);
    wire.send("hello").await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
    is_refused(&edge, &post("Expect: a miracle", ""), 417).await;
}

#[tokio::test]
async fn an_upgrade_that_the_backend_does_not_take_opens_no_tunnel() {
    let edge = Edge::start().await;
    let upgrade = GOOD.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
    let mut wire = Wire::open_from(&edge, [127, 0, 0, 2]).await;
    wire.send(format!("{upgrade}GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
    // What was pipelined is a request of its own, and meets the guards as one.
    assert_eq!(wire.answer().await.expect("an answer").status, 403);
    let received = edge.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(!received[0].headers.contains_key("upgrade"), "{received:?}");
}

#[tokio::test]
async fn an_answer_with_two_lengths_is_framed_anew_or_refused() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let backend = RawBackend::start(answer).await;
    let edge = in_front_of(&backend).await;
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    match response.status().as_u16() {
        200 => assert_eq!(response.text().await.expect("a body"), "hello"),
        status => assert_eq!(status, 502),
    }
    let mut wire = Wire::open(&edge).await;
    wire.send(GOOD).await.expect("sent");
    let head = wire.answer().await.expect("an answer").head;
    assert!(!(head.contains("content-length: 3") && head.contains("transfer-encoding")), "{head}");
}

#[tokio::test]
async fn a_backend_that_switches_protocols_unasked_is_a_bad_gateway() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    let backend = RawBackend::start(answer).await;
    let edge = in_front_of(&backend).await;
    let mut wire = Wire::open(&edge).await;
    // A GET would be tried elsewhere first.
    wire.send(post("Connection: Upgrade\r\nUpgrade: foo", "")).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 502);
    let _ = wire.send("GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!backend.received().contains("smuggled"), "{}", backend.received());
}
