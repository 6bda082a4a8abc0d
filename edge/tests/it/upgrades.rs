//! Rows S, P, I and W of what an edge must withstand, on requests that ask for a WebSocket: an `Upgrade` field opens nothing.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::edge_process::Edge;
use crate::raw_backend::{RawBackend, in_front_of};
use crate::websocket::{open, own_origin};
use crate::wire::{Answer, Wire};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request for a WebSocket at this target, with these lines behind those of the handshake.
fn asking(edge: &Edge, target: &str, lines: &str) -> String {
    let origin = own_origin(edge).1;
    let port = edge.https.port();
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
    )
}

async fn answer(edge: &Edge, from: [u8; 4], request: &str) -> Answer {
    let mut wire = Wire::open_from(edge, from).await;
    wire.send(request).await.expect("sent");
    wire.answer().await.unwrap_or_else(|| panic!("no answer: {request:?}"))
}

/// S01, S02
#[tokio::test]
async fn a_handshake_with_two_meanings_is_refused() {
    let edge = Edge::start().await;
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n folded\r\n",
        "X: a\nb\r\n",
        "Host: localhost\r\n",
    ] {
        let request =
            asking(&edge, "/api/chat/ws", lines) + "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(answer(&edge, [127, 0, 0, 1], &request).await.status, 400, "{lines:?}");
    }
    assert!(edge.received().is_empty());
}

/// P01, P02
#[tokio::test]
async fn a_handshake_opens_no_closed_path() {
    let edge = Edge::start().await;
    for (target, status) in [
        ("/admin", 403),
        ("//admin", 403),
        ("/api/chat/ws/../../../admin", 403),
        ("/%61dmin/api/overview", 403),
        ("/%2Fadmin", 400),
        ("/api/chat/ws;x", 400),
        ("/api/chat/ws%00", 400),
        ("/api/me", 401),
        ("/api/chat/ws/x", 401),
    ] {
        let request = asking(&edge, target, "");
        assert_eq!(answer(&edge, [127, 0, 0, 5], &request).await.status, status, "{target}");
    }
    assert!(edge.received().is_empty());
}

/// I01, I05, I06
#[tokio::test]
async fn a_handshake_carries_no_forged_field() {
    let edge = Edge::start().await;
    let forged = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-User-Id: 1\r\nx_user_id: 1\r\n\
                  X-Request-Id: mine\r\nX-Original-URL: /admin\r\n";
    let answer = answer(&edge, [127, 0, 0, 9], &asking(&edge, "//api/chat/./ws", forged)).await;
    assert_eq!(answer.status, 101);
    let received = edge.received().pop().expect("a request");
    assert_eq!(received.target, "/api/chat/ws");
    let all = |name: &str| -> Vec<String> {
        let values = received.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("text").to_owned()).collect()
    };
    assert_eq!(all("x-forwarded-for"), ["127.0.0.9"]);
    let id = all("x-request-id").pop().expect("an id");
    assert!(answer.head.contains(&format!("x-request-id: {id}\r\n")), "{answer:?}");
    for name in ["forwarded", "x-real-ip", "x-user-id", "x_user_id", "x-original-url"] {
        assert_eq!(all(name), [""; 0], "{name}");
    }
}

/// S04, W01: what isn't a whole handshake goes on as a plain request, without its `Upgrade`.
#[tokio::test]
async fn another_upgrade_is_not_passed_on() {
    let edge = Edge::start().await;
    let bare = |lines: &str| {
        let origin = own_origin(&edge).1;
        let port = edge.https.port();
        format!("GET /api/chat/ws HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\n{lines}\r\n")
    };
    for lines in ["Connection: Upgrade\r\nUpgrade: x\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let smuggling = bare(lines) + "GET /admin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut wire = Wire::open_from(&edge, [127, 0, 0, 5]).await;
        wire.send(smuggling).await.expect("sent");
        assert_ne!(wire.answer().await.expect("an answer").status, 101);
        assert_eq!(
            wire.answer().await.expect("an answer").status,
            403,
            "what is behind it is a request of its own"
        );
    }
    for received in edge.received() {
        assert!(!received.headers.contains_key("upgrade"), "{received:?}");
    }
    let foreign = asking(&edge, "/api/chat/ws", "").replace("Origin: https://", "Origin: https://evil.");
    assert_eq!(answer(&edge, [127, 0, 0, 1], &foreign).await.status, 403);
}

/// W02
#[tokio::test]
async fn only_the_right_agreement_opens_a_tunnel() {
    for (said, status) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401),
        ("nonsense\r\n\r\n", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            101,
        ),
    ] {
        let backend = RawBackend::start(said).await;
        let edge = in_front_of(&backend).await;
        let mut wire = Wire::open(&edge).await;
        wire.send(asking(&edge, "/api/chat/ws", "")).await.expect("sent");
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{said:?}: {answer:?}");
        if status != 101 {
            wire.send("tunnelled?\r\n\r\n").await.ok();
            wire.rest().await;
            assert!(!backend.received().contains("tunnelled?"), "{said:?}");
        }
    }
}

/// W03: the service ends a socket, the gate passes it on at once.
#[tokio::test]
async fn an_end_is_passed_on_at_once_either_way() {
    let edge = Edge::start().await;
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    let began = Instant::now();
    socket.send(Message::text("close 4401")).await.expect("sent");
    let told = socket.next().await.expect("an end").expect("readable");
    let Message::Close(Some(frame)) = told else { panic!("{told:?}") };
    assert_eq!(u16::from(frame.code), 4401);
    assert!(began.elapsed() < Duration::from_secs(1));

    let socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    let is_open = async || edge.backends.iter().any(|backend| backend.open_sockets() > 0);
    edge.wait_until("it is open", is_open).await;
    drop(socket);
    edge.wait_until("the backend has none", async || !is_open().await).await;
}

/// W05
#[tokio::test]
async fn a_silent_socket_ends() {
    let edge =
        Edge::start_with(|config| config.replace("websocket_idle_ms = 90000", "websocket_idle_ms = 300"))
            .await;
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        socket.send(Message::text("still here")).await.expect("sent");
        assert_eq!(socket.next().await.expect("an answer").ok(), Some(Message::text("still here")));
    }
    let told = socket.next().await.expect("an end").expect("readable");
    assert!(matches!(told, Message::Close(Some(_))), "{told:?}");
}

/// W05
#[tokio::test]
async fn a_client_that_sends_too_fast_waits() {
    let rate = 20_000;
    let edge = Edge::start_with(move |config| {
        config.replace("websocket_bytes_per_second = 131072", &format!("websocket_bytes_per_second = {rate}"))
    })
    .await;
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    let began = Instant::now();
    let message = Message::text("x".repeat(1000));
    let sent = 100;
    for _ in 0..sent {
        socket.send(message.clone()).await.expect("sent");
        assert_eq!(socket.next().await.expect("an answer").ok(), Some(message.clone()));
    }
    // Two seconds' worth is free, and what the last reads took on credit.
    let least = Duration::from_secs_f64((sent * 1000) as f64 / f64::from(rate) - 2.5);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

/// W05: who doesn't read costs what one part takes, and is let go.
#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let edge =
        Edge::start_with(|config| config.replace("write_timeout_ms = 30000", "write_timeout_ms = 500")).await;
    let mut wire = Wire::open(&edge).await;
    wire.send(asking(&edge, "/api/chat/ws", "")).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 101);
    // A masked text frame with the mask 0, which asks the backend to say a lot.
    let flood = b"flood";
    let mut frame = vec![0x81, 0x80 | flood.len() as u8, 0, 0, 0, 0];
    frame.extend(flood);
    wire.stream.write_all(&frame).await.expect("sent");
    wire.stream.flush().await.expect("sent");
    let before = edge.metric("process_resident_memory_bytes").await;
    edge.wait_until("it is let go", async || edge.backends.iter().all(|backend| backend.open_sockets() == 0))
        .await;
    let grown = edge.metric("process_resident_memory_bytes").await - before;
    assert!(grown < 16.0 * 1024.0 * 1024.0, "{grown}");
}
