//! Waiting for a place of a slot that is full.

use access_token::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::{book, text};
use crate::fixtures::{later, noon};
use crate::harness::{Answer, Stack, TestUser, eventually, send};

/// Two backends, one service of `capacity` places at noon, all of which somebody has.
struct Scene {
    stack: Stack,
    service: String,
    taken: Vec<(TestUser, Value)>,
}

impl Scene {
    async fn full(capacity: i64) -> Self {
        let stack = Stack::start_two().await;
        let vendor = stack.open_vendor("머리숲", "미용실").await;
        let service = stack.service(&vendor, capacity).await;
        let mut taken = Vec::new();
        for _ in 0..capacity {
            let user = stack.user("first", Role::User).await;
            let booking = stack.booked(&user, &service, noon()).await;
            taken.push((user, booking));
        }
        Self { stack, service, taken }
    }

    async fn waits(&self, user: &TestUser, party_size: i64) -> Answer {
        let body =
            json!({"service_id": self.service, "starts_at": noon().to_string(), "party_size": party_size});
        self.stack.post_as(user, "/api/waitlist", body).await
    }

    async fn books(&self, user: &TestUser) -> Answer {
        let body = json!({"service_id": self.service, "starts_at": noon().to_string()});
        book(&self.stack, 1, user, body).await
    }

    async fn cancel(&self, number: usize) {
        let (user, booking) = &self.taken[number];
        self.stack.act(user, booking, "cancel").await.expect(200);
    }

    async fn waiting_for(&self, user: &TestUser) -> Vec<Value> {
        self.stack.get_as(user, "/api/waitlist").await.expect(200)["items"].as_array().expect("items").clone()
    }

    async fn is_offered(&self, user: &TestUser) -> bool {
        self.waiting_for(user).await.iter().any(|entry| entry["offered_until"].is_string())
    }
}

#[tokio::test]
async fn a_freed_place_is_kept_for_whoever_waited_first() {
    let scene = Scene::full(1).await;
    let (first, second) = (scene.stack.user("a", Role::User).await, scene.stack.user("b", Role::User).await);
    scene.waits(&first, 1).await.expect(201);
    scene.waits(&second, 1).await.expect(201);
    scene.waits(&second, 1).await.expect_problem(409, "already-waiting");
    scene.cancel(0).await;

    let offer = scene.stack.told(&first, "waitlist-offer").await;
    assert_eq!(offer["starts_at"], noon().to_string());
    assert!(offer["offered_until"].is_string(), "{offer}");
    assert!(scene.is_offered(&first).await && !scene.is_offered(&second).await);
    scene.books(&second).await.expect_problem(409, "slot-taken");
    let own = scene.stack.get_as(&first, "/api/reservations").await.expect(200);
    assert_eq!(own["items"], json!([]), "an offer is no booking");

    scene.books(&first).await.expect(201);
    assert!(scene.waiting_for(&first).await.is_empty());
    assert_eq!(scene.waiting_for(&second).await.len(), 1);
}

#[tokio::test]
async fn an_offer_that_nobody_takes_goes_to_the_next() {
    let scene = Scene::full(1).await;
    let (first, second) = (scene.stack.user("a", Role::User).await, scene.stack.user("b", Role::User).await);
    let entry = scene.waits(&first, 1).await.expect(201);
    scene.waits(&second, 1).await.expect(201);
    scene.cancel(0).await;
    scene.stack.let_hold_run_out(text(&entry, "id")).await;
    eventually("the next is offered the place", async || scene.is_offered(&second).await).await;
    assert!(scene.waiting_for(&first).await.is_empty());
    scene.books(&first).await.expect_problem(409, "slot-taken");
    scene.books(&second).await.expect(201);
}

#[tokio::test]
async fn whoever_leaves_the_list_leaves_the_offer_to_the_next() {
    let scene = Scene::full(1).await;
    let (first, second) = (scene.stack.user("a", Role::User).await, scene.stack.user("b", Role::User).await);
    let entry = scene.waits(&first, 1).await.expect(201);
    scene.waits(&second, 1).await.expect(201);
    scene.cancel(0).await;
    let leave = |user: &TestUser| {
        let path = format!("/api/waitlist/{}", text(&entry, "id"));
        send(scene.stack.request(Method::DELETE, &path).bearer_auth(&user.token))
    };
    leave(&second).await.expect_problem(404, "not-found");
    leave(&first).await.expect(204);
    leave(&first).await.expect_problem(404, "not-found");
    assert!(scene.is_offered(&second).await);
}

#[tokio::test]
async fn a_party_too_large_for_the_place_is_passed_over_until_it_fits() {
    let scene = Scene::full(2).await;
    let (pair, single) =
        (scene.stack.user("pair", Role::User).await, scene.stack.user("single", Role::User).await);
    scene.waits(&pair, 2).await.expect(201);
    scene.waits(&single, 1).await.expect(201);
    scene.cancel(0).await;
    assert!(scene.is_offered(&single).await && !scene.is_offered(&pair).await);
    scene.cancel(1).await;
    assert!(!scene.is_offered(&pair).await, "one place is the single's");
    let entry = scene.waiting_for(&single).await.remove(0);
    let path = format!("/api/waitlist/{}", text(&entry, "id"));
    send(scene.stack.request(Method::DELETE, &path).bearer_auth(&single.token)).await.expect(204);
    assert!(scene.is_offered(&pair).await);
}

#[tokio::test]
async fn a_moved_booking_and_a_shared_resource_free_places_too() {
    let stack = Stack::start().await;
    let vendor = stack.open_vendor("vendor", "네일").await;
    let services = stack.services_of_one_resource(&vendor, &[1, 1]).await;
    let (user, waiting) = (stack.user("user", Role::User).await, stack.user("waiting", Role::User).await);
    let booking = stack.booked(&user, &services[0], noon()).await;
    let body = json!({"service_id": services[1], "starts_at": noon().to_string()});
    stack.post_as(&waiting, "/api/waitlist", body.clone()).await.expect(201);
    let path = format!("/api/reservations/{}/reschedule", text(&booking, "id"));
    let to = json!({"starts_at": later(noon(), 5).to_string()});
    stack.post_as(&user, &path, to).await.expect(200);
    stack.told(&waiting, "waitlist-offer").await;
    book(&stack, 0, &waiting, body).await.expect(201);
}

#[tokio::test]
async fn nobody_waits_where_places_are_left_or_none_ever_are() {
    let scene = Scene::full(2).await;
    let user = scene.stack.user("user", Role::User).await;
    scene.waits(&user, 3).await.expect_problem(422, "invalid-party-size");
    scene.cancel(0).await;
    scene.waits(&user, 1).await.expect_problem(409, "places-left");
    scene.waits(&user, 2).await.expect(201);
}
