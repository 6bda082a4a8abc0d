//! What becomes of bookings.

use access_token::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{book, text};
use crate::fixtures::{TestVendor, later, noon};
use crate::harness::{Answer, Stack, TestUser, eventually};

/// A vendor with one service of one place, and somebody who books.
struct Scene {
    stack: Stack,
    vendor: TestVendor,
    service: String,
    user: TestUser,
}

impl Scene {
    async fn new() -> Self {
        let stack = Stack::start_two().await;
        let vendor = stack.open_vendor("머리숲", "미용실").await;
        let service = stack.service(&vendor, 1).await;
        let user = stack.user("user", Role::User).await;
        Self { stack, vendor, service, user }
    }

    async fn with_approval() -> Self {
        let scene = Self::new().await;
        scene.stack.set_service(&scene.service, "approval = 'manual'").await;
        scene
    }

    async fn booked(&self, hours: i64) -> Value {
        self.stack.booked(&self.user, &self.service, later(noon(), hours)).await
    }

    async fn moved(&self, booking: &Value, hours: i64) -> Answer {
        let path = format!("/api/reservations/{}/reschedule", text(booking, "id"));
        let body = json!({"starts_at": later(noon(), hours).to_string()});
        self.stack.post_as(&self.user, &path, body).await
    }

    async fn status_of(&self, booking: &Value) -> String {
        let path = format!("/api/reservations/{}", text(booking, "id"));
        text(&self.stack.get_as(&self.user, &path).await.expect(200), "status").to_owned()
    }

    /// Whether somebody else gets the place now.
    async fn is_free(&self, hours: i64) -> bool {
        let other = self.stack.user("other", Role::User).await;
        let body = json!({"service_id": self.service, "starts_at": later(noon(), hours).to_string()});
        let answer = book(&self.stack, 1, &other, body).await;
        answer.status == StatusCode::CREATED
    }
}

#[tokio::test]
async fn a_cancelled_booking_frees_its_place_at_once_and_the_vendor_is_told() {
    let scene = Scene::new().await;
    let booking = scene.booked(0).await;
    let cancelled = scene.stack.act(&scene.user, &booking, "cancel").await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert!(scene.is_free(0).await);
    scene.stack.act(&scene.user, &booking, "cancel").await.expect_problem(409, "wrong-status");
    let told = scene.stack.told(&scene.vendor.owner, "reservation-cancelled").await;
    assert_eq!((&told["reservation_id"], &told["vendor"]), (&booking["id"], &json!("머리숲")));
}

#[tokio::test]
async fn the_limit_for_cancelling_binds_the_user_and_not_the_vendor() {
    let scene = Scene::new().await;
    scene.stack.set_service(&scene.service, "cancel_minutes = 7 * 24 * 60").await;
    let booking = scene.booked(0).await;
    scene.stack.act(&scene.user, &booking, "cancel").await.expect_problem(409, "past-cancellation-limit");
    scene.moved(&booking, 1).await.expect_problem(409, "past-cancellation-limit");
    scene.stack.act(&scene.vendor.owner, &booking, "cancel").await.expect(200);
    let told = scene.stack.told(&scene.user, "reservation-cancelled").await;
    assert_eq!(told["reservation_id"], booking["id"]);
}

#[tokio::test]
async fn a_moved_booking_has_the_new_place_and_leaves_the_old_one() {
    let scene = Scene::new().await;
    let booking = scene.booked(0).await;
    let moved = scene.moved(&booking, 3).await.expect(200);
    assert_eq!(moved["starts_at"], later(noon(), 3).to_string());
    assert_eq!(moved["ends_at"], later(noon(), 4).to_string());
    assert_eq!((&moved["id"], &moved["status"]), (&booking["id"], &json!("confirmed")));
    assert!(scene.is_free(0).await && !scene.is_free(3).await);
    let again = scene.moved(&booking, 3).await.expect(200);
    assert_eq!(again, moved, "asked again, it is there already");
}

#[tokio::test]
async fn a_booking_that_cannot_move_stays_where_it_is() {
    let scene = Scene::new().await;
    let (booking, _taken) = (scene.booked(0).await, scene.booked(3).await);
    scene.moved(&booking, 3).await.expect_problem(409, "slot-taken");
    scene.moved(&booking, -24 * 7).await.expect_problem(422, "in-the-past");
    assert!(!scene.is_free(0).await);
    let overlapping = scene.stack.service(&scene.vendor, 1).await;
    scene.stack.set_service(&overlapping, "duration_minutes = 120").await;
    let long = scene.stack.booked(&scene.user, &overlapping, noon()).await;
    scene.moved(&long, 1).await.expect(200);
}

#[tokio::test]
async fn the_vendor_approves_or_rejects_what_it_wants_to_decide() {
    let scene = Scene::with_approval().await;
    let (yes, no) = (scene.booked(0).await, scene.booked(1).await);
    assert_eq!(yes["status"], "pending");
    assert!(yes["hold_until"].is_string(), "{yes}");
    assert!(!scene.is_free(0).await, "a pending one keeps its place");
    scene.stack.act(&scene.user, &yes, "approve").await.expect_problem(403, "forbidden");

    let approved = scene.stack.act(&scene.vendor.owner, &yes, "approve").await.expect(200);
    assert_eq!((&approved["status"], &approved["hold_until"]), (&json!("confirmed"), &Value::Null));
    let rejected = scene.stack.act(&scene.vendor.owner, &no, "reject").await.expect(200);
    assert_eq!(rejected["status"], "rejected");
    assert!(!scene.is_free(0).await && scene.is_free(1).await);
    assert_eq!(scene.stack.told(&scene.user, "reservation-approved").await["reservation_id"], yes["id"]);
    assert_eq!(scene.stack.told(&scene.user, "reservation-rejected").await["reservation_id"], no["id"]);
    scene.stack.act(&scene.vendor.owner, &no, "approve").await.expect_problem(409, "wrong-status");
    let moved = scene.moved(&yes, 5).await.expect(200);
    assert_eq!(moved["status"], "pending", "another time is decided on anew");
}

#[tokio::test]
async fn a_hold_that_nobody_decides_on_ends_by_itself() {
    let scene = Scene::with_approval().await;
    let booking = scene.booked(0).await;
    scene.stack.let_hold_run_out(text(&booking, "id")).await;
    eventually("the hold ends", async || scene.status_of(&booking).await == "rejected").await;
    assert!(scene.is_free(0).await);
    let told = scene.stack.told(&scene.user, "reservation-rejected").await;
    assert_eq!(told["reason"], "unanswered");
}

#[tokio::test]
async fn a_hold_that_has_run_out_is_in_nobodys_way_even_before_its_timer() {
    let scene = Scene::with_approval().await;
    let booking = scene.booked(0).await;
    let sql = "UPDATE reservations SET hold_until = 1 WHERE id = $1";
    scene.stack.execute(sql, &[text(&booking, "id")]).await;
    assert!(scene.is_free(0).await);
    assert_eq!(scene.status_of(&booking).await, "rejected");
}

#[tokio::test]
async fn the_vendor_says_afterwards_who_came() {
    let scene = Scene::new().await;
    let (came, missed) = (scene.booked(0).await, scene.booked(1).await);
    scene.stack.act(&scene.vendor.owner, &came, "complete").await.expect_problem(409, "wrong-time");
    let sql = "UPDATE reservations SET starts_at = starts_at - 864000000, ends_at = ends_at - 864000000,
        busy_from = busy_from - 864000000, busy_until = busy_until - 864000000";
    scene.stack.execute(sql, &[]).await;
    for (booking, action, status) in [(&came, "complete", "completed"), (&missed, "no-show", "no-show")] {
        scene.stack.act(&scene.user, booking, action).await.expect_problem(403, "forbidden");
        let changed = scene.stack.act(&scene.vendor.owner, booking, action).await.expect(200);
        assert_eq!(changed["status"], status);
    }
}

#[tokio::test]
async fn of_many_who_change_a_booking_at_once_one_does() {
    let scene = Scene::with_approval().await;
    let booking = scene.booked(0).await;
    let owner = &scene.vendor.owner;
    let (approved, rejected, cancelled) = tokio::join!(
        scene.stack.act(owner, &booking, "approve"),
        scene.stack.act(owner, &booking, "reject"),
        scene.stack.act(owner, &booking, "cancel"),
    );
    let status = scene.status_of(&booking).await;
    let won = [("confirmed", &approved), ("rejected", &rejected), ("cancelled", &cancelled)];
    for (meant, answer) in won {
        match answer.status {
            StatusCode::OK => assert_eq!(answer.body["status"], meant),
            _ => assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}"),
        }
    }
    assert!(
        won.iter().any(|(meant, answer)| *meant == status && answer.status == StatusCode::OK),
        "{status}"
    );
}

#[tokio::test]
async fn strangers_change_nothing() {
    let scene = Scene::new().await;
    let booking = scene.booked(0).await;
    let stranger = scene.stack.user("stranger", Role::User).await;
    let other_owner = scene.stack.open_vendor("other", "네일").await.owner;
    for who in [&stranger, &other_owner] {
        for action in ["cancel", "approve", "reject", "complete", "no-show"] {
            scene.stack.act(who, &booking, action).await.expect_problem(404, "not-found");
        }
    }
    assert_eq!(scene.status_of(&booking).await, "confirmed");
}

#[tokio::test]
async fn the_vendor_sees_its_bookings_by_local_days() {
    let scene = Scene::new().await;
    let (first, second) = (scene.booked(0).await, scene.booked(24).await);
    let path = format!("/api/vendors/{}/reservations", scene.vendor.id);
    let (day, next) = (&noon().to_string()[..10], &later(noon(), 24).to_string()[..10]);
    let owner = &scene.vendor.owner;
    for (query, expected) in [
        (String::new(), vec![&first, &second]),
        (format!("?from={next}"), vec![&second]),
        (format!("?from={day}&to={day}"), vec![&first]),
        (format!("?from={day}&to={next}&limit=1"), vec![&first]),
    ] {
        let page = scene.stack.get_as(owner, &format!("{path}{query}")).await.expect(200);
        assert_eq!(page["items"].as_array().expect("items").iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let page = scene.stack.get_as(owner, &format!("{path}?limit=1")).await.expect(200);
    let rest = format!("{path}?limit=1&cursor={}", text(&page, "next_cursor"));
    assert_eq!(scene.stack.get_as(owner, &rest).await.expect(200)["items"], json!([second]));
    scene.stack.get_as(&scene.user, &path).await.expect_problem(403, "forbidden");
    scene
        .stack
        .get_as(owner, &format!("{path}?from={next}&to={day}"))
        .await
        .expect_problem(422, "invalid-days");
}

#[tokio::test]
async fn a_user_is_reminded_once_of_each_booking_that_still_holds() {
    let scene = Scene::new().await;
    let (kept, dropped) = (scene.booked(0).await, scene.booked(1).await);
    scene.stack.act(&scene.user, &dropped, "cancel").await.expect(200);
    let sql = "UPDATE timers SET due_at = 1 WHERE kind = 'reservation-reminder'";
    scene.stack.execute(sql, &[]).await;
    let told = scene.stack.told(&scene.user, "reservation-reminder").await;
    assert_eq!(told["reservation_id"], kept["id"]);
    let inbox = scene.stack.get_as(&scene.user, "/api/notifications").await.expect(200);
    let reminders = inbox["items"].as_array().expect("items");
    assert_eq!(reminders.iter().filter(|item| item["kind"] == "reservation-reminder").count(), 1);
}
