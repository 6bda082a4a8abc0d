//! Liveness, readiness, and the orderly stop.

use serde_json::json;

use crate::harness::{Stack, eventually, send};

#[tokio::test]
async fn a_backend_is_ready_when_its_database_answers_even_without_redis() {
    let mut stack = Stack::start().await;
    let readiness = stack.management_url(0, "/actuator/health/readiness");
    let up = send(stack.http.get(&readiness)).await.expect(200);
    assert_eq!(up["status"], "UP");
    assert_eq!(up["components"], json!({"database": {"status": "UP"}, "redis": {"status": "UP"}}));

    stack.stop_redis().await;
    let without_redis = send(stack.http.get(&readiness)).await.expect(200);
    assert_eq!(without_redis["status"], "UP");
    assert_eq!(without_redis["components"]["redis"]["status"], "DOWN");

    stack.start_redis().await;
}

#[tokio::test]
async fn a_backend_says_what_it_uses_of_its_memory() {
    let stack = Stack::start().await;
    let info = send(stack.http.get(stack.management_url(0, "/actuator/info"))).await.expect(200);
    assert_eq!(info["build"]["name"], "backend");
    let resident = info["process"]["resident_memory_bytes"].as_u64().expect("a number");
    assert!(resident > 1 << 20, "{info}");
    assert!(info["process"].get("memory_limit_bytes").is_some(), "{info}");
}

#[tokio::test]
async fn a_backend_that_stops_says_so_before_it_stops_answering() {
    let mut stack = Stack::with_config(1, |config| config["shutdown"]["drain_ms"] = 1500.into()).await;
    let readiness = stack.management_url(0, "/actuator/health/readiness");
    let liveness = stack.management_url(0, "/actuator/health/liveness");
    let api = stack.url(0, "/nothing-here");
    let stop = tokio::spawn(stack.take_backend(0).stop());
    eventually("the backend isn't ready", async || send(stack.http.get(&readiness)).await.status == 503)
        .await;
    assert_eq!(send(stack.http.get(&liveness)).await.status, 200);
    assert_eq!(send(stack.http.get(&api)).await.status, 404);
    stop.await.expect("stopped");
    assert!(stack.http.get(&api).send().await.is_err());
}
