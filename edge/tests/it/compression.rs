//! Compression of what services answer: by the client's weights and the policy, and never at the cost of an answer.

use std::io::Read;

use reqwest::{Method, Response, StatusCode};

use crate::asking::edge_with;
use crate::edge_process::Edge;
use crate::raw_backend::{RawBackend, in_front_of, in_front_of_with};
use crate::wire::Wire;

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// A path that the echo backend answers at length.
fn long() -> String {
    format!("/api/vendors?q={}", "ab".repeat(1500))
}

async fn ask(edge: &Edge, method: Method, path: &str, accepted: &str) -> Response {
    let request = edge.client().request(method, edge.url(path)).header("accept-encoding", accepted);
    request.send().await.expect("an answer")
}

async fn get(edge: &Edge, path: &str, accepted: &str) -> Response {
    ask(edge, Method::GET, path, accepted).await
}

fn value<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// What a client makes of what it has got so far, and whether it takes it for the whole.
fn decoded(coding: &str, bytes: &[u8]) -> (String, bool) {
    let mut reader: Box<dyn Read + '_> = match coding {
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).expect("a decoder")),
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut text = Vec::new();
    let is_whole = reader.read_to_end(&mut text).is_ok();
    (String::from_utf8(text).expect("text"), is_whole)
}

/// What a client makes of a whole body.
fn whole(coding: &str, bytes: &[u8]) -> String {
    let (text, is_whole) = decoded(coding, bytes);
    assert!(is_whole, "{coding} without an end: {text}");
    text
}

fn answer(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn an_answer_comes_in_the_coding_that_the_client_likes_best() {
    let edge = Edge::start().await;
    for (accepted, coding) in [
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=0.5, br;q=0.6, zstd;q=0", "br"),
        ("deflate", ""),
        ("gzip;q=0", ""),
        ("gzip;q=0.1, identity", ""),
    ] {
        let response = get(&edge, &long(), accepted).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(value(&response, "content-encoding"), coding, "{accepted}");
        assert_eq!(value(&response, "vary"), "accept-encoding");
        assert_eq!(response.headers().contains_key("content-length"), coding.is_empty());
        let bytes = response.bytes().await.expect("a body");
        assert!(coding.is_empty() || bytes.len() < 500, "{accepted}: {}", bytes.len());
        let echoed: serde_json::Value = serde_json::from_str(&whole(coding, &bytes)).expect("JSON");
        assert_eq!(echoed["target"], long(), "{accepted}");
    }
}

#[tokio::test]
async fn over_http_1_it_comes_in_chunks_and_the_connection_goes_on() {
    let edge = Edge::start().await;
    let mut wire = Wire::open(&edge).await;
    let request = |fields: &str| format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n", long());
    wire.send(request("Accept-Encoding: gzip")).await.expect("sent");
    wire.send(request("Connection: close")).await.expect("sent");
    let bytes = wire.all().await;
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(text.contains("content-encoding: gzip\r\n") && text.contains("transfer-encoding: chunked\r\n"));
    assert_eq!(text.matches("http/1.1 200 ok").count(), 2, "{text}");
    assert!(text.contains("\r\n0\r\n\r\nhttp/1.1 200 ok"), "{text}");
}

#[tokio::test]
async fn what_must_not_be_touched_is_not() {
    let body = "x".repeat(2000);
    for fields in [
        "Content-Type: application/json\r\nSet-Cookie: a=b",
        "Content-Type: application/json\r\nCache-Control: no-transform",
        "Content-Type: application/json\r\nContent-Encoding: br",
        "Content-Type: text/event-stream",
        "Content-Type: image/png",
        "X-Type: none",
    ] {
        let fields = format!("{fields}\r\nContent-Length: 2000\r\nETag: \"a\"");
        let backend = RawBackend::start(answer(&fields, &body)).await;
        let edge = in_front_of(&backend).await;
        let response = get(&edge, "/api/vendors", "gzip").await;
        assert_ne!(value(&response, "content-encoding"), "gzip", "{fields}");
        assert_eq!(value(&response, "etag"), "\"a\"");
        assert_eq!(response.text().await.expect("a body"), body, "{fields}");
    }
}

#[tokio::test]
async fn routes_and_short_answers_are_left_out() {
    let edge = edge_with(
        "[[routes]]\nbelow = \"/data\"\nupstream = \"backend\"\n[[routes]]\nbelow = \"/data/own\"\ncompress = false\nupstream = \"backend\"\n",
    )
    .await;
    let at = |path: &str| long().replace("/api/vendors", path);
    for (method, path, vary) in [
        (Method::GET, at("/api/auth/providers"), ""),
        (Method::GET, at("/data/own/x"), ""),
        (Method::GET, "/data".to_owned(), ""),
        (Method::HEAD, at("/data"), "accept-encoding"),
    ] {
        let response = ask(&edge, method, &path, "gzip").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!((value(&response, "content-encoding"), value(&response, "vary")), ("", vary));
        assert!(response.headers().contains_key("content-length"));
    }
    assert_eq!(value(&get(&edge, &at("/data"), "gzip").await, "content-encoding"), "gzip");
}

#[tokio::test]
async fn what_is_compressed_has_a_weak_validator_and_no_ranges() {
    let fields = "Content-Type: text/plain\r\nContent-Length: 2000\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Cookie";
    let backend = RawBackend::start(answer(fields, &"x".repeat(2000))).await;
    let edge = in_front_of(&backend).await;
    let response = get(&edge, "/api/vendors", "gzip").await;
    assert_eq!(value(&response, "etag"), "W/\"a\"");
    assert_eq!(value(&response, "accept-ranges"), "");
    let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["Cookie", "accept-encoding"]);
    let plain = get(&edge, "/api/vendors", "identity").await;
    assert_eq!((value(&plain, "etag"), value(&plain, "accept-ranges")), ("\"a\"", "bytes"));
}

#[tokio::test]
async fn a_slow_stream_is_not_held_back() {
    for coding in CODINGS {
        let first =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        let pieces = [first, "4\r\nlast\r\n0\r\n\r\n"].map(|piece| piece.as_bytes().to_vec());
        let backend = RawBackend::start_in_pieces(pieces.into()).await;
        let edge = in_front_of(&backend).await;
        let mut response = get(&edge, "/api/vendors", coding).await;
        assert_eq!(value(&response, "content-encoding"), coding);
        let mut bytes = Vec::new();
        while decoded(coding, &bytes).0 != "first" {
            bytes.extend(response.chunk().await.expect("in time").expect("the stream goes on"));
        }
        backend.go_on(1);
        while let Some(chunk) = response.chunk().await.expect("in time") {
            bytes.extend(chunk);
        }
        assert_eq!(whole(coding, &bytes), "firstlast");
    }
}

#[tokio::test]
async fn a_service_that_breaks_off_is_not_taken_for_a_whole_answer() {
    let head = answer("Content-Type: text/plain\r\nContent-Length: 5000", &"x".repeat(2000));
    let backend = RawBackend::start_in_pieces(vec![head, Vec::new()]).await;
    let edge = in_front_of(&backend).await;
    let response = get(&edge, "/api/vendors", "gzip").await;
    assert_eq!(value(&response, "content-encoding"), "gzip");
    backend.go_on(1);
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn without_room_for_an_encoder_answers_go_out_as_they_are() {
    let first =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let pieces = [first, "4\r\nlast\r\n0\r\n\r\n"].map(|piece| piece.as_bytes().to_vec());
    let backend = RawBackend::start_in_pieces(pieces.into()).await;
    // Room for four of 300 KiB.
    let edge =
        in_front_of_with(&backend, |config| config.replace("memory_kib = 3072", "memory_kib = 1200")).await;
    let mut open = Vec::new();
    for number in 0..5 {
        let response = get(&edge, "/api/vendors", "gzip").await;
        let expected = if number < 4 { "gzip" } else { "" };
        assert_eq!(value(&response, "content-encoding"), expected, "{number}");
        assert_eq!(value(&response, "vary"), "accept-encoding");
        open.push(response);
    }
    assert_eq!(edge.metric("edge_compression_without_room_total").await, 1.0);
    backend.go_on(5);
    for response in open {
        let coding = value(&response, "content-encoding").to_owned();
        assert_eq!(whole(&coding, &response.bytes().await.expect("a body")), "firstlast");
    }
    assert_eq!(value(&get(&edge, "/api/vendors", "gzip").await, "content-encoding"), "gzip");
}
