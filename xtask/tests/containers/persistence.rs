//! What outlives the containers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::booking::free_slot;
use crate::client::{Person, address, browser};
use crate::docker::{compose, up};
use crate::stack::Stack;

#[tokio::test]
async fn reservations_sessions_keys_and_the_certificate_survive_down_and_up() {
    let stack = Stack::start();
    let person = Person::sign_in(&stack.file, "persistence-person", address(1)).await;
    let found = person.get("/api/vendors?limit=1").await;
    let slot = free_slot(&person, found["items"][0]["id"].as_str().expect("a vendor"), 1).await;
    let (status, booked) = person.post("/api/reservations", slot.request).await;
    assert_eq!(status, StatusCode::CREATED, "{booked}");

    compose(&["down"]);
    assert_eq!(compose(&["ps", "--all", "--quiet"]), "");
    up();

    // The same CA, and an access token that the same key has signed.
    let again = browser(&stack.file, address(1));
    let url = |path: &str| format!("{}{path}", stack.file.https);
    let id = booked["id"].as_str().expect("an id");
    let request = again.get(url(&format!("/api/reservations/{id}"))).bearer_auth(&person.access_token);
    let kept: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(kept["status"], "confirmed", "{kept}");
    let refresh = again.post(url("/api/auth/refresh")).json(&json!({"refresh_token": person.refresh_token}));
    assert_eq!(refresh.send().await.expect("an answer").status(), StatusCode::OK);
}
