//! What is particular to each kind of database: its server, its files, and the way from one to the other.

mod backup;
mod copy;
mod postgres;

use std::process::Command;

use postgres_cluster::Cluster;
use serde_json::json;
use test_database::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::fixtures::noon;
use crate::harness::{Stack, TestUser, send};

/// A server of a test's own, not started yet.
fn cluster() -> Cluster {
    let name = format!("pg-{}", &uuid::Uuid::now_v7().simple().to_string()[20..]);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    Cluster::create(&folder).expect("PostgreSQL is installed")
}

/// Two backends on a SQLite file, whatever the other tests run on.
async fn stack_on_sqlite(database: &TestDatabase) -> Stack {
    let url = database.url().to_owned();
    Stack::with_config(2, move |config| config["database"]["url"] = url.as_str().into()).await
}

/// Runs `backend database` with these arguments: whether it went well, and all that it said.
async fn command(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    command.arg("database").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().expect("started")).await.expect("run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Books again and again, each time with a key of its own, until told to stop; the ids of what was acknowledged.
async fn book_until(stack: &Stack, user: &TestUser, service: &str, stop: &CancellationToken) -> Vec<String> {
    let mut booked = Vec::new();
    let body = json!({"service_id": service, "starts_at": noon()});
    while !stop.is_cancelled() {
        let key = uuid::Uuid::now_v7().to_string();
        let request = stack.http.post(stack.url(booked.len() % 2, "/api/reservations"));
        let answer = send(request.bearer_auth(&user.token).header("idempotency-key", key).json(&body)).await;
        match answer.status.as_u16() {
            201 => booked.push(answer.body["id"].as_str().expect("an id").to_owned()),
            _ => answer.expect_problem(503, "unavailable"),
        }
    }
    booked
}
