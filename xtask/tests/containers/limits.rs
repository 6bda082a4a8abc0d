//! What a container may use, and what becomes of one that uses more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use serde_json::{Value, json};
use toml_edit::DocumentMut;

use crate::booking::free_slot;
use crate::client::{Person, address, until};
use crate::docker::{compose, docker, inspect, run};
use crate::stack::Stack;

const MIB: i64 = 1024 * 1024;
const SOON: Duration = Duration::from_secs(40);

#[test]
fn every_container_is_limited_as_the_budget_says_and_can_do_little() {
    let budget: DocumentMut = include_str!("../../../config/budget.toml").parse().expect("TOML");
    for (service, process) in
        [("edge", "edge"), ("backend-0", "backend"), ("backend-1", "backend"), ("redis", "redis")]
    {
        let host = inspect(service)["HostConfig"].take();
        let number = |key: &str| budget[process][key].as_integer().expect("a number");
        assert_eq!(host["Memory"], number("memory") * MIB, "{service}");
        assert_eq!(host["MemorySwap"], number("memory") * MIB, "{service}: swapping is no way out");
        assert_eq!(host["MemoryReservation"], number("reservation") * MIB, "{service}");
        assert_eq!(host["PidsLimit"], number("pids"), "{service}");
        let cpus = budget[process]["cpus"].as_float().expect("a number");
        assert_eq!(host["NanoCpus"].as_f64(), Some(cpus * 1e9), "{service}");
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped", "{service}");
        assert_eq!(host["LogConfig"]["Config"], json!({"max-size": "10m", "max-file": "3"}), "{service}");
    }
    for service in ["edge", "backend-0", "backend-1", "redis", "identity-provider"] {
        let container = inspect(service);
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]), "{service}");
        assert_eq!(container["Config"]["User"], "10001:10001", "{service}");
        assert!(host["Memory"].as_i64().is_some_and(|limit| limit > 0), "{service}");
    }
}

#[test]
fn no_secret_is_on_a_command_line_or_in_the_environment() {
    let secret = |name: &str| copied(&format!("backend-0:/run/daemun/secrets/{name}"));
    let secrets = ["redis-password", "refresh-secret"].map(secret);
    for service in ["edge", "backend-0", "redis"] {
        let text = inspect(service).to_string();
        for secret in &secrets {
            assert!(secret.len() >= 64 && !text.contains(secret), "{service}");
        }
    }
}

/// The process is the real one: one command makes Redis ask for more than its container may have. All containers have
/// their limits in the same way, as another test compares.
#[tokio::test]
async fn a_process_that_exceeds_its_memory_is_killed_and_comes_back() {
    let stack = Stack::start();
    let person = Person::sign_in(&stack.file, "limits-person", address(1)).await;
    let restarts = || inspect("redis")["RestartCount"].as_i64().expect("a number");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let before = restarts();

    let login = format!("REDISCLI_AUTH={}", copied("backend-0:/run/daemun/secrets/redis-password"));
    let more_than_it_may = (120 * MIB).to_string();
    let command = ["redis-cli", "setrange", "too-large", &more_than_it_may, "x"];
    run(&[["compose", "exec", "-T", "-e", &login, "redis"].as_slice(), &command].concat());

    until("Redis was started again", SOON, async || restarts() > before).await;
    // It was killed for its memory, and by nobody else.
    until("docker tells of its end", SOON, async || {
        let events = events_of("redis", &since);
        let ended = events.iter().find(|event| event["Action"] == "die");
        let was_killed = ended.is_some_and(|event| event["Actor"]["Attributes"]["exitCode"] == "137");
        was_killed && events.iter().any(|event| event["Action"] == "oom")
    })
    .await;
    until("sessions are there again", SOON, async || {
        let body = json!({"refresh_token": person.refresh_token});
        person.post("/api/auth/refresh", body).await.0 == StatusCode::OK
    })
    .await;
    let found = person.get("/api/vendors?limit=1").await;
    let slot = free_slot(&person, found["items"][0]["id"].as_str().expect("a vendor"), 1).await;
    assert_eq!(person.post("/api/reservations", slot.request).await.0, StatusCode::CREATED);
}

/// A file of a container.
fn copied(from: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("copy");
    compose(&["cp", from, to.to_str().expect("a path")]);
    std::fs::read_to_string(to).expect("a copy")
}

/// What has happened to a service's container since then.
fn events_of(service: &str, since: &str) -> Vec<Value> {
    let container = format!("container={}", compose(&["ps", "--quiet", service]));
    let words =
        ["events", "--since", since, "--until", "0s", "--filter", &container, "--format", "{{json .}}"];
    docker(&words).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
