//! The routes, the command line and the metrics of the jobs.

use std::process::{Command, Output};

use access_token::Role;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Stack, eventually, send};

const RUN_TRIM: &str = "/admin/api/batch/jobs/trim-runs/run";

#[tokio::test]
async fn only_admins_see_and_run_jobs() {
    let stack = Stack::start().await;
    let vendor = stack.user("주인", Role::Vendor).await;
    for path in ["/admin/api/batch/jobs", "/admin/api/batch/runs"] {
        stack.get(path).await.expect_problem(401, "token-missing");
        stack.get_as(&vendor, path).await.expect_problem(403, "forbidden");
    }
    stack.post_as(&vendor, RUN_TRIM, json!({})).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn a_run_that_an_admin_asks_for_is_done_and_shown() {
    let stack = Stack::with_config(2, |config| config["jobs"]["poll_ms"] = 20.into()).await;
    let admin = stack.user("관리자", Role::Admin).await;
    let jobs = stack.get_as(&admin, "/admin/api/batch/jobs").await.expect(200);
    let names: Vec<_> = jobs["items"].as_array().expect("a list").iter().map(|job| &job["name"]).collect();
    assert_eq!(
        names,
        [
            "purge-sessions",
            "daily-statistics",
            "purge-idempotency",
            "purge-waitlist",
            "trim-notifications",
            "trim-runs"
        ]
    );
    assert_eq!(jobs["items"][1]["schedule"], "15 0 * * * Asia/Seoul");

    let period = format!("{RUN_TRIM}?period=2026-11-01T00:00:00Z");
    let asked = send(stack.request(Method::POST, &period).bearer_auth(&admin.token)).await.expect(202);
    assert_eq!((&asked["job"], &asked["period"]), (&json!("trim-runs"), &json!("2026-11-01T00:00:00Z")));
    eventually("the run is done", async || {
        let runs = stack.get_as(&admin, "/admin/api/batch/runs?job=trim-runs").await.expect(200);
        runs["items"][0]["id"] == asked["id"] && runs["items"][0]["status"] == "done"
    })
    .await;
    send(stack.request(Method::POST, &period).bearer_auth(&admin.token))
        .await
        .expect_problem(409, "run-already-done");

    eventually("the metrics tell of it", async || {
        let url = stack.management_url(0, "/actuator/prometheus");
        let text = stack.http.get(url).send().await.expect("answered").text().await.expect("text");
        text.contains("backend_job_last_success_timestamp_seconds{job=\"trim-runs\"}")
            && text.contains("backend_job_last_duration_seconds{job=\"trim-runs\"}")
            && text.contains("backend_job_last_lateness_seconds{job=\"trim-runs\"}")
            && text.contains("backend_job_failures_total{job=\"trim-runs\"} 0")
            && text.contains("process_resident_memory_bytes")
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_run_is_a_problem() {
    let stack = Stack::start().await;
    let admin = stack.user("관리자", Role::Admin).await;
    let run = async |path: &str| send(stack.request(Method::POST, path).bearer_auth(&admin.token)).await;
    run("/admin/api/batch/jobs/coffee/run").await.expect_problem(404, "not-found");
    run(&format!("{RUN_TRIM}?period=yesterday")).await.expect_problem(422, "invalid-period");
    run(&format!("{RUN_TRIM}?period=2999-01-01")).await.expect_problem(422, "period-not-over");
    let today = jiff::Timestamp::now().to_string();
    run(&format!("/admin/api/batch/jobs/daily-statistics/run?period={today}"))
        .await
        .expect_problem(422, "period-not-over");
    stack.get_as(&admin, "/admin/api/batch/runs?cursor=x").await.expect_problem(422, "invalid-cursor");
}

async fn jobs(stack: &Stack, arguments: &[&str]) -> Output {
    let config = stack.folder().join("config/backend.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    command.arg("jobs").args(arguments).arg("--config").arg(config);
    tokio::task::spawn_blocking(move || command.output().expect("started")).await.expect("run")
}

#[tokio::test]
async fn an_operator_lists_runs_stops_and_looks_back() {
    let mut stack = Stack::start().await;
    stack.take_backend(0).stop().await;
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let list = jobs(&stack, &["list"]).await;
    assert!(
        said(&list).contains("purge-sessions") && said(&list).contains("7 * * * * Asia/Seoul"),
        "{list:?}"
    );

    let run = jobs(&stack, &["run", "daily-statistics", "--period", "2026-11-01"]).await;
    assert!(run.status.success(), "{run:?}");
    let expected = "daily-statistics for 2026-10-31T15:00:00Z done";
    assert!(said(&run).starts_with(expected), "{run:?}");
    let history = jobs(&stack, &["history", "daily-statistics"]).await;
    assert!(said(&history).starts_with(expected), "{history:?}");

    let again = jobs(&stack, &["run", "daily-statistics", "--period", "2026-11-01"]).await;
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!((again.status.code(), complaint.lines().count()), (Some(1), 1), "{complaint}");
    assert!(complaint.contains("done already"), "{complaint}");

    let stop = jobs(&stack, &["stop", "daily-statistics"]).await;
    assert_eq!(said(&stop).trim(), "stopped 0 runs");
    let unknown = jobs(&stack, &["stop", "coffee"]).await;
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn a_schedule_of_an_unknown_job_ends_the_start() {
    let stack = Stack::start().await;
    let config = stack.folder().join("config/backend.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let text = text.replace("[jobs.schedules]", "[jobs.schedules]\ncoffee = \"0 9 * * *\"");
    std::fs::write(&config, text).expect("written");
    let list = jobs(&stack, &["list"]).await;
    let complaint = String::from_utf8_lossy(&list.stderr).into_owned();
    assert_eq!(list.status.code(), Some(1));
    assert!(complaint.contains("jobs.schedules.coffee"), "{complaint}");
}
