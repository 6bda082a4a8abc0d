//! The same key gets the same answer, and no second booking.

use access_token::Role;
use serde_json::{Value, json};

use crate::fixtures::noon;
use crate::harness::{Answer, Stack, TestUser, send};

async fn book(stack: &Stack, backend: usize, user: &TestUser, key: &str, body: &Value) -> Answer {
    let request = stack.http.post(stack.url(backend, "/api/reservations")).bearer_auth(&user.token);
    send(request.header("idempotency-key", key).json(body)).await
}

async fn bookings(stack: &Stack, user: &TestUser) -> usize {
    let list = stack.get_as(user, "/api/reservations").await.expect(200);
    list["items"].as_array().expect("a list").len()
}

#[tokio::test]
async fn the_same_key_and_body_get_the_same_booking_again_from_either_backend() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 5).await;
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string(), "party_size": 2});
    let first = book(&stack, 0, &user, "key-1", &body).await;
    let again = book(&stack, 1, &user, "key-1", &body).await;
    assert_eq!(first.headers["location"], again.headers["location"]);
    assert_eq!(first.expect(201), again.expect(201));
    assert_eq!(bookings(&stack, &user).await, 1);
    book(&stack, 0, &user, "key-2", &body).await.expect(201);
    assert_eq!(bookings(&stack, &user).await, 2);
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused_and_another_users_key_is_another() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 5).await;
    let (user, other) = (stack.user("user", Role::User).await, stack.user("other", Role::User).await);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    book(&stack, 0, &user, "key", &body).await.expect(201);
    let changed = json!({"service_id": service, "starts_at": noon().to_string(), "party_size": 2});
    book(&stack, 1, &user, "key", &changed).await.expect_problem(422, "idempotency-key-reused");
    book(&stack, 1, &other, "key", &body).await.expect(201);
    for key in ["", "a b"] {
        book(&stack, 0, &user, key, &body).await.expect_problem(400, "invalid-idempotency-key");
    }
}

#[tokio::test]
async fn of_twenty_at_once_under_one_key_one_booking_comes() {
    for capacity in [1, 5] {
        let stack = Stack::start_two().await;
        let vendor = stack.open_vendor("vendor", "네일").await;
        let service = stack.service(&vendor, capacity).await;
        let user = stack.user("user", Role::User).await;
        let body = json!({"service_id": service, "starts_at": noon().to_string()});
        let attempts = (0..20).map(|turn| book(&stack, turn % 2, &user, "key", &body));
        let answers = futures_util::future::join_all(attempts).await;
        let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert!(!made.is_empty());
        assert!(made.iter().all(|answer| answer.body["id"] == made[0].body["id"]), "{made:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.expect_problem(409, "slot-busy");
        }
        assert_eq!(bookings(&stack, &user).await, 1);
        assert_eq!(book(&stack, 0, &user, "key", &body).await.expect(201)["id"], made[0].body["id"]);
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let (user, rival) = (stack.user("user", Role::User).await, stack.user("rival", Role::User).await);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    book(&stack, 0, &rival, "key", &body).await.expect(201);
    book(&stack, 0, &user, "key", &body).await.expect_problem(409, "slot-taken");
    let later = json!({"service_id": service, "starts_at": crate::fixtures::later(noon(), 2).to_string()});
    book(&stack, 0, &user, "key", &later).await.expect(201);
}

#[tokio::test]
async fn keys_are_forgotten_after_seven_days_and_their_bookings_stay() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 5).await;
    let (user, admin) = (stack.user("user", Role::User).await, stack.user("admin", Role::Admin).await);
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    book(&stack, 0, &user, "old", &body).await.expect(201);
    let db = stack.another_db().await;
    backend::write!(&db, |pool| {
        sqlx::query("UPDATE idempotency_keys SET created_at = created_at - 700000000")
            .execute(pool)
            .await
            .map(drop)
    })
    .expect("aged");
    book(&stack, 0, &user, "new", &body).await.expect(201);
    let path = "/admin/api/batch/jobs/purge-idempotency/run";
    stack.post_as(&admin, path, json!({})).await.expect(202);
    let left = async || -> Vec<String> {
        backend::read!(&db, |pool| sqlx::query_scalar("SELECT key FROM idempotency_keys")
            .fetch_all(pool)
            .await)
        .expect("read")
    };
    crate::harness::eventually("the old key is forgotten", async || left().await == ["new"]).await;
    assert_eq!(bookings(&stack, &user).await, 2);
}
