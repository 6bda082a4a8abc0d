//! What the admin port says of the servers and can be told: drain, undrain. And that its counts are exact.

use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::edge_process::Edge;
use crate::websocket::{open, own_origin};
use crate::wire::Wire;

async fn order(edge: &Edge, page: &str, body: &Value) -> (StatusCode, Value) {
    let url = format!("http://{}/upstreams/{page}", edge.admin);
    let response = edge.client().post(url).json(body).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

fn server(edge: &Edge, backend: usize) -> Value {
    json!({ "upstream": "backend", "server": edge.backends[backend].api.to_string() })
}

async fn get(edge: &Edge) -> StatusCode {
    edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer").status()
}

#[tokio::test]
async fn a_drained_server_gets_no_new_requests_while_what_it_has_goes_on() {
    let edge = Edge::start().await;
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    let of_socket = if edge.backends[0].received().is_empty() { 1 } else { 0 };
    assert_eq!(get(&edge).await, StatusCode::OK);
    let slow = edge.client().get(edge.url("/api/vendors?wait_ms=1500")).send();
    let slow = tokio::spawn(slow);
    edge.wait_until("it has both", async || edge.backends[of_socket].received().len() == 2).await;
    edge.wait_until_state(of_socket, "requests", 2).await;

    let (status, state) = order(&edge, "drain", &server(&edge, of_socket)).await;
    assert_eq!((status, &state["draining"], &state["healthy"]), (StatusCode::OK, &json!(true), &json!(true)));
    let before = edge.backends[of_socket].received().len();
    for _ in 0..6 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.backends[of_socket].received().len(), before);
    assert_eq!(slow.await.expect("it ran").expect("an answer").status(), StatusCode::OK);
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(socket.next().await.expect("a message").expect("readable"), Message::text("still here"));
    let state = edge.server_state(of_socket).await;
    assert_eq!((&state["requests"], &state["websockets"]), (&json!(1), &json!(1)));

    let (status, state) = order(&edge, "undrain", &server(&edge, of_socket)).await;
    assert_eq!((status, &state["draining"]), (StatusCode::OK, &json!(false)));
    for _ in 0..4 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.backends[of_socket].received().len(), before + 2);
}

#[tokio::test]
async fn the_last_server_is_drained_by_force_only() {
    let edge = Edge::start().await;
    assert_eq!(order(&edge, "drain", &server(&edge, 0)).await.0, StatusCode::OK);
    let (status, answer) = order(&edge, "drain", &server(&edge, 1)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["error"].as_str().expect("a text").contains("force"), "{answer}");
    assert_eq!(get(&edge).await, StatusCode::OK);
    let mut forced = server(&edge, 1);
    forced["force"] = json!(true);
    assert_eq!(order(&edge, "drain", &forced).await.0, StatusCode::OK);
    assert_eq!(get(&edge).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused_with_the_reason() {
    let edge = Edge::start().await;
    let other_upstream = json!({ "upstream": "none", "server": edge.backends[0].api.to_string() });
    let mut more = server(&edge, 0);
    more["forced"] = json!(true);
    for (body, reason) in [
        (other_upstream, "no upstream"),
        (json!({ "upstream": "backend", "server": "127.0.0.1:1" }), "no server"),
        (json!({ "upstream": "backend", "server": "localhost" }), "address"),
        (json!({ "upstream": "backend" }), "server"),
        (more, "forced"),
        (json!([]), "order"),
    ] {
        for page in ["drain", "undrain"] {
            let (status, answer) = order(&edge, page, &body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert!(answer["error"].as_str().expect("a text").contains(reason), "{answer} for {body}");
        }
    }
    let client = edge.client();
    let url = |path: &str| format!("http://{}{path}", edge.admin);
    let long = client.post(url("/upstreams/drain")).body("x".repeat(10_000)).send().await.expect("an answer");
    assert_eq!(long.status(), StatusCode::BAD_REQUEST);
    for (method, path, allowed) in [
        (reqwest::Method::GET, "/upstreams/drain", "POST"),
        (reqwest::Method::DELETE, "/upstreams/undrain", "POST"),
        (reqwest::Method::POST, "/upstreams", "GET"),
    ] {
        let refused = client.request(method, url(path)).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.headers()["allow"], allowed);
    }
    // A page in a browser on this machine can't.
    let from_a_page = client.post(url("/upstreams/drain")).header("origin", "https://evil.example");
    let refused = from_a_page.json(&server(&edge, 0)).send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(edge.server_state(0).await["draining"], false);
}

#[tokio::test]
async fn the_server_with_the_fewest_requests_at_work_takes_the_next_one() {
    let edge = Edge::start_with(|config| {
        let changed = config.replace("balance = \"round-robin\"", "balance = \"least-connections\"");
        assert_ne!(changed, config);
        changed
    })
    .await;
    // As many on both: in turn.
    for _ in 0..4 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!([0, 1].map(|backend| edge.backends[backend].received().len()), [2, 2]);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(open(&edge, &[own_origin(&edge)]).await.expect("a socket"));
    }
    let one_more = usize::from(edge.backends[1].received().len() == 4);
    let before = edge.backends[one_more].received().len();
    for _ in 0..6 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.backends[one_more].received().len(), before);
    // Without its sockets it has its turns again.
    sockets.clear();
    edge.wait_until_state(one_more, "requests", 0).await;
    edge.wait_until_state(1 - one_more, "requests", 0).await;
    for _ in 0..4 {
        assert_eq!(get(&edge).await, StatusCode::OK);
    }
    assert_eq!(edge.backends[one_more].received().len(), before + 2);
}

#[tokio::test]
async fn whatever_way_requests_end_none_stays_counted() {
    let edge = Edge::start_with(|config| config.replace("requests = 100\n", "requests = 100000\n")).await;
    let mut open_ones = Vec::new();
    for _ in 0..6 {
        // HTTP/2: reset; HTTP/1: the connection ends; an upload that stops; a socket that is dropped.
        let url = edge.url("/api/vendors?wait_ms=60000");
        open_ones.push(tokio::spawn(edge.client().get(url).send()));
        let mut waiting = Wire::open(&edge).await;
        let get = "GET /api/vendors?wait_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        waiting.send(get).await.expect("sent");
        let mut uploading = Wire::open(&edge).await;
        let post = "POST /api/auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{";
        uploading.send(post).await.expect("sent");
        let socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
        let held = tokio::spawn(async move {
            let _held = (waiting, uploading, socket);
            std::future::pending().await
        });
        open_ones.push(held);
    }
    let sum = async |key: &str| {
        let [one, other] = [edge.server_state(0).await, edge.server_state(1).await];
        one[key].as_u64().expect("a number") + other[key].as_u64().expect("a number")
    };
    edge.wait_until("all are counted", async || (sum("requests").await, sum("websockets").await) == (24, 6))
        .await;
    for held in &open_ones {
        held.abort();
    }
    edge.wait_until("none is", async || (sum("requests").await, sum("websockets").await) == (0, 0)).await;
    let metrics = edge.admin_text("/metrics").await;
    let gauges = metrics.lines().filter(|line| line.starts_with("edge_upstream_requests{"));
    assert_eq!(gauges.map(|line| line.rsplit(' ').next()).collect::<Vec<_>>(), [Some("0"); 2]);
    // None of it was a server's fault.
    for backend in [0, 1] {
        assert_eq!(edge.server_state(backend).await["ejected"], false);
    }
}
