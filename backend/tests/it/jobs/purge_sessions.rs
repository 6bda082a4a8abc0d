//! Expired sessions leave Redis; the others, and the requests meanwhile, notice nothing.

use std::time::{Duration, Instant};

use access_token::Role;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Stack, TestUser, eventually, send};
use crate::jobs::tell;

/// Argument: how many. Sessions of half as many users, last used in 1970.
const EXPIRED: &str = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local id, user = 'old-' .. i, 'u' .. math.floor(i / 2)
    redis.call('HSET', 'session:' .. id, 'user', user, 'n', 1, 'created', 1, 'last_used', i, 'rotated', 1)
    redis.call('ZADD', 'sessions:by-last-use', i, id)
    redis.call('ZADD', 'sessions:user:' .. user, i, id)
end";

/// `DAEMUN_JOBS_SESSIONS=1000000` for the full proof.
fn sessions() -> i64 {
    std::env::var("DAEMUN_JOBS_SESSIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

async fn purge(stack: &Stack, admin: &TestUser) -> String {
    let run = stack.request(Method::POST, "/admin/api/batch/jobs/purge-sessions/run");
    let run = send(run.bearer_auth(&admin.token)).await.expect(202);
    run["id"].as_str().expect("an id").to_owned()
}

async fn run(stack: &Stack, admin: &TestUser, id: &str) -> serde_json::Value {
    let runs = stack.get_as(admin, "/admin/api/batch/runs?job=purge-sessions").await.expect(200);
    runs["items"].as_array().expect("a list").iter().find(|run| run["id"] == id).expect("there").clone()
}

/// Refreshes for as long as `go_on` says, 5 ms after the last answer; how long each took.
async fn refresh_while(
    stack: &Stack,
    token: &mut String,
    mut go_on: impl AsyncFnMut() -> bool,
) -> Vec<Duration> {
    let mut took = Vec::new();
    while go_on().await {
        for _ in 0..50 {
            let start = Instant::now();
            let body = json!({"refresh_token": token});
            let answer = stack.post("/api/auth/refresh", body).await.expect(200);
            took.push(start.elapsed());
            *token = answer["refresh_token"].as_str().expect("a token").to_owned();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    took.sort();
    took
}

fn report(when: &str, took: &[Duration]) {
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    tell(&format!("{when}: {} refreshes, p50 {:?}, p99 {:?}, max {:?}", took.len(), at(50), at(99), at(100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_sessions_are_purged_while_requests_go_on() {
    let stack = Stack::with_config(1, |config| config["jobs"]["poll_ms"] = 20.into()).await;
    let admin = stack.user("관리자", Role::Admin).await;
    let mut token = stack.sign_in("guest").await.refresh_token;
    let staying = stack.sign_in("another").await.refresh_token;
    stack.redis_cli(&["CONFIG", "SET", "maxmemory", "0"]);
    for from in (1..=sessions()).step_by(10_000) {
        let to = (from + 9_999).min(sessions());
        stack.redis_cli(&["EVAL", EXPIRED, "0", &from.to_string(), &to.to_string()]);
    }
    let expected = (sessions() + 2).to_string();
    assert_eq!(stack.redis_cli(&["ZCARD", "sessions:by-last-use"]), expected);

    let mut rounds = 0..(sessions() / 10_000).clamp(2, 20);
    report("before", &refresh_while(&stack, &mut token, async || rounds.next().is_some()).await);
    let (id, start) = (purge(&stack, &admin).await, Instant::now());
    let is_running = async || run(&stack, &admin, &id).await["status"] != "done";
    report("meanwhile", &refresh_while(&stack, &mut token, is_running).await);
    tell(&format!("{} sessions purged in less than {:?}", sessions(), start.elapsed()));

    let done = run(&stack, &admin, &id).await;
    assert_eq!((&done["read"], &done["written"]), (&json!(sessions()), &json!(sessions())), "{done}");
    assert_eq!(stack.redis_cli(&["ZCARD", "sessions:by-last-use"]), "2");
    assert_eq!(stack.redis_cli(&["KEYS", "*old-*"]), "");
    assert_eq!(stack.redis_cli(&["EXISTS", "sessions:user:u1"]), "0");
    stack.post("/api/auth/refresh", json!({"refresh_token": staying})).await.expect(200);
}

#[tokio::test]
async fn the_session_itself_says_when_it_was_last_used() {
    let stack = Stack::with_config(1, |config| config["jobs"]["poll_ms"] = 20.into()).await;
    let admin = stack.user("관리자", Role::Admin).await;
    let token = stack.sign_in("guest").await.refresh_token;
    let id = stack.redis_cli(&["ZRANGE", "sessions:by-last-use", "0", "0"]);
    stack.redis_cli(&["ZADD", "sessions:by-last-use", "1", &id]);
    stack.redis_cli(&["ZADD", "sessions:by-last-use", "1", "a session that is gone"]);
    let run_id = purge(&stack, &admin).await;
    eventually("the purge is done", async || run(&stack, &admin, &run_id).await["status"] == "done").await;
    let done = run(&stack, &admin, &run_id).await;
    assert_eq!((&done["read"], &done["written"]), (&json!(2), &json!(1)), "{done}");
    assert_eq!(stack.redis_cli(&["ZCARD", "sessions:by-last-use"]), "1");
    stack.post("/api/auth/refresh", json!({"refresh_token": token})).await.expect(200);
}

#[tokio::test]
async fn a_purge_without_redis_is_tried_again_when_redis_is_back() {
    let mut stack = Stack::with_config(1, |config| config["jobs"]["poll_ms"] = 20.into()).await;
    let admin = stack.user("관리자", Role::Admin).await;
    stack.sign_in("guest").await;
    stack.stop_redis().await;
    let id = purge(&stack, &admin).await;
    eventually("an attempt failed", async || {
        let run = run(&stack, &admin, &id).await;
        run["retried"].as_i64() > Some(0)
            && run["error"].as_str().is_some_and(|error| error.contains("redis"))
    })
    .await;
    stack.start_redis().await;
    eventually("the purge is done", async || run(&stack, &admin, &id).await["status"] == "done").await;
}
