//! What passes between a client and a server: however an answer is framed, however it is cut, whatever breaks off.

use reqwest::{Client, StatusCode};

use crate::edge_process::{Edge, problem_of};
use crate::http2_wire::{END_HEADERS, END_STREAM, HEADERS, Http2Wire, RST_STREAM, frame, request};
use crate::raw_backend::{RawBackend, in_front_of, in_front_of_with};
use crate::wire::Wire;

const GET: &str = "GET /api/vendors HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client of HTTP/1.1, and one of HTTP/2.
fn clients(edge: &Edge) -> [Client; 2] {
    let http1 = edge.client_builder().http1_only().build().expect("a client");
    [http1, edge.client()]
}

/// A backend that sends an answer in these pieces; with `ends` it closes the connection then.
async fn sends(mut pieces: Vec<Vec<u8>>, ends: bool) -> RawBackend {
    pieces.extend(ends.then(Vec::new));
    let backend = RawBackend::start_in_pieces(pieces).await;
    backend.go_on(100_000);
    backend
}

#[tokio::test]
async fn an_answer_arrives_however_it_is_framed_and_cut() {
    for (answer, ends) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello world", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world", true),
    ] {
        let bytes = answer.bytes().map(|byte| vec![byte]).collect();
        for backend in [sends(vec![answer.into()], ends).await, sends(bytes, ends).await] {
            let edge = in_front_of(&backend).await;
            for client in clients(&edge) {
                for _ in 0..2 {
                    let response = client.get(edge.url("/api/vendors")).send().await.expect("an answer");
                    assert_eq!(response.text().await.expect("a body"), "hello world", "{answer:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_be_incomplete() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nX\r\n",
    ] {
        let backend = sends(vec![answer.into()], true).await;
        let edge = in_front_of(&backend).await;
        for client in clients(&edge) {
            let response = client.get(edge.url("/api/vendors")).send().await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.bytes().await.is_err(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200));
    for answer in [
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        &endless,
        &many,
    ] {
        let backend = RawBackend::start(answer).await;
        let edge = in_front_of(&backend).await;
        let post =
            edge.client().post(edge.url("/api/auth/refresh")).body("{}").send().await.expect("an answer");
        assert_eq!(post.status(), StatusCode::BAD_GATEWAY, "{:?}", &answer[..answer.len().min(60)]);
        assert_eq!(problem_of(post).await, "bad-gateway");
        assert_eq!(backend.received().matches("POST ").count(), 1);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_request_behind() {
    let edge = Edge::start().await;
    edge.backends.iter().for_each(|backend| backend.set_hanging(true));
    let mut http1 = Wire::open(&edge).await;
    http1.send(GET).await.expect("sent");
    let mut reset = Http2Wire::open(&edge, [127, 0, 0, 1]).await;
    let mut gone = Http2Wire::open(&edge, [127, 0, 0, 1]).await;
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/api/vendors", &[]));
    reset.send(&get).await.expect("sent");
    gone.send(&get).await.expect("sent");
    edge.wait_until("all are asked", async || edge.received().len() == 3).await;
    reset.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await.expect("sent");
    drop((http1, gone));
    for backend in [0, 1] {
        edge.wait_until_state(backend, "requests", 0).await;
    }
    assert_eq!(edge.received().len(), 3, "nobody asks again for them");
}

#[tokio::test]
async fn what_stands_behind_an_answer_is_nobodys_answer() {
    let backend = RawBackend::start(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    )
    .await;
    let edge = in_front_of(&backend).await;
    for client in clients(&edge) {
        for _ in 0..6 {
            let response = client.get(edge.url("/api/vendors")).send().await.expect("an answer");
            assert_eq!(response.text().await.expect("a body"), "OK");
        }
    }
}

#[tokio::test]
async fn an_interim_answer_is_passed_on_before_the_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\n\r\n".into();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK".into();
    let backend = RawBackend::start_in_pieces(vec![hints, answer]).await;
    let edge = in_front_of(&backend).await;
    let mut wire = Wire::open(&edge).await;
    wire.send(GET).await.expect("sent");
    let interim = wire.answer().await.expect("an answer");
    assert_eq!((interim.status, interim.head.contains("link: </x.css>")), (103, true), "{interim:?}");
    backend.go_on(2);
    assert_eq!(wire.answer().await.expect("an answer").body, "OK");
    // Over HTTP/2 it is left out.
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.text().await.expect("a body"), "OK");
}

#[tokio::test]
async fn fields_of_one_connection_do_not_reach_the_other() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nOK";
    let backend = RawBackend::start(answer).await;
    let edge = in_front_of(&backend).await;
    let mut wire = Wire::open(&edge).await;
    let asked =
        "\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nProxy-Authorization: x\r\n\r\n";
    wire.send(GET.replace("\r\n\r\n", asked)).await.expect("sent");
    let head = wire.answer().await.expect("an answer").head;
    assert!(!head.contains("x-own") && !head.contains("keep-alive:"), "{head}");
    let received = backend.received().to_lowercase();
    for name in ["connection:", "x-mine", "te:", "proxy-authorization"] {
        assert!(!received.contains(&format!("\r\n{name}")), "{received}");
    }
    for protected in ["Host", "X-Forwarded-For", "\"x\""] {
        let mut wire = Wire::open(&edge).await;
        let asked = format!("\r\nConnection: {protected}\r\n\r\n");
        wire.send(GET.replace("\r\n\r\n", &asked)).await.expect("sent");
        assert_eq!(wire.answer().await.expect("an answer").status, 400, "{protected}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_delivered_and_ends_the_connection() {
    let backend = RawBackend::start("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno").await;
    let edge = in_front_of(&backend).await;
    let mut wire = Wire::open(&edge).await;
    let head = "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    wire.send(format!("{head}some of it")).await.expect("sent");
    let answer = wire.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (409, "no"));
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    wire.send("x".repeat(990)).await.expect("sent");
    assert!(wire.ends().await);
    assert_eq!(backend.received().matches("POST ").count(), 1);
}

#[tokio::test]
async fn large_bodies_travel_both_ways() {
    let edge = Edge::start().await;
    let body = "0123456789".repeat(90_000);
    for client in clients(&edge) {
        let post = client.post(edge.url("/api/auth/refresh")).body(body.clone());
        let echoed: serde_json::Value =
            post.send().await.expect("an answer").json().await.expect("a document");
        assert_eq!(echoed["body"].as_str().map(str::len), Some(body.len()));
        assert!(echoed["body"] == body.as_str());
    }
}

#[tokio::test]
async fn a_get_that_has_a_body_is_tried_elsewhere_with_all_of_it() {
    let edge = Edge::start().await;
    for _ in 0..4 {
        edge.backends[0].break_next(1);
        for client in clients(&edge) {
            let get = client.get(edge.url("/api/vendors")).body("all of it");
            let echoed: serde_json::Value =
                get.send().await.expect("an answer").json().await.expect("a document");
            assert_eq!(echoed["body"], "all of it");
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_ends_the_answer() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello".into();
    let backend = RawBackend::start_in_pieces(vec![begun, " world".into()]).await;
    let edge = in_front_of_with(&backend, |config| {
        config.replace("read_timeout_ms = 30000", "read_timeout_ms = 600")
    })
    .await;
    for client in clients(&edge) {
        let response = client.get(edge.url("/api/vendors")).send().await.expect("an answer");
        assert!(response.bytes().await.is_err());
    }
    let mute = RawBackend::start_in_pieces(vec!["HTTP/1.1".into(), Vec::new()]).await;
    let edge =
        in_front_of_with(&mute, |config| config.replace("read_timeout_ms = 30000", "read_timeout_ms = 600"))
            .await;
    let post = edge.client().post(edge.url("/api/auth/refresh")).body("{}").send().await.expect("an answer");
    assert_eq!(problem_of(post).await, "bad-gateway");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let backend =
        RawBackend::start("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .await;
    let edge = in_front_of(&backend).await;
    let mut wire = Wire::open(&edge).await;
    wire.send(GET.replace("HTTP/1.1", "HTTP/1.0")).await.expect("sent");
    let text = wire.rest().await;
    assert!(text.ends_with("\r\n\r\nhello") && !text.to_lowercase().contains("transfer-encoding"), "{text}");
}
