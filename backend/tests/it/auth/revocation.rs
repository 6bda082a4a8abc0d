//! What ends at once: sessions and access tokens, on both backends.

use access_token::Role;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{SignedIn, Stack, TestUser, eventually, send};

async fn status(stack: &Stack, n: usize, user: &TestUser) -> u16 {
    send(stack.http.get(stack.url(n, "/api/me")).bearer_auth(&user.token)).await.status.as_u16()
}

async fn is_refused_everywhere(stack: &Stack, user: &TestUser) {
    for n in 0..2 {
        eventually("the token is refused", async || status(stack, n, user).await == 401).await;
    }
}

async fn refresh(stack: &Stack, signed_in: &SignedIn) -> (u16, Value) {
    let body = json!({ "refresh_token": signed_in.refresh_token });
    let answer = send(stack.http.post(stack.url(1, "/api/auth/refresh")).json(&body)).await;
    (answer.status.as_u16(), answer.body)
}

async fn admin(stack: &Stack) -> TestUser {
    stack.user("the admin", Role::Admin).await
}

#[tokio::test]
async fn a_sign_out_ends_the_access_token_on_both_backends() {
    let stack = Stack::start_two().await;
    let (alice, bob) = (stack.sign_in("alice").await, stack.sign_in("bob").await);
    assert_eq!(status(&stack, 1, &alice.user).await, 200);
    let body = json!({ "refresh_token": alice.refresh_token });
    send(stack.http.post(stack.url(0, "/api/auth/logout")).json(&body)).await.expect(204);
    is_refused_everywhere(&stack, &alice.user).await;
    assert_eq!(status(&stack, 1, &bob.user).await, 200);
}

#[tokio::test]
async fn a_sign_out_everywhere_ends_every_session_and_a_new_one_counts_at_once() {
    let stack = Stack::start_two().await;
    let (first, second) = (stack.sign_in("alice").await, stack.sign_in_on(1, "alice").await);
    let answer =
        send(stack.http.post(stack.url(1, "/api/auth/logout-all")).bearer_auth(&first.user.token)).await;
    assert_eq!(answer.status, 204);
    for signed_in in [&first, &second] {
        is_refused_everywhere(&stack, &signed_in.user).await;
        assert_eq!(refresh(&stack, signed_in).await.0, 401);
    }
    let again = stack.sign_in("alice").await;
    assert_eq!(status(&stack, 0, &again.user).await, 200);
}

#[tokio::test]
async fn a_device_is_listed_and_can_be_ended_by_its_user_alone() {
    let stack = Stack::start_two().await;
    let (phone, desk, bob) =
        (stack.sign_in("alice").await, stack.sign_in("alice").await, stack.sign_in("bob").await);
    let list = stack.get_as(&desk.user, "/api/auth/sessions").await.expect(200);
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    assert_eq!((&items[0]["is_current"], &items[1]["is_current"]), (&json!(true), &json!(false)));
    assert!(items.iter().all(|item| item["last_used_at"].is_string() && item["client"].is_string()));
    let path = format!("/api/auth/sessions/{}", items[1]["id"].as_str().expect("an id"));
    let delete = async |user: &TestUser| {
        send(stack.http.delete(stack.url(1, &path)).bearer_auth(&user.token)).await.status.as_u16()
    };
    assert_eq!(delete(&bob.user).await, 404);
    assert_eq!(delete(&desk.user).await, 204);
    assert_eq!(delete(&desk.user).await, 404);
    is_refused_everywhere(&stack, &phone.user).await;
    assert_eq!(status(&stack, 0, &desk.user).await, 200);
    assert_eq!(stack.get_as(&desk.user, "/api/auth/sessions").await.expect(200)["items"][0]["client"], "");
}

#[tokio::test]
async fn a_changed_role_counts_with_the_next_token_and_the_last_one_no_longer() {
    let stack = Stack::start_two().await;
    let (admin, alice) = (admin(&stack).await, stack.sign_in("alice").await);
    let path = format!("/admin/api/users/{}/role", alice.user.id);
    let set = async |user: &TestUser, role: &str| {
        let request = stack.http.put(stack.url(0, &path)).bearer_auth(&user.token);
        send(request.json(&json!({ "role": role }))).await
    };
    set(&alice.user, "admin").await.expect_problem(403, "forbidden");
    set(&admin, "vendor").await.expect(204);
    is_refused_everywhere(&stack, &alice.user).await;
    let (status_code, body) = refresh(&stack, &alice).await;
    assert_eq!(status_code, 200);
    let token = body["access_token"].as_str().expect("a token").to_owned();
    let alice = TestUser { id: alice.user.id, token };
    assert_eq!(stack.get_as(&alice, "/api/me").await.expect(200)["role"], "vendor");
    assert_eq!(status(&stack, 1, &alice).await, 200);
    let nobody = format!("/admin/api/users/{}/role", uuid::Uuid::nil());
    let request = stack.http.put(stack.url(0, &nobody)).bearer_auth(&admin.token);
    send(request.json(&json!({ "role": "user" }))).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_admin_sees_users_and_ends_their_sessions() {
    let stack = Stack::start_two().await;
    let (admin, alice) = (admin(&stack).await, stack.sign_in("alice").await);
    let page = stack.get_as(&admin, "/admin/api/users?limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("there is another");
    let rest = stack.get_as(&admin, &format!("/admin/api/users?cursor={cursor}")).await.expect(200);
    assert_eq!(rest["items"][0]["id"], alice.user.id.as_str());
    stack.get_as(&alice.user, "/admin/api/users").await.expect_problem(403, "forbidden");
    let path = format!("/admin/api/users/{}/revoke-sessions", alice.user.id);
    stack.post_as(&admin, &path, Value::Null).await.expect(204);
    is_refused_everywhere(&stack, &alice.user).await;
    assert_eq!(refresh(&stack, &alice).await.0, 401);
}

#[tokio::test]
async fn a_deleted_account_is_signed_out_and_forgotten() {
    let stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    send(stack.http.delete(stack.url(0, "/api/me")).bearer_auth(&alice.user.token)).await.expect(204);
    is_refused_everywhere(&stack, &alice.user).await;
    assert_eq!(refresh(&stack, &alice).await.0, 401);
    let row: (String, Option<String>) = backend::read!(&stack.db, |pool| {
        let sql = "SELECT name, email FROM users WHERE id = $1";
        sqlx::query_as(sql).bind(&alice.user.id).fetch_one(pool).await.expect("it stays")
    });
    assert_eq!(row, ("탈퇴한 사용자".to_owned(), None));
    assert_ne!(stack.sign_in("alice").await.user.id, alice.user.id, "whoever comes back begins anew");
}

#[tokio::test]
async fn another_identity_leads_to_the_same_account_unless_it_is_somebody_elses() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.sign_in("alice").await, stack.sign_in("bob").await);
    let link = async |user: &TestUser, sub: &str, nonce: &str| {
        let id_token = stack.mint(sub, nonce).await;
        let body = json!({ "id_token": id_token, "nonce": nonce });
        stack.post_as(user, "/api/auth/identities/google", body).await
    };
    link(&alice.user, "alice at work", "n1").await.expect(204);
    link(&alice.user, "alice at work", "n2").await.expect(204);
    assert_eq!(stack.sign_in("alice at work").await.user.id, alice.user.id);
    link(&bob.user, "alice", "n3").await.expect_problem(409, "identity-taken");
}

#[tokio::test]
async fn a_socket_ends_with_its_session() {
    let stack = Stack::start_two().await;
    let (alice, bob) = (stack.sign_in("alice").await, stack.sign_in("bob").await);
    let open = async |user: &TestUser| {
        let url = stack.url(1, "/api/chat/ws").replace("http", "ws");
        let mut request = url.into_client_request().expect("a request");
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {}", user.token).parse().expect("text"));
        tokio_tungstenite::connect_async(request).await.expect("opened").0
    };
    let (mut socket, mut other) = (open(&alice.user).await, open(&bob.user).await);
    send(stack.http.post(stack.url(0, "/api/auth/logout")).bearer_auth(&alice.user.token)).await.expect(204);
    let revoked = std::time::Instant::now();
    let end = loop {
        if let Message::Close(frame) = socket.next().await.expect("an end").expect("a frame") {
            break frame.expect("a code");
        }
    };
    assert_eq!(u16::from(end.code), 4003);
    assert!(revoked.elapsed() < std::time::Duration::from_secs(1), "{:?}", revoked.elapsed());
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(200), other.next()).await;
    assert!(quiet.is_err(), "nobody else's socket ends: {quiet:?}");
}

#[tokio::test]
async fn a_redis_that_was_emptied_or_came_back_empty_ends_all_tokens_from_before() {
    let stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    stack.redis_cli(&["FLUSHALL"]);
    let emptied = std::time::Instant::now();
    is_refused_everywhere(&stack, &alice.user).await;
    assert!(emptied.elapsed() < std::time::Duration::from_secs(1), "{:?}", emptied.elapsed());
    assert_eq!(refresh(&stack, &alice).await.0, 401);
    let again = stack.sign_in("alice").await;
    for n in 0..2 {
        eventually("a new token counts", async || status(&stack, n, &again.user).await == 200).await;
    }
}

#[tokio::test]
async fn what_was_revoked_while_redis_was_away_from_one_backend_is_learned_when_it_is_back() {
    let mut stack = Stack::start_two().await;
    let alice = stack.sign_in("alice").await;
    stack.stop_redis().await;
    assert_eq!(status(&stack, 0, &alice.user).await, 200, "valid tokens go on");
    let body = json!({ "refresh_token": alice.refresh_token });
    let answer = send(stack.http.post(stack.url(0, "/api/auth/logout")).json(&body)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    stack.start_redis().await;
    assert_eq!(status(&stack, 0, &alice.user).await, 200, "nobody was signed out by it");
    send(stack.http.post(stack.url(0, "/api/auth/logout")).json(&body)).await.expect(204);
    is_refused_everywhere(&stack, &alice.user).await;
}
