//! Refresh-token rotation, its theft detection, and the end of sessions.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::harness::{Answer, Stack, send};

async fn refresh(stack: &Stack, n: usize, token: &str) -> Answer {
    let body = json!({"refresh_token": token});
    send(stack.http.post(stack.url(n, "/api/auth/refresh")).json(&body)).await
}

async fn rotated(stack: &Stack, n: usize, token: &str) -> String {
    let body = refresh(stack, n, token).await.expect(200);
    body["refresh_token"].as_str().expect("a refresh token").to_owned()
}

/// The session's key in Redis; the session's id opens its tokens.
fn key(token: &str) -> String {
    format!("session:{}", token.split('.').next().expect("an id"))
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
}

#[tokio::test]
async fn a_session_goes_on_from_either_backend() {
    let stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    let second = rotated(&stack, 1, &alice.refresh_token).await;
    let body = refresh(&stack, 0, &second).await.expect(200);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
    let token = body["access_token"].as_str().expect("a token");
    send(stack.http.get(stack.url(1, "/api/me")).bearer_auth(token)).await.expect(200);
}

#[tokio::test]
async fn twenty_refreshes_at_once_all_get_the_same_successor() {
    let stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    let all = (0..20).map(|n| rotated(&stack, n % 2, &alice.refresh_token));
    let successors = futures_util::future::join_all(all).await;
    assert!(successors.iter().all(|token| *token == successors[0]));
    assert_eq!(stack.redis_cli(&["HGET", &key(&alice.refresh_token), "n"]), "2", "one rotation");
}

#[tokio::test]
async fn a_token_older_than_the_last_ends_the_session() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    let third = rotated(&stack, 0, &second).await;
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "refresh-token-reused");
    refresh(&stack, 0, &third).await.expect_problem(401, "invalid-refresh-token");
    assert_eq!(stack.redis_cli(&["KEYS", "session*"]), "", "nothing of the session is left");
}

#[tokio::test]
async fn a_theft_is_told_to_the_user_and_counted() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    rotated(&stack, 0, &second).await;
    let again = stack.sign_in("alice").await;
    let inbox = async || stack.get_as(&again.user, "/api/notifications").await.expect(200);
    assert_eq!(inbox().await["items"], json!([]));
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "refresh-token-reused");
    let told = inbox().await["items"][0].clone();
    assert_eq!((&told["kind"], &told["read"]), (&json!("security"), &json!(false)));
    let session = key(&alice.refresh_token).replace("session:", "");
    assert_eq!(told["data"], json!({"event": "refresh-token-reuse", "session_id": session, "client": ""}));
    let metrics =
        stack.http.get(stack.management_url(0, "/actuator/prometheus")).send().await.expect("answered");
    let metrics = metrics.text().await.expect("text");
    for (event, outcome) in
        [("reuse", "done"), ("refresh", "refused"), ("refresh", "done"), ("sign-in", "done")]
    {
        let name = format!("backend_auth_events_total{{event=\"{event}\",outcome=\"{outcome}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
        assert_ne!(count, "0", "{name}: {metrics}");
    }
}

#[tokio::test]
async fn the_last_token_too_ends_the_session_when_it_comes_again_late() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    let long_ago = (now_ms() - 11_000).to_string();
    stack.redis_cli(&["HSET", &key(&second), "rotated", &long_ago]);
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "refresh-token-reused");
    refresh(&stack, 0, &second).await.expect_problem(401, "invalid-refresh-token");
}

#[tokio::test]
async fn a_client_does_not_pay_for_a_rotation_that_redis_forgot() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    stack.redis_cli(&["HSET", &key(&second), "n", "1"]);
    rotated(&stack, 0, &second).await;
    assert_eq!(stack.redis_cli(&["HGET", &key(&second), "n"]), "3");
}

#[tokio::test]
async fn a_session_that_lay_unused_for_seven_days_has_ended() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let week = 7 * 24 * 3600 * 1000;
    let key = key(&alice.refresh_token);
    stack.redis_cli(&["HSET", &key, "last_used", &(now_ms() - week + 60_000).to_string()]);
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    stack.redis_cli(&["HSET", &key, "last_used", &(now_ms() - week - 1000).to_string()]);
    refresh(&stack, 0, &second).await.expect_problem(401, "invalid-refresh-token");
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_however_often_it_is_used() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let month = 30 * 24 * 3600 * 1000;
    let key = key(&alice.refresh_token);
    stack.redis_cli(&["HSET", &key, "created", &(now_ms() - month + 60_000).to_string()]);
    let second = rotated(&stack, 0, &alice.refresh_token).await;
    stack.redis_cli(&["HSET", &key, "created", &(now_ms() - month - 1000).to_string()]);
    refresh(&stack, 0, &second).await.expect_problem(401, "invalid-refresh-token");
}

#[tokio::test]
async fn a_database_that_fails_costs_nobody_the_refresh_token() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let rename = async |from: &str, to: &str| {
        let sql = sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        backend::write!(&stack.db, |pool| sqlx::query(sql).execute(pool).await.map(drop)).expect("renamed");
    };
    rename("users", "users_elsewhere").await;
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(500, "internal");
    rename("users_elsewhere", "users").await;
    assert_eq!(stack.redis_cli(&["HGET", &key(&alice.refresh_token), "n"]), "1", "not rotated");
    rotated(&stack, 0, &alice.refresh_token).await;
}

#[tokio::test]
async fn a_user_who_is_gone_has_no_session_any_more() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    backend::write!(&stack.db, |pool| {
        let delete = sqlx::query("DELETE FROM users WHERE id = $1").bind(&alice.user.id);
        delete.execute(pool).await.expect("deleted");
    });
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "invalid-token");
    assert_eq!(stack.redis_cli(&["KEYS", "session*"]), "", "nothing of the session is left");
}

#[tokio::test]
async fn whoever_signs_in_takes_sessions_away_that_nobody_came_back_to() {
    let stack = Stack::start().await;
    let mut old = Vec::new();
    for n in 0..3 {
        old.push(stack.sign_in(&format!("user {n}")).await);
    }
    let week = 7 * 24 * 3600 * 1000;
    for (signed_in, age_ms) in old.iter().zip([week + 1000, week + 1000, week - 60_000]) {
        let id = key(&signed_in.refresh_token).replace("session:", "");
        stack.redis_cli(&["ZADD", "sessions:by-last-use", &(now_ms() - age_ms).to_string(), &id]);
    }
    stack.sign_in("alice").await;
    let is_there = |signed_in: &crate::harness::SignedIn| {
        let of_user = format!("sessions:user:{}", signed_in.user.id);
        let count = |arguments: &[&str]| stack.redis_cli(arguments);
        [count(&["EXISTS", &key(&signed_in.refresh_token)]), count(&["ZCARD", &of_user])]
    };
    assert_eq!(is_there(&old[0]), ["0", "0"]);
    assert_eq!(is_there(&old[1]), ["0", "0"]);
    assert_eq!(is_there(&old[2]), ["1", "1"]);
    assert_eq!(stack.redis_cli(&["ZCARD", "sessions:by-last-use"]), "2");
}

#[tokio::test]
async fn sessions_carry_no_ttl() {
    let stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    assert_eq!(stack.redis_cli(&["TTL", &key(&alice.refresh_token)]), "-1");
}

#[tokio::test]
async fn the_twenty_first_session_ends_the_oldest() {
    let stack = Stack::start().await;
    let first = stack.sign_in("alice").await;
    let second = stack.sign_in("alice").await;
    for _ in 0..19 {
        stack.sign_in("alice").await;
    }
    refresh(&stack, 0, &first.refresh_token).await.expect_problem(401, "invalid-refresh-token");
    rotated(&stack, 0, &second.refresh_token).await;
}

#[tokio::test]
async fn signing_out_ends_the_session_by_either_token() {
    let stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    let body = json!({"refresh_token": alice.refresh_token});
    for _ in 0..2 {
        let answer = send(stack.http.post(stack.url(1, "/api/auth/logout")).json(&body)).await;
        assert_eq!(answer.status, 204);
    }
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "invalid-refresh-token");

    let alice = stack.sign_in("alice").await;
    let request = stack.http.post(stack.url(1, "/api/auth/logout")).bearer_auth(&alice.user.token);
    assert_eq!(send(request).await.status, 204);
    refresh(&stack, 0, &alice.refresh_token).await.expect_problem(401, "invalid-refresh-token");

    let url = stack.url(0, "/api/auth/logout");
    send(stack.http.post(&url)).await.expect_problem(401, "token-missing");
    send(stack.http.post(&url).body("?")).await.expect_problem(415, "unsupported-media-type");
    let json_text = stack.http.post(&url).header("content-type", "application/json").body("?");
    send(json_text).await.expect_problem(422, "invalid-body");
    let forged = json!({"refresh_token": "a.1.b"});
    send(stack.http.post(&url).json(&forged)).await.expect_problem(401, "invalid-refresh-token");
}
