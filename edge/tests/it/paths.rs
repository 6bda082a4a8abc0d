//! What is matched is what is forwarded. Requests are written byte by byte: no client library tidies them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge_process::Edge;

/// Sends bytes and returns the whole answer, up to the connection's end.
async fn send(edge: &Edge, request: &str) -> String {
    let mut stream = edge.connect().await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // The edge may close without a TLS goodbye; what came is the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn status(edge: &Edge, target: &str) -> u16 {
    let answer =
        send(edge, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn the_canonical_path_reaches_the_backend() {
    let edge = Edge::start().await;
    for target in [
        "//api//vendors?q=%2F",
        "/x/../api/./vendors?q=%2F",
        "/%61pi/vendors?q=%2F",
        "https://localhost/api/vendors?q=%2F",
    ] {
        assert_eq!(status(&edge, target).await, 200, "{target}");
    }
    let targets: Vec<_> = edge.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/api/vendors?q=%2F"; 4]);
    let hosts: Vec<_> =
        edge.received().into_iter().map(|received| received.headers["host"].clone()).collect();
    assert_eq!(hosts, ["localhost"; 4]);
}

#[tokio::test]
async fn a_path_that_servers_read_differently_is_refused() {
    let edge = Edge::start().await;
    for target in [
        "/%2Fadmin",
        "/x%2f..%2fadmin",
        "/\\admin",
        "/%5cadmin",
        "/admin%00",
        "/admin;x",
        "/;/admin",
        "/api/vendors%0d%0aX:y",
    ] {
        assert_eq!(status(&edge, target).await, 400, "{target}");
    }
    assert_eq!(status(&edge, "/%2561dmin").await, 404);
    assert!(edge.received().is_empty());
}

#[tokio::test]
async fn a_request_needs_one_host() {
    let edge = Edge::start().await;
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        let answer = send(&edge, &format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn an_unknown_host_is_misdirected() {
    let edge = Edge::start().await;
    for host in ["evil.example", "localhost.evil.example", "sub.localhost"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = send(&edge, &request).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        assert!(answer.contains("/problems/unknown-host"), "{host}: {answer}");
    }
}

#[tokio::test]
async fn over_http_2_host_and_authority_must_agree() {
    let edge = Edge::start().await;
    let request = edge.client().get(edge.url("/")).header("host", "evil.example");
    assert_eq!(request.send().await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn trace_and_connect_are_not_allowed() {
    let edge = Edge::start().await;
    for line in ["TRACE / HTTP/1.1", "CONNECT localhost:443 HTTP/1.1"] {
        let answer = send(&edge, &format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
}

#[tokio::test]
async fn an_upgrade_outside_a_websocket_route_is_never_forwarded() {
    let edge = Edge::start().await;
    let request = "GET /api/vendors HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: foo\r\n\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = send(&edge, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let received = edge.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(!received[0].headers.contains_key("upgrade"));
}

#[tokio::test]
async fn a_header_that_is_too_large_is_a_problem_of_its_own() {
    let edge = Edge::start().await;
    let with = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
    };
    let many: String = (0..90).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(40_000));
    for fields in [many, long] {
        let answer = send(&edge, &with("/api/vendors", &fields)).await;
        assert!(
            answer.starts_with("HTTP/1.1 431") && answer.contains("/problems/header-too-large"),
            "{answer}"
        );
    }
    let answer = send(&edge, &with(&format!("/api/vendors?{}", "q".repeat(9000)), "")).await;
    assert!(answer.starts_with("HTTP/1.1 414") && answer.contains("/problems/target-too-long"), "{answer}");
    assert!(edge.received().is_empty());
}
