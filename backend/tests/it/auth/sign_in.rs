//! Signing in with a provider's id_token.

use serde_json::{Value, json};

use crate::harness::{Answer, Stack, send};

fn login(id_token: &str, nonce: &str) -> Value {
    json!({"provider": "google", "id_token": id_token, "nonce": nonce})
}

async fn sign_in(stack: &Stack, n: usize, body: Value) -> Answer {
    send(stack.http.post(stack.url(n, "/api/auth/login")).json(&body)).await
}

#[tokio::test]
async fn whoever_signs_in_again_is_the_same_user_on_either_backend() {
    let stack = Stack::start_two().await;
    let first = stack.sign_in_on(0, "alice").await;
    let second = stack.sign_in_on(1, "alice").await;
    let other = stack.sign_in_on(1, "bob").await;
    assert_eq!(first.user.id, second.user.id);
    assert_ne!(first.user.id, other.user.id);
    let me = stack.get_as(&second.user, "/api/me").await.expect(200);
    assert_eq!(me, json!({"id": first.user.id, "name": "Name of alice", "role": "user"}));
}

#[tokio::test]
async fn a_user_who_signs_in_many_times_at_once_is_made_once() {
    let stack = Stack::start_two().await;
    let all = futures_util::future::join_all((0..8).map(|n| stack.sign_in_on(n % 2, "eager"))).await;
    assert!(all.iter().all(|signed_in| signed_in.user.id == all[0].user.id));
}

#[tokio::test]
async fn identities_named_in_the_configuration_are_admins() {
    let stack = Stack::start().await;
    let admin = stack.sign_in("admin").await;
    assert_eq!(stack.get_as(&admin.user, "/api/me").await.expect(200)["role"], "admin");
}

#[tokio::test]
async fn tokens_come_as_oauth_writes_them_and_are_kept_nowhere() {
    let stack = Stack::start().await;
    let id_token = stack.mint("alice", "n-1").await;
    let answer = sign_in(&stack, 0, login(&id_token, "n-1")).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.expect(200);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
}

#[tokio::test]
async fn an_id_token_is_accepted_once() {
    let stack = Stack::start_two().await;
    let id_token = stack.mint("alice", "n-1").await;
    let attempts =
        futures_util::future::join_all((0..10).map(|n| sign_in(&stack, n % 2, login(&id_token, "n-1"))))
            .await;
    let accepted = attempts.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(accepted, 1, "{attempts:?}");
    sign_in(&stack, 0, login(&id_token, "n-1")).await.expect_problem(401, "invalid-id-token");
}

#[tokio::test]
async fn an_id_token_that_proves_nothing_is_refused() {
    let stack = Stack::start().await;
    let id_token = stack.mint("alice", "n-1").await;
    let (signed, signature) = id_token.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    for body in [
        login(&id_token, "another nonce"),
        login(&id_token, ""),
        login(&forged, "n-1"),
        login(signed, "n-1"),
        login("", "n-1"),
        login(&"x".repeat(20_000), "n-1"),
    ] {
        let answer = sign_in(&stack, 0, body).await;
        answer.expect_problem(401, "invalid-id-token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    sign_in(&stack, 0, login(&id_token, "n-1")).await.expect(200);
}

#[tokio::test]
async fn an_id_token_for_another_client_or_of_another_issuer_is_refused() {
    for (key, value) in
        [("client_id", json!("another-client")), ("issuer", json!("http://127.0.0.1:1/google"))]
    {
        let value = toml::Value::try_from(value).expect("toml");
        let change = |config: &mut toml::Table| config["providers"][0][key] = value.clone();
        let stack = Stack::with_config(1, change).await;
        let id_token = stack.mint("alice", "n-1").await;
        sign_in(&stack, 0, login(&id_token, "n-1")).await.expect_problem(401, "invalid-id-token");
    }
}

#[tokio::test]
async fn an_unknown_provider_and_bodies_of_the_wrong_form_are_problems() {
    let stack = Stack::start().await;
    let body = json!({"provider": "nobody", "id_token": "x", "nonce": "n"});
    sign_in(&stack, 0, body).await.expect_problem(422, "unknown-provider");
    sign_in(&stack, 0, json!({"provider": "google"})).await.expect_problem(422, "invalid-body");
    let url = stack.url(0, "/api/auth/login");
    send(stack.http.post(&url).body("{}")).await.expect_problem(415, "unsupported-media-type");
    let json = |body: String| stack.http.post(&url).header("content-type", "application/json").body(body);
    send(json("{".into())).await.expect_problem(400, "malformed-body");
    send(json(format!("\"{}\"", "x".repeat(70_000)))).await.expect_problem(413, "body-too-large");
    send(stack.http.get(&url)).await.expect_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_provider_out_of_reach_is_a_503() {
    let change = |config: &mut toml::Table| {
        config["providers"][0]["jwks_url"] = "http://127.0.0.1:1/jwks.json".into();
    };
    let stack = Stack::with_config(1, change).await;
    let id_token = stack.mint("alice", "n-1").await;
    let answer = sign_in(&stack, 0, login(&id_token, "n-1")).await;
    answer.expect_problem(503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn without_redis_sign_in_and_refresh_say_try_later_and_tokens_go_on_working() {
    let mut stack = Stack::start().await;
    let alice = stack.sign_in("alice").await;
    let id_token = stack.mint("alice", "n-1").await;
    stack.stop_redis().await;
    for (path, body) in [
        ("/api/auth/login", login(&id_token, "n-1")),
        ("/api/auth/refresh", json!({"refresh_token": alice.refresh_token})),
        ("/api/auth/logout", json!({"refresh_token": alice.refresh_token})),
    ] {
        let answer = stack.post(path, body).await;
        answer.expect_problem(503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"), "{path}");
    }
    stack.get_as(&alice.user, "/api/me").await.expect(200);

    stack.start_redis().await;
    sign_in(&stack, 0, login(&id_token, "n-1")).await.expect(200);
    stack.post("/api/auth/refresh", json!({"refresh_token": alice.refresh_token})).await.expect(200);
}
