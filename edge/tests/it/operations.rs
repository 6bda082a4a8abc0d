//! What an operator does while clients go on: reload, upgrade, stop.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::asking::HERE;
use crate::edge_process::{Edge, ended};
use crate::http2_wire::{HEADERS, Http2Wire, Outcome, frame, request};
use crate::load::Load;
use crate::websocket::{Socket, open, own_origin};
use crate::wire::Wire;

/// Open WebSockets of a test.
const SOCKETS: usize = 200;

/// Limits that the load doesn't reach, room for the sockets, and a drain that a test can wait for.
fn roomy(config: String) -> String {
    ["requests = 10\n", "requests = 100\n", "requests = 1200\n"]
        .iter()
        .fold(config, |config, limit| config.replace(limit, "requests = 1000000\n"))
        .replace("drain_seconds = 300", "drain_seconds = 5")
}

async fn sockets(edge: &Edge, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(open(edge, &[own_origin(edge)]).await.expect("a socket"));
    }
    sockets
}

/// Sends through each and waits for the echo.
async fn all_work(sockets: &mut [Socket]) {
    for socket in sockets.iter_mut() {
        socket.send(Message::text("still there?")).await.expect("sent");
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        let answer = socket.next().await.expect("an answer");
        assert_eq!(answer.ok(), Some(Message::text("still there?")), "socket {number}");
    }
}

fn change_config(edge: &Edge, change: impl Fn(String) -> String) {
    let file = edge.folder().join("edge.toml");
    let text = std::fs::read_to_string(&file).expect("a config");
    std::fs::write(&file, change(text)).expect("a config");
}

async fn reloads(edge: &Edge, result: &str) -> f64 {
    edge.metric(&format!(r#"edge_policy_reloads_total{{result="{result}"}}"#)).await
}

#[tokio::test]
async fn a_policy_is_read_again_on_sighup() {
    let edge = Edge::start().await;
    assert_eq!(edge.client().get(edge.url("/new")).send().await.expect("an answer").status(), 404);
    change_config(&edge, |text| {
        format!("{text}\n[[routes]]\nexact = \"/new\"\nrespond = {{ status = 200, body = \"new\" }}\n")
    });
    edge.signal("HUP");
    edge.wait_until("it is reloaded", async || reloads(&edge, "ok").await == 1.0).await;
    let answer = edge.client().get(edge.url("/new")).send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("text"), "new");
}

/// C01
#[tokio::test]
async fn a_faulty_policy_changes_nothing() {
    let edge = Edge::start().await;
    let faults: [fn(String) -> String; 4] = [
        |text| text.replace("[limits.login]", "[limits.login]\nrequest = 1"),
        |text| text.replace("127.0.0.1/32", "127.0.0.1/33"),
        |text| format!("{text}\n[[routes]]\nbelow = \"/api\"\nupstream = \"backend\"\n"),
        // What a process begins with.
        |text| text.replace("admin = \"127.0.0.1:", "admin = \"127.0.0.2:"),
    ];
    let good = std::fs::read_to_string(edge.folder().join("edge.toml")).expect("a config");
    for (times, fault) in faults.into_iter().enumerate() {
        change_config(&edge, |_| fault(good.clone()).replace("requests = 10\n", "requests = 3\n"));
        edge.signal("HUP");
        let refused = times as f64 + 1.0;
        edge.wait_until("it is refused", async || reloads(&edge, "refused").await == refused).await;
    }
    let passed = async || {
        let mut passed = 0;
        while edge.client().get(edge.url("/api/auth/login/google")).send().await.expect("an answer").status()
            == 200
        {
            passed += 1;
        }
        passed
    };
    assert_eq!(passed().await, 10, "the old limit holds");
}

#[tokio::test]
async fn a_reload_refills_no_budget_and_takes_new_numbers() {
    let edge = Edge::start().await;
    let login = async || {
        let client = edge.client();
        client.get(edge.url("/api/auth/login/google")).send().await.expect("an answer").status().as_u16()
    };
    for _ in 0..10 {
        assert_eq!(login().await, 200);
    }
    assert_eq!(login().await, 429);
    edge.signal("HUP");
    edge.wait_until("it is reloaded", async || reloads(&edge, "ok").await == 1.0).await;
    assert_eq!(login().await, 429, "spent is spent");
}

/// W04
#[tokio::test]
async fn reloads_and_new_certificates_cost_no_request_and_no_socket() {
    let edge = Edge::start_with(roomy).await;
    let mut sockets = sockets(&edge, SOCKETS).await;
    let load = Load::start(&edge);
    for reload in 1..=3 {
        load.answers(&edge, 200).await;
        edge.signal("HUP");
        edge.wait_until("it is reloaded", async || reloads(&edge, "ok").await == f64::from(reload)).await;
        let file = edge.folder().join("localhost.pem");
        let same = std::fs::read(&file).expect("a certificate");
        std::fs::write(&file, same).expect("a certificate");
    }
    load.answers(&edge, 200).await;
    let (_, failed) = load.end().await;
    assert_eq!(failed, [""; 0]);
    all_work(&mut sockets).await;
}

/// W04
#[tokio::test]
async fn an_upgrade_costs_no_request_and_sockets_stay_within_the_drain() {
    let mut edge = Edge::start_with(roomy).await;
    let mut sockets = sockets(&edge, SOCKETS).await;
    let load = Load::start(&edge);
    load.answers(&edge, 200).await;
    let mut old = edge.upgrade().await;
    load.answers(&edge, 200).await;
    all_work(&mut sockets).await;
    assert!(old.try_wait().expect("a child of ours").is_none(), "the old one waits for its sockets");
    let mut told = 0;
    for socket in &mut sockets {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                assert_eq!(frame.code, CloseCode::Restart);
                told += 1;
            }
        }
    }
    assert_eq!(told, SOCKETS);
    assert!(ended(&mut old).await.success());
    load.answers(&edge, 200).await;
    let (_, failed) = load.end().await;
    assert_eq!(failed, [""; 0]);
}

#[tokio::test]
async fn an_edge_takes_over_from_one_that_took_over() {
    let mut edge = Edge::start_with(roomy).await;
    for _ in 0..2 {
        let mut old = edge.upgrade().await;
        assert!(ended(&mut old).await.success());
    }
    assert_eq!(edge.client().get(edge.url("/")).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_successor_with_a_faulty_policy_leaves_the_running_edge_alone() {
    let edge = Edge::start().await;
    change_config(&edge, |text| text.replace("[limits.login]", "[limits.login]\nrequest = 1"));
    let output = edge.run_successor();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("`request`"), "{output:?}");
    assert_eq!(edge.client().get(edge.url("/")).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_in_flight_and_no_longer() {
    let mut edge = Edge::start().await;
    let mut idle = Wire::open(&edge).await;
    idle.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    let mut socket = open(&edge, &[own_origin(&edge)]).await.expect("a socket");
    let slow = tokio::spawn({
        let (client, url) = (edge.client(), edge.url("/api/vendors?wait_ms=1500"));
        async move { client.get(url).send().await.expect("an answer").status().as_u16() }
    });
    edge.wait_until("it is in flight", async || edge.received().len() == 2).await;
    let began = std::time::Instant::now();
    edge.signal("TERM");
    let told = socket.next().await.expect("a goodbye").expect("readable");
    assert!(matches!(told, Message::Close(Some(_))), "{told:?}");
    assert_eq!(slow.await.expect("no panic"), 200);
    assert!(idle.ends().await);
    drop(socket);
    assert!(edge.ended().await.success());
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "it left before the grace was over");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_sleeps() {
    let mut edge = Edge::start().await;
    let mut asleep = Http2Wire::open(&edge, HERE).await;
    asleep.send(&frame(HEADERS, 5, 1, &request("GET", "/", &[]))).await.expect("sent");
    assert_eq!(asleep.outcome(1).await, Outcome::Answered(200));
    let began = std::time::Instant::now();
    edge.signal("TERM");
    // It neither answers the edge's goodbye nor closes.
    assert!(edge.ended().await.success());
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "it left before the grace was over");
}
