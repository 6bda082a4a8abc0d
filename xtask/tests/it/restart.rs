//! Processes that are killed come back, and nothing that was answered is lost.

use std::process::Command;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::booking::free_slot;
use crate::client::{Person, address, browser, until};
use crate::stack::Stack;

const SOON: Duration = Duration::from_secs(5);
const REDIS_SOON: Duration = Duration::from_secs(10);

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "{pid}");
}

/// A booking, a message and a session, made before something is killed.
struct Kept {
    person: Person,
    reservation: String,
    room: Value,
}

impl Kept {
    async fn make(stack: &Stack, name: &str) -> Self {
        let person = Person::sign_in(&stack.file, name, address(1)).await;
        let found = person.get("/api/vendors?limit=1").await;
        let vendor = found["items"][0]["id"].as_str().expect("a vendor").to_owned();
        let slot = free_slot(&person, &vendor, 1).await;
        let (status, booked) = person.post("/api/reservations", slot.request).await;
        assert_eq!(status, StatusCode::CREATED, "{booked}");
        let (_, room) = person.post("/api/chat/rooms", json!({"vendor_id": vendor})).await;
        let mut chat = person.chat().await;
        chat.send(json!({"type": "send", "room": room["id"], "client_id": "1", "body": "kept"})).await;
        assert_eq!(chat.next("ack").await["seq"], 1);
        let reservation = booked["id"].as_str().expect("an id").to_owned();
        Self { person, reservation, room: room["id"].clone() }
    }

    async fn check(&self, stack: &Stack) {
        let reservation = self.person.get(&format!("/api/reservations/{}", self.reservation)).await;
        assert_eq!(reservation["status"], "confirmed");
        let room = self.room.as_str().expect("an id");
        let history = self.person.get(&format!("/api/chat/rooms/{room}/messages")).await;
        assert_eq!(history["items"][0]["body"], "kept", "{history}");
        // Either backend may take it, and one may find its Redis again a moment after the other.
        let http = browser(&stack.file, address(1));
        until("the session goes on", SOON, async || {
            let refresh = http
                .post(format!("{}/api/auth/refresh", stack.file.https))
                .json(&json!({"refresh_token": self.person.refresh_token}));
            let status = refresh.send().await.expect("an answer").status();
            assert!(matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{status}");
            status == StatusCode::OK
        })
        .await;
    }
}

/// Whether a vendor's page, sign-in and an own list are all answered.
async fn everything_answers(stack: &Stack, name: &str) -> bool {
    let http = browser(&stack.file, address(9));
    let Ok(vendors) = http.get(format!("{}/api/vendors?limit=1", stack.file.https)).send().await else {
        return false;
    };
    if vendors.status() != StatusCode::OK {
        return false;
    }
    let Ok(minted) = http
        .post(format!("{}/google/mint", stack.file.identity_provider))
        .json(&json!({"sub": name, "name": name, "nonce": "n"}))
        .send()
        .await
    else {
        return false;
    };
    let minted: Value = minted.json().await.unwrap_or_default();
    let login = json!({"provider": "google", "id_token": minted["id_token"], "nonce": "n"});
    // From another address each time: the limit on logins is not what is tried here.
    let from = std::net::Ipv4Addr::new(
        127,
        0,
        8,
        (std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.subsec_millis())
            % 250) as u8
            + 1,
    );
    let login = browser(&stack.file, from).post(format!("{}/api/auth/login", stack.file.https)).json(&login);
    login.send().await.is_ok_and(|response| response.status() == StatusCode::OK)
}

#[tokio::test]
async fn each_backend_comes_back_within_five_seconds() {
    let stack = Stack::start();
    let kept = Kept::make(&stack, "restart-backend").await;
    for index in 0..2 {
        let before = stack.reread().backends[index].pid;
        kill(before);
        until("the stack answers", SOON, async || everything_answers(&stack, "restart-backend").await).await;
        let management = stack.file.backends[index].management.clone();
        let http = browser(&stack.file, address(9));
        until("the backend itself is ready again", SOON, async || {
            let ready = http.get(format!("{management}/actuator/health/readiness")).send().await;
            ready.is_ok_and(|response| response.status() == StatusCode::OK)
                && stack.reread().backends[index].pid != before
        })
        .await;
    }
    kept.check(&stack).await;
}

#[tokio::test]
async fn no_read_fails_while_a_backend_is_killed() {
    let stack = Stack::start();
    let http = browser(&stack.file, address(1));
    let pid = stack.file.backends[0].pid;
    for turn in 0..90 {
        if turn == 30 {
            kill(pid);
        }
        let response =
            http.get(format!("{}/api/vendors?limit=1", stack.file.https)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "turn {turn}");
    }
}

#[tokio::test]
async fn the_edge_comes_back_within_five_seconds() {
    let stack = Stack::start();
    let kept = Kept::make(&stack, "restart-edge").await;
    kill(stack.file.pids["edge"]);
    until("the stack answers", SOON, async || everything_answers(&stack, "restart-edge").await).await;
    kept.check(&stack).await;
}

#[tokio::test]
async fn redis_comes_back_within_ten_seconds_and_bookings_go_on_meanwhile() {
    let stack = Stack::start();
    let kept = Kept::make(&stack, "restart-redis").await;
    kill(stack.file.pids["redis"]);
    let found = kept.person.get("/api/vendors?limit=2").await;
    let vendor = found["items"][1]["id"].as_str().expect("a vendor").to_owned();
    let slot = free_slot(&kept.person, &vendor, 1).await;
    let (status, booked) = kept.person.post("/api/reservations", slot.request).await;
    assert_eq!(status, StatusCode::CREATED, "{booked}");
    until("the stack answers", REDIS_SOON, async || everything_answers(&stack, "restart-redis").await).await;
    kept.check(&stack).await;
    let (_, list) = kept.person.send(Method::GET, "/api/reservations", None).await;
    assert_eq!(list["items"].as_array().expect("a list").len(), 2);
}
