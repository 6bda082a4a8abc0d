//! What is sent a second time, and what never is; and what a server gets of each request.

use reqwest::StatusCode;
use tokio::net::TcpStream;

use crate::edge_process::Edge;
use crate::raw_backend::{RawBackend, beside};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";

/// A backend that closes each connection at its second request, and an echo backend.
async fn with_a_stale_connection() -> (RawBackend, Edge) {
    let backend = RawBackend::start_forgetful(OK).await;
    let edge = beside(&backend).await;
    // The first server's turn, then the other's.
    for _ in 0..2 {
        let url = edge.url("/api/vendors");
        assert_eq!(edge.client().get(url).send().await.expect("an answer").status(), StatusCode::OK);
    }
    let heads = |text: String| text.matches(" /api/vendors ").count();
    assert_eq!((heads(backend.received()), edge.backends[1].received().len()), (1, 1));
    (backend, edge)
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_answered_by_the_other_backend() {
    let (backend, edge) = with_a_stale_connection().await;
    let response = edge.client().get(edge.url("/api/vendors?second")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert!(backend.received().contains("/api/vendors?second"), "the connection was used again");
    assert_eq!(edge.backends[1].received().len(), 2);
    // Every second connection goes stale; that is no failure of the server's.
    for _ in 0..40 {
        let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(edge.server_state_at(backend.address).await["ejected"], false);
}

#[tokio::test]
async fn a_post_on_a_stale_connection_is_never_sent_again() {
    let (backend, edge) = with_a_stale_connection().await;
    let post = edge.client().post(edge.url("/api/auth/refresh")).body("{}").send().await.expect("an answer");
    assert_eq!(post.status(), StatusCode::BAD_GATEWAY);
    assert!(backend.received().contains("POST /api/auth/refresh"));
    assert!(edge.backends[1].received().iter().all(|request| request.method != "POST"));
}

#[tokio::test]
async fn a_post_that_nobody_took_goes_to_the_other_backend() {
    let mut edge = Edge::start_with(|config| {
        // The checks come too late for it.
        config.replace("health_interval_ms = 50", "health_interval_ms = 3600000")
    })
    .await;
    edge.backends[0].kill();
    let api = edge.backends[0].api;
    edge.wait_until("nobody listens", async || TcpStream::connect(api).await.is_err()).await;
    for _ in 0..2 {
        let post =
            edge.client().post(edge.url("/api/auth/refresh")).body("{}").send().await.expect("an answer");
        assert_eq!(post.status(), StatusCode::OK);
    }
    assert_eq!(edge.received().len(), 2);
}

#[tokio::test]
async fn retries_are_a_small_part_of_all_requests() {
    let edge = Edge::start_with(|config| config.replace("requests = 100\n", "requests = 100000\n")).await;
    let client = edge.client();
    for _ in 0..100 {
        let url = edge.url("/api/vendors?status=500");
        let status = client.get(url).send().await.expect("an answer").status();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    // A fifth of what was asked in the last ten seconds (the slowest machine takes a minute), and three a second.
    let sent = edge.received().len();
    let retries = async |result: &str| {
        edge.metric(&format!("edge_retries_total{{upstream=\"backend\",result=\"{result}\"}}")).await
    };
    let (failed, refused) = (retries("failed").await, retries("refused").await);
    assert_eq!((failed + refused, sent as f64), (100.0, 100.0 + failed));
    assert!(refused > 0.0 && failed >= 30.0, "{failed} tried, {refused} refused");
}

#[tokio::test]
async fn a_server_gets_one_address_and_one_id_of_each_request() {
    let edge = Edge::start().await;
    for retried in [0, 1] {
        edge.backends[0].break_next(retried);
        let request = edge.client().get(edge.url("/api/vendors"));
        let request = request.header("x-forwarded-for", "10.1.2.3").header("x-request-id", "mine");
        let response = request.send().await.expect("an answer");
        let id = response.headers()["x-request-id"].clone();
        let received = edge.received().pop().expect("a request");
        let all = |name: &str| received.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(all("x-request-id"), [id]);
    }
}
