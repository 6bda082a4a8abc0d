//! Booking through the service, on two backends.

use std::collections::HashSet;

use access_token::Role;
use backend::clock::EpochMillis;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixtures::{later, noon};
use crate::harness::{Answer, Stack, TestUser, eventually, send};

mod availability;
mod calendars;
mod changes;
mod idempotency;
mod lock;
mod policy;
mod store;
mod waitlist;

impl Stack {
    /// Books this start of a service on behalf of a user; the booking.
    async fn booked(&self, user: &TestUser, service: &str, starts_at: EpochMillis) -> Value {
        let body = json!({"service_id": service, "starts_at": starts_at.to_string()});
        book(self, 0, user, body).await.expect(201)
    }

    /// Does something to a booking on behalf of a user.
    async fn act(&self, user: &TestUser, booking: &Value, action: &str) -> Answer {
        let path = format!("/api/reservations/{}/{action}", text(booking, "id"));
        send(self.request(Method::POST, &path).bearer_auth(&user.token)).await
    }

    /// Waits until a user is told something of this kind; what they are told first.
    async fn told(&self, user: &TestUser, kind: &str) -> Value {
        let mut found = Value::Null;
        eventually(&format!("the user is told of {kind}"), async || {
            let inbox = self.get_as(user, "/api/notifications").await.expect(200);
            let items = inbox["items"].as_array().expect("items").clone();
            found = items.into_iter().rev().find(|item| item["kind"] == kind).unwrap_or_default();
            !found.is_null()
        })
        .await;
        found["data"].clone()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

async fn book(stack: &Stack, backend: usize, user: &TestUser, body: Value) -> Answer {
    let url = stack.url(backend, "/api/reservations");
    send(stack.http.post(url).bearer_auth(&user.token).json(&body)).await
}

/// `count` users who book the same place at once, in turns at either backend.
async fn rush(stack: &Stack, count: usize, body: &Value) -> Vec<Answer> {
    let mut users = Vec::new();
    for number in 0..count {
        users.push(stack.user(&format!("user {number}"), Role::User).await);
    }
    let attempts = users.iter().enumerate().map(|(number, user)| book(stack, number % 2, user, body.clone()));
    futures_util::future::join_all(attempts).await
}

fn count(answers: &[Answer], status: StatusCode) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn a_booking_is_answered_whole_and_found_again_at_its_location() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 3).await;
    let user = stack.user("user", Role::User).await;
    let body =
        json!({"service_id": service, "starts_at": noon().to_string(), "party_size": 2, "note": "창가로"});
    let answer = book(&stack, 0, &user, body).await;
    let location = answer.headers["location"].to_str().expect("text").to_owned();
    let made = answer.expect(201);
    assert_eq!(
        made,
        json!({
            "id": made["id"], "service_id": service, "vendor_id": vendor.id, "user_id": user.id,
            "starts_at": noon().to_string(), "ends_at": later(noon(), 1).to_string(), "party_size": 2,
            "note": "창가로", "status": "confirmed", "created_at": made["created_at"],
        })
    );
    let found = send(stack.http.get(stack.url(1, &location)).bearer_auth(&user.token)).await;
    assert_eq!(found.expect(200), made);
}

#[tokio::test]
async fn a_taken_slot_answers_409_and_its_neighbour_is_free() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    book(&stack, 0, &user, body.clone()).await.expect(201);
    book(&stack, 1, &user, body).await.expect_problem(409, "slot-taken");
    let neighbour = json!({"service_id": service, "starts_at": later(noon(), 1).to_string()});
    book(&stack, 1, &user, neighbour).await.expect(201);
}

#[tokio::test]
async fn of_fifty_who_want_the_only_place_at_once_one_gets_it() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    let answers = rush(&stack, 50, &body).await;
    assert_eq!(count(&answers, StatusCode::CREATED), 1);
    assert_eq!(count(&answers, StatusCode::CONFLICT), 49);
}

#[tokio::test]
async fn of_fifty_one_gets_the_only_place_without_redis_too() {
    let mut stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    stack.stop_redis().await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    let answers = rush(&stack, 50, &body).await;
    assert_eq!(count(&answers, StatusCode::CREATED), 1);
    for refused in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        refused.expect_problem(409, "slot-taken");
    }
}

#[tokio::test]
async fn of_fifty_as_many_get_in_as_there_are_places() {
    let stack = Stack::start_two().await;
    let vendor = stack.open_vendor("vendor", "필라테스").await;
    let service = stack.service(&vendor, 8).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    let answers = rush(&stack, 50, &body).await;
    assert_eq!(count(&answers, StatusCode::CREATED), 8);
    for refused in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        refused.expect_problem(409, "slot-taken");
    }
}

#[tokio::test]
async fn what_cannot_be_booked_is_refused() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 2).await;
    let user = stack.user("user", Role::User).await;
    let (good, past) = (noon().to_string(), later(noon(), -24 * 7).to_string());
    let off_step = good.replace(":00Z", ":01Z");
    for (change, status, name) in [
        (json!({"service_id": "0190b6a0-1111-7000-8000-000000000000"}), 404, "not-found"),
        (json!({"service_id": "nonsense"}), 422, "invalid-body"),
        (json!({"service_id": null}), 422, "invalid-body"),
        (json!({"starts_at": past}), 422, "in-the-past"),
        (json!({"starts_at": off_step}), 422, "no-such-slot"),
        (json!({"starts_at": "9999-12-30T22:00:00Z"}), 422, "too-far-ahead"),
        (json!({"starts_at": "tomorrow"}), 422, "invalid-body"),
        (json!({"starts_at": 5}), 422, "invalid-body"),
        (json!({"party_size": 0}), 422, "invalid-party-size"),
        (json!({"party_size": -1}), 422, "invalid-party-size"),
        (json!({"party_size": 3}), 422, "invalid-party-size"),
        (json!({"party_size": 1.5}), 422, "invalid-body"),
        (json!({"note": "가".repeat(501)}), 422, "note-too-long"),
    ] {
        let mut body = json!({"service_id": service, "starts_at": good});
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        stack.post_as(&user, "/api/reservations", body).await.expect_problem(status, name);
    }
    let whole_note = json!({"service_id": service, "starts_at": good, "note": "가".repeat(500)});
    stack.post_as(&user, "/api/reservations", whole_note).await.expect(201);
}

#[tokio::test]
async fn a_closed_door_cannot_be_booked() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let service = stack.service(&vendor, 1).await;
    backend::write!(&stack.db, |pool| {
        let close = sqlx::query("DELETE FROM opening_hours WHERE vendor_id = $1").bind(&vendor.id);
        close.execute(pool).await.expect("deleted");
    });
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    stack.post_as(&user, "/api/reservations", body).await.expect_problem(422, "no-such-slot");
}

#[tokio::test]
async fn without_a_token_nothing_is_booked_or_seen() {
    let stack = Stack::start().await;
    for (method, path) in [
        (Method::POST, "/api/reservations"),
        (Method::GET, "/api/reservations"),
        (Method::GET, "/api/reservations/0190b6a0-1111-7000-8000-000000000000"),
    ] {
        let answer = send(stack.request(method, path).json(&json!({}))).await;
        answer.expect_problem(401, "token-missing");
        assert!(answer.headers["www-authenticate"].to_str().expect("text").starts_with("Bearer"));
    }
}

#[tokio::test]
async fn a_reservation_is_shown_to_its_user_the_vendors_owner_and_admins_only() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let other_vendor = stack.open_vendor("other", "네일").await;
    let service = stack.service(&vendor, 1).await;
    let user = stack.user("user", Role::User).await;
    let body = json!({"service_id": service, "starts_at": noon().to_string()});
    let made = stack.post_as(&user, "/api/reservations", body).await.expect(201);
    let path = format!("/api/reservations/{}", made["id"].as_str().expect("an id"));

    let admin = stack.user("admin", Role::Admin).await;
    for allowed in [&user, &vendor.owner, &admin] {
        assert_eq!(stack.get_as(allowed, &path).await.expect(200), made);
    }
    let stranger = stack.user("stranger", Role::User).await;
    for denied in [&stranger, &other_vendor.owner] {
        stack.get_as(denied, &path).await.expect_problem(404, "not-found");
        let list = stack.get_as(denied, "/api/reservations").await.expect(200);
        assert_eq!(list, json!({"items": [], "next_cursor": null}));
    }
    stack.get_as(&user, "/api/reservations/nonsense").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn ones_own_reservations_come_page_by_page_the_latest_first() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let (one, two) = (stack.service(&vendor, 1).await, stack.service(&vendor, 1).await);
    let user = stack.user("user", Role::User).await;
    // Two of them begin at the same time, one on either side of a page's end: the cursor must lose neither.
    for (service, hours) in [(&one, 1), (&one, 0), (&two, 1), (&one, 3), (&one, 2)] {
        let body = json!({"service_id": service, "starts_at": later(noon(), hours).to_string()});
        stack.post_as(&user, "/api/reservations", body).await.expect(201);
    }
    let (mut starts, mut ids, mut cursor) = (Vec::new(), HashSet::new(), String::new());
    loop {
        let page = stack.get_as(&user, &format!("/api/reservations?limit=3{cursor}")).await.expect(200);
        for item in page["items"].as_array().expect("items") {
            starts.push(item["starts_at"].as_str().expect("a moment").to_owned());
            ids.insert(item["id"].as_str().expect("an id").to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<String> = [3, 2, 1, 1, 0].map(|hours| later(noon(), hours).to_string()).into();
    assert_eq!(starts, expected);
    assert_eq!(ids.len(), 5);

    for (query, status, name) in [
        ("limit=101", 422, "invalid-limit"),
        ("limit=x", 400, "invalid-query"),
        ("cursor=bm9uc2Vuc2U", 422, "invalid-cursor"),
    ] {
        stack.get_as(&user, &format!("/api/reservations?{query}")).await.expect_problem(status, name);
    }
}
